package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

func (t *tool) interfaceCommand() *cobra.Command {
	var filer string
	var watch bool
	cmd := &cobra.Command{
		Use:   "interface [NAME]",
		Short: "Show the states of interfaces and of their members",
		Long: `Show the states of this filer's interfaces, or of another filer's: running, up
(works and is not trusted or used yet), failed, inactive (works, another member
is in use), standby (the same by configuration) or offline. With a NAME, show that
one in detail: members, LACP, probe targets and findings. It works without a
quorum and before the filer is in a cluster.`,
		Example: `  netquorum interface
  netquorum interface bond0 --filer filer2
  netquorum interface --watch
  netquorum interface -o json | jq '.interfaces[] | select(.state == "failed") | .name'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: t.completeInterface,
	}
	cmd.Flags().StringVar(&filer, "filer", "", "ask this filer's monitor instead of that of the filer at hand")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show changes as they happen, until interrupted")
	cmd.RegisterFlagCompletionFunc("filer", func(cmd *cobra.Command, _ []string, part string) ([]string, cobra.ShellCompDirective) {
		return t.completeFiler(cmd, nil, part)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := ""
		if len(args) > 0 {
			parsed, err := netquorum.ParseInterfaceName(args[0])
			if err != nil {
				return api.Refuse(api.ErrUsage, err.Error(), nil)
			}
			name = string(parsed)
		}
		if watch {
			return t.watchInterfaces(cmd, filer, name)
		}
		var r api.InterfaceReport
		err := t.call(cmd, "asking the monitor", func(ctx context.Context, c *api.Client) (err error) {
			r, err = c.Interfaces(ctx, filer)
			return err
		})
		if err != nil {
			return err
		}
		if name == "" {
			return t.print(r, func() error { return t.showInterfaces(r, time.Now()) })
		}
		i := slices.IndexFunc(r.Interfaces, func(g api.GroupStatus) bool { return g.Name == name })
		if i < 0 {
			return api.Refuse(api.ErrNotFound, fmt.Sprintf("%s has no interface %s", nameOr(r.Filer, "this filer"), name), nil)
		}
		return t.print(r.Interfaces[i], func() error { return t.showInterface(r.Interfaces[i], r.Findings, time.Now()) })
	}
	cmd.AddCommand(t.interfaceNextCommand())
	return cmd
}

// completeInterface completes the name of an interface of this filer.
func (t *tool) completeInterface(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	c := api.NewClient(t.socket)
	defer c.Close()
	filer, _ := cmd.Flags().GetString("filer")
	r, err := c.Interfaces(ctx, filer)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, g := range r.Interfaces {
		names = append(names, g.Name)
	}
	return withPrefix(names, part), cobra.ShellCompDirectiveNoFileComp
}

func (t *tool) showInterfaces(r api.InterfaceReport, now time.Time) error {
	table := newTable("INTERFACE", "LAYER", "STATE", "SINCE", "BELOW", "REASON")
	for _, g := range r.Interfaces {
		since := g.Since
		table.row(g.Name, string(g.Layer), string(g.State), ago(&since, now), groupBelow(g), g.Reason)
	}
	if len(r.Interfaces) == 0 {
		t.printf("%s has no interfaces that are watched.\n", nameOr(r.Filer, "This filer"))
	} else if err := table.write(t.out); err != nil {
		return err
	}
	t.showInterfaceFindings(r.Findings, "")
	return nil
}

// groupBelow names what an interface stands on, with the states of members that
// do not run, and the one in use marked.
func groupBelow(g api.GroupStatus) string {
	if g.Parent != "" {
		return g.Parent
	}
	var parts []string
	for _, m := range g.Members {
		part := m.Name
		if m.Name == g.Active {
			part += "*"
		}
		if m.State != "running" {
			part += ":" + string(m.State)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " ")
}

func (t *tool) showInterface(g api.GroupStatus, findings []api.InterfaceFinding, now time.Time) error {
	since := g.Since
	t.printf("%s: %s, %s since %s%s\n", g.Name, g.Layer, g.State, ago(&since, now), prefixed(": ", g.Reason))
	if g.Parent != "" {
		t.printf("on %s\n", g.Parent)
	}
	t.printf("addresses %d, routes %d%s\n", g.Addresses, g.Routes, faults(g.Faults))
	if l := g.LACP; l != nil {
		t.printf("LACP: partner %s, aggregator %d with %s, rate %s\n", l.Partner, l.Aggregator, count(l.Ports, "port"), l.Rate)
	}
	if err := t.showMembers(g); err != nil {
		return err
	}
	if len(g.Probes) > 0 {
		table := newTable("PROBE TARGET", "WHY", "STATE", "ANSWERED")
		for _, p := range g.Probes {
			table.row(p.Address.String(), p.Reason, p.State, ago(p.Answered, now))
		}
		t.printf("\n")
		if err := table.write(t.out); err != nil {
			return err
		}
	}
	t.showInterfaceFindings(findings, g.Name)
	return nil
}

func faults(n int) string {
	if n == 0 {
		return ""
	}
	return ", " + count(n, "fault") + " within a minute"
}

func (t *tool) showMembers(g api.GroupStatus) error {
	if len(g.Members) == 0 {
		return nil
	}
	members := newTable("MEMBER", "STATE", "IN USE", "REASON")
	ports := newTable("MEMBER", "SPEED", "AGGREGATOR", "SWITCH", "SIDE", "CHURN", "PORT STATE")
	lacp := false
	for _, m := range g.Members {
		members.row(m.Name, string(m.State), yesNo(m.Name == g.Active || g.Active == "" && m.State == "running"), m.Reason)
		if l := m.LACP; l != nil {
			lacp = true
			ports.row(m.Name, strings.TrimSpace(number(l.Speed)+" "+l.Duplex), number(l.Aggregator), l.Partner, "filer", l.ActorChurn, strings.Join(l.Actor, " "))
			ports.row(m.Name, "", "", "", "switch", l.PartnerChurn, strings.Join(l.PartnerState, " "))
		}
	}
	t.printf("\n")
	if err := members.write(t.out); err != nil || !lacp {
		return err
	}
	t.printf("\n")
	return ports.write(t.out)
}

// showInterfaceFindings prints findings, of one interface if it is named.
func (t *tool) showInterfaceFindings(findings []api.InterfaceFinding, of string) {
	begun := false
	for _, f := range findings {
		if of != "" && f.Interface != of {
			continue
		}
		if !begun {
			t.printf("\nNeeds attention:\n")
			begun = true
		}
		t.printf("  %s\n", strings.Join(wrap(findingLine(f), lineWidth-4), "\n    "))
	}
}

func findingLine(f api.InterfaceFinding) string {
	return fmt.Sprintf("%s: %s; %s [%s]", f.Interface, f.Message, f.Advice, f.Code)
}

// watchInterfaces shows changes until it is interrupted.
func (t *tool) watchInterfaces(cmd *cobra.Command, filer, name string) error {
	c := api.NewClient(t.socket)
	defer c.Close()
	for e, err := range c.WatchInterfaces(cmd.Context(), filer) {
		if cmd.Context().Err() != nil {
			return nil // interrupted: that is how a watch ends
		}
		if err != nil {
			return err
		}
		if name != "" && e.Report == nil && e.Interface != name {
			continue
		}
		if err := t.showInterfaceEvent(e, name); err != nil {
			return err
		}
	}
	return nil
}

func (t *tool) showInterfaceEvent(e api.InterfaceEvent, name string) error {
	switch t.output {
	case formatJSON:
		return json.NewEncoder(t.out).Encode(e)
	case formatYAML:
		t.printf("---\n")
	}
	return t.print(e, func() error {
		if e.Report == nil {
			t.printf("%s\n", eventLine(e))
			return nil
		}
		for _, g := range e.Report.Interfaces {
			if name == "" || g.Name == name {
				t.printf("%s\n", eventLine(api.InterfaceEvent{Time: e.Time, Interface: g.Name, State: g.State, Reason: g.Reason}))
			}
		}
		return nil
	})
}

// eventLine is one change in a line.
func eventLine(e api.InterfaceEvent) string {
	at := e.Time.Local().Format("15:04:05.000")
	if e.Finding != nil {
		what := "found"
		if e.Gone {
			what = "no longer"
		}
		return fmt.Sprintf("%s  %s: %s", at, what, findingLine(*e.Finding))
	}
	name := e.Interface
	if e.Member != "" {
		name += "/" + e.Member
	}
	was := ""
	if e.Was != "" {
		was = string(e.Was) + " -> "
	}
	return fmt.Sprintf("%s  %s: %s%s%s", at, name, was, e.State, prefixed(": ", e.Reason))
}
