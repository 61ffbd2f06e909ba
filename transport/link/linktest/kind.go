// Package linktest is the conformance suite of links: Conform runs it over any
// kind of carrier. It also has two kinds, the in-memory twin and TLS over TCP.
package linktest

import (
	"net"
	"testing"

	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/link/memlink"
)

// A Kind is a kind of carriers to be tested.
type Kind struct {
	Name string
	// NewPath makes one more path between two ends. What it makes ends with the
	// test.
	NewPath func(t testing.TB) Path
	// Virtual says that the kind works in a bubble of testing/synctest: nothing
	// but memory, channels and timers. Its tests take no time.
	Virtual bool
	// Slow says that the machine is emulated: there is less of everything.
	Slow bool
}

// large is how many bytes are a lot.
func (k Kind) large() int {
	if k.Slow {
		return 1 << 20
	}
	return 64 << 20
}

// A Path is a way between the ends A and B that can fail.
type Path interface {
	// Connect makes a new connection, or fails when the path does not work.
	Connect() (a, b net.Conn, err error)
	// Cut silently stops what is sent in a direction, Heal lets it flow again:
	// connections outlive that, as far as the kind can.
	Cut(memlink.Direction)
	Heal()
	// Break ends all connections at once.
	Break()
	// At says what Attach is told at each end.
	At() (a, b link.Path)
}

// Mem is the in-memory twin.
var Mem = Kind{Name: "mem", NewPath: newMemPath, Virtual: true}

type memPath struct{ *memlink.Wire }

func newMemPath(t testing.TB) Path {
	p := memPath{memlink.NewWire(1)}
	t.Cleanup(p.Break)
	return p
}

func (p memPath) At() (a, b link.Path) { return link.Path{Kind: "mem"}, link.Path{Kind: "mem"} }

func (p memPath) Break() {
	p.Wire.Break()
	p.Heal()
}
