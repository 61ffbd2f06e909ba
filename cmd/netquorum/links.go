package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/api"
)

func (t *tool) linksCommand() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "links [FILER]",
		Short: "Show the links to other filers and their paths",
		Long: `Show how this filer, or the one named with --from, reaches the others: each path
with its state, round trip time and what is sent on it, and how often data went
on by another path. With a FILER, show the link to that one in detail. It works
without a quorum.`,
		Example: `  netquorum links
  netquorum links filer2
  netquorum links --from filer3
  netquorum links -o json | jq '.links[].paths[] | select(.state != "up")'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: t.completeFiler,
	}
	cmd.Flags().StringVar(&from, "from", "", "ask this filer for its links instead of the one at hand")
	cmd.RegisterFlagCompletionFunc("from", func(cmd *cobra.Command, _ []string, part string) ([]string, cobra.ShellCompDirective) {
		return t.completeFiler(cmd, nil, part)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var r api.LinkReport
		err := t.call(cmd, "asking for links", func(ctx context.Context, c *api.Client) (err error) {
			r, err = c.Links(ctx, from)
			return err
		})
		if err != nil {
			return err
		}
		now := time.Now()
		if len(args) == 0 {
			return t.print(r, func() error { return t.showLinks(r) })
		}
		i := slices.IndexFunc(r.Links, func(l api.Link) bool { return strings.EqualFold(l.Filer, args[0]) })
		if i < 0 {
			return api.Refuse(api.ErrNotFound, fmt.Sprintf("%s has no link to %s", nameOr(r.Filer, "this filer"), args[0]), nil)
		}
		return t.print(r.Links[i], func() error { return t.showLink(r.Links[i], now) })
	}
	return cmd
}

// showLinks prints a line for each path; what is the link's stands in its first.
func (t *tool) showLinks(r api.LinkReport) error {
	if len(r.Links) == 0 {
		t.printf("%s has no links to other filers.\n", nameOr(r.Filer, "This filer"))
		return nil
	}
	table := newTable("FILER", "KIND", "PATH", "STATE", "RTT", "IN USE", "SWITCHES", "SENT/RESENT/DUP")
	table.mayStandBelow("PATH", "FILER")
	for _, l := range r.Links {
		own := []string{fmt.Sprint(l.Switches), strings.Join([]string{bytesText(l.Sent), bytesText(l.Resent), bytesText(l.Duplicates)}, "/")}
		for _, p := range l.Paths {
			table.row(append([]string{l.Filer, p.Kind, pathText(p), p.State, roundTripText(p), usesText(p.Uses)}, own...)...)
			own = []string{"", ""}
		}
		if len(l.Paths) == 0 {
			table.row(append([]string{l.Filer, l.Kind, "", string(l.State), "", ""}, own...)...)
		}
	}
	return table.write(t.out)
}

func (t *tool) showLink(l api.Link, now time.Time) error {
	head := fmt.Sprintf("%s: %s%s%s", l.Filer, l.State, prefixed(" over ", l.Kind), prefixed(": ", l.Reason))
	t.printf("%s\n", strings.Join(wrap(head, lineWidth-2), "\n  "))
	if l.Since != nil {
		t.printf("made %s, %s, %s\n", ago(l.Since, now), count(l.Streams, "stream"), times(l.Switches, "went on by another path"))
		t.printf("sent %s, received %s, resent %s, duplicates %s\n", bytesText(l.Sent), bytesText(l.Received), bytesText(l.Resent), bytesText(l.Duplicates))
	}
	t.printf("\n")
	table := newTable("PATH", "KIND", "STATE", "SINCE", "RTT", "IN USE", "SENT", "RECEIVED", "FAILURE")
	table.mayStandBelow("PATH")
	for _, p := range l.Paths {
		table.row(pathText(p), p.Kind, p.State, ago(p.Since, now), roundTripText(p), usesText(p.Uses), bytesText(p.Sent), bytesText(p.Received), p.Failure)
	}
	return table.write(t.out)
}

// linkTroubles are the paths that do not work, each as one of its ends tells it.
// A filer that is gone is reported as such.
func linkTroubles(filers []api.FilerStatus, now time.Time) []string {
	var lines []string
	told := map[[2]string]bool{}
	for _, f := range filers {
		for _, l := range f.Peers {
			i := slices.IndexFunc(filers, func(o api.FilerStatus) bool { return strings.EqualFold(o.Name, l.Filer) })
			if i < 0 || filers[i].Role == api.RoleUnreachable || told[[2]string{l.Filer, f.Name}] {
				continue
			}
			for _, p := range l.Paths {
				if p.State != "up" && p.State != "suspect" {
					lines = append(lines, fmt.Sprintf("%s: path %s to %s is %s%s%s", f.Name, pathText(p), l.Filer, p.State,
						prefixed(": ", p.Failure), when(p.Since != nil, " (since "+ago(p.Since, now)+")")))
					told[[2]string{f.Name, l.Filer}] = true
				}
			}
		}
	}
	return lines
}

func times(n uint64, what string) string {
	if n == 1 {
		return what + " once"
	}
	return fmt.Sprintf("%s %d times", what, n)
}

func pathText(p api.LinkPath) string { return nameOr(p.Local, "*") + " -> " + p.Remote }

func roundTripText(p api.LinkPath) string {
	if p.RoundTrip == 0 {
		return ""
	}
	return fmt.Sprintf("%.2fms", float64(p.RoundTrip)/1000)
}

// usesText is short for what is sent on a path.
func usesText(classes []string) string {
	switch {
	case len(classes) == 0:
		return "no"
	case slices.Equal(classes, []string{"urgent"}):
		return "urgent"
	case slices.Contains(classes, "control") && slices.Contains(classes, "bulk"):
		return "yes"
	}
	return strings.Join(classes, "+")
}

// bytesText is a number of bytes in few characters.
func bytesText(n uint64) string {
	const units = "KMGTPE"
	if n < 10_000 {
		return fmt.Sprint(n)
	}
	v, unit := float64(n)/1000, 0
	for ; v >= 9_999.5 && unit < len(units)-1; unit++ {
		v /= 1000
	}
	return fmt.Sprintf("%.0f%c", v, units[unit])
}
