package bootcache

import (
	"context"
	"sync"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/fsm"
)

// A Source is what a Keeper follows; a *store.Store is one.
type Source interface {
	State() *fsm.State
	Changed() <-chan struct{}
}

// A Keeper keeps a cache equal to what a source says about the network. It
// writes when a document of a network kind has changed, not for records.
type Keeper struct {
	cache  *Cache
	source Source
	about  Boot          // who the filer is
	retry  time.Duration // how soon a failed write is tried again

	// Used by Run only.
	written []netquorum.Document // what both copies hold
	floor   netquorum.Revision   // the revision of what was found in the cache
	seen    netquorum.Revision   // the newest revision that both copies stand for

	mu     sync.Mutex
	status KeeperStatus
	next   chan struct{} // closed when status changes
}

// A KeeperStatus says how far the cache is.
type KeeperStatus struct {
	// Revision is the newest one whose network configuration is on disk.
	Revision netquorum.Revision `json:"revision"`
	// Error says why a newer one is not.
	Error  string       `json:"error,omitempty"`
	Copies []CopyStatus `json:"copies"`
}

// NewKeeper returns a keeper for the filer with the given identity. Nothing
// happens until it is run.
func NewKeeper(c *Cache, s Source, cluster string, filer netquorum.FilerID, name string) *Keeper {
	b, copies, _ := c.Load() // no sound copy is a status like any other
	k := &Keeper{
		cache: c, source: s, about: Boot{Cluster: cluster, Filer: filer, Name: name}, retry: 5 * time.Second,
		status: KeeperStatus{Copies: copies}, next: make(chan struct{}),
	}
	sound := copies[0].State == OK && copies[1].State == OK && copies[0].Revision == copies[1].Revision
	if b.Cluster == cluster && b.Filer == filer {
		k.floor = b.Revision
	}
	if sound && b.Cluster == cluster && b.Filer == filer && b.Name == name {
		k.written = b.Documents // the first write would change nothing
	}
	return k
}

// Run follows the source until the context ends. Changes that come while the
// disk is busy are written together.
func (k *Keeper) Run(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		changed := k.source.Changed()
		again.Stop()
		if err := k.keep(k.source.State()); err != nil {
			again.Reset(k.retry)
		}
		select {
		case <-changed:
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// keep brings the cache up to the state.
func (k *Keeper) keep(s *fsm.State) error {
	if s.Revision() == 0 || s.Revision() < k.floor {
		return nil // the log is being replayed, and the cache knows more
	}
	next := KeeperStatus{Copies: k.Status().Copies}
	var err error
	if k.seen == 0 || s.NetworkChanged(k.seen) {
		err = k.save(s, &next)
	}
	if err == nil {
		k.seen = s.Revision()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		next.Revision, next.Error = k.status.Revision, err.Error()
	} else {
		next.Revision = s.Revision()
	}
	k.status = next
	close(k.next)
	k.next = make(chan struct{})
	return err
}

// save writes both copies unless they hold the state's documents already.
func (k *Keeper) save(s *fsm.State, next *KeeperStatus) error {
	docs := Documents(s.Config())
	if k.written != nil && equal(docs, k.written) {
		return nil
	}
	b := k.about
	b.Revision, b.Documents = s.Revision(), docs
	err := k.cache.Save(b)
	if err == nil {
		k.written = docs
	}
	_, next.Copies, _ = k.cache.Load()
	return err
}

// Status returns how far the cache is.
func (k *Keeper) Status() KeeperStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

// Wait waits until the network configuration of a revision is on disk.
func (k *Keeper) Wait(ctx context.Context, r netquorum.Revision) error {
	for {
		k.mu.Lock()
		reached, next := k.status.Revision >= r, k.next
		k.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Documents returns the documents that a filer needs to boot: all but records,
// which mean nothing to the network, and tokens, which are secrets.
func Documents(c netquorum.Config) []netquorum.Document {
	docs := []netquorum.Document{}
	for _, kind := range netquorum.Kinds {
		if !kind.Network() {
			continue
		}
		for d := range c.All(kind) {
			docs = append(docs, d)
		}
	}
	return docs
}

// equal compares documents by key and revision: a revision writes a document
// once.
func equal(a, b []netquorum.Document) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Key() != b[i].Key() || a[i].Revision != b[i].Revision {
			return false
		}
	}
	return true
}
