package api

import (
	"net/http"
	"time"

	"github.com/netquorum/netquorum"
)

// RolloutOptions are how a change is to be rolled out, if it needs to be.
type RolloutOptions struct {
	// Confirm is how long the change waits for `netquorum confirm` once it is in
	// force, like 2m; without it everything returns to what it was before.
	Confirm Duration `json:"confirm,omitempty"`
	// Timeout bounds one filer's step; 15s when empty.
	Timeout Duration `json:"timeout,omitempty"`
	// Force rolls out what may leave the cluster without a quorum.
	Force bool `json:"force,omitempty"`
}

// A Rollout is a change on its way over the cluster, or the last one that was.
type Rollout struct {
	Name      string                 `json:"name"`
	Phase     netquorum.RolloutPhase `json:"phase"`
	Open      bool                   `json:"open"`
	Reverting bool                   `json:"reverting,omitempty"`
	Revision  netquorum.Revision     `json:"revision"` // of the change
	Actor     string                 `json:"actor,omitempty"`
	// Reason is why the change needs a rollout, Failure why it was stopped or
	// goes back.
	Reason  string `json:"reason,omitempty"`
	Failure string `json:"failure,omitempty"`
	// Waiting is what the leader waits for.
	Waiting string `json:"waiting,omitempty"`
	// Deadline is until when it can be confirmed.
	Deadline *time.Time              `json:"deadline,omitempty"`
	Steps    []netquorum.RolloutStep `json:"steps"`
}

// Progress is how many filers have made their step.
func (r Rollout) Progress() (done, all int) {
	for _, s := range r.Steps {
		if s.State == netquorum.StepDone {
			done++
		}
	}
	return done, len(r.Steps)
}

// A RolloutAction is what somebody asks of the rollout that is open.
type RolloutAction string

const (
	RolloutConfirm RolloutAction = "confirm" // keep the change
	RolloutRevert  RolloutAction = "revert"  // put back what it changed
	RolloutResume  RolloutAction = "resume"  // go on after it was stopped
)

// A RolloutRequest steers the rollout that is open.
type RolloutRequest struct {
	Action RolloutAction `json:"action"`
	// Force lets a resumed rollout make steps that leave no quorum meanwhile.
	Force bool `json:"force,omitempty"`
	// Without are filers that are away and no longer waited for.
	Without []string `json:"without,omitempty"`
	Actor   string   `json:"-"`
}

var (
	queryConfirm     = query{name: "confirm", kind: "string", text: "Take a change that needs a rollout back unless it is confirmed within this time, like 2m."}
	queryForce       = query{name: "force", kind: "boolean", text: "Roll out what may leave the cluster without a quorum."}
	queryStepTimeout = query{name: "stepTimeout", kind: "string", text: "How long a filer tries to be within reach with a change until it goes back, like 15s."}
)

// rolloutParams reads what the query says of a rollout.
func rolloutParams(r *http.Request) (o RolloutOptions, err error) {
	for name, d := range map[string]*Duration{"confirm": &o.Confirm, "stepTimeout": &o.Timeout} {
		if v := param(r, name); v != "" {
			if err := d.UnmarshalText([]byte(v)); err != nil {
				return o, usage("%s: %v", name, err)
			}
		}
	}
	o.Force, err = boolParam(r, "force")
	return o, err
}

// maxStep bounds one filer's step: for so long, others may be without it.
const maxStep = Duration(10 * time.Minute)

// check refuses times that make no sense.
func (o RolloutOptions) check() error {
	switch {
	case o.Confirm < 0:
		return usage("confirm %s is in the past", time.Duration(o.Confirm))
	case o.Timeout < 0 || o.Timeout > maxStep:
		return usage("a step of %s: it may take up to %s", time.Duration(o.Timeout), time.Duration(maxStep))
	}
	return nil
}

func (s *Server) getRollout(w http.ResponseWriter, r *http.Request) error {
	res, err := s.backend.Rollout(r.Context())
	if err != nil {
		return err
	}
	return answer(w, res)
}

func (s *Server) postRollout(w http.ResponseWriter, r *http.Request) error {
	var req RolloutRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	switch req.Action {
	case RolloutConfirm, RolloutRevert, RolloutResume:
	default:
		return usage("action %q is none of confirm, revert, resume", req.Action)
	}
	req.Actor = actorOf(r)
	res, err := s.backend.SteerRollout(r.Context(), req)
	if err != nil {
		return err
	}
	return answer(w, res)
}
