package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/fsm"
)

// The benchmarks compare with the bare library in the same process and on the
// same disk: three nodes over TCP, the same log store and the same settings, and
// a state machine that does nothing. They write below the working directory,
// because the temporary directory may be in memory.

var benchTiming = Timing{Heartbeat: time.Second, Election: time.Second, Lease: 500 * time.Millisecond, Commit: 5 * time.Millisecond}

func benchDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp(".", "bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// BenchmarkCommit is one committed 256-byte record. The store and the bare
// library take turns of a quarter of a second, so that what else the machine does
// falls on both alike; the ratios are what counts.
func BenchmarkCommit(b *testing.B) {
	for _, clients := range []int{1, 64} {
		for _, on := range []string{"leader", "follower"} {
			b.Run(fmt.Sprintf("%d-clients-on-%s", clients, on), func(b *testing.B) {
				bare := newBare(b)
				l := newBenchCluster(b)
				f := l.leader()
				if on == "follower" {
					f = l.follower()
				}
				entry := bytes.Repeat([]byte("x"), 256)
				text := strings.Repeat("x", 256-len(`{"type":"test","data":""}`))
				b.ResetTimer()
				takeTurns(b, clients, func(int, int) error {
					return bare.Apply(entry, 0).Error()
				}, func(client, i int) error {
					r, err := f.Propose(context.Background(), put(record(fmt.Sprintf("r%d-%d", client, i%100), fmt.Sprintf("%08d", i)+text[8:])))
					if err == nil && r.Refusal != nil {
						err = r.Refusal
					}
					return err
				})
			})
		}
	}
}

// takeTurns runs two workloads alternately until b.N operations of the second
// were done, and reports both.
func takeTurns(b *testing.B, clients int, bare, ours func(client, i int) error) {
	var results [2]struct {
		took []time.Duration
		busy time.Duration
	}
	for turn := 0; turn%2 == 1 || len(results[1].took) < b.N; turn++ {
		r := &results[turn%2]
		f := []func(client, i int) error{bare, ours}[turn%2]
		start := time.Now()
		r.took = append(r.took, drive(b, clients, func(int) bool { return time.Since(start) < 250*time.Millisecond }, f)...)
		r.busy += time.Since(start)
	}
	rate := func(i int) float64 { return float64(len(results[i].took)) / results[i].busy.Seconds() }
	median := func(i int) float64 {
		slices.Sort(results[i].took)
		return float64(results[i].took[len(results[i].took)/2].Microseconds())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(0), "bare-p50-µs")
	b.ReportMetric(median(1), "p50-µs")
	b.ReportMetric(median(1)/median(0), "p50-ratio")
	b.ReportMetric(rate(0), "bare-ops/s")
	b.ReportMetric(rate(1), "ops/s")
	b.ReportMetric(rate(1)/rate(0), "ops/s-ratio")
}

// BenchmarkRead is one linearizable read by one of 64 clients.
func BenchmarkRead(b *testing.B) {
	for _, where := range []string{"leader", "follower"} {
		b.Run(where, func(b *testing.B) {
			l := newBenchCluster(b)
			f := l.leader()
			if where == "follower" {
				f = l.follower()
			}
			l.propose(f, put(record("r", "x")))
			hammer(b, 64, func(int, int) error {
				s, err := f.Read(context.Background(), Linearizable)
				if err == nil && value(s, "r") != "x" {
					err = fmt.Errorf("the record is not there")
				}
				return err
			})
		})
	}
}

// BenchmarkFailover is the time from the death of a leader to the next
// acknowledged write, with production timing.
func BenchmarkFailover(b *testing.B) {
	for _, how := range []string{"process killed", "filer silent"} {
		b.Run(strings.ReplaceAll(how, " ", "-"), func(b *testing.B) {
			l := newBenchCluster(b, func(o *Options) { o.Timing = DefaultTiming })
			var took []time.Duration
			for b.Loop() {
				b.StopTimer()
				leader := l.leader()
				f := l.follower()
				l.propose(f, put(record("before", fmt.Sprint(b.N))))
				stopped := make(chan struct{})
				b.StartTimer()
				start := time.Now()
				if how == "process killed" {
					leader.network.detach()
					go func() { defer close(stopped); l.kill(leader) }()
				} else {
					l.net.isolate(leader.id)
					close(stopped)
				}
				l.propose(f, put(record("after", fmt.Sprint(start.UnixNano()))))
				took = append(took, time.Since(start))
				b.StopTimer()
				<-stopped
				if leader.Store == nil {
					l.open(leader)
				}
				l.net.heal()
				l.leader()
				b.StartTimer()
			}
			report(b, took)
		})
	}
}

// BenchmarkRestore is the atomic restore of a 32 MB configuration on three
// filers: until the last of them has it.
func BenchmarkRestore(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("records-of-%d-bytes", size), func(b *testing.B) {
			l := newBenchCluster(b)
			docs := []netquorum.Document{clusterDocument()}
			rng := rand.New(rand.NewPCG(1, 2))
			words := strings.Fields("interface address gateway 10.2.2.1/24 fd00::1/64 bond0.10 owner record route policy")
			for i := range 32 << 20 / size {
				var text strings.Builder
				for text.Len() < size {
					fmt.Fprintf(&text, "%s %x ", words[rng.IntN(len(words))], rng.Uint64())
				}
				docs = append(docs, record(fmt.Sprintf("r%d", i), text.String()))
			}
			b.SetBytes(32 << 20)
			for b.Loop() {
				rev, err := l.leader().Restore(l.context(), docs, "bench")
				if err != nil {
					b.Fatal(err)
				}
				for _, f := range l.filers {
					if err := f.Wait(l.context(), rev); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// hammer runs f on so many clients at once, b.N times in all, and reports
// latency and throughput.
func hammer(b *testing.B, clients int, f func(client, i int) error) {
	b.Helper()
	var todo atomic.Int64
	todo.Store(int64(b.N))
	b.ResetTimer()
	start := time.Now()
	took := drive(b, clients, func(int) bool { return todo.Add(-1) >= 0 }, f)
	b.ReportMetric(float64(len(took))/time.Since(start).Seconds(), "ops/s")
	report(b, took)
}

// drive runs f on so many clients while more says so, and returns how long each
// call took.
func drive(b *testing.B, clients int, more func(i int) bool, f func(client, i int) error) []time.Duration {
	var mu sync.Mutex
	var took []time.Duration
	var done sync.WaitGroup
	for client := range clients {
		done.Go(func() {
			var mine []time.Duration
			for i := 0; more(i); i++ {
				begin := time.Now()
				if err := f(client, i); err != nil {
					b.Error(err)
					break
				}
				mine = append(mine, time.Since(begin))
			}
			mu.Lock()
			took = append(took, mine...)
			mu.Unlock()
		})
	}
	done.Wait()
	return took
}

func report(b *testing.B, took []time.Duration) {
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

func newBenchCluster(b *testing.B, adjust ...func(*Options)) *lab {
	b.Helper()
	dir := benchDir(b)
	adjust = append([]func(*Options){func(o *Options) {
		o.Dir = filepath.Join(dir, string(o.ID))
		o.Timing = benchTiming
	}}, adjust...)
	l := newCluster(b, 3, adjust...)
	l.leader()
	return l
}

// newBare returns the leader of three nodes of the bare library.
func newBare(b *testing.B) *raft.Raft {
	b.Helper()
	dir := benchDir(b)
	var servers []raft.Server
	var nodes []*raft.Raft
	logger := hclog.New(&hclog.LoggerOptions{Output: io.Discard})
	for i := range 3 {
		at := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(at, 0o700); err != nil {
			b.Fatal(err)
		}
		disk, err := raftboltdb.New(boltOptions(filepath.Join(at, "raft.db")))
		if err != nil {
			b.Fatal(err)
		}
		logs, err := raft.NewLogCache(512, disk)
		if err != nil {
			b.Fatal(err)
		}
		snapshots, err := raft.NewFileSnapshotStoreWithLogger(at, 2, logger)
		if err != nil {
			b.Fatal(err)
		}
		transport, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 5*time.Second, logger)
		if err != nil {
			b.Fatal(err)
		}
		c := raft.DefaultConfig()
		c.LocalID = raft.ServerID(fmt.Sprint(i))
		c.CommitTimeout = 5 * time.Millisecond
		c.BatchApplyCh, c.MaxAppendEntries = true, 128
		c.Logger = logger
		node, err := raft.NewRaft(c, bareMachine{}, logs, disk, snapshots, transport)
		if err != nil {
			b.Fatal(err)
		}
		servers = append(servers, raft.Server{ID: c.LocalID, Address: transport.LocalAddr()})
		nodes = append(nodes, node)
		b.Cleanup(func() { transport.Close(); node.Shutdown().Error(); disk.Close() })
	}
	if err := nodes[0].BootstrapCluster(raft.Configuration{Servers: servers}).Error(); err != nil {
		b.Fatal(err)
	}
	var leader *raft.Raft
	await(b, "the bare library to elect a leader", func() bool {
		for _, n := range nodes {
			if n.State() == raft.Leader {
				leader = n
			}
		}
		return leader != nil
	})
	if err := leader.Barrier(0).Error(); err != nil {
		b.Fatal(err)
	}
	return leader
}

type bareMachine struct{}

func (bareMachine) Apply(*raft.Log) any { return nil }
func (bareMachine) ApplyBatch(ls []*raft.Log) []any {
	return make([]any, len(ls))
}
func (bareMachine) Snapshot() (raft.FSMSnapshot, error) { return &snapshot{state: fsm.NewState()}, nil }
func (bareMachine) Restore(io.ReadCloser) error         { return nil }
