package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// The leader goes while filers write. Nothing that was acknowledged is lost or
// done twice, and all filers end with one state.
func TestLabLeaderKilledUnderWriteLoad(t *testing.T) {
	t.Run("its power is cut", func(t *testing.T) {
		loseLeader(t, func(c *cluster, leader string) error { return c.Kill(leader) },
			func(c *cluster, leader string) error { return c.Power(leader) })
	})
	t.Run("its daemon is killed", func(t *testing.T) {
		loseLeader(t, func(c *cluster, leader string) error { return c.KillDaemon(leader) },
			func(c *cluster, leader string) error { return c.StartDaemon(leader) })
	})
}

func loseLeader(t *testing.T, lose, back func(c *cluster, leader string) error) {
	c := formed(t, "single-nic")
	leader := c.leader("filer1")
	load := newWriters(c, 6)
	defer load.stop()
	load.awaitFrom(c, time.Time{}, 20, c.filers()...)

	lost := time.Now()
	if err := lose(c, leader); err != nil {
		t.Fatal(err)
	}
	left := c.others(leader)
	load.awaitFrom(c, lost, 50, left...)
	load.stop()
	first := load.firstAfter(lost)
	t.Logf("%d writes were acknowledged; the first that began after the leader was lost %v after it; %d were asked again",
		load.count(), first.Sub(lost).Round(time.Millisecond), load.repeated())
	if next := c.leader(left[0]); next == leader {
		t.Errorf("%s leads although it is gone", next)
	}
	load.find(c, left...)

	if err := back(c, leader); err != nil {
		t.Fatal(err)
	}
	c.settled(left[0])
	c.agree(left[0])
	load.find(c, leader)
}

// An acknowledged write is one that a filer promised to keep.
type acknowledged struct {
	revision netquorum.Revision
	filer    string
	began    time.Time
	at       time.Time
}

// writers put records through all filers' sockets.
type writers struct {
	cancel context.CancelFunc
	ended  sync.WaitGroup

	run string // tells its records from those of others

	mu    sync.Mutex
	acks  map[string]acknowledged
	again int // requests sent more than once
	wrong []error
}

// loads counts the writers that were made.
var loads atomic.Uint64

// newWriters starts n writers, each at a filer of its own as far as there are
// enough.
func newWriters(c *cluster, n int) *writers {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	w := &writers{cancel: cancel, run: strconv.FormatUint(loads.Add(1), 10), acks: map[string]acknowledged{}}
	clients := map[string]*api.Client{}
	for _, f := range c.filers() {
		clients[f] = c.client(f)
	}
	for i := range n {
		w.ended.Go(func() { w.write(ctx, c.filers(), clients, i) })
	}
	return w
}

func (w *writers) stop() {
	w.cancel()
	w.ended.Wait()
}

// write puts one record after the other. One whose outcome is not known is put
// again under the same id, through the next filer, until somebody tells. Since
// every record must be new, doing that twice would be refused.
func (w *writers) write(ctx context.Context, filers []string, clients map[string]*api.Client, self int) {
	at := self
	for n := 0; ctx.Err() == nil; n++ {
		name := fmt.Sprintf("load/%s/%d/%d", w.run, self, n)
		r := api.ApplyRequest{RequestID: "e2e-" + name, Puts: []api.Put{{MustNotExist: true, Document: record(name)}}}
		began := time.Now()
		for try := 0; ctx.Err() == nil; try++ {
			filer := filers[at%len(filers)]
			call, cancel := context.WithTimeout(ctx, 3*time.Second)
			res, err := clients[filer].Apply(call, r)
			cancel()
			w.mu.Lock()
			switch {
			case err == nil:
				w.acks[name] = acknowledged{res.Revision, filer, began, time.Now()}
			case errors.Is(err, api.ErrRefused):
				w.wrong = append(w.wrong, fmt.Errorf("%s through %s, try %d: %w", name, filer, try, err))
			case try == 0:
				w.again++
			}
			w.mu.Unlock()
			if err == nil || errors.Is(err, api.ErrRefused) {
				break
			}
			at++
		}
	}
}

// record is one of 256 bytes, whose content tells its name.
func record(name string) netquorum.Document {
	data, err := json.Marshal(name + strings.Repeat(".", 200-len(name)))
	if err != nil {
		panic(err)
	}
	return netquorum.Document{Kind: netquorum.KindRecord, Name: name, Spec: &netquorum.Record{Type: "load", Data: data}}
}

// awaitFrom waits until each of the filers has acknowledged so many writes that
// began after a moment.
func (w *writers) awaitFrom(c *cluster, after time.Time, n int, filers ...string) {
	c.t.Helper()
	c.await(fmt.Sprintf("%d writes through each of %v", n, filers), patience(), func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		count := map[string]int{}
		for _, a := range w.acks {
			if a.began.After(after) {
				count[a.filer]++
			}
		}
		for _, f := range filers {
			if count[f] < n {
				return fmt.Errorf("%d writes through %s", count[f], f)
			}
		}
		return nil
	})
}

// firstAfter is when the first of the writes that began after a moment was
// acknowledged.
func (w *writers) firstAfter(after time.Time) (first time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.acks {
		if a.began.After(after) && (first.IsZero() || a.at.Before(first)) {
			first = a.at
		}
	}
	return first
}

func (w *writers) count() int    { w.mu.Lock(); defer w.mu.Unlock(); return len(w.acks) }
func (w *writers) repeated() int { w.mu.Lock(); defer w.mu.Unlock(); return w.again }

// find looks for every acknowledged write on each of the filers.
func (w *writers) find(c *cluster, filers ...string) {
	c.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, err := range w.wrong {
		c.t.Errorf("a write was refused, so it was done twice: %v", err)
	}
	revisions := map[netquorum.Revision]string{}
	for name, a := range w.acks {
		if other, taken := revisions[a.revision]; taken {
			c.t.Errorf("%s and %s were both acknowledged at revision %d", name, other, a.revision)
		}
		revisions[a.revision] = name
	}
	for _, f := range filers {
		ctx, cancel := context.WithTimeout(c.t.Context(), patience())
		list, err := c.client(f).List(ctx, api.Linearizable, netquorum.KindRecord)
		cancel()
		if err != nil {
			c.t.Fatalf("%s: reading the records: %v", f, err)
		}
		found := map[string]netquorum.Document{}
		for _, d := range list.Documents {
			found[d.Name] = d
		}
		lost := 0
		for name, a := range w.acks {
			d, ok := found[name]
			if !ok {
				if lost++; lost < 5 {
					c.t.Errorf("%s has lost %s, which %s acknowledged at revision %d", f, name, a.filer, a.revision)
				}
				continue
			}
			if want := string(record(name).Spec.(*netquorum.Record).Data); d.Revision != a.revision || string(d.Spec.(*netquorum.Record).Data) != want {
				c.t.Errorf("%s has %s at revision %d with %s, acknowledged was revision %d", f, name, d.Revision, d.Spec.(*netquorum.Record).Data, a.revision)
			}
		}
		if lost > 0 {
			c.t.Errorf("%s has lost %d of %d acknowledged writes", f, lost, len(w.acks))
		}
	}
}
