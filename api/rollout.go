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
