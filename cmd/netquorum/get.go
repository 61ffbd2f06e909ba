package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

func (t *tool) getCommand() *cobra.Command {
	var stale, effective bool
	cmd := &cobra.Command{
		Use:   "get [KIND [NAME]]",
		Short: "Show documents",
		Long: `Show the documents that users write, those of one kind, or one document. One
document is shown as YAML unless -o says otherwise.

Kinds are named in any case, in the plural too, and VirtualServer may be called
vserver and FilerGroup group.

With --effective, show what holds for a cluster, group, filer, virtual server or
service, with what it inherits, and which document each value comes from.`,
		Example: `  netquorum get
  netquorum get filers
  netquorum get vserver VsvrA
  netquorum get --effective vserver/VsvrA
  netquorum get placements -o json`,
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: t.completeKindAndName(1),
	}
	cmd.Flags().BoolVar(&stale, "stale", false, "answer from this filer's copy, even without a quorum")
	cmd.Flags().BoolVar(&effective, "effective", false, "show what holds for one document, inherited or not, and from where")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cons := api.Linearizable
		if stale {
			cons = api.Stale
		}
		if effective {
			return t.getEffective(cmd, args, cons)
		}
		if len(args) == 2 {
			return t.getOne(cmd, args[0], args[1], cons)
		}
		var kinds []netquorum.Kind
		if len(args) == 1 {
			k, err := api.ParseKind(args[0])
			if err != nil {
				return err
			}
			kinds = append(kinds, k)
		}
		var list api.DocumentList
		err := t.call(cmd, "reading", func(ctx context.Context, c *api.Client) (err error) {
			list, err = c.List(ctx, cons, kinds...)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(list.Documents, func() error { return documentTable(list.Documents).write(t.out) })
	}
	return cmd
}

func (t *tool) getOne(cmd *cobra.Command, kindName, name string, cons api.Consistency) error {
	kind, err := api.ParseKind(kindName)
	if err != nil {
		return err
	}
	var d netquorum.Document
	err = t.call(cmd, "reading", func(ctx context.Context, c *api.Client) (err error) {
		d, err = c.Get(ctx, kind, name, cons)
		return err
	})
	if err != nil {
		return err
	}
	if !cmd.Flags().Changed("output") { // a table of one thing hides what it is
		t.output = formatYAML
		t.printf("# revision %d\n", d.Revision) // for --if-revision
	}
	return t.print(d, func() error { return documentTable([]netquorum.Document{d}).write(t.out) })
}

func documentTable(docs []netquorum.Document) *table {
	tab := newTable("KIND", "NAME", "REVISION", "SUMMARY")
	for _, d := range docs {
		tab.row(string(d.Kind), d.Name, fmt.Sprint(d.Revision), summary(d))
	}
	return tab
}

// summary says in a few words what a document is.
func summary(d netquorum.Document) string {
	switch s := d.Spec.(type) {
	case *netquorum.Cluster:
		return "mac " + s.MAC.String()
	case *netquorum.Routes:
		return joinNonEmpty(when(s.VRF, "vrf"), count(len(s.Routes), "route"))
	case *netquorum.Application:
		var ports []string
		for _, p := range s.Ports {
			ports = append(ports, p.String())
		}
		return joinNonEmpty(string(s.Class), strings.Join(ports, ", "))
	case *netquorum.Access:
		return joinNonEmpty(count(len(s.Rules), "rule"), "default "+string(s.Default))
	case *netquorum.FilerGroup:
		return joinNonEmpty(count(len(s.Interfaces), "interface"), prefixed("routes ", s.Routes), prefixed("access ", s.Access),
			prefixed("for servers: routes ", s.Servers.Routes), prefixed("for servers: access ", s.Servers.Access))
	case *netquorum.Filer:
		return joinNonEmpty(prefixed("group ", s.Group), count(len(s.Interfaces), "interface"), prefixed("routes ", s.Routes), prefixed("access ", s.Access))
	case *netquorum.VirtualServer:
		var addresses []string
		for _, a := range s.Addresses {
			addresses = append(addresses, fmt.Sprintf("%s on %s", a.Prefix, a.Alias))
		}
		return joinNonEmpty(prefixed("group ", s.Group), prefixed("routes ", s.Routes), prefixed("access ", s.Access), strings.Join(addresses, ", "))
	case *netquorum.Service:
		var addresses []string
		for _, a := range s.Addresses {
			addresses = append(addresses, fmt.Sprintf("%s on %s", a.Prefix, a.Alias))
		}
		return joinNonEmpty(prefixed("group ", s.Group), prefixed("routes ", s.Routes), prefixed("access ", s.Access), strings.Join(addresses, ", "))
	case *netquorum.Record:
		return joinNonEmpty(prefixed("type ", s.Type), count(len(s.Data), "byte"))
	case *netquorum.Member:
		return joinNonEmpty("id "+string(s.ID), strings.Join(s.Endpoints, ", "))
	case *netquorum.Placement:
		return fmt.Sprintf("on %s, epoch %d", orDash(s.Filer), s.Epoch)
	case *netquorum.Token:
		return prefixed("for ", s.Filer)
	}
	return ""
}

func joinNonEmpty(parts ...string) string {
	kept := parts[:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, ", ")
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func when(cond bool, s string) string {
	if cond {
		return s
	}
	return ""
}
