package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/netquorum/netquorum"
)

// An op on one register, which is one record.
type op struct {
	key   string
	write string // empty for a read
}

// registers is what the store promises: each record is a register.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range history {
			k := o.Input.(op).key
			byKey[k] = append(byKey[k], o)
		}
		var parts [][]porcupine.Operation
		for _, p := range byKey {
			parts = append(parts, p)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		if in := input.(op); in.write != "" {
			return true, in.write
		}
		return state == output, state
	},
}

// A history records what clients did. A write whose outcome is not known may
// take effect at any later time, so it never returns.
type history struct {
	mu    sync.Mutex
	start time.Time
	ops   []porcupine.Operation
}

func (h *history) add(client int, in op, out any, call, ret time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{
		ClientId: client, Input: in, Output: out, Call: int64(call.Sub(h.start)), Return: int64(ret.Sub(h.start)),
	})
}

func TestReadsAndWritesAreLinearizableThroughFaults(t *testing.T) {
	const duration = 6 * time.Second
	l := newCluster(t, 3)
	h := &history{start: time.Now()}
	ctx := testContext(t, duration)
	var clients sync.WaitGroup
	for c := range 6 {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(c), 7))
			for n := 0; ctx.Err() == nil; n++ {
				f := l.filers[rng.IntN(3)]
				in := op{key: fmt.Sprintf("k%d", rng.IntN(3))}
				attempt, cancel := context.WithTimeout(context.Background(), 400*time.Millisecond)
				call := time.Now()
				if rng.IntN(2) == 0 {
					in.write = fmt.Sprintf("%d-%d", c, n)
					_, err := f.Propose(attempt, put(record(in.key, in.write)))
					ret := time.Now()
					if err != nil {
						ret = h.start.Add(time.Hour)
					}
					h.add(c+6*n, in, nil, call, ret) // each operation as a client of its own: one that is lost goes on
				} else if s, err := f.Read(attempt, Linearizable); err == nil {
					h.add(c+6*n, in, value(s, in.key), call, time.Now())
				}
				cancel()
			}
		})
	}
	faults := rand.New(rand.NewPCG(1, 2))
	for ctx.Err() == nil {
		a, b := l.filers[faults.IntN(3)], l.filers[faults.IntN(3)]
		switch faults.IntN(3) {
		case 0:
			l.net.isolate(a.id)
		case 1:
			if a != b {
				l.net.cut(a.id, b.id)
			}
		case 2: // the leader, whoever it is
			l.net.isolate(netquorum.FilerID(a.reigns.load().leader))
		}
		pause(ctx, 100+faults.IntN(500))
		l.net.heal()
		pause(ctx, 100+faults.IntN(300))
	}
	clients.Wait()
	l.net.heal()
	t.Logf("%d operations", len(h.ops))
	if len(h.ops) < 100 {
		t.Fatal("too few to mean anything")
	}
	switch result, _ := porcupine.CheckOperationsVerbose(registers, h.ops, time.Minute); result {
	case porcupine.Illegal:
		t.Error("the history is not linearizable")
	case porcupine.Unknown:
		t.Error("the history could not be checked in a minute")
	}
}

// pause is how long a fault lasts, which is what is being varied.
func pause(ctx context.Context, ms int) {
	timer := time.NewTimer(time.Duration(ms) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
