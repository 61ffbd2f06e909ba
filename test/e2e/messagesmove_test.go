package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// A virtual server that moves between two filers when its group is changed.
const movingConfig = `
kind: Cluster
name: office
spec: {mac: "00:07:34:04:12:0f"}
---
kind: FilerGroup
name: senders
spec: {}
---
kind: FilerGroup
name: east
spec: {interfaces: [{name: data0, parent: eth0}]}
---
kind: FilerGroup
name: west
spec: {interfaces: [{name: data0, parent: eth0}]}
---
kind: Filer
name: filer1
spec: {group: senders, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.1/24]}]}
---
kind: Filer
name: filer2
spec: {group: east, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]}]}
---
kind: Filer
name: filer3
spec: {group: west, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.3/24]}]}
---
kind: VirtualServer
name: files
spec: {group: east, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.1/24}]}
`

// Messages to a virtual server that moves as fast as the cluster moves it: each is
// handled once, by the filer that hosts the server in the epoch that the message
// carries, as the history tells. Every few moves the host stands still, until the
// server is elsewhere: what it has accepted by then it must not handle any more.
func TestLabMessagesFollowAServerThatMoves(t *testing.T) {
	enough := func(moves int, _ time.Duration) bool { return moves == 8 }
	if longMessages {
		enough = func(_ int, lasted time.Duration) bool { return lasted > time.Minute }
	}
	file := filepath.Join(t.TempDir(), "moving.yaml")
	if err := os.WriteFile(file, []byte(movingConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	c := raise(t, example{topology: exampleNamed("single-nic").topology, config: file})
	if err := c.Form(t.Context(), file, t.Output()); err != nil {
		t.Fatal(err)
	}
	p := newPost(c, "filer1")
	p.takes = 50 * time.Millisecond // so that some wait on a filer when its server leaves
	hosts := map[string]string{"east": "filer2", "west": "filer3"}
	for _, host := range hosts {
		p.serve(host, "count")
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var sending group
	var draining atomic.Bool
	const streams, rate = 50, 500
	for s := range streams {
		sending.Go(func() {
			tick := time.NewTicker(time.Second * streams / rate)
			defer tick.Stop()
			for ; ctx.Err() == nil; <-tick.C {
				if draining.Load() {
					continue
				}
				p.send(api.MessageTarget{Service: "count", VServer: "files"}, fmt.Sprint("s", s), s%4 == 0)
			}
		})
	}
	began, moves, stood, paused, longest := time.Now(), 0, 0, 0, time.Duration(0)
	// A daemon that stood still for 2 s while its log was written takes its disk for
	// hanging, and ends.
	restarts := 0
	revive := func() {
		for _, f := range hosts {
			if c.node(f).Daemon == 0 {
				restarts++
				c.must(c.StartDaemon(f))
			}
		}
	}
	drain := func(left int) {
		draining.Store(true)
		defer draining.Store(false)
		c.await("what has piled up is handled", patience(), func() error {
			revive()
			if n := p.waiting(); n > left {
				return fmt.Errorf("%d messages wait", n)
			}
			return nil
		})
	}
	for group := "west"; !enough(moves, time.Since(began)); moves++ {
		if p.waiting() > backlog {
			paused++
			drain(backlog / 10)
		}
		next := time.NewTimer(300 * time.Millisecond)
		if moves%10 == 4 {
			stood++
			host, since := c.host("filer1", "files"), time.Now()
			c.must(c.SignalDaemon(host, unix.SIGSTOP))
			c.moveTo(group, hosts[group], revive)
			<-time.After(tooLate + tooLate/5)
			c.must(c.SignalDaemon(host, unix.SIGCONT))
			longest = max(longest, time.Since(since))
		} else {
			c.moveTo(group, hosts[group], revive)
		}
		<-next.C
		group = map[string]string{"west": "east", "east": "west"}[group]
	}
	took := time.Since(began)
	stop()
	sending.Wait()
	drain(0)
	abandoned := p.completed()
	for service, connections := range p.used {
		if len(connections) > restarts+1 { // what comes over another one may come again
			t.Errorf("the messages of %s came over %d connections; %d daemons were restarted", service, len(connections), restarts)
		}
	}

	late, most := 0, time.Duration(0)
	epochs := c.epochs("filer1", "files")
	for id, calls := range p.calls {
		for _, call := range calls {
			e, ok := epochs[call.Epoch]
			if !ok || e.filer != call.filer {
				t.Errorf("%s handled %s in epoch %d, which is %q's", call.filer, id, call.Epoch, e.filer)
			}
			if e.ended.IsZero() {
				continue
			}
			// A look at the record and the call of a handler are not one instant.
			after := call.at.Sub(e.ended)
			if after > tooLate {
				late++
			} else {
				most = max(most, after)
			}
		}
	}
	// What has been looked at when its filer stands still is given to the program
	// when that goes on: at most one for a program, as it is written at once.
	if late > stood {
		t.Errorf("%d messages were handled more than %v after their epoch had ended, on a filer that may not have known: %d stood still", late, tooLate, stood)
	}
	refused := 0
	for _, host := range hosts {
		refused += int(c.metric(host, `netquorum_messages_total{event="refused"}`))
	}
	t.Logf("%d messages in %v, %.0f a second, %d moves, %d of them because the host stood still, %d after a pause, %d daemons restarted; %d refused and sent on, %d given up, %d handled again; %d handled after their epoch because their filer stood still, the others at most %v",
		len(p.sent), took.Round(time.Millisecond), float64(len(p.sent))/took.Seconds(), moves, stood, paused, restarts, refused, abandoned, p.again, late, most.Round(time.Millisecond))
	if abandoned > 0 && longest < 4*time.Second { // 5 s are promised
		t.Errorf("%d messages were given up although their host was within reach", abandoned)
	}
	if refused == 0 {
		t.Error("no message was ever refused: the test shows nothing")
	}
}

// backlog is how many messages may wait before the next move and the next message:
// this process, its race detector and three daemons share the machine, and do not
// catch up beside 500 messages a second.
const backlog = 1000

// tooLate is how long after the end of its epoch a message is handled by a filer
// that does not look; one that does may be held up on its way to the program.
const tooLate = time.Second

// moveTo has the virtual server hosted by the one filer of a group.
func (c *cluster) moveTo(group, filer string, meanwhile func()) {
	c.t.Helper()
	client := c.client("filer1")
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience())
	defer cancel()
	d, err := client.Get(ctx, netquorum.KindVirtualServer, "files", api.Stale)
	if err != nil {
		c.t.Fatal(err)
	}
	d.Spec.(*netquorum.VirtualServer).Group = group
	d.Revision = 0
	if _, err := client.Apply(ctx, api.ApplyRequest{Puts: []api.Put{{Document: d}}}); err != nil {
		c.t.Fatal(err)
	}
	c.await("the server is placed on "+filer, patience(), func() error {
		meanwhile()
		d, err := client.Get(ctx, netquorum.KindPlacement, "files", api.Stale)
		if err == nil && d.Spec.(*netquorum.Placement).Filer != filer {
			err = errors.New("it is not")
		}
		return err
	})
}

// An epoch is a time for which a filer was the one host of a server.
type epoch struct {
	filer string
	ended time.Time // zero while it lasts
}

// epochs lists those of a server, as the history tells.
func (c *cluster) epochs(asked, server string) map[uint64]epoch {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience())
	defer cancel()
	changes, err := c.client(asked).History(ctx, api.HistoryRequest{From: 1})
	if err != nil {
		c.t.Fatal(err)
	}
	out := map[uint64]epoch{}
	last := uint64(0)
	for _, change := range changes {
		for _, d := range change.Documents {
			if d.Kind != netquorum.KindPlacement || d.Name != server || d.After == nil {
				continue
			}
			now := d.After.Spec.(*netquorum.Placement)
			if last != 0 && now.Epoch != last+1 {
				c.t.Errorf("epoch %d of %s comes after %d", now.Epoch, server, last)
			}
			if before, ok := out[last]; ok {
				before.ended = change.Time
				out[last] = before
			}
			last = now.Epoch
			out[now.Epoch] = epoch{filer: now.Filer}
		}
	}
	return out
}
