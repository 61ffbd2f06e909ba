package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport/link"
)

var (
	// ErrNotInCluster means that this filer has no identity to call others with.
	ErrNotInCluster = errors.New("this filer is in no cluster yet")
	// ErrNoEndpoints means that nobody knows where the filer may be reached.
	ErrNoEndpoints = errors.New("no address of the filer is known")
	// ErrNotServed means that the peer does not offer the service: it runs
	// another version, is still starting, or is in no cluster.
	ErrNotServed = errors.New("the peer does not offer the service (yet), or is in no cluster")

	errClosed = fmt.Errorf("the endpoint is closed: %w", net.ErrClosed)
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

// notSent wraps an error before which nothing was sent to the filer.
func notSent(id netquorum.FilerID, services []Service, err error) error {
	names := make([]string, len(services))
	for i, s := range services {
		names[i] = string(s)
	}
	return &net.OpError{Op: "dial", Net: strings.Join(names, ","), Addr: link.Addr(id), Err: err}
}

// WithPort adds the default port to an address or name that has none.
func WithPort(address string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), DefaultPort)
}

// explain gives the alert for an unknown service a name: crypto/tls has none.
func explain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" && strings.Contains(op.Err.Error(), "no application protocol") {
		return fmt.Errorf("%w (%w)", ErrNotServed, err)
	}
	return err
}
