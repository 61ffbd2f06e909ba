package store

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum/store/raftwire"
)

// A told is a teller with a leader and a follower that are played.
type told struct {
	*teller
	mu        sync.Mutex
	index     uint64 // that is committed
	term      uint64 // that this filer leads; 0 for none
	sent      []raft.AppendEntriesRequest
	unreached bool
	answers   chan struct{} // when not nil, an answer waits for an item of it
}

func newTold() *told {
	p := &told{term: 3}
	p.teller = &teller{after: 5 * time.Millisecond}
	p.committed = func(term uint64) (uint64, bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.index, term == p.term
	}
	p.send = func(req *raft.AppendEntriesRequest) {
		go func() {
			p.mu.Lock()
			p.sent = append(p.sent, *req)
			answers, unreached := p.answers, p.unreached
			p.mu.Unlock()
			if answers != nil {
				<-answers
			}
			if unreached {
				p.teller.sent(errors.New("not reached"))
				return
			}
			p.acknowledged(req)
			p.teller.sent(nil)
		}()
	}
	return p
}

func (p *told) set(f func()) { p.mu.Lock(); defer p.mu.Unlock(); f() }

// says checks what was sent after a time: the committed indices, in order.
func (p *told) says(t *testing.T, after time.Duration, want ...uint64) {
	t.Helper()
	time.Sleep(after) // of the bubble
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	got := []uint64{}
	for _, r := range p.sent {
		got = append(got, r.LeaderCommitIndex)
		if len(r.Entries) > 0 || isHeartbeat(&r) || r.LeaderCommitIndex > r.PrevLogEntry {
			t.Errorf("it sent %+v", r)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(append([]uint64{}, want...)) {
		t.Errorf("it told %v, want %v", got, want)
	}
}

// appended is a request that brings entries up to one.
func appended(last, committed uint64) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{Term: 3, PrevLogEntry: last - 1, PrevLogTerm: 3, LeaderCommitIndex: committed,
		Entries: []*raft.Log{{Index: last, Term: 3}}}
}

func TestAFollowerIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTold()
		p.set(func() { p.index = 7 })
		p.acknowledged(appended(7, 6))
		p.says(t, 4*time.Millisecond)
		p.says(t, 2*time.Millisecond, 7)
		p.says(t, time.Hour, 7)
	})
}

func TestAFollowerIsNotToldWhatEntriesTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTold()
		for i := range uint64(100) {
			p.set(func() { p.index = 7 + i })
			p.acknowledged(appended(7+i, 6+i))
			p.says(t, 4*time.Millisecond)
		}
		p.acknowledged(&raft.AppendEntriesRequest{Term: 3, PrevLogEntry: 106, PrevLogTerm: 3, LeaderCommitIndex: 106})
		p.says(t, time.Hour)
	})
}

func TestAFollowerIsToldWhenAQuorumHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTold()
		p.set(func() { p.index = 5 })
		p.acknowledged(appended(7, 5))
		p.says(t, time.Second)
		p.set(func() { p.index = 6 })
		p.says(t, 6*time.Millisecond, 6)
		p.set(func() { p.index = 9 })       // which others have
		p.says(t, 6*time.Millisecond, 6, 7) // this one has 7
		p.acknowledged(appended(6, 6))      // was overtaken
		p.says(t, 6*time.Millisecond, 6, 7) // and is no news
		p.acknowledged(appended(9, 7))      //
		p.says(t, 20*time.Second, 6, 7, 9)  //
		p.acknowledged(appended(10, 9))     // nobody else has it
		p.says(t, 20*time.Second, 6, 7, 9)  //
		p.set(func() { p.term = 0 })        // and this filer leads no more
		p.says(t, 6*time.Millisecond, 6, 7, 9)
		p.set(func() { p.index, p.term = 12, 4 }) // or again, with other entries
		p.says(t, time.Hour, 6, 7, 9)
		p.acknowledged(appended(10, 9)) // a late answer
		p.says(t, time.Hour, 6, 7, 9)
	})
}

func TestAFollowerThatIsNotReachedIsLeftToTheLibrary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTold()
		p.set(func() { p.index, p.unreached, p.answers = 7, true, make(chan struct{}) })
		p.acknowledged(appended(7, 6))
		p.says(t, time.Minute, 7) // one at a time
		p.acknowledged(appended(8, 6))
		p.says(t, time.Minute, 7)
		close(p.answers)
		p.says(t, time.Minute, 7)
		p.set(func() { p.index, p.unreached = 8, false })
		p.acknowledged(appended(8, 6)) // it is back
		p.says(t, time.Minute, 7, 8)
	})
}

// A counted stream counts the appends that are no heartbeats.
type counted struct {
	net.Conn
	appends  *atomic.Int32
	preamble int
	splitter raftwire.Splitter
}

func (c *counted) Write(b []byte) (int, error) {
	p := b
	if n := min(len(raftwire.Preamble)-c.preamble, len(p)); n > 0 {
		c.preamble += n
		p = p[n:]
	}
	_ = c.splitter.Feed(p, func(h raftwire.Header, payload []byte) error {
		var r raft.AppendEntriesRequest
		if h.Kind == raftwire.Append && raftwire.Decode(payload, &r) == nil && !isHeartbeat(&r) {
			c.appends.Add(1)
		}
		return nil
	})
	return c.Conn.Write(b)
}

// slowRepeat makes the library's own empty appends rare.
var slowRepeat = Timing{Heartbeat: 2 * time.Second, Election: 2 * time.Second, Lease: time.Second, Commit: 5 * time.Millisecond}

func TestAnIdleLeaderIsSilentAndItsFollowersAreNotLate(t *testing.T) {
	l := newLab(t, 3, func(o *Options) { o.Timing = slowRepeat })
	var appends atomic.Int32
	l.net.mu.Lock()
	l.net.wrap = func(c net.Conn) net.Conn { return &counted{Conn: c, appends: &appends} }
	l.net.mu.Unlock()
	l.form()
	leader := l.leader()
	// Without tellers every attempt takes as long as the library's empty appends are
	// apart.
	fastest := slowRepeat.Heartbeat
	for i := range 10 {
		r := l.propose(leader, put(record("r", fmt.Sprint(i))))
		start := time.Now()
		for _, f := range l.followers() {
			if err := f.Wait(l.context(), r.Revision); err != nil {
				t.Fatal(err)
			}
		}
		fastest = min(fastest, time.Since(start))
	}
	if fastest >= slowRepeat.Heartbeat/8 {
		t.Errorf("followers learned of a commit after %v", fastest)
	}
	tr := leader.node.Load().transport
	l.wait("the followers to know all", func() bool {
		for _, f := range l.followers() {
			known := &tr.peer(serverAddress(f.id)).teller.known
			tr.peer(serverAddress(f.id)).teller.mu.Lock()
			all := known.LeaderCommitIndex == leader.node.Load().raft.LastIndex()
			tr.peer(serverAddress(f.id)).teller.mu.Unlock()
			if !all {
				return false
			}
		}
		return true
	})
	appends.Store(0)
	<-time.After(slowRepeat.Heartbeat / 2)
	// Each peer is sent one every one or two seconds; every 5 to 10 ms before.
	if n := appends.Load(); n > 8 {
		t.Errorf("%d appends in %v without anything to say", n, slowRepeat.Heartbeat/2)
	}
}

func TestNoMoreIsCalledCommittedThanARequestShows(t *testing.T) {
	w := newWires()
	a, b := bareTransport(t, w, "a"), bareTransport(t, w, "b")
	got := make(chan uint64, 1)
	go func() {
		rpc := <-b.Consumer()
		got <- rpc.Command.(*raft.AppendEntriesRequest).LeaderCommitIndex
		rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
	}()
	req := entriesRequest()
	req.LeaderCommitIndex = 9
	if err := a.AppendEntries("b", "b", req, &raft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
	if n := <-got; n != 2 {
		t.Errorf("entry %d is called committed to a filer that is known to have entry 2", n)
	}
}
