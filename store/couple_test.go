package store

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/calls"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/link/linktest"
)

// A couple is two transports, "a" and "b", and the streams between them. Each is raft's
// side of a filer without a store.
type couple struct {
	t     testing.TB
	a, b  *transport
	dial  dialer
	ended map[netquorum.FilerID]*atomic.Int32 // how often each was told that a stream ended

	mu      sync.Mutex
	wrap    func(class Class, c net.Conn) net.Conn // put around the end of a stream that opened it
	refused error                                  // of every stream that is opened
	opened  map[Class]int
	silence func() // ends the heartbeats
	nodes   map[netquorum.FilerID]*coupleNode
}

// coupleNode is one filer's Network.
type coupleNode struct {
	couple   *couple
	id       netquorum.FilerID
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once
	acceptor *acceptor
}

// A dialer makes both ends of a stream.
type dialer func(Class) (here, there net.Conn, err error)

// dialers are the kinds of streams that every test of calls runs over.
var dialers = map[string]func(testing.TB) dialer{
	"memory": func(testing.TB) dialer {
		return func(Class) (here, there net.Conn, err error) {
			here, there = net.Pipe()
			return here, there, nil
		}
	},
	"tls":  tlsDialer,
	"link": linkDialer,
}

// linkDialer makes streams over one link of two paths.
func linkDialer(t testing.TB) dialer {
	p := linktest.NewPair(t, linktest.Mem, 2)
	return func(class Class) (here, there net.Conn, err error) {
		as := map[Class]link.Class{Urgent: link.Urgent, Control: link.Control, Bulk: link.Bulk}[class]
		here, err = p.A.Open(t.Context(), linktest.Hand, as)
		if err != nil {
			return nil, nil, err
		}
		return here, <-p.Accepted, nil
	}
}

func newCouple(t testing.TB, kind string, adjust ...func(*transport)) *couple {
	p := &couple{t: t, silence: func() {}, dial: dialers[kind](t), opened: map[Class]int{}, nodes: map[netquorum.FilerID]*coupleNode{}, ended: map[netquorum.FilerID]*atomic.Int32{}}
	p.a, p.b = p.node("a", adjust), p.node("b", adjust)
	return p
}

// coupleHeartbeat leaves room for a machine that is busy with other tests.
const coupleHeartbeat = 400 * time.Millisecond

func (p *couple) node(id netquorum.FilerID, adjust []func(*transport)) *transport {
	n := &coupleNode{couple: p, id: id, incoming: make(chan net.Conn, 16), closed: make(chan struct{})}
	p.nodes[id] = n
	n.acceptor = newAcceptor(n)
	s := &Store{o: Options{ID: id, Network: n, Timing: Timing{Heartbeat: coupleHeartbeat}, Log: slog.New(slog.DiscardHandler)},
		logs: newEarlyLog(raft.NewInmemStore()), acceptor: n.acceptor}
	tr := newTransport(s)
	count := new(atomic.Int32)
	p.ended[id] = count
	tr.mu.Lock() // against serve, which runs for every stream
	tr.ended = func() { count.Add(1) }
	for _, a := range adjust {
		a(tr)
	}
	tr.mu.Unlock()
	p.t.Cleanup(func() {
		tr.Close()
		n.acceptor.Close()
		tr.wait()
	})
	return tr
}

func (n *coupleNode) Raft() net.Listener { return n }

func (n *coupleNode) Accept() (net.Conn, error) {
	select {
	case c := <-n.incoming:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *coupleNode) Close() error   { n.once.Do(func() { close(n.closed) }); return nil }
func (n *coupleNode) Addr() net.Addr { return &net.UnixAddr{Name: string(n.id)} }

func (n *coupleNode) OpenRaft(ctx context.Context, to netquorum.FilerID, class Class) (net.Conn, error) {
	p := n.couple
	p.mu.Lock()
	peer, refused, wrap := p.nodes[to], p.refused, p.wrap
	p.opened[class]++
	p.mu.Unlock()
	if refused != nil {
		return nil, refused
	}
	if peer == nil {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	here, there, err := p.dial(class)
	if err != nil {
		return nil, err
	}
	select {
	case peer.incoming <- there:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if wrap != nil {
		here = wrap(class, here)
	}
	return here, nil
}

func (n *coupleNode) Call(context.Context, netquorum.FilerID, calls.Request) (calls.Answer, error) {
	return calls.Answer{}, errors.New("not here")
}

// wrapStreams has f put around the streams that are opened from now on.
func (p *couple) wrapStreams(f func(class Class, c net.Conn) net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrap = f
}

func (p *couple) streamsOpened(class Class) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened[class]
}

// answer handles the calls that arrive at b's raft until the test is over.
func (p *couple) answer(f func(raft.RPC)) {
	stop, done := make(chan struct{}), make(chan struct{})
	p.t.Cleanup(func() { close(stop); p.silence(); p.b.Close(); <-done })
	go func() {
		defer close(done)
		for {
			select {
			case rpc := <-p.b.Consumer():
				f(rpc)
			case <-stop:
				return
			}
		}
	}()
}

// A pulse is how heartbeats fare.
type pulse struct {
	took   []time.Duration // of those that were answered
	failed error           // of the last one that was not
}

// beat sends heartbeats to b, as a leader's raft does, until it is stopped or the test
// is over.
func (p *couple) beat(every time.Duration) (stop func() pulse) {
	p.b.SetHeartbeatHandler(func(rpc raft.RPC) { rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil) })
	quit, done := make(chan struct{}), make(chan struct{})
	var seen pulse
	stop = sync.OnceValue(func() pulse { close(quit); <-done; return seen })
	p.silence = func() { stop() }
	p.t.Cleanup(p.silence)
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				start := time.Now()
				if err := p.a.AppendEntries("b", "b", heartbeatRequest(), &raft.AppendEntriesResponse{}); err != nil {
					seen.failed = err
				} else {
					seen.took = append(seen.took, time.Since(start))
				}
			case <-quit:
				return
			}
		}
	}()
	return stop
}

// tlsDialer makes streams over TLS 1.3 and TCP.
func tlsDialer(t testing.TB) dialer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"b"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(cert)
	serving := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13}
	calling := &tls.Config{RootCAs: roots, ServerName: "b", MinVersion: tls.VersionTLS13}
	l := listen()
	t.Cleanup(func() { l.Close() })
	return func(Class) (here, there net.Conn, err error) {
		plain, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return nil, nil, err
		}
		accepted, err := l.Accept()
		if err != nil {
			return nil, nil, err
		}
		return tls.Client(plain, calling), tls.Server(accepted, serving), nil
	}
}

// A cutStream takes so many bytes, which arrive, and then ends.
type cutStream struct {
	net.Conn
	left atomic.Int64
}

func (c *cutStream) Write(b []byte) (int, error) {
	if left := c.left.Add(-int64(len(b))); left < 0 {
		n, _ := c.Conn.Write(b[:max(int64(len(b))+left, 0)])
		c.Conn.Close()
		return n, io.ErrClosedPipe
	}
	return c.Conn.Write(b)
}

// A slowStream carries so many bytes a second, until it is stopped.
type slowStream struct {
	net.Conn
	perSecond int
	stopped   <-chan struct{}
	closed    chan struct{}
	once      sync.Once
}

func (c *slowStream) Write(b []byte) (n int, err error) {
	const piece = 256
	for len(b) > 0 {
		select {
		case <-time.After(piece * time.Second / time.Duration(c.perSecond)):
		case <-c.closed:
			return n, net.ErrClosed
		}
		select {
		case <-c.stopped:
			<-c.closed
			return n, net.ErrClosed
		default:
		}
		m, err := c.Conn.Write(b[:min(len(b), piece)])
		n, b = n+m, b[m:]
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (c *slowStream) Close() error { c.once.Do(func() { close(c.closed) }); return c.Conn.Close() }

// A deafStream takes what is written and delivers nothing.
type deafStream struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func newDeafStream(c net.Conn) *deafStream { return &deafStream{Conn: c, closed: make(chan struct{})} }

func (c *deafStream) Write(b []byte) (int, error) { return len(b), nil }
func (c *deafStream) Read([]byte) (int, error)    { <-c.closed; return 0, net.ErrClosed }
func (c *deafStream) Close() error                { c.once.Do(func() { close(c.closed) }); return c.Conn.Close() }

// someSnapshot is data that differs from place to place.
func someSnapshot(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// readAll is what raft does with a snapshot, errors included.
func readAll(rpc raft.RPC) ([]byte, error) {
	var got bytes.Buffer
	_, err := io.Copy(&got, rpc.Reader)
	_, _ = io.Copy(io.Discard, rpc.Reader)
	return got.Bytes(), err
}
