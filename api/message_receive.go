package api

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How long a consumer may hold a message.
const (
	defaultHold = time.Minute
	minHold     = 100 * time.Millisecond
	maxHold     = 24 * time.Hour
	maxWindow   = 256
)

// minWait is the shortest wait for a message: one that is there is handed over
// from another goroutine.
const minWait = 50 * time.Millisecond

func (s *Server) postReceive(w http.ResponseWriter, r *http.Request) error {
	b, err := s.messagesOf()
	if err != nil {
		return err
	}
	service := r.PathValue("service")
	if err := checkMessageName("service", service); err != nil {
		return err
	}
	hold, err := spanParam(r, "hold", defaultHold, minHold, maxHold)
	if err != nil {
		return err
	}
	wait, err := spanParam(r, "wait", defaultWait, 0, 24*time.Hour)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), max(wait, minWait))
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	linger(ctx, b.Attend(service))
	m, err := b.Receive(ctx, service)
	if over(ctx, err) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err != nil {
		return err
	}
	if r.Context().Err() != nil { // the consumer left in the last moment
		m.Release()
		return nil
	}
	h, err := s.desk.take(m, hold, func() {})
	if err != nil {
		return err
	}
	out, err := h.message()
	if err != nil {
		_ = s.desk.release(h.token)
		return err
	}
	return answer(w, out)
}

func readAll(d Delivery) ([]byte, error) {
	r, err := d.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, MaxInlineBody+1))
}

func (s *Server) watchService(w http.ResponseWriter, r *http.Request) error {
	b, err := s.messagesOf()
	if err != nil {
		return err
	}
	service := r.PathValue("service")
	if err := checkMessageName("service", service); err != nil {
		return err
	}
	hold, err := spanParam(r, "hold", 0, minHold, maxHold)
	if err != nil {
		return err
	}
	window, err := numberParam(r, "window", 1, maxWindow)
	if err != nil || window == 0 {
		return usage("window is not between 1 and %d", maxWindow)
	}
	ctx, out, end := s.events(w, r)
	defer end()
	defer b.Attend(service)()
	st := &consumer{desk: &s.desk, slots: make(chan struct{}, window), has: map[string]bool{}}
	defer st.giveBack()
	if out.begin() != nil {
		return nil
	}
	for {
		select {
		case st.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		e, err := st.next(ctx, b, service, hold)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			out.write(DeliveryEvent{Error: ErrorOf(err)})
			return nil
		}
		if out.write(DeliveryEvent{Delivery: &e}) != nil {
			return nil
		}
	}
}

// A consumer is a stream of messages, and what it holds.
type consumer struct {
	desk  *desk
	slots chan struct{} // one taken for each

	mu  sync.Mutex
	has map[string]bool
}

func (c *consumer) next(ctx context.Context, b MessagesBackend, service string, hold time.Duration) (MessageDelivery, error) {
	m, err := b.Receive(ctx, service)
	if err != nil {
		return MessageDelivery{}, err
	}
	var h *held
	entered := make(chan struct{}) // a short hold may end before it is in the list
	h, err = c.desk.take(m, hold, func() {
		<-entered
		c.mu.Lock()
		delete(c.has, h.token)
		c.mu.Unlock()
		<-c.slots
	})
	if err != nil {
		return MessageDelivery{}, err
	}
	c.mu.Lock()
	c.has[h.token] = true
	c.mu.Unlock()
	close(entered)
	out, err := h.message()
	if err != nil {
		_ = c.desk.release(h.token)
	}
	return out, err
}

// giveBack releases what a stream held that has ended.
func (c *consumer) giveBack() {
	c.mu.Lock()
	var all []string
	for token := range c.has {
		all = append(all, token)
	}
	c.mu.Unlock()
	for _, token := range all {
		_ = c.desk.release(token) // ended meanwhile: as good
	}
}

func (s *Server) getBody(w http.ResponseWriter, r *http.Request) error {
	h, err := s.desk.find(r.PathValue("delivery"))
	if err != nil {
		return err
	}
	body, err := h.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	w.Header().Set("Content-Type", typeOctets)
	w.Header().Set("Content-Length", strconv.FormatInt(h.Message().Size, 10))
	// A body that ends early is seen by its length.
	_, _ = io.Copy(w, body)
	return nil
}

func (s *Server) postComplete(w http.ResponseWriter, r *http.Request) error {
	result, err := readBody(w, r, MaxMessageAnswer)
	if ErrorOf(err) != nil && ErrorOf(err).Code == ErrTooLarge {
		return Refuse(ErrTooLarge, "the answer to a message has at most 64 KiB: complete it with less, or send a message back", nil)
	}
	if err != nil {
		return err
	}
	return done(w, s.desk.end(r.PathValue("delivery"), func(d Delivery) error { return d.Complete(r.Context(), result) }))
}

// maxFailure bounds the words of a failure.
const maxFailure = 4 << 10

func (s *Server) postFail(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r, MaxMessageAnswer)
	if err != nil {
		return err
	}
	reason := strings.ToValidUTF8(string(body[:min(len(body), maxFailure)]), "")
	if reason = strings.TrimSpace(reason); reason == "" {
		reason = "the handler gave no reason"
	}
	return done(w, s.desk.end(r.PathValue("delivery"), func(d Delivery) error { return d.Fail(r.Context(), reason) }))
}

func (s *Server) postRelease(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.desk.release(r.PathValue("delivery")))
}

func (s *Server) postExtend(w http.ResponseWriter, r *http.Request) error {
	hold, err := spanParam(r, "hold", defaultHold, minHold, maxHold)
	if err != nil {
		return err
	}
	until, err := s.desk.prolong(r.PathValue("delivery"), hold)
	if err != nil {
		return err
	}
	return answer(w, Extension{Until: until.UTC()})
}
