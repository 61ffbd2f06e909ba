package store

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/trace"
)

// MaxRestore is the largest configuration, in its encoded form, that a restore
// accepts.
const MaxRestore = 64 << 20

// Restore replaces every document that users write by the given ones, at one
// stroke on every filer: the state machines validate the whole and take it or
// leave it. It may be called on any filer. A refusal is returned as an error, and
// nothing has changed then.
func (s *Store) Restore(ctx context.Context, docs []netquorum.Document, actor string) (netquorum.Revision, error) {
	t := fsm.Transaction{ID: uuid.NewString(), Actor: actor, Trace: uint64(trace.From(ctx)), Time: s.o.Now().UnixMilli(), Puts: make([]fsm.Put, len(docs))}
	for i, d := range docs {
		t.Puts[i] = fsm.Put{Document: d}
	}
	packing, err := pack(t)
	if err != nil {
		return 0, fmt.Errorf("restore: %w", err)
	}
	defer packing.close()
	var result fsm.Result
	err = s.lead(ctx, during(func(ctx context.Context, leader netquorum.FilerID) (err error) {
		if leader == s.o.ID {
			result, err = s.restoreHere(ctx, packing)
			return err
		}
		parts, err := packing.all(ctx)
		if err != nil {
			return err
		}
		var reply proposeReply
		if err := s.ask(ctx, leader, pathRestore, restoreRequest{t.ID, parts}, &reply); err != nil {
			return err
		}
		if len(reply.Results) != 1 {
			return fmt.Errorf("%w: restore was answered with %d results", errMaybeAppended, len(reply.Results))
		}
		result = reply.Results[0]
		return nil
	}))
	if err == nil && result.Refusal != nil {
		return 0, result.Refusal
	}
	return result.Revision, err
}

// restoreWindow is how many parts are on their way at once: enough to keep disk
// and network busy, little enough for others' transactions to come between.
const restoreWindow = 64

// restoreHere sends a restore through the log of this filer, which leads.
func (s *Store) restoreHere(ctx context.Context, p *packing) (fsm.Result, error) {
	select {
	case s.restoring <- struct{}{}:
		defer func() { <-s.restoring }()
	case <-ctx.Done():
		return fsm.Result{}, fmt.Errorf("%w: %w", errNotAppended, ctx.Err())
	}
	n := s.node.Load()
	var flying []raft.ApplyFuture
	var results []fsm.Result
	land := func() (err error) {
		results, err = s.outcome(n, flying[0])
		flying = flying[1:]
		return err
	}
	for i := range p.parts {
		part, err := p.part(ctx, i)
		if err != nil {
			return fsm.Result{}, fmt.Errorf("part %d of %d: %w", i, len(p.parts), err)
		}
		flying = append(flying, n.raft.Apply(sealPart(p.id, i, len(p.parts), part), 0))
		if len(flying) < restoreWindow {
			continue
		}
		if err := land(); err != nil {
			return fsm.Result{}, err
		}
	}
	for len(flying) > 0 {
		if err := land(); err != nil {
			return fsm.Result{}, err
		}
	}
	if len(results) != 1 {
		return fsm.Result{}, fmt.Errorf("%w: restore was answered with %d results", errMaybeAppended, len(results))
	}
	return results[0], nil
}

// A restoreRequest asks the leader to restore. It is the one request that may have
// tens of megabytes, so it has a binary form: the restore's id and the parts, each
// behind its length.
type restoreRequest struct {
	ID    string
	Parts [][]byte
}

func (r restoreRequest) MarshalBinary() ([]byte, error) {
	n := len(r.ID) + binary.MaxVarintLen64
	for _, p := range r.Parts {
		n += len(p) + binary.MaxVarintLen64
	}
	b := make([]byte, 0, n)
	b = append(binary.AppendUvarint(b, uint64(len(r.ID))), r.ID...)
	for _, p := range r.Parts {
		b = append(binary.AppendUvarint(b, uint64(len(p))), p...)
	}
	return b, nil
}

// UnmarshalBinary makes parts of the data; it does not copy them.
func (r *restoreRequest) UnmarshalBinary(data []byte) error {
	var pieces [][]byte
	for len(data) > 0 {
		n, size := binary.Uvarint(data)
		if size <= 0 || n > uint64(len(data)-size) || len(pieces) > maxParts {
			return fmt.Errorf("piece %d of a restore: %w", len(pieces), errBadPart)
		}
		end := size + int(n)
		pieces, data = append(pieces, data[size:end:end]), data[end:]
	}
	if len(pieces) < 2 || len(pieces[0]) > maxPartID {
		return fmt.Errorf("a restore of %d pieces: %w", len(pieces), errBadPart)
	}
	r.ID, r.Parts = string(pieces[0]), pieces[1:]
	return nil
}
