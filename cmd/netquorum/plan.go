package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

func (t *tool) planCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "plan [-f FILE]",
		Short: "Show what each filer would do, and whom that interrupts",
		Long: `Show what each filer would do if the documents were applied: the exact steps, in
the order in which they would be carried out, and which of them interrupt
traffic, for whom, and whether for an instant or until the change is undone.
Nothing is changed.

Without documents, show what each filer would do now: nothing, unless its kernel
is not as the configuration asks.`,
		Example: `  netquorum plan -f bond-under-management.yaml
  netquorum plan
  netquorum plan -f new.yaml -o json | jq '.plans[].impacts[]? | select(.lasting)'`,
		Args: cobra.NoArgs,
	}
	addFileFlag(cmd, &files, "file with documents, - for standard input; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		req := api.ApplyRequest{DryRun: true}
		if len(files) > 0 {
			docs, err := t.readDocuments(files)
			if err != nil {
				return err
			}
			for _, d := range docs {
				req.Puts = append(req.Puts, api.Put{Document: d})
			}
		}
		var res api.ApplyResult
		err := t.call(cmd, "asking the filers", func(ctx context.Context, c *api.Client) (err error) {
			res, err = c.Apply(ctx, req)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(res, func() error {
			t.showPlans(res)
			return nil
		})
	}
	return cmd
}

// dryRun shows what a transaction would do, to the documents and to the filers.
func (t *tool) dryRun(res api.ApplyResult) {
	for _, c := range res.Changes {
		t.printf("%s", c.Diff)
	}
	t.showPlans(res)
	t.printf("dry run at revision %d: %s would change, nothing was done\n", res.Revision, count(res.Changed, "document"))
}

func (t *tool) showPlans(res api.ApplyResult) {
	for _, filer := range slices.Sorted(maps.Keys(res.Plans)) {
		t.showPlan(filer, res.Plans[filer])
	}
	if res.Guarded != "" {
		t.printf("it would be rolled out filer by filer: %s\n", res.Guarded)
	}
	for _, why := range res.Unsafe {
		t.printf("it would have to be forced: %s\n", why)
	}
	for _, s := range res.Grounded {
		t.printf("%s would go down with its filer's links: no other filer can host it\n", s)
	}
	for _, s := range res.Stranded {
		t.printf("%s would lose its last filer: %s\n", s.Key, whyNot(s.Candidates))
	}
}

func (t *tool) showPlan(filer string, p api.Plan) {
	switch {
	case p.Unknown != "":
		t.printf("%s would do: unknown, %s\n", filer, p.Unknown)
		return
	case len(p.Steps) == 0:
		t.printf("%s would do: nothing\n", filer)
	default:
		t.printf("%s would do:\n  %s\n", filer, strings.Join(p.Steps, "\n  "))
	}
	for _, problem := range p.Problems {
		t.printf("%s cannot have %s\n", filer, problem)
	}
	for _, i := range p.Impacts {
		for_ := "for an instant"
		if i.Lasting {
			for_ = "until the change is undone"
		}
		if len(i.Denied) > 0 {
			t.printf("%s would turn away new connections to %s: %s\n", filer, interrupted(i), strings.Join(i.Denied, "; "))
			continue
		}
		t.printf("%s would interrupt %s %s, by: %s\n", filer, interrupted(i), for_, p.Steps[i.Step])
	}
	if len(p.Steps) > 0 && len(p.Impacts) == 0 {
		t.printf("%s would interrupt nobody\n", filer)
	}
}

// interrupted says who loses traffic: servers by name, then addresses, and
// interfaces where there are none.
func interrupted(i api.Impact) string {
	var who []string
	for _, s := range i.Servers {
		who = append(who, s.String())
	}
	if len(i.Addresses) > 0 {
		who = append(who, prefixes(i.Addresses))
	}
	on := strings.Join(i.Interfaces, ", ")
	if len(who) == 0 {
		return on
	}
	return fmt.Sprintf("%s on %s", strings.Join(who, ", "), on)
}

// whyNot says what each filer of a server's group lacks.
func whyNot(candidates []netquorum.Candidate) string {
	if len(candidates) == 0 {
		return "its group would have no filers"
	}
	var parts []string
	for _, c := range candidates {
		if c.Eligible() {
			parts = append(parts, c.Filer+" is away")
			continue
		}
		names := make([]string, len(c.Missing))
		for i, m := range c.Missing {
			names[i] = string(m)
		}
		parts = append(parts, fmt.Sprintf("%s would have no %s", c.Filer, strings.Join(names, ", ")))
	}
	return strings.Join(parts, "; ")
}
