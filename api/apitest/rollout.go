package apitest

import (
	"context"

	"github.com/netquorum/netquorum/api"
)

// SetRollout sets the rollout that the backend tells of.
func (b *Backend) SetRollout(r *api.Rollout) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rollout = r
}

// Rollout returns what was set.
func (b *Backend) Rollout(context.Context) (api.Rollout, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rollout == nil {
		return api.Rollout{}, api.Refuse(api.ErrNotFound, "there was no rollout yet", nil)
	}
	return *b.rollout, nil
}

// SteerRollout notes what was asked and returns the rollout as it is.
func (b *Backend) SteerRollout(ctx context.Context, r api.RolloutRequest) (api.Rollout, error) {
	b.mu.Lock()
	if b.rollout != nil {
		b.Steered = append(b.Steered, r)
	}
	b.mu.Unlock()
	return b.Rollout(ctx)
}
