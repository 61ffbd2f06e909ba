package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/failover"
)

// A reporter tells the leader how far this filer is, several times a second,
// and keeps the lease that the answers renew.
type reporter struct {
	lease    *failover.Lease
	interval time.Duration
	now      func() time.Time
	log      *slog.Logger
	// report makes the next report; send takes it to whoever leads now.
	report func() report
	send   func(ctx context.Context, r report) (failover.Grant, error)
	// wake makes the next report come at once.
	wake chan struct{}
	// follows is the newest revision in this filer's state.
	follows func() netquorum.Revision
	// gained is called when the right to host begins, or its end moved so that
	// a pass planned for the old end has to be planned again.
	gained func()
}

// Run reports until the context ends. A report that is not answered within two
// intervals is given up: by then its answer would be worth little.
func (r *reporter) Run(ctx context.Context) error {
	ticker := time.NewTicker(r.interval)
	defer ticker.Stop()
	silent := true // say once that the leader is out of reach, not at each report
	for {
		sent := r.now()
		_, held := r.lease.Held(sent, r.follows())
		call, cancel := context.WithTimeout(ctx, 2*r.interval)
		grant, err := r.send(call, r.report())
		cancel()
		switch {
		case err == nil:
			r.lease.Renew(grant, sent)
			if _, now := r.lease.Held(r.now(), r.follows()); now && !held {
				r.gained()
			}
			if silent {
				r.log.Info("the leader grants leases to this filer")
			}
			silent = false
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			if !silent {
				r.log.Warn("no lease from a leader", "error", err)
			}
			silent = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		case <-r.wake:
		}
	}
}

// Wake asks for a report at once: something happened that the leader should know.
func (r *reporter) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
