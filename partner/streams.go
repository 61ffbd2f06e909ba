package partner

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/netquorum/netquorum/transport/link"
)

const (
	// linger is how long a service counts as offered after the last Accept of it,
	// and how long a stream waits for the next: who serves one stream after the
	// other is between two of them for a moment.
	linger = 5 * time.Second
	// queue is how many streams of a service wait for the next Accept.
	queue = 16
)

// errNobody is the end of a stream that nobody took in time.
var errNobody = errors.New("nobody accepts streams of the service any more")

// A Stream is an ordered stream of bytes between two clusters. Read ends with
// io.EOF only when the other side has ended its writing.
type Stream struct {
	*link.Stream
	// Partner is the name of the cluster at the other end.
	Partner string

	release func()
	once    sync.Once
}

// Close ends both directions; what was written still goes to the other side.
func (s *Stream) Close() error {
	defer s.once.Do(s.release)
	return s.Stream.Close()
}

// Abort ends both directions at once, and the other side learns that.
func (s *Stream) Abort(cause error) {
	defer s.once.Do(s.release)
	s.Stream.Abort(cause)
}

// services are who accepts streams. The zero value is ready to use.
type services struct {
	mu  sync.Mutex
	all map[string]*service
}

// A service is one name under which streams are accepted.
type service struct {
	waiting []*waiter
	queued  []*Stream
	seen    map[string]time.Time // when somebody accepted last, by the partner that was wanted
}

// A waiter is one Accept.
type waiter struct {
	partner string // empty for any
	got     chan *Stream
}

func wants(partner, from string) bool { return partner == "" || strings.EqualFold(partner, from) }

// Accept waits for a stream of the service, from the partner or, if that is
// empty, from any.
func (s *services) Accept(ctx context.Context, name, partner string) (*Stream, error) {
	w := &waiter{partner: partner, got: make(chan *Stream, 1)}
	s.mu.Lock()
	v := s.get(name)
	for i, q := range v.queued {
		if wants(partner, q.Partner) {
			v.queued = append(v.queued[:i:i], v.queued[i+1:]...)
			v.seen[partner] = time.Now()
			s.mu.Unlock()
			return q, nil
		}
	}
	v.waiting = append(v.waiting, w)
	s.mu.Unlock()
	select {
	case got := <-w.got:
		return got, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, o := range v.waiting {
		if o == w {
			v.waiting = append(v.waiting[:i:i], v.waiting[i+1:]...)
		}
	}
	v.seen[partner] = time.Now()
	select {
	case got := <-w.got: // in the same instant: it is for the next
		s.put(name, v, got)
	default:
	}
	return nil, ctx.Err()
}

func (s *services) get(name string) *service {
	if s.all == nil {
		s.all = map[string]*service{}
	}
	v := s.all[name]
	if v == nil {
		v = &service{seen: map[string]time.Time{}}
		s.all[name] = v
	}
	return v
}

// offered reports whether a stream from the partner would be taken.
func (s *services) offered(name, from string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.all[name]
	if v == nil {
		return false
	}
	for _, w := range v.waiting {
		if wants(w.partner, from) {
			return true
		}
	}
	fresh := false
	for partner, at := range v.seen {
		switch {
		case time.Since(at) > linger:
			delete(v.seen, partner)
		case wants(partner, from):
			fresh = true
		}
	}
	if len(v.waiting)+len(v.queued)+len(v.seen) == 0 {
		delete(s.all, name)
	}
	return fresh && len(v.queued) < queue
}

// take gives a stream to who waits for it, or keeps it for a moment.
func (s *services) take(name string, st *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.get(name)
	for i, w := range v.waiting {
		if wants(w.partner, st.Partner) {
			v.waiting = append(v.waiting[:i:i], v.waiting[i+1:]...)
			v.seen[w.partner] = time.Now()
			w.got <- st
			return
		}
	}
	s.put(name, v, st)
}

// put queues a stream, with s.mu held.
func (s *services) put(name string, v *service, st *Stream) {
	v.queued = append(v.queued, st)
	time.AfterFunc(linger, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, q := range v.queued {
			if q == st {
				v.queued = append(v.queued[:i:i], v.queued[i+1:]...)
				go st.Abort(errNobody) // the link may call take: not under our lock
				return
			}
		}
	})
}
