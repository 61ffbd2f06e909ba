package store

import (
	"bytes"
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/calls"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/trace"
)

// program is what the store is called among the programs of a filer, and versions
// are those of its requests that this release sends and answers.
const program = "store"

var versions = calls.Versions{Low: 1, High: 1}

// What filers ask of each other's stores. Each side has authenticated the other.
const (
	pathPropose   = "/propose"
	pathReadIndex = "/read-index"
	pathWait      = "/wait"
	pathRestore   = "/restore"
	pathAdd       = "/members/add"
	pathRemove    = "/members/remove"
	pathRemoved   = "/removed"
)

type (
	proposeRequest struct{ Transactions [][]byte }
	proposeReply   struct{ Results []fsm.Result }
	indexReply     struct{ Index uint64 }
	waitRequest    struct{ Index uint64 }
	memberRequest  struct{ ID netquorum.FilerID }
	empty          struct{}
)

// envelope is the answer to a request: its body, or why there is none.
type envelope struct {
	Code  string          `json:"code,omitempty"`
	Error string          `json:"error,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
}

// wireErrors are the errors that keep their identity between filers.
var wireErrors = map[string]error{
	"not-leader":      ErrNotLeader,
	"not-appended":    errNotAppended,
	"maybe-appended":  errMaybeAppended,
	"membership":      ErrMembership,
	"too-large":       ErrTooLarge,
	"not-member":      ErrNotMember,
	"closed":          ErrClosed,
	"unknown-outcome": ErrUnknownOutcome,
}

// wireOrder: an error may be several things; the first that fits is sent.
var wireOrder = []string{"maybe-appended", "not-appended", "unknown-outcome", "membership", "too-large", "not-leader", "not-member", "closed"}

// maxRequest bounds what other filers may send, a restore excepted.
const maxRequest = 2 << 20

// Program serves other filers' requests. It must only be reachable by members of
// the cluster.
func (s *Store) Program() calls.Program {
	return calls.Program{Name: program, Versions: versions, Handler: s.handler()}
}

func (s *Store) handler() http.Handler {
	mux := http.NewServeMux()
	handle(mux, pathPropose, maxRequest, func(ctx context.Context, in proposeRequest) (out proposeReply, err error) {
		traces := make([]trace.ID, len(in.Transactions))
		for i, encoded := range in.Transactions {
			t, err := fsm.DecodeTransaction(encoded)
			if err != nil {
				return out, err // it would stop every filer
			}
			traces[i] = trace.ID(t.Trace)
		}
		if err := s.leading(); err != nil {
			return out, err
		}
		done := s.spans(traces, "raft: commit for a follower")
		out.Results, err = s.group.propose(ctx, nil, in.Transactions...)
		done(out.Results, err)
		return out, err
	})
	handle(mux, pathReadIndex, maxRequest, func(ctx context.Context, _ empty) (out indexReply, err error) {
		if err := s.leading(); err != nil {
			return out, err
		}
		out.Index, err = s.reads.index(ctx, nil)
		return out, err
	})
	handle(mux, pathWait, maxRequest, func(ctx context.Context, in waitRequest) (out indexReply, err error) {
		err = s.await(ctx, func(v *view) bool { out.Index = v.through; return v.through >= in.Index })
		return out, err
	})
	handle(mux, pathRestore, 2*MaxRestore, func(ctx context.Context, in restoreRequest) (out proposeReply, err error) {
		var o opener
		for _, p := range in.Parts {
			if _, err := o.open(p); err != nil || len(in.ID) > maxPartID {
				return out, fmt.Errorf("a part of a restore: %w", errors.Join(err, errBadPart))
			}
		}
		if err := s.leading(); err != nil {
			return out, err
		}
		result, err := s.restoreHere(ctx, packed(in.ID, in.Parts))
		out.Results = []fsm.Result{result}
		return out, err
	})
	handle(mux, pathAdd, maxRequest, func(ctx context.Context, in memberRequest) (out empty, err error) {
		if err := s.leading(); err != nil {
			return out, err
		}
		return out, s.addHere(ctx, in.ID)
	})
	handle(mux, pathRemove, maxRequest, func(ctx context.Context, in memberRequest) (out empty, err error) {
		if err := s.leading(); err != nil {
			return out, err
		}
		return out, s.removeHere(ctx, in.ID)
	})
	handle(mux, pathRemoved, maxRequest, func(context.Context, empty) (out empty, err error) {
		s.leave(s.node.Load())
		return out, nil
	})
	return mux
}

// leading returns errNotAppended unless this filer leads, as far as it knows. A
// follower does not pass requests on: two that take each other for the leader
// would do so for ever.
func (s *Store) leading() error {
	if err := s.usable(); err != nil {
		return fmt.Errorf("%w: %w", errNotAppended, err)
	}
	if now := s.reigns.load(); now.leader != s.o.ID {
		return fmt.Errorf("%w: %w", errNotAppended, &notLeaderError{now.leader})
	}
	return nil
}

func handle[In, Out any](mux *http.ServeMux, path string, limit int64, f func(context.Context, In) (Out, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := readRequest(http.MaxBytesReader(w, r.Body, limit), r.ContentLength, &in); err != nil {
			http.Error(w, "request: "+err.Error(), http.StatusBadRequest)
			return
		}
		var answer envelope
		out, err := f(r.Context(), in)
		if err == nil {
			answer.Body, err = json.Marshal(out)
		}
		if err != nil {
			answer.Error = err.Error()
			for _, code := range wireOrder {
				if errors.Is(err, wireErrors[code]) {
					answer.Code = code
					break
				}
			}
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answer) // if it fails, the asker sees its connection end
	})
}

// readRequest decodes a request of a size: as JSON, unless it has a form of its own.
func readRequest(body io.Reader, size int64, in any) error {
	u, ok := in.(encoding.BinaryUnmarshaler)
	if !ok {
		return json.NewDecoder(body).Decode(in)
	}
	var b bytes.Buffer
	b.Grow(int(min(max(size, 0), 2*MaxRestore)) + bytes.MinRead)
	if _, err := b.ReadFrom(body); err != nil {
		return err
	}
	return u.UnmarshalBinary(b.Bytes())
}

// ask sends a request to another filer's store.
func (s *Store) ask(ctx context.Context, to netquorum.FilerID, path string, in, out any) error {
	form, encode := "application/json", json.Marshal
	if m, ok := in.(encoding.BinaryMarshaler); ok {
		form, encode = "application/octet-stream", func(any) ([]byte, error) { return m.MarshalBinary() }
	}
	body, err := encode(in)
	if err != nil {
		return fmt.Errorf("%w: ask filer %s: %w", errNotAppended, to, err)
	}
	a, err := s.o.Network.Call(ctx, to, calls.Request{
		Program: program, Versions: versions, Method: http.MethodPost, Target: path, ContentType: form, Body: body,
	})
	switch {
	case errors.Is(err, calls.ErrNotSent):
		return fmt.Errorf("%w: ask filer %s: %w", errNotAppended, to, err)
	case err != nil:
		return fmt.Errorf("%w: ask filer %s: %w", errMaybeAppended, to, err)
	case a.Status != http.StatusOK:
		return fmt.Errorf("%w: filer %s answered %d: %s", errMaybeAppended, to, a.Status, bytes.TrimSpace(a.Body))
	}
	var answer envelope
	if err := json.Unmarshal(a.Body, &answer); err != nil {
		return fmt.Errorf("%w: answer of filer %s: %w", errMaybeAppended, to, err)
	}
	if answer.Error != "" {
		if known, ok := wireErrors[answer.Code]; ok {
			return fmt.Errorf("filer %s: %w: %s", to, known, answer.Error)
		}
		return fmt.Errorf("filer %s: %s", to, answer.Error)
	}
	if err := json.Unmarshal(answer.Body, out); err != nil {
		return fmt.Errorf("%w: answer of filer %s: %w", errMaybeAppended, to, err)
	}
	return nil
}
