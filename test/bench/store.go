package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// figuresOf is what the peer's load generator prints too.
type figuresOf struct {
	CommitP50 time.Duration `json:"commitP50"`
	Commits   float64       `json:"commits"`
	Reads     float64       `json:"reads"`
}

// measureStore measures commits and reads: ours through the local API of the
// daemons, bare raft by calling it, etcd through its client.
func measureStore(ctx context.Context, o options) ([]row, error) {
	base, err := bareFigures(o)
	if err != nil {
		return nil, fmt.Errorf("bare raft: %w", err)
	}
	ours, err := ourFigures(ctx, o)
	if err != nil {
		return nil, err
	}
	rows := []row{
		ratioRow("commit, 1 client, p50, against bare raft", us(ours.CommitP50), us(base.CommitP50), float64(ours.CommitP50)/float64(base.CommitP50), 1.3, true),
		ratioRow(fmt.Sprintf("commits/s, %d clients, against bare raft", o.clients), perSecond(ours.Commits), perSecond(base.Commits), ours.Commits/base.Commits, 0.8, false),
	}
	if !o.peers {
		return rows, nil
	}
	peer, err := etcdFigures(ctx, o)
	if err != nil {
		return rows, fmt.Errorf("etcd: %w", err)
	}
	return append(rows,
		ratioRow("commit, 1 client, p50, against etcd", us(ours.CommitP50), us(peer.CommitP50), float64(ours.CommitP50)/float64(peer.CommitP50), 1.0, true),
		ratioRow(fmt.Sprintf("commits/s, %d clients, against etcd", o.clients), perSecond(ours.Commits), perSecond(peer.Commits), ours.Commits/peer.Commits, 1.3, false),
		ratioRow(fmt.Sprintf("linearizable reads/s, %d clients, against etcd", o.clients), perSecond(ours.Reads), perSecond(peer.Reads), ours.Reads/peer.Reads, 2, false),
	), nil
}

func us(d time.Duration) string  { return fmt.Sprintf("%d us", d.Microseconds()) }
func perSecond(r float64) string { return fmt.Sprintf("%.0f/s", r) }

func bareFigures(o options) (figuresOf, error) {
	b, err := startBare(filepath.Join(o.dir, "bare"))
	if err != nil {
		return figuresOf{}, err
	}
	defer b.stop()
	leader, err := b.leader()
	if err != nil {
		return figuresOf{}, err
	}
	command := []byte(strings.Repeat("v", 256))
	put := func(int, int) error { return leader.Apply(command, 10*time.Second).Error() }
	var out figuresOf
	if out.CommitP50, err = p50(o.span, put); err != nil {
		return out, err
	}
	out.Commits, err = rate(o.clients, o.span, put)
	return out, err
}

func ourFigures(ctx context.Context, o options) (figuresOf, error) {
	fs, err := startFilers(ctx, o, "store")
	defer fs.stop()
	if err != nil {
		return figuresOf{}, err
	}
	leader, err := fs.leader(ctx)
	if err != nil {
		return figuresOf{}, err
	}
	put := func(f *filer) func(client, n int) error {
		return func(client, n int) error {
			return write(ctx, f, fmt.Sprintf("bench/%d/%d", client, n%100), n)
		}
	}
	var out figuresOf
	if out.CommitP50, err = p50(o.span, put(leader)); err != nil {
		return out, err
	}
	if out.Commits, err = rate(o.clients, o.span, put(leader)); err != nil {
		return out, err
	}
	out.Reads, err = rate(o.clients, o.span, func(client, _ int) error {
		f := fs[client%len(fs)]
		_, err := f.client.Get(ctx, netquorum.KindRecord, fmt.Sprintf("bench/%d/0", client), api.Linearizable)
		return err
	})
	return out, err
}

// etcdFigures starts Debian's etcd with three members on the same disk.
func etcdFigures(ctx context.Context, o options) (figuresOf, error) {
	var out figuresOf
	if _, err := exec.LookPath("etcd"); err != nil {
		return out, fmt.Errorf("%w; install etcd-server", err)
	}
	var cluster, endpoints []string
	for i := range 3 {
		cluster = append(cluster, fmt.Sprintf("m%d=http://127.0.0.1:%d", i, 2390+i))
		endpoints = append(endpoints, fmt.Sprintf("127.0.0.1:%d", 2370+i))
	}
	for i := range 3 {
		home := filepath.Join(o.dir, fmt.Sprint("etcd", i))
		cmd := exec.Command("etcd", "--name", fmt.Sprint("m", i), "--data-dir", home,
			"--listen-peer-urls", fmt.Sprintf("http://127.0.0.1:%d", 2390+i), "--initial-advertise-peer-urls", fmt.Sprintf("http://127.0.0.1:%d", 2390+i),
			"--listen-client-urls", "http://"+endpoints[i], "--advertise-client-urls", "http://"+endpoints[i],
			"--initial-cluster", strings.Join(cluster, ","), "--initial-cluster-state", "new", "--log-level", "error")
		cmd.Env = append(os.Environ(), "ETCD_UNSUPPORTED_ARCH=")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			return out, err
		}
		defer func() { cmd.Process.Kill(); cmd.Wait() }()
	}
	ready, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	load := filepath.Join(o.bin, "etcd-load")
	var answer []byte
	err := eventually(ready, "etcd answers", func() error {
		return exec.CommandContext(ready, "etcdctl", "--endpoints", strings.Join(endpoints, ","), "put", "warm", "up").Run()
	})
	if err != nil {
		return out, err
	}
	cmd := exec.CommandContext(ctx, load, "-endpoints", strings.Join(endpoints, ","), "-clients", fmt.Sprint(o.clients), "-for", o.span.String())
	cmd.Stderr = os.Stderr
	if answer, err = cmd.Output(); err != nil {
		return out, err
	}
	return out, json.Unmarshal(answer, &out)
}

// p50 is the median time of one call after another.
func p50(span time.Duration, do func(client, n int) error) (time.Duration, error) {
	var took []time.Duration
	for end, n := time.Now().Add(span), 0; time.Now().Before(end); n++ {
		start := time.Now()
		if err := do(0, n); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	return median(took), nil
}

// rate is how many calls a second many clients get done.
func rate(clients int, span time.Duration, do func(client, n int) error) (float64, error) {
	var done atomic.Int64
	var wait sync.WaitGroup
	errs := make(chan error, clients)
	start := time.Now()
	for c := range clients {
		wait.Go(func() {
			for n := 0; time.Since(start) < span; n++ {
				if err := do(c, n); err != nil {
					errs <- err
					return
				}
				done.Add(1)
			}
		})
	}
	wait.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
	}
	return float64(done.Load()) / time.Since(start).Seconds(), nil
}
