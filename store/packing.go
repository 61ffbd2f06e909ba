package store

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/s2"

	"github.com/netquorum/netquorum/fsm"
)

// A packing is a restore that becomes parts, on as many processors as there are,
// while the first of them are on their way already. Parts are compressed, because
// they go to the disk of every filer, and configurations say much the same again
// and again.
type packing struct {
	id      string
	parts   []packedPart
	next    atomic.Int64 // the part to be packed next
	workers sync.WaitGroup
}

type packedPart struct {
	puts   fsm.Transaction
	packed chan struct{} // closed when data or err is there
	data   []byte
	err    error
}

// pack begins to pack a restore. Who calls it waits for the packing's end. A
// document that cannot be encoded fails here, before anything is on its way.
func pack(t fsm.Transaction) (*packing, error) {
	p := &packing{id: t.ID}
	total, size, begin := 0, 0, 0
	end := func(i int) {
		part := packedPart{puts: t, packed: make(chan struct{})}
		part.puts.Puts = t.Puts[begin:i]
		p.parts = append(p.parts, part)
		size, begin = 0, i
	}
	for i := range t.Puts {
		n, err := t.Puts[i].Size()
		if err != nil {
			return nil, err
		}
		if total += n; total > MaxRestore {
			return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxRestore)
		}
		if size > 0 && size+n > partSize {
			end(i)
		}
		size += n
	}
	end(len(t.Puts))
	for range min(runtime.GOMAXPROCS(0), len(p.parts)) {
		p.workers.Go(p.work)
	}
	return p, nil
}

// packed is a packing of which all parts are there.
func packed(id string, parts [][]byte) *packing {
	done := make(chan struct{})
	close(done)
	p := &packing{id: id, parts: make([]packedPart, len(parts))}
	for i, data := range parts {
		p.parts[i] = packedPart{packed: done, data: data}
	}
	return p
}

func (p *packing) work() {
	var encoded, room []byte // used again: fresh memory costs more than what is written to it
	for {
		i := int(p.next.Add(1)) - 1
		if i >= len(p.parts) {
			return
		}
		part := &p.parts[i]
		if encoded, part.err = fsm.AppendTransaction(encoded[:0], part.puts); part.err == nil {
			room = s2.Encode(room[:cap(room)], encoded)
			part.data = bytes.Clone(room)
		}
		close(part.packed)
	}
}

// part returns a part, as soon as it is there.
func (p *packing) part(ctx context.Context, i int) ([]byte, error) {
	select {
	case <-p.parts[i].packed:
		return p.parts[i].data, p.parts[i].err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errNotAppended, ctx.Err()) // at least not the last, which counts
	}
}

// all returns all parts.
func (p *packing) all(ctx context.Context) (parts [][]byte, err error) {
	parts = make([][]byte, len(p.parts))
	for i := range parts {
		if parts[i], err = p.part(ctx, i); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// close ends the packing: what nobody has begun to pack is not packed any more.
func (p *packing) close() {
	p.next.Store(int64(len(p.parts)))
	p.workers.Wait()
}
