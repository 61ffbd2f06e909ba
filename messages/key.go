package messages

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// keptKeys is how many keys of a client are remembered beside those of its pending
// messages.
const keptKeys = 10_000

// A keyed is a message that its client has named by a key of its own.
type keyed struct {
	key     string
	id      ID
	at      time.Time
	settled chan struct{} // closed when the message is on disk, or was not sent
}

// SendOnce is Send for a client that may ask twice, because it did not hear the
// first answer: a message with a key that was used before is not sent, and the
// first one's id comes back; its body is not read. A key is remembered while its
// message is pending, and then for as long as completions are, up to the newest
// 10,000 of a client.
func (b *Box) SendOnce(ctx context.Context, key string, m Message) (id ID, repeated bool, err error) {
	if err := checkName("key", key); err != nil {
		return ID{}, false, fmt.Errorf("sending to %s: %w", m.To, err)
	}
	n := b.node
	mine := &keyed{key: key, settled: make(chan struct{})}
	defer close(mine.settled)
	for {
		n.mu.Lock()
		c := n.client(b.client)
		first := c.keys[key]
		if first == nil {
			c.keys[key] = mine
			n.mu.Unlock()
			break
		}
		n.mu.Unlock()
		select {
		case <-first.settled:
		case <-ctx.Done():
			return ID{}, false, fmt.Errorf("sending to %s: %w", m.To, context.Cause(ctx))
		}
		if first.id != (ID{}) {
			return first.id, true, nil
		}
	}
	m.key = key
	o, err := n.send(ctx, b.client, m, nil)
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.client(b.client)
	if err != nil {
		delete(c.keys, key)
		return ID{}, false, fmt.Errorf("sending to %s: %w", m.To, err)
	}
	mine.id, mine.at = o.env.id, o.env.sent
	c.named = append(c.named, mine)
	if len(c.named) > 2*keptKeys {
		n.expireKeys(c)
	}
	return mine.id, false, nil
}

// writeKey puts a message's key beside it, in the same transaction.
func writeKey(tx *bbolt.Tx, o *out) error {
	if o.key == "" {
		return nil
	}
	v := binary.BigEndian.AppendUint64([]byte{recordVersion}, o.env.id.Seq)
	return tx.Bucket(bucketKeys).Put(keyKey(o.env.id.Client, o.key), appendTime(v, o.env.sent))
}

func keyKey(client, key string) []byte {
	return append(append([]byte(client), 0), key...)
}

func parseKey(k, v []byte) (client string, out keyed, err error) {
	name, key, ok := bytes.Cut(k, []byte{0})
	d := decoder{b: v}
	d.version()
	out.key, out.id.Seq = string(key), d.u64()
	out.at = d.time()
	if !ok {
		d.fail("key %q", k)
	}
	return string(name), out, d.end()
}

func (n *Node) loadKey(k, v []byte) error {
	name, r, err := parseKey(k, v)
	if err != nil {
		return err
	}
	c := n.client(name)
	r.id = ID{Filer: n.cfg.Self, Client: name, Incarnation: c.incarnation, Seq: r.id.Seq}
	r.settled = make(chan struct{})
	close(r.settled)
	c.keys[r.key] = &r
	c.named = append(c.named, &r)
	return nil
}

// expireKeys forgets keys that are old or too many, but none of a message that is
// pending. The caller holds mu.
func (n *Node) expireKeys(c *client) {
	since := n.cfg.Clock.Now().Add(-n.cfg.Limits.CompletionAge)
	slices.SortStableFunc(c.named, func(a, b *keyed) int { return a.at.Compare(b.at) }) // as loaded they are not
	tooMany := len(c.named) - keptKeys
	var gone [][]byte
	kept := c.named[:0]
	for i, k := range c.named {
		if (i >= tooMany && k.at.After(since)) || n.out(k.id) != nil {
			kept = append(kept, k)
			continue
		}
		delete(c.keys, k.key)
		gone = append(gone, keyKey(c.name, k.key))
	}
	clear(c.named[len(kept):])
	c.named = kept
	if len(gone) == 0 {
		return
	}
	n.commits.submit(Bulk, &op{
		do: func(tx *bbolt.Tx) error {
			for _, k := range gone {
				if err := tx.Bucket(bucketKeys).Delete(k); err != nil {
					return err
				}
			}
			return nil
		},
		bytes: 32 * len(gone), // a disk that fails ends the node
	})
}

// Completion waits for the completion of one message of the client, which stays in
// the box. ErrUnknown when the message is neither pending nor completed, or nobody
// keeps its completion.
func (b *Box) Completion(ctx context.Context, id ID) (Completion, error) {
	n := b.node
	for {
		n.mu.Lock()
		c := n.clients[b.client]
		o := n.out(id)
		var key []byte
		var arrived chan struct{}
		if c != nil {
			arrived = c.arrived
			if k := c.bySeq[id.Seq]; k != nil && k.id == id && !k.gone {
				key = doneKey(b.client, k.position)
			}
		}
		known := o != nil && !o.env.discard && n.calls[id] == nil && id.Client == b.client
		n.mu.Unlock()
		if key != nil {
			found, err := n.readDone([][]byte{key})
			if err != nil {
				return Completion{}, err
			}
			if len(found) == 1 {
				return found[0], nil
			}
			known = false
		}
		if !known {
			return Completion{}, fmt.Errorf("the completion of %s: %w", id, ErrUnknown)
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return Completion{}, context.Cause(ctx)
		case <-n.life.Done():
			return Completion{}, n.closed()
		}
	}
}
