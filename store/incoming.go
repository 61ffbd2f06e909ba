package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum/store/raftwire"
)

// accept answers the calls on every stream that other filers open.
func (t *transport) accept() {
	for {
		select {
		case conn := <-t.accepted:
			if !t.spawn(func() { t.serve(conn) }) {
				conn.Close()
			}
		case <-t.ctx.Done():
			return
		}
	}
}

// serve answers the calls on one stream. It must clean up with defer: when the disk
// fails under a heartbeat of a new term, the goroutine ends in the middle of it
// (see diskLog.SetUint64).
func (t *transport) serve(conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(t.ctx, func() { conn.Close() })()
	defer func() {
		if t.ctx.Err() == nil {
			t.ended()
		}
	}()
	s := &answerer{transport: t, conn: conn, answers: make(chan raft.RPCResponse, 1), aside: make(chan struct{}, maxAside)}
	err := s.run(raftwire.NewReader(conn))
	if errors.Is(err, raftwire.ErrVersion) || errors.Is(err, raftwire.ErrMalformed) {
		t.log.Warn("a stream of raft was refused", "from", conn.RemoteAddr(), "err", err)
	}
}

// An answerer answers the calls on one stream.
type answerer struct {
	transport *transport
	conn      net.Conn
	answers   chan raft.RPCResponse // to the call that is handled in line
	aside     chan struct{}         // holds an item for every call that is handled beside the others

	writing sync.Mutex
	buf     []byte
}

const (
	// maxAside bounds the calls that wait for raft beside the stream.
	maxAside = 32
	// maxRequestHead bounds the request for a snapshot, without its data.
	maxRequestHead = 1 << 20
	// politeness is how long a caller that was refused may take to read why:
	// closing over what it sent would make the kernel throw the refusal away.
	politeness = time.Second
)

func (s *answerer) run(r *raftwire.Reader) error {
	if err := r.Preamble(); err != nil {
		if errors.Is(err, raftwire.ErrVersion) && s.fail(0, err) == nil && s.conn.SetReadDeadline(time.Now().Add(politeness)) == nil {
			_, _ = io.Copy(io.Discard, r) // whatever ends it
		}
		return err
	}
	for {
		h, err := r.Next()
		if err != nil {
			return err
		}
		if h.Kind != raftwire.Append && h.Size > maxRequestHead {
			return fmt.Errorf("%w: kind %d of %d bytes", raftwire.ErrMalformed, h.Kind, h.Size)
		}
		payload, err := r.Payload(h)
		if err != nil {
			return err
		}
		if err := s.take(h, payload, r); err != nil {
			return err
		}
	}
}

// take handles one call. Entries and snapshots are handled in line, because a filer
// sends one after the other, and whatever waits for raft is not read. A heartbeat
// waits for nothing; votes wait aside, since a heartbeat may follow.
func (s *answerer) take(h raftwire.Header, payload []byte, r *raftwire.Reader) error {
	var command any
	switch h.Kind {
	case raftwire.Append:
		command = new(raft.AppendEntriesRequest)
	case raftwire.Vote:
		command = new(raft.RequestVoteRequest)
	case raftwire.PreVote:
		command = new(raft.RequestPreVoteRequest)
	case raftwire.TimeoutNow:
		command = new(raft.TimeoutNowRequest)
	case raftwire.Install:
		command = new(raft.InstallSnapshotRequest)
	default:
		return fmt.Errorf("%w: kind %d as a call", raftwire.ErrMalformed, h.Kind)
	}
	if err := raftwire.Decode(payload, command); err != nil {
		return err
	}
	switch c := command.(type) {
	case *raft.AppendEntriesRequest:
		if fast := s.transport.heartbeat.Load(); fast != nil && isHeartbeat(c) {
			return s.heartbeat(h.Call, c, *fast)
		}
		return s.ask(h.Call, raft.RPC{Command: c}, s.answers)
	case *raft.InstallSnapshotRequest:
		return s.install(h.Call, c, r)
	default:
		return s.askAside(h.Call, raft.RPC{Command: c})
	}
}

// heartbeat answers a heartbeat in this goroutine. The goroutine of raft that
// handles everything else may be waiting for the disk, and must not seem dead.
func (s *answerer) heartbeat(call uint32, req *raft.AppendEntriesRequest, handle func(raft.RPC)) error {
	s.transport.heard.note(req.ID, time.Now())
	handle(raft.RPC{Command: req, RespChan: s.answers})
	select {
	case a := <-s.answers:
		return s.answer(call, a)
	default:
		return nil // raft is ending and leaves it unanswered
	}
}

// ask has raft handle a call, and answers it.
func (s *answerer) ask(call uint32, rpc raft.RPC, answers chan raft.RPCResponse) error {
	rpc.RespChan = answers
	select {
	case s.transport.consumer <- rpc:
	case <-s.transport.ctx.Done():
		return net.ErrClosed
	}
	select {
	case a := <-answers:
		return s.answer(call, a)
	case <-s.transport.ctx.Done():
		return net.ErrClosed
	}
}

func (s *answerer) askAside(call uint32, rpc raft.RPC) error {
	select {
	case s.aside <- struct{}{}:
	default:
		return s.fail(call, errors.New("too many calls wait for an answer"))
	}
	s.transport.spawn(func() {
		defer func() { <-s.aside }()
		if err := s.ask(call, rpc, make(chan raft.RPCResponse, 1)); err != nil {
			s.conn.Close()
		}
	})
	return nil
}

func (s *answerer) answer(call uint32, a raft.RPCResponse) error {
	if a.Error != nil {
		return s.fail(call, a.Error)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	b, err := raftwire.Encode(raftwire.Begin(s.buf[:0], raftwire.Answer, call), a.Response)
	if err == nil {
		err = raftwire.Finish(b, 0)
	}
	if err != nil {
		return err
	}
	return s.write(b)
}

func (s *answerer) fail(call uint32, why error) error {
	text := []byte(why.Error())
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.write(raftwire.AppendFrame(s.buf[:0], raftwire.Failure, call, text[:min(len(text), raftwire.MaxAnswer)]...))
}

// write writes a frame. s.writing is held.
func (s *answerer) write(b []byte) error {
	s.buf = b
	_, err := s.conn.Write(b)
	return err
}
