package transporttest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A Relay passes TCP connections on to a target, and fails on demand. A frozen
// one loses nothing and answers nothing, like a cable that was pulled: both ends
// still believe in their connections.
type Relay struct {
	Addr   string
	target string

	ln net.Listener
	wg sync.WaitGroup

	mu     sync.Mutex
	way    Way
	thawed chan struct{} // closed while the relay passes data
	closed chan struct{}
	conns  map[net.Conn]bool
}

// NewRelay starts a relay to the target. It ends with the test.
func NewRelay(t testing.TB, target string) *Relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{
		Addr: ln.Addr().String(), target: target, ln: ln,
		thawed: make(chan struct{}), closed: make(chan struct{}), conns: map[net.Conn]bool{},
	}
	close(r.thawed)
	r.wg.Go(r.accept)
	t.Cleanup(r.Close)
	return r
}

// Freeze stops all data, in both directions, on old and new connections.
func (r *Relay) Freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.thawed:
		r.thawed = make(chan struct{})
	default:
	}
}

// Thaw undoes Freeze.
func (r *Relay) Thaw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.thawed:
	default:
		close(r.thawed)
	}
}

// Cut closes every connection.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.Close()
	}
}

// Close ends the relay.
func (r *Relay) Close() {
	select {
	case <-r.closed:
		return
	default:
	}
	close(r.closed)
	r.ln.Close()
	r.Cut()
	r.wg.Wait()
}

func (r *Relay) accept() {
	for {
		in, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() { r.serve(in) })
	}
}

func (r *Relay) serve(in net.Conn) {
	defer r.enter(in)()
	if !r.wait() {
		return
	}
	out, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	defer r.enter(out)()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.pump(in, out)
	}()
	r.pump(out, in)
	<-done
}

// enter books the connection; what it returns closes it.
func (r *Relay) enter(c net.Conn) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.closed:
		c.Close()
	default:
	}
	r.conns[c] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.conns, c)
		c.Close()
	}
}

// pump copies until either side ends, then closes both.
func (r *Relay) pump(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	r.mu.Lock()
	way := r.way
	r.mu.Unlock()
	if way != (Way{}) {
		r.carry(to, from, way)
		return
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !r.wait() {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err == io.EOF {
				r.wait() // an end must not overtake a freeze either
			}
			return
		}
	}
}

// wait returns when data may pass; false when the relay has ended.
func (r *Relay) wait() bool {
	r.mu.Lock()
	thawed := r.thawed
	r.mu.Unlock()
	select {
	case <-thawed:
		return true
	case <-r.closed:
		return false
	}
}
