package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// bare is what the product is built on, by itself: three raft nodes with a bolt
// log each, in one process, over plain TCP, and a state machine that counts.
type bare struct {
	nodes []*raft.Raft
	close []io.Closer
}

func startBare(dir string) (*bare, error) {
	b := new(bare)
	var servers []raft.Server
	var transports []*raft.NetworkTransport
	for i := range 3 {
		t, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 5*time.Second, hclog.NewNullLogger())
		if err != nil {
			return nil, err
		}
		transports = append(transports, t)
		servers = append(servers, raft.Server{ID: raft.ServerID(fmt.Sprint("n", i)), Address: t.LocalAddr()})
	}
	for i, t := range transports {
		home := filepath.Join(dir, fmt.Sprint("bare", i))
		if err := os.MkdirAll(home, 0o700); err != nil {
			return nil, err
		}
		bolt, err := raftboltdb.New(raftboltdb.Options{
			Path:                    filepath.Join(home, "raft.db"),
			BoltOptions:             &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, Timeout: time.Second},
			MsgpackUseNewTimeFormat: true,
		})
		if err != nil {
			return nil, err
		}
		snaps, err := raft.NewFileSnapshotStoreWithLogger(home, 2, hclog.NewNullLogger())
		if err != nil {
			return nil, err
		}
		cache, err := raft.NewLogCache(512, bolt)
		if err != nil {
			return nil, err
		}
		c := raft.DefaultConfig()
		c.LocalID, c.Logger = servers[i].ID, hclog.New(&hclog.LoggerOptions{Output: log.Writer(), Level: hclog.Error})
		c.CommitTimeout = 5 * time.Millisecond
		r, err := raft.NewRaft(c, new(counter), cache, bolt, snaps, t)
		if err != nil {
			return nil, err
		}
		b.nodes, b.close = append(b.nodes, r), append(b.close, bolt)
	}
	if err := b.nodes[0].BootstrapCluster(raft.Configuration{Servers: servers}).Error(); err != nil {
		return nil, err
	}
	return b, nil
}

// leader waits until one of the nodes leads.
func (b *bare) leader() (*raft.Raft, error) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, n := range b.nodes {
			if n.State() == raft.Leader {
				return n, nil
			}
		}
	}
	return nil, fmt.Errorf("bare raft elected no leader in 20 s")
}

func (b *bare) stop() {
	for _, n := range b.nodes {
		n.Shutdown().Error()
	}
	for _, c := range b.close {
		c.Close()
	}
}

type counter struct{ n atomic.Uint64 }

func (c *counter) Apply(*raft.Log) any                 { return c.n.Add(1) }
func (c *counter) Snapshot() (raft.FSMSnapshot, error) { return c, nil }
func (c *counter) Restore(r io.ReadCloser) error       { return r.Close() }
func (c *counter) Persist(s raft.SnapshotSink) error   { return s.Close() }
func (c *counter) Release()                            {}
