package agent

import (
	"context"
	"fmt"
	"reflect"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
)

// A follower gives a new configuration one chance. When steps of it fail, the
// kernel goes back to what it was, and the follower goes on with the
// configuration from before (whose servers still come and go) until the
// configuration changes in what this filer has of it, or the daemon starts
// anew: at boot, a part of it is better than nothing.
//
// Whether a filer's part has changed is seen by what two goals want of the
// kernel for the same servers, not by their revisions: servers move all the
// time, and a move must neither be undone as a whole nor try again what failed.

// A rejection is a configuration that this filer's kernel did not take.
type rejection struct {
	goal   goal
	report netapply.Report
}

// follow makes the kernel match a goal as far as that goes. f.mu is not held:
// only Run calls it.
func (f *follower) follow(ctx context.Context, g goal) (netapply.Report, error) {
	want, err := netapply.Want(g.config, g.filer, g.hosts)
	if err != nil {
		return netapply.Report{}, err
	}
	if f.refused != nil && differs(f.refused.goal, g, want) {
		f.refused = nil
	}
	switch {
	case f.refused != nil:
		return f.instead(ctx, g)
	case f.followed == nil || !differs(*f.followed, g, want):
		f.followed = &g
		return f.apply.Apply(ctx, want)
	}
	report, err := f.apply.Change(ctx, want, f.last.Failures)
	if err != nil || !report.RolledBack {
		f.followed = &g
		return report, err
	}
	f.refused = &rejection{g, report}
	f.log.Error("a configuration was rolled back", "revision", g.revision, "follows", f.followed.revision, "error", report.Err())
	after, err := f.instead(ctx, g)
	after.Steps = append(report.Steps, after.Steps...)
	after.RolledBack = true
	return after, err
}

// instead follows the configuration from before a refused one, with the servers
// that the goal hosts.
func (f *follower) instead(ctx context.Context, g goal) (netapply.Report, error) {
	want, err := netapply.Want(f.followed.config, g.filer, g.hosts)
	if err != nil {
		return netapply.Report{}, err
	}
	report, err := f.apply.Apply(ctx, want)
	report.Failures = append(report.Failures, f.refused.reason(f.followed.revision))
	return report, err
}

// reason says what status shows for as long as the rejection stands.
func (r *rejection) reason(instead netquorum.Revision) netapply.ObjectError {
	return netapply.ObjectError{
		Object: wholeConfiguration,
		Err: fmt.Errorf("revision %d was rolled back on this filer, which follows revision %d instead; change it or put it back: %w",
			r.goal.revision, instead, r.report.Err()),
	}
}

// differs reports whether two goals want different things of the kernel for the
// servers of the second, and wants is what that one wants.
func differs(from, to goal, wants netapply.Desired) bool {
	if from.network == to.network && from.filer == to.filer && from.ahead == to.ahead {
		return false
	}
	before, err := netapply.Want(from.config, from.filer, to.hosts)
	return err != nil || !reflect.DeepEqual(before, wants)
}
