package messages

import (
	"encoding/binary"
	"time"

	"go.etcd.io/bbolt"
)

// A client is one named sender and its box, in memory.
type client struct {
	name        string
	incarnation Incarnation
	next        uint64        // number of the next message
	position    uint64        // of the next completion
	reserved    uint64        // numbers below it are reserved on disk; the committer's alone
	pending     int           // messages without a completion, and those about to be sent
	outs        []*out        // those of them that have a number, by it
	freed       chan struct{} // closed and replaced when there is room again

	kept    []*kept // completions, by position
	bySeq   map[uint64]*kept
	bytes   int64
	arrived chan struct{} // closed and replaced when a completion came

	keys  map[string]*keyed // by key
	named []*keyed          // those on disk, the oldest first
}

// A kept is a completion that waits in the file for its client.
type kept struct {
	position uint64
	id       ID
	size     int64
	at       time.Time
	gone     bool // being deleted
}

// keptOverhead is what a completion counts for beside its result.
const keptOverhead = 128

func newClient(name string, r clientRecord) *client {
	return &client{
		name: name, incarnation: r.incarnation, next: r.reserved, position: r.position,
		freed: make(chan struct{}), arrived: make(chan struct{}), bySeq: map[uint64]*kept{}, keys: map[string]*keyed{},
	}
}

// client returns the named client, which it makes up when it is new. It is on
// disk with its first message.
func (n *Node) client(name string) *client {
	c := n.clients[name]
	if c == nil {
		c = newClient(name, clientRecord{incarnation: newIncarnation(), reserved: 1, position: 1})
		n.clients[name] = c
	}
	return c
}

func (n *Node) loadClient(name string, v []byte) error {
	r, err := parseClient(v)
	if err == nil {
		n.clients[name] = newClient(name, r)
	}
	return err
}

// reserve makes sure inside a transaction that the numbers up to seq and the
// positions up to position are never given again, and returns the bound of numbers
// for which that holds then. It writes for many at once; numbers need not follow
// each other closely.
func (c *client) reserve(tx *bbolt.Tx, seq, position uint64) (uint64, error) {
	const ahead = 1024
	b := tx.Bucket(bucketClients)
	r := clientRecord{incarnation: c.incarnation, reserved: 1, position: 1}
	if v := b.Get([]byte(c.name)); v != nil {
		var err error
		if r, err = parseClient(v); err != nil {
			return 0, err
		}
		if seq < r.reserved && position < r.position {
			return r.reserved, nil
		}
	}
	if seq >= r.reserved {
		r.reserved = seq + ahead
	}
	if position >= r.position {
		r.position = position + ahead
	}
	return r.reserved, b.Put([]byte(c.name), r.encode())
}

func (n *Node) loadDone(k, v []byte) error {
	r, err := parseDone(v, n.cfg.Self)
	if err != nil {
		return err
	}
	c := n.client(r.id.Client)
	c.keep(&kept{position: binary.BigEndian.Uint64(k[len(k)-8:]), id: r.id, size: int64(len(r.result)) + keptOverhead, at: r.at})
	return nil
}

// keep enters a completion. They come in the order of their positions.
func (c *client) keep(k *kept) {
	c.kept = append(c.kept, k)
	c.bySeq[k.id.Seq] = k
	c.bytes += k.size
}

// unused reports whether nothing was ever sent in the client's name: it was only
// asked for, and nothing of it is on disk.
func (c *client) unused() bool { return c.next == 1 && c.pending == 0 && len(c.keys) == 0 }

// release makes room for another message.
func (c *client) release() {
	c.pending--
	close(c.freed)
	c.freed = make(chan struct{})
}

// announce wakes whoever waits for completions.
func (c *client) announce() {
	close(c.arrived)
	c.arrived = make(chan struct{})
}
