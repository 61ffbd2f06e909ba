package api

import "context"

// Rollout tells of the rollout that is open or was the last. ErrNotFound when
// there was none.
func (c *Client) Rollout(ctx context.Context) (r Rollout, err error) {
	return r, c.get(ctx, "/v1/rollout", nil, &r)
}

// SteerRollout confirms, reverts or resumes the rollout that is open.
func (c *Client) SteerRollout(ctx context.Context, req RolloutRequest) (r Rollout, err error) {
	return r, c.send(ctx, "POST", "/v1/rollout", nil, req, &r)
}
