package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/fsm"
)

// What filers ask of each other's stores. Each side has authenticated the other.
const (
	pathPropose   = "/store/propose"
	pathReadIndex = "/store/read-index"
	pathWait      = "/store/wait"
	pathRestore   = "/store/restore"
	pathAdd       = "/store/members/add"
	pathRemove    = "/store/members/remove"
	pathRemoved   = "/store/removed"
)

type (
	proposeRequest struct{ Transactions [][]byte }
	proposeReply   struct{ Results []fsm.Result }
	indexReply     struct{ Index uint64 }
	waitRequest    struct{ Index uint64 }
	restoreRequest struct {
		ID    string
		Parts [][]byte
	}
	memberRequest struct{ ID netquorum.FilerID }
	empty         struct{}
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

// Handler serves other filers' requests. It must only be reachable by members
// of the cluster.
func (s *Store) Handler() http.Handler {
	mux := http.NewServeMux()
	handle(mux, pathPropose, maxRequest, func(ctx context.Context, in proposeRequest) (out proposeReply, err error) {
		// One that cannot be decoded would stop every filer.
		for _, t := range in.Transactions {
			if _, err := fsm.DecodeTransaction(t); err != nil {
				return out, err
			}
		}
		if err := s.leading(); err != nil {
			return out, err
		}
		out.Results, err = s.group.propose(ctx, nil, in.Transactions...)
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
		result, err := s.restoreHere(ctx, in.ID, in.Parts)
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
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit)).Decode(&in); err != nil {
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

// ask sends a request to another filer's store.
func (s *Store) ask(ctx context.Context, to netquorum.FilerID, path string, in, out any) error {
	var answer envelope
	err := s.o.Network.Do(ctx, to, path, in, &answer)
	switch {
	case errors.Is(err, ErrNotSent):
		return fmt.Errorf("%w: ask filer %s: %w", errNotAppended, to, err)
	case err != nil:
		return fmt.Errorf("%w: ask filer %s: %w", errMaybeAppended, to, err)
	case answer.Error != "":
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

// Call implements Network.Do over an HTTP client whose host names are filer ids.
func Call(ctx context.Context, client *http.Client, to netquorum.FilerID, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+string(to)+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
			err = fmt.Errorf("%w: %w", ErrNotSent, err)
		}
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxRequest))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s: %s", resp.Status, bytes.TrimSpace(answer))
	}
	return json.Unmarshal(answer, out)
}
