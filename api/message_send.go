package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

func (s *Server) postMessage(w http.ResponseWriter, r *http.Request) error {
	b, err := s.messagesOf()
	if err != nil {
		return err
	}
	client, m, err := outgoing(r)
	if err != nil {
		return err
	}
	patience, err := timeoutOf(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.closing, func() { cancel(Refuse(ErrUnreachable, "the daemon is stopping", nil)) })()
	body := &patientBody{r: r.Body, conn: http.NewResponseController(w), patience: patience}
	body.stalled = time.AfterFunc(patience, func() {
		cancel(fmt.Errorf("%w: nothing went on for %s", ErrTimeout, patience))
	})
	defer body.stalled.Stop()
	m.Body = body
	sent, err := b.Send(ctx, client, m)
	switch {
	case err != nil && body.err != nil:
		return usage("reading the message's body: %v", body.err)
	case err != nil && ctx.Err() != nil && !errors.As(err, new(Code)):
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case err != nil:
		return err
	}
	// The rest of a body that was not read must not be taken for another request.
	if sent.Repeated && m.Size != 0 {
		w.Header().Set("Connection", "close")
	}
	return answer(w, sent)
}

// outgoing reads all of a request to send but its body.
func outgoing(r *http.Request) (client string, m OutgoingMessage, err error) {
	if client, err = clientParam(r); err != nil {
		return client, m, err
	}
	if m.To, err = targetParam(r); err != nil {
		return client, m, err
	}
	m.Key, m.Stream, m.Size = param(r, "key"), param(r, "stream"), r.ContentLength
	for what, name := range map[string]string{"key": m.Key, "stream": m.Stream} {
		if name != "" {
			if err := checkMessageName(what, name); err != nil {
				return client, m, err
			}
		}
	}
	switch p := MessagePriority(param(r, "priority")); p {
	case "":
		m.Priority = PriorityControl
	case PriorityControl, PriorityBulk:
		m.Priority = p
	default:
		return client, m, usage("priority=%s is neither control nor bulk", p)
	}
	if m.Trace, err = traceParam(r); err != nil {
		return client, m, err
	}
	m.Discard, err = boolParam(r, "discard")
	return client, m, err
}

// A patientBody is a body of any size, for as long as it goes on.
type patientBody struct {
	r        io.Reader
	conn     *http.ResponseController
	patience time.Duration
	stalled  *time.Timer // ends the request
	err      error
}

func (b *patientBody) Read(p []byte) (int, error) {
	b.stalled.Reset(b.patience)
	// A connection of many requests has read the body already, and no deadline.
	_ = b.conn.SetReadDeadline(time.Now().Add(b.patience))
	n, err := b.r.Read(p)
	switch {
	case err == io.EOF:
		_ = b.conn.SetReadDeadline(time.Time{})
	case err != nil: // the deadline stays: the server reads the rest before it answers
		b.err = err
	}
	return n, err
}

func (s *Server) getPending(w http.ResponseWriter, r *http.Request) error {
	b, err := s.messagesOf()
	if err != nil {
		return err
	}
	client, err := clientParam(r)
	if err != nil {
		return err
	}
	limit, err := limitParam(r)
	if err != nil {
		return err
	}
	pending, err := b.Pending(r.Context(), client, limit)
	if err != nil {
		return err
	}
	return answer(w, PendingList{Client: client, Pending: list(pending)})
}

func (s *Server) getMessageStatus(w http.ResponseWriter, r *http.Request) error {
	b, err := s.messagesOf()
	if err != nil {
		return err
	}
	st, err := b.MessageStatus(r.Context())
	if err != nil {
		return err
	}
	st.Clients, st.Services, st.Peers = list(st.Clients), list(st.Services), list(st.Peers)
	return answer(w, st)
}

func (s *Server) postResend(w http.ResponseWriter, r *http.Request) error {
	b, err := s.messagesOf()
	if err != nil {
		return err
	}
	client, err := clientParam(r)
	if err != nil {
		return err
	}
	return done(w, b.Resend(r.Context(), client))
}

func (s *Server) deleteMessage(w http.ResponseWriter, r *http.Request) error {
	b, err := s.messagesOf()
	if err != nil {
		return err
	}
	return done(w, b.Withdraw(r.Context(), r.PathValue("id")))
}

func (s *Server) getCompletion(w http.ResponseWriter, r *http.Request) error {
	b, err := s.messagesOf()
	if err != nil {
		return err
	}
	ctx, cancel, err := s.poll(r)
	if err != nil {
		return err
	}
	defer cancel()
	c, err := b.Completion(ctx, r.PathValue("id"))
	if over(ctx, err) {
		return Refuse(ErrTimeout, "the message is sent and not completed yet; its completion will be kept", nil)
	}
	if err != nil {
		return err
	}
	return answer(w, c)
}

// clientAfter is whose completions are asked for, and after which one.
func (s *Server) clientAfter(r *http.Request) (b MessagesBackend, client string, after uint64, err error) {
	if b, err = s.messagesOf(); err != nil {
		return nil, "", 0, err
	}
	if client, err = clientParam(r); err != nil {
		return nil, "", 0, err
	}
	after, err = numberParam(r, "after", 0, 1<<63)
	return b, client, after, err
}

func (s *Server) getCompletions(w http.ResponseWriter, r *http.Request) error {
	b, client, after, err := s.clientAfter(r)
	if err != nil {
		return err
	}
	limit, err := limitParam(r)
	if err != nil {
		return err
	}
	ctx, cancel, err := s.poll(r)
	if err != nil {
		return err
	}
	defer cancel()
	found, err := b.Completions(ctx, client, after, limit)
	if err != nil && !over(ctx, err) {
		return err
	}
	return answer(w, CompletionList{Client: client, Completions: list(found)})
}

// completionBatch is how many completions a watch reads at a time.
const completionBatch = 64

func (s *Server) watchCompletions(w http.ResponseWriter, r *http.Request) error {
	b, client, after, err := s.clientAfter(r)
	if err != nil {
		return err
	}
	ctx, out, end := s.events(w, r)
	defer end()
	if out.begin() != nil {
		return nil
	}
	for {
		found, err := b.Completions(ctx, client, after, completionBatch)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			out.write(CompletionEvent{Error: ErrorOf(err)})
			return nil
		}
		for i := range found {
			if out.write(CompletionEvent{Completion: &found[i]}) != nil {
				return nil
			}
			after = found[i].Position
		}
	}
}

func (s *Server) postAcknowledge(w http.ResponseWriter, r *http.Request) error {
	b, err := s.messagesOf()
	if err != nil {
		return err
	}
	var a Acknowledgement
	if err := readJSON(w, r, &a); err != nil {
		return err
	}
	if err := checkMessageName("client", a.Client); err != nil {
		return err
	}
	if len(a.IDs) == 0 && a.Through == 0 {
		return usage("nothing is acknowledged: give ids, or through")
	}
	return done(w, b.Acknowledge(r.Context(), a.Client, a.IDs, a.Through))
}

// done answers a request that has nothing to tell.
func done(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
