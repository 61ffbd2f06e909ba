package memlink

import (
	"hash/fnv"
	"net"
	"sync"

	"github.com/netquorum/netquorum"
)

// A Net has a wire between any two filers on each of its paths. Faults are of a
// path between two filers, because a filer with two networks must outlive the
// loss of one.
type Net struct {
	seed  uint64
	mu    sync.Mutex
	wires map[between]*Wire
	away  map[netquorum.FilerID]bool
}

// between names a wire: its end A is the lesser filer.
type between struct {
	a, b netquorum.FilerID
	path string
}

// NewNet makes a network without faults.
func NewNet(seed uint64) *Net {
	return &Net{seed: seed, wires: map[between]*Wire{}, away: map[netquorum.FilerID]bool{}}
}

// wire returns the wire between two filers and the direction from the first.
func (n *Net) wire(from, to netquorum.FilerID, path string) (*Wire, Direction) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k, d := between{from, to, path}, AToB
	if to < from {
		k, d = between{to, from, path}, BToA
	}
	w := n.wires[k]
	if w == nil {
		h := fnv.New64a()
		for _, s := range []string{string(k.a), string(k.b), path} {
			_, _ = h.Write(append([]byte(s), 0)) // it never fails
		}
		w = NewWire(n.seed ^ h.Sum64())
		if n.away[from] || n.away[to] {
			w.Cut(Both)
		}
		n.wires[k] = w
	}
	return w, d
}

// Connect makes a connection from a filer to another.
func (n *Net) Connect(from, to netquorum.FilerID, path string) (near, far net.Conn, err error) {
	w, d := n.wire(from, to, path)
	a, b, err := w.Connect()
	if d == BToA {
		a, b = b, a
	}
	return a, b, err
}

// Set changes what happens to all that two filers send each other on a path.
func (n *Net) Set(a, b netquorum.FilerID, path string, f Faults) {
	w, _ := n.wire(a, b, path)
	w.Set(f)
}

// Cut silently stops what one filer sends the other on a path.
func (n *Net) Cut(from, to netquorum.FilerID, path string) {
	w, d := n.wire(from, to, path)
	w.Cut(d)
}

// Isolate cuts every path of a filer, those to filers that it has not met
// included.
func (n *Net) Isolate(f netquorum.FilerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away[f] = true
	for k, w := range n.wires {
		if k.a == f || k.b == f {
			w.Cut(Both)
		}
	}
}

// Break ends all connections of a filer, as its death does, and refuses new ones
// until Heal.
func (n *Net) Break(f netquorum.FilerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for k, w := range n.wires {
		if k.a == f || k.b == f {
			w.Break()
		}
	}
}

// Heal undoes all cuts and breaks.
func (n *Net) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.away)
	for _, w := range n.wires {
		w.Heal()
	}
}
