package store

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A teller tells one follower which of the entries that it has are committed, when
// no entries follow soon that would. The library repeats that in empty appends for
// as long as it leads, whether there is news or not; a teller is silent when the
// follower knows that all it has is committed.
//
// What it sends is true for ever: the follower has shown that it has the leader's
// log up to PrevLogEntry, and no more than that is called committed. A follower that
// knows a newer term refuses it.
type teller struct {
	after time.Duration // of silence
	// committed is what the leader of a term knows to be committed, and whether this
	// filer is that still.
	committed func(term uint64) (index uint64, leads bool)
	// send sends an append in a goroutine of its own, if at all, and then calls sent.
	send func(*raft.AppendEntriesRequest)

	mu      sync.Mutex
	timer   *time.Timer
	known   raft.AppendEntriesRequest // an empty one that the follower would say yes to, and learn nothing from
	sending bool
}

// acknowledged notes that the follower has said yes to a request.
func (t *teller) acknowledged(req *raft.AppendEntriesRequest) {
	known := raft.AppendEntriesRequest{RPCHeader: req.RPCHeader, Term: req.Term, LeaderCommitIndex: req.LeaderCommitIndex}
	known.PrevLogEntry, known.PrevLogTerm = lastOf(req)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch old := &t.known; {
	case known.Term < old.Term:
		return
	case known.Term == old.Term: // answers may overtake each other
		if known.PrevLogEntry < old.PrevLogEntry {
			known.PrevLogEntry, known.PrevLogTerm = old.PrevLogEntry, old.PrevLogTerm
		}
		known.LeaderCommitIndex = max(known.LeaderCommitIndex, old.LeaderCommitIndex)
	}
	t.known = known
	t.wait()
}

// wait waits, when there is something that the follower does not know yet. t.mu is
// held.
func (t *teller) wait() {
	switch {
	case t.known.LeaderCommitIndex >= t.known.PrevLogEntry:
		if t.timer != nil {
			t.timer.Stop()
		}
	case t.timer == nil:
		t.timer = time.AfterFunc(t.after, t.tell)
	default:
		t.timer.Reset(t.after)
	}
}

// tell sends what is news, and waits on when nothing is yet.
func (t *teller) tell() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sending {
		return // sent waits on
	}
	committed, leads := t.committed(t.known.Term)
	if !leads {
		return
	}
	req := t.known
	req.LeaderCommitIndex = min(committed, req.PrevLogEntry)
	if req.LeaderCommitIndex <= t.known.LeaderCommitIndex {
		t.wait()
		return
	}
	t.sending = true
	t.send(&req)
}

// sent notes that what was sent was answered, or failed. After a failure the rest
// is left to the library's next append.
func (t *teller) sent(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sending = false
	if err == nil {
		t.wait()
	}
}

// lastOf returns index and term of the newest entry that whoever says yes to a
// request has in common with the leader.
func lastOf(req *raft.AppendEntriesRequest) (index, term uint64) {
	if n := len(req.Entries); n > 0 {
		return req.Entries[n-1].Index, req.Entries[n-1].Term
	}
	return req.PrevLogEntry, req.PrevLogTerm
}
