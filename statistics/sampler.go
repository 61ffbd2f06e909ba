package statistics

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A Sample is one look at the kernel. What could not be read is unknown for a
// reason, not zero.
type Sample struct {
	At         time.Time
	Traffic    []AddressTraffic
	TrafficErr error
	Sockets    map[Owner]*Sockets
	SocketsErr error
}

// What a look may cost.
const (
	// fresh is how long a look is good for: however many ask, the kernel is
	// looked at no more than once in that time.
	fresh = time.Second
	// patience bounds one look.
	patience = time.Second
)

// A Sampler answers who asks for statistics. It keeps the kernel from being
// looked at by several at once.
type Sampler struct {
	kernel Kernel
	now    func() time.Time

	looking chan struct{} // holds a token while nobody looks

	mu   sync.Mutex
	want Counted
	last Sample
}

// NewSampler returns a sampler that has not looked yet.
func NewSampler(k Kernel, now func() time.Time) *Sampler {
	s := &Sampler{kernel: k, now: now, looking: make(chan struct{}, 1)}
	s.looking <- struct{}{}
	return s
}

// Follow makes the kernel count what a configuration asks for.
func (s *Sampler) Follow(want Counted) (changed bool, err error) {
	s.mu.Lock()
	s.want = want
	s.mu.Unlock()
	return s.kernel.Ensure(want, s.now().UTC())
}

// Sample returns a look at the kernel that is not older than a second.
func (s *Sampler) Sample(ctx context.Context) (Sample, error) {
	select {
	case <-s.looking:
	case <-ctx.Done():
		return Sample{}, context.Cause(ctx)
	}
	defer func() { s.looking <- struct{}{} }()
	s.mu.Lock()
	last, want := s.last, s.want
	s.mu.Unlock()
	if age := s.now().Sub(last.At); !last.At.IsZero() && age >= 0 && age < fresh {
		return last, nil
	}
	if want == nil {
		return Sample{}, errNotYet
	}
	// Not who asked first decides how long the look may take for all.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	next := Sample{At: s.now().UTC()}
	next.Traffic, next.TrafficErr = s.kernel.Traffic()
	next.Sockets, next.SocketsErr = s.kernel.Sockets(ctx, want)
	s.mu.Lock()
	s.last = next
	s.mu.Unlock()
	return next, nil
}

var errNotYet = errors.New("this filer has no configuration to count for yet")
