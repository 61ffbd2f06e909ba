package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum/fsm"
)

// A view is what the state machine last published.
type view struct {
	state   *fsm.State
	through uint64        // every log entry up to this index is reflected
	next    chan struct{} // closed when a later view is published
}

// views holds the current view. One goroutine publishes, anyone reads.
type views struct{ current atomic.Pointer[view] }

func newViews() *views {
	v := &views{}
	v.current.Store(&view{state: fsm.NewState(), next: make(chan struct{})})
	return v
}

func (v *views) load() *view { return v.current.Load() }

// publish never goes back: a node that is opened again in the same process
// replays its log, and readers have already seen what is in it.
func (v *views) publish(s *fsm.State, through uint64) {
	old := v.load()
	if through < old.through {
		return
	}
	v.current.Store(&view{s, through, make(chan struct{})})
	close(old.next)
}

// machine adapts package fsm to raft. All methods run on raft's one FSM
// goroutine.
type machine struct {
	views   *views
	fatal   func(error)
	await   func(index uint64) error // until this filer's own copy of the log is on disk
	state   *fsm.State
	through uint64
	pending assembly
	opener  opener // of its parts
	stopped error
}

var _ raft.BatchingFSM = (*machine)(nil)

func newMachine(v *views, fatal func(error), await func(index uint64) error) *machine {
	return &machine{views: v, fatal: fatal, await: await, state: fsm.NewState()}
}

// Apply implements raft.FSM.
func (m *machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM: one publication for all entries that
// were committed together. The answer to an entry is its []fsm.Result or error.
func (m *machine) ApplyBatch(ls []*raft.Log) []any {
	answers := make([]any, len(ls))
	if err := m.await(ls[len(ls)-1].Index); err != nil && m.stopped == nil {
		m.stopped = err // the disk failed, which takes the filer out
	}
	for i, l := range ls {
		if m.stopped == nil && l.Type == raft.LogCommand {
			answers[i] = m.apply(l)
		}
		if m.stopped != nil {
			answers[i] = m.stopped
			continue
		}
		m.through = l.Index
	}
	m.views.publish(m.state, m.through)
	return answers
}

func (m *machine) apply(l *raft.Log) any {
	kind, payload, err := unseal(l.Data)
	if err != nil {
		return m.stop(l, err)
	}
	next := m.state
	var results []fsm.Result
	switch kind {
	case entryApply:
		next, results, err = fsm.Apply(m.state, l.Index, payload)
	case entryPart:
		var whole *fsm.Transaction
		m.pending, whole, err = m.pending.add(payload, &m.opener)
		if errors.Is(err, errPartLost) {
			return err
		}
		if whole != nil {
			m.opener = opener{}
			next, results, err = applyRestore(m.state, l.Index, whole)
		}
	default:
		err = fmt.Errorf("entry kind %d: %w", kind, fsm.ErrUnsupported)
	}
	if err != nil {
		return m.stop(l, err)
	}
	m.state = next
	return results
}

// applyRestore replaces every document that users write by the puts of a
// transaction. Applying the transaction's id by itself puts it on record, so that
// a restore that is proposed again does not undo what came after it.
func applyRestore(s *fsm.State, index uint64, t *fsm.Transaction) (*fsm.State, []fsm.Result, error) {
	if r, known := s.Result(t.ID); known {
		return s, []fsm.Result{r}, nil
	}
	restored, refusal := fsm.FromDocuments(s, documents(t), fsm.Origin{Actor: t.Actor, Trace: t.Trace, Time: t.Time})
	if refusal != nil {
		return s, []fsm.Result{{Revision: s.Revision(), Refusal: refusal}}, nil
	}
	record, err := fsm.EncodeEntry([]fsm.Transaction{{ID: t.ID, Actor: t.Actor, Time: t.Time}})
	if err != nil {
		return nil, nil, err
	}
	next, _, err := fsm.Apply(restored, index, record)
	return next, []fsm.Result{{Revision: restored.Revision(), Changed: len(t.Puts)}}, err
}

// stop ends this filer's part in the cluster: what it cannot decode, others
// have applied, and its state would differ from theirs from here on.
func (m *machine) stop(l *raft.Log, err error) error {
	m.stopped = fmt.Errorf("log entry %d cannot be applied: %w", l.Index, err)
	m.fatal(m.stopped)
	return m.stopped
}

// snapshotMagic opens a snapshot; its last byte is the format's version.
const snapshotMagic = "netquorum-store\x01"

// Snapshot implements raft.FSM. The state is immutable, so this is a pointer,
// and writing it does not hold up what is applied meanwhile.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	if m.stopped != nil {
		return nil, m.stopped
	}
	return &snapshot{m.state, m.through, m.pending}, nil
}

type snapshot struct {
	state   *fsm.State
	through uint64
	pending assembly
}

// Persist implements raft.FSMSnapshot.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.encode(sink); err != nil {
		return errors.Join(fmt.Errorf("snapshot: %w", err), sink.Cancel())
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s *snapshot) Release() {}

func (s *snapshot) encode(w io.Writer) error {
	b := bufio.NewWriterSize(w, 256<<10)
	header, err := s.pending.appendTo(binary.AppendUvarint([]byte(snapshotMagic), s.through))
	if err != nil {
		return err
	}
	if _, err := b.Write(header); err != nil {
		return err
	}
	if err := fsm.EncodeSnapshot(b, s.state); err != nil {
		return err
	}
	return b.Flush()
}

func decodeSnapshot(r io.Reader) (*snapshot, error) {
	b := bufio.NewReaderSize(r, 256<<10)
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(b, magic); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if !bytes.Equal(magic, []byte(snapshotMagic)) {
		return nil, fmt.Errorf("snapshot: begins with %q: %w", magic, fsm.ErrUnsupported)
	}
	s := &snapshot{}
	var err error
	if s.through, err = binary.ReadUvarint(b); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if s.pending, err = readAssembly(b); err != nil {
		return nil, fmt.Errorf("snapshot: restore under way: %w", err)
	}
	if s.state, err = fsm.DecodeSnapshot(b); err != nil {
		return nil, err
	}
	return s, nil
}

// Restore implements raft.FSM: the state is replaced by a snapshot's.
func (m *machine) Restore(r io.ReadCloser) error {
	defer r.Close()
	s, err := decodeSnapshot(r)
	if err != nil {
		return err
	}
	m.state, m.through, m.pending, m.stopped = s.state, s.through, s.pending, nil
	m.views.publish(m.state, m.through)
	return nil
}

type byteReader interface {
	io.Reader
	io.ByteReader
}

// readString reads a length and as many bytes, and refuses more than limit
// before making room for them.
func readString(r byteReader, limit uint64) (string, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return "", err
	}
	if n > limit {
		return "", fmt.Errorf("length %d exceeds %d", n, limit)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return string(b), err
}
