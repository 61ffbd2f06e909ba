package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/calls"
)

// maxQuestion bounds what another filer may ask at once. The largest is a
// transaction to be planned for.
const maxQuestion = 16 << 20

// program is what the agent is called among the programs of a filer, and versions
// are those of its requests that this release sends and answers.
const program = "agent"

var versions = calls.Versions{Low: 1, High: 1}

// A caller sends requests to other filers.
type caller interface {
	Call(ctx context.Context, to netquorum.FilerID, q calls.Request) (calls.Answer, error)
}

// call sends a request to another filer's agent and decodes its answer. A
// refusal by the other side comes back as the *api.Error that it was there.
func call(ctx context.Context, c caller, to netquorum.FilerID, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	a, err := c.Call(ctx, to, calls.Request{Program: program, Versions: versions, Method: http.MethodPost, Target: path, Body: body})
	if err != nil {
		return fmt.Errorf("%w: %w", api.ErrUnreachable, err)
	}
	if a.Status != http.StatusOK {
		refusal := new(api.Error)
		if json.Unmarshal(a.Body, refusal) != nil || refusal.Code == "" {
			return fmt.Errorf("%s: answered %d", path, a.Status)
		}
		return refusal
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		return fmt.Errorf("%s: the answer makes no sense: %w", path, err)
	}
	return nil
}

// serve makes a handler for requests of other filers' call.
func serve[In, Out any](do func(context.Context, In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuestion))
		if err == nil {
			err = json.Unmarshal(body, &in)
		}
		var out Out
		if err == nil {
			out, err = do(r.Context(), in)
		}
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			e := api.ErrorOf(err)
			w.WriteHeader(e.Status)
			json.NewEncoder(w).Encode(e)
			return
		}
		json.NewEncoder(w).Encode(out)
	}
}

// ask calls all given filers at once and returns who answered what; the error
// of one is not another's.
func ask[Out any](ctx context.Context, filers map[string]netquorum.FilerID, one func(context.Context, netquorum.FilerID) (Out, error)) (map[string]Out, map[string]error) {
	var (
		wait    sync.WaitGroup
		mu      sync.Mutex
		answers = map[string]Out{}
		failed  = map[string]error{}
	)
	for name, id := range filers {
		wait.Go(func() {
			out, err := one(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[name] = err
			} else {
				answers[name] = out
			}
		})
	}
	wait.Wait()
	return answers, failed
}

// members returns the ids of all members by filer name.
func members(c netquorum.Config) map[string]netquorum.FilerID {
	out := map[string]netquorum.FilerID{}
	for d := range c.All(netquorum.KindMember) {
		out[d.Name] = d.Spec.(*netquorum.Member).ID
	}
	return out
}
