package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

func (t *tool) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [FILER]",
		Short: "Show how the cluster is, or one filer in detail",
		Long: `Show how the cluster is as this filer sees it: filers, virtual servers, and what
needs attention. With the name of a filer, show that one in detail. It works
without a quorum.`,
		Example: `  netquorum status
  netquorum status filer2
  netquorum status -o json | jq '.servers[] | {name, host}'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: t.completeFiler,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var st api.Status
		err := t.call(cmd, "asking the filers", func(ctx context.Context, c *api.Client) (err error) {
			st, err = c.Status(ctx)
			return err
		})
		if err != nil {
			return err
		}
		now := time.Now()
		if len(args) == 0 {
			return t.print(st, func() error { return t.showStatus(st, now) })
		}
		i := slices.IndexFunc(st.Filers, func(f api.FilerStatus) bool { return strings.EqualFold(f.Name, args[0]) })
		if i < 0 {
			return api.Refuse(api.ErrNotFound, "the cluster has no filer "+args[0], nil)
		}
		return t.print(st.Filers[i], func() error { return t.showFiler(st.Filers[i], now) })
	}
	return cmd
}

func (t *tool) showStatus(st api.Status, now time.Time) error {
	if !t.showHead(st) {
		return nil
	}
	filers := newTable("FILER", "ROLE", "STATE", "REVISION", "APPLIED", "CACHED", "HASH", "BOOT CACHE", "SEEN")
	for _, f := range st.Filers {
		filers.row(f.Name, string(f.Role), string(f.State), number(f.Committed), number(f.Applied),
			number(f.Cached), shortHash(f.StateHash), bootCache(f.BootCache), ago(f.Seen, now))
	}
	t.printf("\n")
	if err := filers.write(t.out); err != nil {
		return err
	}
	if len(st.Servers) > 0 {
		t.printf("\n")
		if err := serverTable(st.Servers).write(t.out); err != nil {
			return err
		}
	}
	t.showAttention(st, now)
	return nil
}

// showHead prints the state of the whole. It reports whether there is more.
func (t *tool) showHead(st api.Status) bool {
	switch {
	case st.State == api.StateUnconfigured:
		t.printf("This filer is in no cluster. `netquorum init` forms one, `netquorum join` enters one.\n")
	case st.Quorum:
		t.printf("Cluster %s: quorum, leader %s, revision %d\n", st.Cluster, st.Leader, st.Commit)
	default:
		t.printf("Cluster %s: NO QUORUM; what follows is what %s knew last, at revision %d\n", nameOr(st.Cluster, "?"), nameOr(st.Filer, "this filer"), st.Commit)
	}
	if st.State != api.StateRunning && st.State != api.StateUnconfigured {
		t.printf("This filer is %s.\n", st.State)
	}
	if st.Message != "" {
		t.printf("%s\n", st.Message)
	}
	if r := st.Rollout; r != nil && r.Open {
		t.printf("%s\n", rolloutLine(*r))
	}
	if a := st.Authority; a != nil && a.Open() {
		t.printf("%s\n", authorityLine(*a))
	}
	return st.State != api.StateUnconfigured
}

// showAttention prints what an operator should look at.
func (t *tool) showAttention(st api.Status, now time.Time) {
	var lines []string
	if r := st.Rollout; r != nil && r.Open && r.Failure != "" {
		lines = append(lines, fmt.Sprintf("%s: %s; `netquorum rollout resume` tries again, `netquorum revert` takes it back", r.Name, r.Failure))
	} else if r != nil && r.Open && r.Waiting != "" {
		lines = append(lines, r.Name+" waits: "+r.Waiting)
	}
	if a := st.Authority; a != nil && !a.Open() {
		for _, r := range a.Revoked {
			lines = append(lines, r.Name+" was revoked and holds the key of the cluster's authority; change that with `netquorum authority rotate`")
		}
	}
	for _, f := range st.Filers {
		if f.Role == api.RoleUnreachable {
			line := f.Name + " does not report"
			if f.Seen != nil {
				line += ", last seen " + ago(f.Seen, now)
			}
			lines = append(lines, line)
		}
		for _, c := range f.BootCache {
			if c.State != "valid" {
				lines = append(lines, fmt.Sprintf("%s: boot cache %s is %s%s", f.Name, c.File, c.State, prefixed(": ", c.Detail)))
			}
		}
		for _, e := range f.Errors {
			since := e.Since
			lines = append(lines, fmt.Sprintf("%s: %s: %s (since %s)", f.Name, e.Object, e.Message, ago(&since, now)))
		}
		for _, d := range f.Drifts {
			if d.Next != nil && !reported(f.Errors, d.Object) {
				lines = append(lines, fmt.Sprintf("%s: %s: %s", f.Name, d.Object, driftText(d, now)))
			}
		}
	}
	lines = append(lines, linkTroubles(st.Filers, now)...)
	for _, f := range st.Filers {
		for _, x := range f.Troubles {
			since := x.Since
			lines = append(lines, fmt.Sprintf("%s: %s is %s: %s (since %s)", f.Name, x.Name, x.State, x.Reason, ago(&since, now)))
		}
		for _, x := range f.Findings {
			lines = append(lines, f.Name+": "+findingLine(x))
		}
	}
	for _, finding := range st.Findings {
		lines = append(lines, fmt.Sprintf("%s: %s [%s]", finding.Document, finding.Message, finding.Code))
	}
	if other := differentHashes(st.Filers); other != "" {
		lines = append(lines, other)
	}
	if len(lines) == 0 {
		return
	}
	t.printf("\nNeeds attention:\n")
	for _, line := range lines {
		t.printf("  %s\n", strings.Join(wrap(line, lineWidth-4), "\n    "))
	}
}

// differentHashes looks for what must never happen: two filers at one revision
// with different states.
func differentHashes(filers []api.FilerStatus) string {
	type seen struct{ filer, hash string }
	at := map[uint64]seen{}
	for _, f := range filers {
		if f.StateHash == "" || f.Role == api.RoleUnreachable {
			continue
		}
		first, ok := at[uint64(f.Committed)]
		if ok && first.hash != f.StateHash {
			return fmt.Sprintf("%s and %s have DIFFERENT STATES at revision %d; keep a dump of each and report this", first.filer, f.Name, f.Committed)
		}
		at[uint64(f.Committed)] = seen{f.Name, f.StateHash}
	}
	return ""
}

// showFiler prints one filer in detail.
func (t *tool) showFiler(f api.FilerStatus, now time.Time) error {
	t.printf("%s: %s, %s, version %s, seen %s\n", f.Name, f.Role, nameOr(string(f.State), "state unknown"), nameOr(f.Version, "unknown"), ago(f.Seen, now))
	t.printf("id %s\n", nameOr(string(f.ID), "none"))
	t.printf("revision %d, applied %d, cached %d, state %s\n", f.Committed, f.Applied, f.Cached, nameOr(f.StateHash, "unknown"))
	for _, c := range f.BootCache {
		t.printf("boot cache %s: %s\n", c.File, joinNonEmpty(c.State, prefixed("revision ", number(c.Revision)), c.Detail))
	}
	if f.Lease != nil {
		t.printf("lease: %s\n", leaseText(*f.Lease, now))
	}
	if len(f.Links) > 0 {
		links := newTable("INTERFACE", "LAYER", "STATE", "MTU", "BELOW", "SERVER", "ADDRESSES")
		for _, l := range f.Links {
			links.row(l.Name, nameOr(string(l.Layer), "port"), l.State, number(l.MTU), below(l), l.Server, prefixes(l.Addresses))
		}
		t.printf("\n")
		if err := links.write(t.out); err != nil {
			return err
		}
	}
	if len(f.Features) > 0 {
		features := newTable("KERNEL FEATURE", "AVAILABLE", "DETAIL")
		for _, k := range f.Features {
			features.row(k.Name, yesNo(k.Available), k.Detail)
		}
		t.printf("\n")
		if err := features.write(t.out); err != nil {
			return err
		}
	}
	for i, e := range f.Errors {
		if i == 0 {
			t.printf("\nErrors, retried until they succeed:\n")
		}
		since := e.Since
		t.printf("  %s: %s (since %s)\n", e.Object, e.Message, ago(&since, now))
	}
	for i, d := range f.Drifts {
		if i == 0 {
			t.printf("\nChanged by somebody else, and put right:\n")
		}
		t.printf("  %s\n", strings.Join(wrap(d.Object+": "+driftText(d, now), lineWidth-4), "\n    "))
	}
	return nil
}

// below names what an interface stands on, with the member in use marked.
func below(l api.InterfaceStatus) string {
	if l.Parent != "" {
		return l.Parent
	}
	var parts []string
	for _, m := range l.Members {
		if m == l.Active {
			m += "*"
		}
		parts = append(parts, m)
	}
	return strings.Join(parts, "+")
}

func bootCache(copies []api.BootCopy) string {
	valid := 0
	for _, c := range copies {
		if c.State == "valid" {
			valid++
		}
	}
	switch {
	case len(copies) == 0:
		return ""
	case valid == len(copies):
		return "ok"
	}
	return fmt.Sprintf("%d of %d", valid, len(copies))
}

func leaseText(l api.Lease, now time.Time) string {
	if !l.Held || !l.Expires.After(now) {
		return "not held"
	}
	return fmt.Sprintf("held for %s", l.Expires.Sub(now).Round(time.Millisecond))
}

func prefixes(ps []netip.Prefix) string {
	parts := make([]string, len(ps))
	for i, p := range ps {
		parts[i] = p.String()
	}
	return strings.Join(parts, ", ")
}

// ago says how long ago something was, to the precision a reader wants.
func ago(at *time.Time, now time.Time) string {
	if at == nil || at.IsZero() {
		return "-"
	}
	d := now.Sub(*at)
	switch {
	case d < 2*time.Second:
		return "now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	}
	return fmt.Sprintf("%dd ago", int(d.Hours()/24))
}

func shortHash(h string) string { return h[:min(len(h), 8)] }

// number leaves out a zero, which means that nothing is known.
func number[N int | netquorum.Revision](n N) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
