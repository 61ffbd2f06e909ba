// Command etcd puts the load of package bench on an etcd cluster and prints
// what it measured as JSON. It is a module of its own, so that nothing of etcd
// is among the product's dependencies.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

type figures struct {
	CommitP50 time.Duration `json:"commitP50"`
	Commits   float64       `json:"commits"` // per second, many clients
	Reads     float64       `json:"reads"`   // linearizable, per second, many clients
}

func main() {
	endpoints := flag.String("endpoints", "127.0.0.1:2379", "comma-separated")
	clients := flag.Int("clients", 64, "of the throughput figures")
	seconds := flag.Duration("for", 5*time.Second, "of each figure")
	flag.Parse()
	if err := run(strings.Split(*endpoints, ","), *clients, *seconds); err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		os.Exit(1)
	}
}

func run(endpoints []string, clients int, span time.Duration) error {
	ctx := context.Background()
	value := strings.Repeat("v", 256)
	// One connection per client, spread over the members, as ours are.
	conns := make([]*clientv3.Client, clients)
	for i := range conns {
		c, err := clientv3.New(clientv3.Config{Endpoints: endpoints[i%len(endpoints) : i%len(endpoints)+1], DialTimeout: 5 * time.Second})
		if err != nil {
			return err
		}
		defer c.Close()
		conns[i] = c
	}
	put := func(client, n int) error {
		_, err := conns[client].Put(ctx, fmt.Sprintf("bench/%d/%d", client, n%100), value)
		return err
	}
	var out figures
	var latencies []time.Duration
	for end, n := time.Now().Add(span), 0; time.Now().Before(end); n++ {
		start := time.Now()
		if err := put(0, n); err != nil {
			return err
		}
		latencies = append(latencies, time.Since(start))
	}
	slices.Sort(latencies)
	out.CommitP50 = latencies[len(latencies)/2]
	var err error
	if out.Commits, err = rate(clients, span, put); err != nil {
		return err
	}
	out.Reads, err = rate(clients, span, func(client, n int) error {
		_, err := conns[client].Get(ctx, fmt.Sprintf("bench/%d/0", client))
		return err
	})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

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
