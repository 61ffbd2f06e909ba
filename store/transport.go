package store

import (
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A raftTransport is what raft needs of the way filers talk. Today it is the
// library's own over single streams; SCTP and several paths will come in here.
// Without pre-vote, which raft would silently go without, a filer that was cut
// off would depose a healthy leader when it comes back.
type raftTransport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

var _ raftTransport = (*transport)(nil)

// bulkTimeout bounds the sending of entries; raft scales it with the size of a
// snapshot.
const bulkTimeout = 5 * time.Second

// A transport sends over three of the library's transports, because that has
// one timeout for everything, and on a path that swallows what is sent
// heartbeats and votes must fail long before a large append may. The first of
// them also receives, and sends snapshots.
//
// It mends the library's return to a peer that was away as well. Raft doubles a
// pause at every failed append, up to ten seconds, and nothing shortens that when
// the peer is back. So a failed append waits here for a sign of life, a
// heartbeat that was answered, and is then repeated once. Appends may be repeated
// at will.
type transport struct {
	*raft.NetworkTransport
	entries, quick *raft.NetworkTransport
	paths          *streams      // of entries
	through        func() uint64 // see earlyLog
	closed         chan struct{}
	closeOnce      sync.Once

	mu    sync.Mutex
	signs map[raft.ServerID]chan struct{} // closed at the peer's next sign of life
}

func newTransport(s *Store) *transport {
	stream := func(accept <-chan net.Conn) *streams { return newStreams(s.o.ID, s.o.Network, accept, s.suspect) }
	t := &transport{through: s.logs.through, closed: make(chan struct{}), signs: map[raft.ServerID]chan struct{}{}}
	t.paths = stream(nil)
	t.NetworkTransport = newNetworkTransport(stream(s.acceptor.conns), bulkTimeout, s.o)
	t.entries = newNetworkTransport(t.paths, bulkTimeout, s.o)
	t.quick = newNetworkTransport(stream(nil), 2*s.o.Timing.Heartbeat, s.o)
	return t
}

func newNetworkTransport(layer raft.StreamLayer, timeout time.Duration, o Options) *raft.NetworkTransport {
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:  layer,
		MaxPool: 3,
		// Synchronous: replication to a follower whose disk stalled can otherwise
		// stop for good (hashicorp/raft issue 612).
		MaxRPCsInFlight:         1,
		Timeout:                 timeout,
		Logger:                  newRaftLogger(o.Log),
		MsgpackUseNewTimeFormat: true,
	})
}

// AppendEntries implements raft.Transport.
func (t *transport) AppendEntries(id raft.ServerID, to raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if len(req.Entries) == 0 && req.PrevLogEntry == 0 && req.LeaderCommitIndex == 0 {
		return t.heartbeat(id, to, req, resp)
	}
	req.LeaderCommitIndex = min(req.LeaderCommitIndex, t.through())
	err := t.entries.AppendEntries(id, to, req, resp)
	if err == nil {
		return nil
	}
	patience := time.NewTimer(bulkTimeout)
	defer patience.Stop()
	select {
	case <-t.sign(id):
		return t.entries.AppendEntries(id, to, req, resp)
	case <-patience.C:
	case <-t.closed:
	}
	return err
}

func (t *transport) heartbeat(id raft.ServerID, to raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if err := t.quick.AppendEntries(id, to, req, resp); err != nil {
		// What carries entries to the same filer will not do better, and it would
		// take longer to find out.
		t.paths.breakOff(to)
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if sign, ok := t.signs[id]; ok {
		close(sign)
		delete(t.signs, id)
	}
	return nil
}

func (t *transport) sign(id raft.ServerID) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.signs[id] == nil {
		t.signs[id] = make(chan struct{})
	}
	return t.signs[id]
}

// RequestVote implements raft.Transport.
func (t *transport) RequestVote(id raft.ServerID, to raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.quick.RequestVote(id, to, req, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (t *transport) RequestPreVote(id raft.ServerID, to raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.quick.RequestPreVote(id, to, req, resp)
}

// TimeoutNow implements raft.Transport.
func (t *transport) TimeoutNow(id raft.ServerID, to raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.quick.TimeoutNow(id, to, req, resp)
}

// Close implements raft.WithClose. Unlike the library's it also closes the
// connections that are in use.
func (t *transport) Close() error {
	t.closeOnce.Do(func() { close(t.closed) })
	var first error
	for _, n := range []*raft.NetworkTransport{t.NetworkTransport, t.entries, t.quick} {
		n.CloseStreams()
		if err := n.Close(); first == nil {
			first = err
		}
	}
	return first
}
