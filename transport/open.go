package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport/link"
)

// Open opens a stream of a service of a filer: a *link.Stream, in which classes
// other than the given one do not get in each other's way. It uses the link to
// the filer, and makes one when there is none. The stream lives for as long as
// both processes do: what becomes of one path or another is not seen in it.
func (e *Endpoint) Open(ctx context.Context, id netquorum.FilerID, s Service, c link.Class) (net.Conn, error) {
	st, err := e.OpenAny(ctx, id, []Service{s}, c)
	if err != nil {
		return nil, err // not a nil *link.Stream in a net.Conn
	}
	return st, nil
}

// OpenAny opens a stream of the first of the services that the filer offers. Two
// versions of a service are agreed upon so.
func (e *Endpoint) OpenAny(ctx context.Context, id netquorum.FilerID, services []Service, c link.Class) (*link.Stream, error) {
	e.count.dials.Add(1)
	names := make([]string, len(services))
	for i, s := range services {
		names[i] = string(s)
	}
	st, err := e.open(ctx, id, names, c)
	if err != nil {
		e.count.dialsFailed.Add(1)
		return nil, notSent(id, services, err)
	}
	return st, nil
}

// open tries again, once, when the link ends under it: the peer was started anew,
// and what is opened now is for its new process.
func (e *Endpoint) open(ctx context.Context, id netquorum.FilerID, names []string, c link.Class) (*link.Stream, error) {
	k, err := e.keeper(id)
	if err != nil {
		return nil, err
	}
	for again := true; ; again = false {
		l, err := k.get(ctx)
		if err != nil {
			return nil, err
		}
		st, err := l.OpenAny(ctx, names, c)
		switch {
		case err == nil:
			return st, nil
		case errors.Is(err, link.ErrPeerLost) && again && ctx.Err() == nil:
			continue
		case errors.Is(err, link.ErrNotServed):
			return nil, fmt.Errorf("%w (%w)", ErrNotServed, err)
		}
		return nil, err
	}
}

// A call is an attempt to reach a filer to which there is no link. All who wait
// for the link share it.
type call struct {
	done chan struct{}
	link *link.Link
	err  error
}

func (c *call) answer(l *link.Link, err error) {
	c.link, c.err = l, err
	close(c.done)
}

// Reach makes a link to a filer if there is none, without waiting for it: who
// opens a stream later finds it made, and Links tells whether it can be.
func (e *Endpoint) Reach(id netquorum.FilerID) {
	k, err := e.keeper(id)
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.usable() == nil {
		k.begin()
	}
}

// begin starts a call unless one is under way; nil when the endpoint has ended.
// The caller holds the lock.
func (k *keeper) begin() *call {
	if k.call == nil {
		c := &call{done: make(chan struct{})}
		if !k.endpoint.start(func() { k.reach(c) }) {
			return nil
		}
		k.call = c
	}
	return k.call
}

// get returns the link, made if need be.
func (k *keeper) get(ctx context.Context) (*link.Link, error) {
	k.mu.Lock()
	if l := k.usable(); l != nil {
		k.mu.Unlock()
		return l, nil
	}
	c := k.begin()
	k.mu.Unlock()
	if c == nil {
		return nil, &DialError{Err: errClosed}
	}
	select {
	case <-c.done:
		return c.link, c.err
	case <-ctx.Done():
		return nil, &DialError{Err: context.Cause(ctx)}
	}
}

// reach makes a link by whichever path answers first. It is bounded by the time
// an attempt may take, not by the first caller's patience: others wait too.
func (k *keeper) reach(c *call) {
	err := k.tryAll(c)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.call == c { // otherwise attach has answered
		k.call = nil
		c.answer(nil, err)
	}
}

func (k *keeper) tryAll(c *call) error {
	e := k.endpoint
	candidates := e.allPaths(k.id)
	switch {
	case e.cfg.Identity() == nil:
		return &DialError{Err: ErrNotInCluster}
	case !e.allowed(k.id):
		return &DialError{Err: &PeerError{Reason: NotAllowed, Filer: k.id}}
	case len(candidates) == 0:
		return &DialError{Err: ErrNoEndpoints}
	}
	failed := &DialError{}
	results := make(chan AttemptError)
	running, next := 0, 0
	start := func() {
		p := candidates[next]
		next, running = next+1, running+1
		go func() { results <- AttemptError{p.remote, k.tryTwice(e.ctx, p)} }()
	}
	start()
	stagger := time.NewTicker(e.cfg.Stagger)
	defer stagger.Stop()
	done := c.done
	for running > 0 {
		select {
		case <-done: // the link's keeper dials what is missing; what runs is waited for
			done, next = nil, len(candidates)
			continue
		case r := <-results:
			running--
			if r.Err != nil {
				failed.Attempts = append(failed.Attempts, r)
			}
		case <-stagger.C:
		}
		if next < len(candidates) {
			start()
		}
	}
	if e.ctx.Err() != nil {
		failed.Err = errClosed
	}
	return failed
}

// tryTwice tries a path, once more when the first attempt told one side that the
// other has begun anew: by then both have.
func (k *keeper) tryTwice(ctx context.Context, p path) error {
	err := k.try(ctx, p)
	if errors.Is(err, link.ErrOtherIncarnation) {
		err = k.try(ctx, p)
	}
	return err
}
