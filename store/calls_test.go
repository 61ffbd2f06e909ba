package store

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum/store/raftwire"
)

// overAll runs a test over every kind of streams.
func overAll(t *testing.T, f func(t *testing.T, kind string)) {
	for _, kind := range []string{"memory", "tls", "link"} {
		t.Run(kind, func(t *testing.T) { f(t, kind) })
	}
}

func TestEveryCallArrivesAndIsAnswered(t *testing.T) {
	head := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("a"), Addr: []byte("a-address")}
	data := someSnapshot(300 << 10)
	overAll(t, func(t *testing.T, kind string) {
		p := newCouple(t, kind)
		for _, c := range []struct {
			request, answer any
			send            func(answer any) error
		}{
			{&raft.AppendEntriesRequest{RPCHeader: head, Term: 1, PrevLogEntry: 2, Entries: []*raft.Log{{Index: 3, Data: []byte("x")}}}, &raft.AppendEntriesResponse{RPCHeader: head, Term: 4, LastLog: 5, Success: true}, nil},
			{&raft.RequestVoteRequest{RPCHeader: head, Term: 6, LeadershipTransfer: true}, &raft.RequestVoteResponse{RPCHeader: head, Term: 7, Granted: true}, nil},
			{&raft.RequestPreVoteRequest{RPCHeader: head, Term: 8}, &raft.RequestPreVoteResponse{RPCHeader: head, Term: 9, Granted: true}, nil},
			{&raft.TimeoutNowRequest{RPCHeader: head}, &raft.TimeoutNowResponse{RPCHeader: head}, nil},
			{&raft.InstallSnapshotRequest{RPCHeader: head, SnapshotVersion: 1, Term: 10, Size: int64(len(data))}, &raft.InstallSnapshotResponse{RPCHeader: head, Term: 11, Success: true}, nil},
			{&raft.InstallSnapshotRequest{RPCHeader: head, Term: 12}, &raft.InstallSnapshotResponse{RPCHeader: head, Term: 13}, nil},
		} {
			failed := make(chan error, 1)
			go func() {
				rpc := <-p.b.Consumer()
				if !reflect.DeepEqual(rpc.Command, c.request) {
					failed <- fmt.Errorf("%+v arrived, sent was %+v", rpc.Command, c.request)
				} else if req, ok := c.request.(*raft.InstallSnapshotRequest); ok {
					got, err := readAll(rpc)
					if err != nil || string(got) != string(data[:req.Size]) {
						err = fmt.Errorf("%d bytes of the snapshot arrived: %w", len(got), err)
					}
					failed <- err
				} else {
					failed <- nil
				}
				rpc.Respond(c.answer, nil)
			}()
			got := reflect.New(reflect.TypeOf(c.answer).Elem()).Interface()
			var err error
			switch req := c.request.(type) {
			case *raft.AppendEntriesRequest:
				err = p.a.AppendEntries("b", "b", req, got.(*raft.AppendEntriesResponse))
			case *raft.RequestVoteRequest:
				err = p.a.RequestVote("b", "b", req, got.(*raft.RequestVoteResponse))
			case *raft.RequestPreVoteRequest:
				err = p.a.RequestPreVote("b", "b", req, got.(*raft.RequestPreVoteResponse))
			case *raft.TimeoutNowRequest:
				err = p.a.TimeoutNow("b", "b", req, got.(*raft.TimeoutNowResponse))
			case *raft.InstallSnapshotRequest:
				err = p.a.InstallSnapshot("b", "b", req, got.(*raft.InstallSnapshotResponse), strings.NewReader(string(data)))
			}
			if err != nil || !reflect.DeepEqual(got, c.answer) {
				t.Errorf("%T was answered %+v, %v; want %+v", c.request, got, err, c.answer)
			}
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
		for class, want := range map[Class]int{Urgent: 1, Control: 1, Bulk: 1} {
			if got := p.streamsOpened(class); got != want {
				t.Errorf("%d streams of class %d were opened, want %d", got, class, want)
			}
		}
	})
}

func TestCallsAtOnceGetTheirOwnAnswers(t *testing.T) {
	overAll(t, func(t *testing.T, kind string) {
		p := newCouple(t, kind)
		const calls = maxAside
		// Answered in the opposite order, when all have arrived.
		var waiting []raft.RPC
		p.answer(func(rpc raft.RPC) {
			if waiting = append(waiting, rpc); len(waiting) < calls {
				return
			}
			for len(waiting) > 0 {
				last := waiting[len(waiting)-1]
				waiting = waiting[:len(waiting)-1]
				last.Respond(&raft.RequestVoteResponse{Term: 1000 + last.Command.(*raft.RequestVoteRequest).Term}, nil)
			}
		})
		var wait sync.WaitGroup
		for i := range uint64(calls) {
			wait.Go(func() {
				var resp raft.RequestVoteResponse
				if err := p.a.RequestVote("b", "b", &raft.RequestVoteRequest{Term: i}, &resp); err != nil || resp.Term != 1000+i {
					t.Errorf("call %d was answered %+v, %v", i, resp, err)
				}
			})
		}
		wait.Wait()
		if got := p.streamsOpened(Urgent); got != 1 {
			t.Errorf("%d streams were opened, want 1", got)
		}
	})
}

func TestAnErrorOfRaftComesBackAsText(t *testing.T) {
	overAll(t, func(t *testing.T, kind string) {
		p := newCouple(t, kind)
		p.answer(func(rpc raft.RPC) { rpc.Respond(nil, errors.New("no such luck")) })
		for range 2 { // it is no error of the stream
			err := p.a.RequestVote("b", "b", &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{})
			if err == nil || !strings.Contains(err.Error(), "filer b: no such luck") {
				t.Errorf("%v", err)
			}
		}
		if got := p.streamsOpened(Urgent); got != 1 {
			t.Errorf("%d streams were opened, want 1", got)
		}
	})
}

// TestHeartbeatsWaitForNothing: a follower whose raft hangs, in the middle of an
// append and with a vote asked of it, still answers heartbeats.
func TestHeartbeatsWaitForNothing(t *testing.T) {
	overAll(t, func(t *testing.T, kind string) {
		p := newCouple(t, kind)
		p.b.SetHeartbeatHandler(func(rpc raft.RPC) { rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil) })
		var wait sync.WaitGroup
		defer wait.Wait()
		defer p.a.Close()
		wait.Go(func() { p.a.AppendEntries("b", "b", entriesRequest(), &raft.AppendEntriesResponse{}) })
		<-p.b.Consumer() // and nothing more is taken
		wait.Go(func() { p.a.RequestVote("b", "b", &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{}) })
		urgent := p.a.peer("b").urgent
		await(t, "the vote to be asked for", func() bool {
			s, _ := urgent.current()
			if s == nil {
				return false
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.waiting) == 1 && s.waiting[s.last].sent
		})
		var resp raft.AppendEntriesResponse
		if err := p.a.AppendEntries("b", "b", heartbeatRequest(), &resp); err != nil || !resp.Success {
			t.Errorf("%+v, %v", resp, err)
		}
	})
}

func TestASilentPeerCostsAHeartbeatItsTimeAndNoMore(t *testing.T) {
	overAll(t, func(t *testing.T, kind string) {
		p := newCouple(t, kind)
		p.wrapStreams(func(_ Class, c net.Conn) net.Conn { return newDeafStream(c) })
		done := make(chan error, 1)
		go func() { done <- p.a.AppendEntries("b", "b", entriesRequest(), &raft.AppendEntriesResponse{}) }()
		await(t, "the append to be sent", func() bool { return p.streamsOpened(Control) == 1 })
		start := time.Now()
		err := p.a.AppendEntries("b", "b", heartbeatRequest(), &raft.AppendEntriesResponse{})
		if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took < 2*coupleHeartbeat || took > 4*coupleHeartbeat {
			t.Errorf("it took %v: %v", took, err)
		}
		// The append was broken off with it and waits for a sign of life; the next
		// heartbeat finds a new stream.
		p.answer(func(rpc raft.RPC) { rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil) })
		p.wrapStreams(nil)
		if err := p.a.AppendEntries("b", "b", heartbeatRequest(), &raft.AppendEntriesResponse{}); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("append: %v", err)
		}
	})
}

// TestACallThatRaftDoesNotAnswerEndsAlone: as long as others are answered, the stream
// is good.
func TestACallThatRaftDoesNotAnswerEndsAlone(t *testing.T) {
	overAll(t, func(t *testing.T, kind string) {
		p := newCouple(t, kind)
		stop := p.beat(coupleHeartbeat / 10)
		err := p.a.RequestVote("b", "b", &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{})
		if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "filer b has not answered") {
			t.Errorf("vote: %v", err)
		}
		stop()
		if got := p.streamsOpened(Urgent); got != 1 {
			t.Errorf("%d streams were opened, want 1", got)
		}
	})
}

func TestAStreamThatIsCutIsOpenedAgain(t *testing.T) {
	overAll(t, func(t *testing.T, kind string) {
		for _, after := range []int64{0, 3, 20, 70} {
			p := newCouple(t, kind)
			p.answer(func(rpc raft.RPC) { rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil) })
			p.wrapStreams(func(_ Class, c net.Conn) net.Conn {
				cut := &cutStream{Conn: c}
				cut.left.Store(after)
				return cut
			})
			req := entriesRequest()
			req.Entries[0].Data = make([]byte, 100)
			done := make(chan error, 1)
			go func() { done <- p.a.AppendEntries("b", "b", req, &raft.AppendEntriesResponse{}) }()
			peer := p.a.peer("b")
			await(t, "the append to wait for a sign of life", func() bool {
				peer.mu.Lock()
				defer peer.mu.Unlock()
				return peer.sign != nil
			})
			p.wrapStreams(nil)
			if err := p.a.AppendEntries("b", "b", heartbeatRequest(), &raft.AppendEntriesResponse{}); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Errorf("cut after %d bytes: %v", after, err)
			}
			await(t, "b to be told that a stream ended", func() bool { return p.ended["b"].Load() > 0 })
		}
	})
}

func TestManyEntriesGoInSeveralCalls(t *testing.T) {
	p := newCouple(t, "memory")
	var arrived []uint64
	p.answer(func(rpc raft.RPC) {
		size := 0
		for _, e := range rpc.Command.(*raft.AppendEntriesRequest).Entries {
			arrived = append(arrived, e.Index)
			size += len(e.Data)
		}
		if size > maxAppend {
			t.Errorf("%d bytes arrived at once", size)
		}
		rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
	})
	var entries []*raft.Log
	for i := range uint64(10) {
		entries = append(entries, &raft.Log{Index: i, Data: make([]byte, 300<<10)})
	}
	for calls := 0; len(entries) > 0; calls++ {
		req := &raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 1, Entries: entries}
		if err := p.a.AppendEntries("b", "b", req, &raft.AppendEntriesResponse{}); err != nil {
			t.Fatal(err)
		}
		if len(req.Entries) == 0 || len(req.Entries) > 3 {
			t.Fatalf("%d entries were sent", len(req.Entries))
		}
		entries = entries[len(req.Entries):]
	}
	if len(arrived) != 10 {
		t.Errorf("entries %v arrived", arrived)
	}
	// One that is larger by itself goes alone.
	req := &raft.AppendEntriesRequest{Term: 1, Entries: []*raft.Log{{Data: make([]byte, 2*maxAppend)}, {Data: []byte("x")}}}
	if n := fitting(req.Entries); n != 1 {
		t.Errorf("%d entries fit", n)
	}
}

func TestWhoSpeaksAnotherVersionIsTold(t *testing.T) {
	overAll(t, func(t *testing.T, kind string) {
		p := newCouple(t, kind)
		// One of our calls, behind another preamble.
		p.wrapStreams(func(_ Class, c net.Conn) net.Conn { return &preambleStream{Conn: c, version: 3} })
		err := p.a.RequestVote("b", "b", &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{})
		if err == nil || !strings.Contains(err.Error(), "filer b: it refuses the stream: another version of the raft protocol: the peer speaks version 3, this filer speaks version 2") {
			t.Errorf("%v", err)
		}
	})
}

// A preambleStream changes the version in the first thing that is written.
type preambleStream struct {
	net.Conn
	version byte
	changed bool
}

func (c *preambleStream) Write(b []byte) (int, error) {
	if !c.changed {
		b = slices.Clone(b)
		b[len(raftwire.Preamble)-1], c.changed = c.version, true
	}
	return c.Conn.Write(b)
}

func TestWhyAStreamCannotBeOpenedIsPassedOn(t *testing.T) {
	p := newCouple(t, "memory")
	err := p.a.RequestVote("c", "c", &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{})
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v, want ECONNREFUSED", err)
	}
}

func TestTooManyCallsAreRefusedAndHeartbeatsAreNot(t *testing.T) {
	p := newCouple(t, "memory")
	p.b.SetHeartbeatHandler(func(rpc raft.RPC) { rpc.Respond(&raft.AppendEntriesResponse{}, nil) })
	results := make(chan error, maxAside+1)
	for range maxAside + 1 {
		go func() {
			results <- p.a.RequestVote("b", "b", &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{})
		}()
	}
	if err := <-results; err == nil || !strings.Contains(err.Error(), "too many calls") {
		t.Errorf("%v", err)
	}
	if err := p.a.AppendEntries("b", "b", heartbeatRequest(), &raft.AppendEntriesResponse{}); err != nil {
		t.Error(err)
	}
	p.a.Close()
	for range maxAside {
		<-results
	}
}

func TestCloseEndsEveryCallAndGoroutine(t *testing.T) {
	overAll(t, func(t *testing.T, kind string) {
		before := runtime.NumGoroutine()
		t.Run("with calls under way", func(t *testing.T) {
			p := newCouple(t, kind)
			results := make(chan error)
			for _, call := range []func() error{
				func() error {
					return p.a.RequestVote("b", "b", &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{})
				},
				func() error { return p.a.AppendEntries("b", "b", entriesRequest(), &raft.AppendEntriesResponse{}) },
				func() error {
					return p.a.InstallSnapshot("b", "b", &raft.InstallSnapshotRequest{Size: 1 << 30}, &raft.InstallSnapshotResponse{}, io.LimitReader(zeros{}, 1<<30))
				},
				func() error { return p.a.TimeoutNow("c", "c", &raft.TimeoutNowRequest{}, &raft.TimeoutNowResponse{}) },
			} {
				go func() { results <- call() }()
			}
			if err := <-results; !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("the one to nowhere: %v", err)
			}
			await(t, "all streams to be open", func() bool { return p.streamsOpened(Bulk) == 1 && p.streamsOpened(Control) == 1 })
			p.a.Close()
			p.a.Close()
			for range 3 {
				if err := <-results; err == nil {
					t.Error("a call succeeded")
				}
			}
			p.a.wait()
			if err := p.a.RequestVote("b", "b", &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{}); err == nil {
				t.Error("a call after the end succeeded")
			}
		})
		await(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestADiskThatFailsUnderAHeartbeatEndsTheStream: see diskLog.SetUint64.
func TestADiskThatFailsUnderAHeartbeatEndsTheStream(t *testing.T) {
	p := newCouple(t, "memory")
	p.b.SetHeartbeatHandler(func(raft.RPC) {
		p.b.Close() // as Store.diskFailed does
		runtime.Goexit()
	})
	if err := p.a.AppendEntries("b", "b", heartbeatRequest(), &raft.AppendEntriesResponse{}); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
	p.b.wait()
}

func TestPeersAreTheirAddresses(t *testing.T) {
	p := newCouple(t, "memory")
	if got := p.a.DecodePeer(p.a.EncodePeer("some-id", "filer-1")); got != "filer-1" {
		t.Errorf("%q", got)
	}
	if got := p.a.LocalAddr(); got != "a" {
		t.Errorf("%q", got)
	}
	if _, err := p.a.AppendEntriesPipeline("b", "b"); err != raft.ErrPipelineReplicationNotSupported {
		t.Errorf("%v", err)
	}
}
