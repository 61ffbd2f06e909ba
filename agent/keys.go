package agent

import (
	"sync"
	"sync/atomic"

	"github.com/netquorum/netquorum/transport"
)

// keys are what this filer shows and trusts now. Reading them waits for nobody;
// changes come one after the other, each on disk before it is in force.
type keys struct {
	dir  string
	mu   sync.Mutex // held while files change
	ring atomic.Pointer[transport.Keyring]
}

// Ring returns the keyring as it is now.
func (k *keys) Ring() *transport.Keyring { return k.ring.Load() }

// Identity returns what this filer shows now.
func (k *keys) Identity() *transport.Identity { return k.ring.Load().Identity }

// Change makes one step of the keyring. A step that answers nil leaves it.
func (k *keys) Change(step func(now *transport.Keyring, dir string) (*transport.Keyring, error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next, err := step(k.ring.Load(), k.dir)
	if err == nil && next != nil {
		k.ring.Store(next)
	}
	return err
}
