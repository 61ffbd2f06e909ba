package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/netquorum/netquorum"
)

var (
	// ErrNotInCluster means that this filer has no identity to call others with.
	ErrNotInCluster = errors.New("this filer is in no cluster yet")
	// ErrNoEndpoints means that nobody knows where the filer may be reached.
	ErrNoEndpoints = errors.New("no address of the filer is known")
	// ErrNotServed means that the peer does not offer the service: it runs
	// another version, is still starting, or is in no cluster.
	ErrNotServed = errors.New("the peer does not offer the service (yet), or is in no cluster")
)

// A DialError lists what was tried in vain to reach a filer. errors.Is and
// errors.As look into every attempt. It comes inside a *net.OpError whose Op is
// "dial", which tells callers that nothing was sent.
type DialError struct {
	Attempts []AttemptError
	Err      error // what ended the trying before the candidates did, if anything
}

// An AttemptError is the outcome at one candidate.
type AttemptError struct {
	Endpoint string
	Err      error
}

func (e AttemptError) Unwrap() error { return e.Err }

func (e AttemptError) Error() string {
	err := e.Err
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		err = op.Err // its own text would name the address once more
	}
	return e.Endpoint + ": " + err.Error()
}

func (e *DialError) Error() string {
	parts := []string{}
	for _, a := range e.Attempts {
		parts = append(parts, a.Error())
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, "; ")
}

func (e *DialError) Unwrap() []error {
	out := make([]error, 0, len(e.Attempts)+1)
	for _, a := range e.Attempts {
		out = append(out, a)
	}
	if e.Err != nil {
		out = append(out, e.Err)
	}
	return out
}

// Timeout is what the surrounding net.OpError asks for.
func (e *DialError) Timeout() bool { return errors.Is(e, context.DeadlineExceeded) }

// A filerAddr names a filer where package net wants an address.
type filerAddr netquorum.FilerID

func (filerAddr) Network() string  { return "tcp" }
func (a filerAddr) String() string { return string(a) }

// notSent wraps an error before which nothing was sent to the filer.
func notSent(id netquorum.FilerID, s Service, err error) error {
	return &net.OpError{Op: "dial", Net: string(s), Addr: filerAddr(id), Err: err}
}

// Dial connects to a service of a filer. It tries the filer's endpoints one
// beside the other, a moment apart, the last one that worked first, and returns
// the first connection on which exactly this filer of this cluster answered.
//
// A peer that refuses our certificate can say so only after the handshake, in
// TLS 1.3: its alert is the error of the first Read.
func (e *Endpoint) Dial(ctx context.Context, id netquorum.FilerID, s Service) (net.Conn, error) {
	conn, err := e.dialer.dial(ctx, id, s)
	if err != nil {
		return nil, err // not a nil *tls.Conn in a net.Conn
	}
	return conn, nil
}

// A dialer remembers where each filer answered last.
type dialer struct {
	endpoint *Endpoint
	mu       sync.Mutex
	good     map[netquorum.FilerID]string
}

func newDialer(e *Endpoint) *dialer {
	return &dialer{endpoint: e, good: map[netquorum.FilerID]string{}}
}

func (d *dialer) drop(which func(netquorum.FilerID) bool) {
	d.mu.Lock()
	ids := make([]netquorum.FilerID, 0, len(d.good))
	for id := range d.good {
		ids = append(ids, id)
	}
	d.mu.Unlock()
	for _, id := range ids { // which is the caller's code: not under our lock
		if which(id) {
			d.note(id, "")
		}
	}
}

// note remembers where the filer answered, or forgets it.
func (d *dialer) note(id netquorum.FilerID, address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if address == "" {
		delete(d.good, id)
		return
	}
	d.good[id] = address
}

// candidates returns the filer's endpoints, each once, the last good one first.
func (d *dialer) candidates(id netquorum.FilerID) []string {
	d.mu.Lock()
	good := d.good[id]
	d.mu.Unlock()
	out := []string{}
	for _, address := range d.endpoint.cfg.Resolver.Endpoints(id) {
		if address = WithPort(address); !slices.Contains(out, address) {
			out = append(out, address)
		}
	}
	if i := slices.Index(out, good); i > 0 {
		out = slices.Insert(slices.Delete(out, i, i+1), 0, good)
	}
	return out
}

// WithPort adds the default port to an address or name that has none.
func WithPort(address string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), DefaultPort)
}

type outcome struct {
	address string
	conn    *tls.Conn
	err     error
}

func (d *dialer) dial(ctx context.Context, id netquorum.FilerID, s Service) (*tls.Conn, error) {
	e := d.endpoint
	e.count.dials.Add(1)
	conn, err := d.race(ctx, id, s)
	if err != nil {
		e.count.dialsFailed.Add(1)
		return nil, notSent(id, s, err)
	}
	return conn, nil
}

func (d *dialer) race(ctx context.Context, id netquorum.FilerID, s Service) (*tls.Conn, error) {
	e := d.endpoint
	failed := &DialError{}
	identity := e.cfg.Identity()
	candidates := d.candidates(id)
	switch {
	case e.ctx.Err() != nil:
		failed.Err = net.ErrClosed
	case identity == nil:
		failed.Err = ErrNotInCluster
	case !e.allowed(id):
		failed.Err = &PeerError{Reason: NotAllowed, Filer: id}
	case len(candidates) == 0:
		failed.Err = ErrNoEndpoints
	}
	if failed.Err != nil {
		return nil, failed
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()

	config := e.dialConfig(identity, id, s)
	results := make(chan outcome)
	running, next := 0, 0
	start := func() {
		address := candidates[next]
		next, running = next+1, running+1
		go func() { results <- d.attempt(ctx, address, id, config) }()
	}
	// Losers end at once when ctx does, and are waited for: a connection that
	// was made in the same instant must be closed.
	finish := func() {
		cancel()
		for ; running > 0; running-- {
			if r := <-results; r.conn != nil {
				closeNow(r.conn)
			}
		}
	}
	start()
	stagger := time.NewTicker(e.cfg.Stagger)
	defer stagger.Stop()
	for {
		select {
		case <-stagger.C:
			if next < len(candidates) {
				start()
			}
		case r := <-results:
			running--
			if r.err == nil {
				finish()
				d.note(id, r.address)
				return r.conn, nil
			}
			failed.Attempts = append(failed.Attempts, AttemptError{r.address, r.err})
			if next < len(candidates) {
				start()
			} else if running == 0 {
				return nil, failed
			}
		case <-ctx.Done():
			finish()
			failed.Err = context.Cause(ctx)
			if e.ctx.Err() != nil {
				failed.Err = net.ErrClosed
			}
			return nil, failed
		}
	}
}

// attempt connects to one candidate and checks who answers.
func (d *dialer) attempt(ctx context.Context, address string, id netquorum.FilerID, config *tls.Config) outcome {
	e := d.endpoint
	e.count.attempts.Add(1)
	ctx, cancel := context.WithTimeout(ctx, e.cfg.AttemptTimeout)
	defer cancel()
	plain, err := e.cfg.DialContext(ctx, "tcp", address)
	if err != nil {
		return outcome{address: address, err: err}
	}
	raw := &trackedConn{Conn: plain, endpoint: e}
	conn := tls.Client(raw, config)
	if err = conn.HandshakeContext(ctx); err == nil {
		err = e.remember(raw, id)
	}
	if err != nil {
		raw.Close()
		var peer *PeerError
		if errors.As(err, &peer) && peer.Reason == WrongFiler {
			e.count.wrong.Add(1)
		}
		return outcome{address: address, err: explain(err)}
	}
	return outcome{address: address, conn: conn}
}

// explain gives the alert for an unknown service a name: crypto/tls has none.
func explain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" && strings.Contains(op.Err.Error(), "no application protocol") {
		return fmt.Errorf("%w (%w)", ErrNotServed, err)
	}
	return err
}

// closeNow closes without the farewell of TLS, which might wait for the peer.
func closeNow(c *tls.Conn) { c.NetConn().Close() }
