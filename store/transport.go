package store

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/store/raftwire"
)

// A raftTransport is what raft needs of the way filers talk. Without pre-vote,
// which raft would silently go without, a filer that was cut off would depose a
// healthy leader when it comes back.
type raftTransport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

var _ raftTransport = (*transport)(nil)

// appendTimeout bounds the sending of entries.
const appendTimeout = 5 * time.Second

// maxAppend is about how many bytes of entries go in one call, so that a path has
// a chance to carry them in time.
const maxAppend = 1 << 20

// A transport carries raft's calls over streams of three classes, so that a
// heartbeat waits neither for entries nor for a snapshot, and on a path that
// swallows what is sent fails long before a large append may.
//
// A server's address is its filer id: raft compares addresses for identity, and
// where a filer listens is the network's affair and may change.
//
// It mends the library's return to a peer that was away as well. Raft doubles a
// pause at every failed append, up to ten seconds, and nothing shortens that when
// the peer is back. So a failed append waits here for a sign of life, a
// heartbeat that was answered, and is then repeated once. Appends may be repeated
// at will.
type transport struct {
	id       netquorum.FilerID
	network  Network
	log      *slog.Logger
	urgent   time.Duration // bounds calls of class Urgent
	snapshot snapshotLimits
	through  func() uint64   // see earlyLog
	tellIn   time.Duration   // see teller
	accepted <-chan net.Conn // streams that other filers opened
	ended    func()          // called when one of those ends, unless we ended it

	consumer  chan raft.RPC
	heartbeat atomic.Pointer[func(raft.RPC)]
	committed atomic.Pointer[func(term uint64) (uint64, bool)]
	heard     beats
	acks      acks

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu    sync.Mutex
	peers map[raft.ServerAddress]*peer
}

// A peer is what the transport has to do with one other filer.
type peer struct {
	urgent, control, bulk *caller
	teller                *teller

	mu   sync.Mutex
	sign chan struct{} // closed at the filer's next sign of life; nil when nobody waits for one
}

func newTransport(s *Store) *transport {
	t := &transport{
		id: s.o.ID, network: s.o.Network, log: s.o.Log,
		urgent: 2 * s.o.Timing.Heartbeat, snapshot: defaultSnapshotLimits,
		through: s.logs.through, tellIn: s.o.Timing.Commit, accepted: s.acceptor.conns, ended: s.suspect,
		consumer: make(chan raft.RPC), peers: map[raft.ServerAddress]*peer{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.workers.Go(t.accept)
	return t
}

// spawn runs f in a goroutine that wait waits for, unless the transport is closed.
func (t *transport) spawn(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return false
	}
	t.workers.Go(f)
	return true
}

func (t *transport) peer(to raft.ServerAddress) *peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[to]
	if p == nil {
		id := netquorum.FilerID(to)
		p = &peer{urgent: newCaller(t, id, Urgent), control: newCaller(t, id, Control), bulk: newCaller(t, id, Bulk)}
		p.teller = t.newTeller(raft.ServerID(id), to)
		t.peers[to] = p
	}
	return p
}

// AppendEntries implements raft.Transport.
func (t *transport) AppendEntries(id raft.ServerID, to raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	p := t.peer(to)
	if isHeartbeat(req) {
		return t.sendHeartbeat(p, id, req, resp)
	}
	// Raft goes on behind the last entry that it finds in the request afterwards.
	req.Entries = req.Entries[:fitting(req.Entries)]
	// The library's follower takes all that it has up to LeaderCommitIndex for
	// committed, also what lies behind the entries of the request, which may be of
	// another leader.
	last, _ := lastOf(req)
	req.LeaderCommitIndex = min(req.LeaderCommitIndex, t.through(), last)
	err := t.sendEntries(p, id, req, resp)
	if err == nil && resp.Success {
		p.teller.acknowledged(req)
	}
	return err
}

// sendEntries sends an append, and once more after a sign of life if that failed.
func (t *transport) sendEntries(p *peer, id raft.ServerID, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := t.append(p.control, id, req, resp, appendTimeout)
	if err == nil {
		return nil
	}
	patience := time.NewTimer(appendTimeout)
	defer patience.Stop()
	select {
	case <-p.nextSign():
		return t.append(p.control, id, req, resp, appendTimeout)
	case <-patience.C:
	case <-t.ctx.Done():
	}
	return err
}

// lead sets how to find out what is committed in a term that this filer leads. Until
// then it leads none.
func (t *transport) lead(committed func(term uint64) (index uint64, leads bool)) {
	t.committed.Store(&committed)
}

func (t *transport) newTeller(id raft.ServerID, to raft.ServerAddress) *teller {
	n := &teller{after: t.tellIn}
	n.committed = func(term uint64) (uint64, bool) {
		f := t.committed.Load()
		if f == nil {
			return 0, false
		}
		index, leads := (*f)(term)
		return min(index, t.through()), leads
	}
	n.send = func(req *raft.AppendEntriesRequest) {
		t.spawn(func() { n.sent(t.AppendEntries(id, to, req, &raft.AppendEntriesResponse{})) })
	}
	return n
}

// isHeartbeat reports whether a request is one of those that raft sends beside its
// replication, and for which SetHeartbeatHandler is.
func isHeartbeat(r *raft.AppendEntriesRequest) bool {
	return r.Term != 0 && len(r.Entries) == 0 && r.PrevLogEntry == 0 && r.PrevLogTerm == 0 && r.LeaderCommitIndex == 0
}

// fitting is how many of the entries go in one call: at least one.
func fitting(entries []*raft.Log) int {
	size := 0
	for i, e := range entries {
		if size += len(e.Data) + len(e.Extensions); size > maxAppend && i > 0 {
			return i
		}
	}
	return len(entries)
}

func (t *transport) append(c *caller, id raft.ServerID, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse, bound time.Duration) error {
	asked := time.Now()
	err := c.call(raftwire.Append, req, resp, bound)
	if err == nil && resp.Term == req.Term {
		t.acks.note(id, ack{req.Term, asked})
	}
	return err
}

func (t *transport) sendHeartbeat(p *peer, id raft.ServerID, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if err := t.append(p.urgent, id, req, resp, t.urgent); err != nil {
		// What carries entries to the same filer will not do better, and it would
		// take longer to find out.
		p.control.breakOff(err)
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sign != nil {
		close(p.sign)
		p.sign = nil
	}
	return nil
}

func (p *peer) nextSign() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sign == nil {
		p.sign = make(chan struct{})
	}
	return p.sign
}

// AppendEntriesPipeline implements raft.Transport. There is none: replication to a
// follower whose disk stalled can otherwise stop for good (hashicorp/raft issue
// 612).
func (t *transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// RequestVote implements raft.Transport.
func (t *transport) RequestVote(_ raft.ServerID, to raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.peer(to).urgent.call(raftwire.Vote, req, resp, t.urgent)
}

// RequestPreVote implements raft.WithPreVote.
func (t *transport) RequestPreVote(_ raft.ServerID, to raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.peer(to).urgent.call(raftwire.PreVote, req, resp, t.urgent)
}

// TimeoutNow implements raft.Transport.
func (t *transport) TimeoutNow(_ raft.ServerID, to raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.peer(to).urgent.call(raftwire.TimeoutNow, req, resp, t.urgent)
}

// InstallSnapshot implements raft.Transport.
func (t *transport) InstallSnapshot(_ raft.ServerID, to raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.peer(to).bulk.install(req, resp, data, t.snapshot)
}

// Consumer implements raft.Transport.
func (t *transport) Consumer() <-chan raft.RPC { return t.consumer }

// SetHeartbeatHandler implements raft.Transport.
func (t *transport) SetHeartbeatHandler(f func(raft.RPC)) { t.heartbeat.Store(&f) }

// LocalAddr implements raft.Transport.
func (t *transport) LocalAddr() raft.ServerAddress { return serverAddress(t.id) }

// EncodePeer implements raft.Transport.
func (t *transport) EncodePeer(_ raft.ServerID, a raft.ServerAddress) []byte { return []byte(a) }

// DecodePeer implements raft.Transport.
func (t *transport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// Close implements raft.WithClose. It ends every stream and every call. It does not
// wait, because one of the goroutines that it ends may be the one that calls it:
// see wait.
func (t *transport) Close() error {
	t.mu.Lock()
	t.cancel()
	peers := make([]*peer, 0, len(t.peers))
	for _, p := range t.peers {
		peers = append(peers, p)
	}
	t.mu.Unlock()
	for _, p := range peers {
		for _, c := range []*caller{p.urgent, p.control, p.bulk} {
			c.breakOff(net.ErrClosed)
		}
	}
	return nil
}

// wait returns when every goroutine of a closed transport has ended.
func (t *transport) wait() { t.workers.Wait() }
