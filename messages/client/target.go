package client

import (
	"context"
	"fmt"

	"github.com/netquorum/netquorum/api"
)

// Ready waits until somebody handles messages for a target: its filer is within
// reach and the service is served there. Nobody has to wait before sending;
// messages do that by themselves.
func (c *Client) Ready(ctx context.Context, t api.MessageTarget) error {
	ctx, cancel := c.joined(ctx)
	defer cancel()
	last := api.TargetState{Reason: "nothing is known yet"}
	err := c.follow(ctx, t, func(st api.TargetState) bool {
		last = st
		return !st.Up()
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%s is not up: %s: %w", t, last.Reason, err)
	}
	return err
}

// Watch calls back with the state of a target, now and whenever it changes, one
// call after the other, until stop is called, which waits for the call under way.
// A filer that is lost is a call with Reachable unset, and so is a daemon that is.
// The error of done is nil after stop, and a refusal otherwise.
func (c *Client) Watch(t api.MessageTarget, call func(api.TargetState)) (stop func(), done <-chan error) {
	ctx, cancel := context.WithCancel(c.life)
	ended := make(chan error, 1)
	exited := make(chan struct{})
	started := c.spawn(func() {
		defer close(exited)
		err := c.follow(ctx, t, func(st api.TargetState) bool {
			if ctx.Err() == nil {
				call(st)
			}
			return ctx.Err() == nil
		})
		if ctx.Err() != nil {
			err = nil
		}
		ended <- err
	})
	if !started {
		ended <- ErrClosed
		close(exited)
	}
	return func() { cancel(); <-exited }, ended
}

// follow tells of a target's states until it is told to stop, the context ends or
// the daemon refuses.
func (c *Client) follow(ctx context.Context, t api.MessageTarget, tell func(api.TargetState) bool) error {
	wait := c.pause()
	lost := false
	for {
		for st, err := range c.api.WatchTarget(ctx, t) {
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil && !passing(err):
				return err
			case err != nil && !lost:
				lost = true
				if !tell(api.TargetState{Reason: err.Error()}) {
					return nil
				}
			case err == nil:
				lost, wait = false, c.pause()
				if !tell(st) {
					return nil
				}
			}
		}
		if err := wait.wait(ctx); err != nil {
			return err
		}
	}
}
