package messages

import (
	"context"
	"net"

	"github.com/netquorum/netquorum"
)

// A Class tells the network what a stream is for.
type Class uint8

// ClassControl is for frames that are small and must not wait, ClassBulk for
// bodies.
const (
	ClassControl Class = iota
	ClassBulk
)

// A Network opens and accepts streams between filers. Both ends are
// authenticated: nobody else's bytes come out.
type Network interface {
	// Open opens a stream to another filer.
	Open(ctx context.Context, to netquorum.FilerID, class Class) (net.Conn, error)
	// Accept waits for a stream that another filer opened, and says which one
	// did. After Close it returns an error.
	Accept() (conn net.Conn, from netquorum.FilerID, err error)
	// Close ends Accept.
	Close() error
}

// A Place is where a virtual server is.
type Place struct {
	Filer netquorum.FilerID
	Epoch uint64
}

// Hosts knows who is in the cluster and who hosts what.
type Hosts interface {
	// Host says where the virtual server is placed, as far as this filer knows;
	// false while it is placed nowhere.
	Host(server string) (Place, bool)
	// Hosting reports whether this filer hosts the virtual server now, by a
	// lease that is valid now, and in which epoch.
	Hosting(server string) (epoch uint64, ok bool)
	// Epoch is the newest epoch of the server's placement that this filer knows,
	// hosted or not.
	Epoch(server string) uint64
	// Member reports whether the filer belongs to the cluster. It must answer
	// true when it does not know for sure: messages to others are given up.
	Member(id netquorum.FilerID) bool
	// Changed returns a channel that is closed when any of the answers may have
	// changed.
	Changed() <-chan struct{}
}
