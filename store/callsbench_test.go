package store

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// BenchmarkAppend is one call with one entry over TLS, answered at once: by the
// library's transport and by ours.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{256, 16 << 10, 256 << 10} {
		req := &raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("filer-1"), Addr: []byte("filer-1")},
			Term:      3, PrevLogEntry: 70000, PrevLogTerm: 3, LeaderCommitIndex: 69999,
			Entries: []*raft.Log{{Index: 70001, Term: 3, Data: make([]byte, size), AppendedAt: time.Now()}},
		}
		run := func(b *testing.B, from, to raft.Transport) {
			stop := make(chan struct{})
			b.Cleanup(func() { close(stop) })
			go func() {
				for {
					select {
					case rpc := <-to.Consumer():
						rpc.Respond(&raft.AppendEntriesResponse{RPCHeader: req.RPCHeader, Term: 3, LastLog: 70001, Success: true}, nil)
					case <-stop:
						return
					}
				}
			}()
			b.ReportAllocs()
			for b.Loop() {
				if err := from.AppendEntries("b", "b", req, &raft.AppendEntriesResponse{}); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.Run(fmt.Sprintf("library/%d", size), func(b *testing.B) {
			p := &libraryStreams{dial: tlsDialer(b), accepted: make(chan net.Conn), closed: make(chan struct{})}
			logger := hclog.New(&hclog.LoggerOptions{Output: io.Discard})
			from := raft.NewNetworkTransportWithLogger(p, 3, 5*time.Second, logger)
			b.Cleanup(func() { from.Close() })
			run(b, from, from)
		})
		for _, kind := range []string{"tls", "link"} {
			b.Run(fmt.Sprintf("ours-%s/%d", kind, size), func(b *testing.B) {
				p := newCouple(b, kind)
				run(b, p.a, p.b)
			})
		}
	}
}

// libraryStreams lead a transport of the library to itself.
type libraryStreams struct {
	dial     dialer
	accepted chan net.Conn
	closed   chan struct{}
}

func (s *libraryStreams) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) {
	here, there, err := s.dial(Control)
	if err == nil {
		s.accepted <- there
	}
	return here, err
}

func (s *libraryStreams) Accept() (net.Conn, error) {
	select {
	case c := <-s.accepted:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *libraryStreams) Close() error   { close(s.closed); return nil }
func (s *libraryStreams) Addr() net.Addr { return filerAddress("b") }

type filerAddress string

func (filerAddress) Network() string  { return "test" }
func (a filerAddress) String() string { return string(a) }
