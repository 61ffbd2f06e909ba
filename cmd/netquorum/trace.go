package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/trace"
)

func (t *tool) traceCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "trace ID",
		Short: "Show what a request led to, on all filers",
		Long: `Show what a request led to on all filers, in the order in which it began: the
requests that filers sent each other, the commit, its application on each filer,
the pass over its kernel, and what was logged meanwhile. A command that fails says
its id, every command does with -v, and history -o json shows that of each change.

Filers remember in memory what they lately did: traces are for what has just
happened. It works without a quorum; filers that do not answer are named.`,
		Example: `  netquorum apply -v -f site.yaml
  netquorum trace 4f1c09aa83b2d6e7
  netquorum trace 4f1c09aa83b2d6e7 -o json | jq '.entries[] | select(.outcome)'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := trace.Parse(args[0])
			if err != nil {
				return api.Refuse(api.ErrUsage, err.Error(), nil)
			}
			var r api.Trace
			err = t.call(cmd, "asking all filers", func(ctx context.Context, c *api.Client) (err error) {
				r, err = c.Trace(ctx, id)
				return err
			})
			if err != nil {
				return err
			}
			if err := t.print(r, func() error { return t.showTrace(r) }); err != nil {
				return err
			}
			if len(r.Entries)+len(r.Changes) == 0 {
				return api.Refuse(api.ErrNotFound, "no filer that answers remembers "+id.String(), nil)
			}
			return nil
		},
	}
}

func (t *tool) showTrace(r api.Trace) error {
	if len(r.Entries) > 0 {
		table := newTable("TIME", "FILER", "TOOK", "WHAT")
		for _, e := range r.Entries {
			what := e.What
			if e.Kind == api.TraceLog {
				what = "log: " + what
			}
			table.row(e.Time.Local().Format("15:04:05.000000"), e.Filer, tookText(e), what+prefixed(": ", e.Outcome))
		}
		if err := table.write(t.out); err != nil {
			return err
		}
	}
	for _, c := range r.Changes {
		t.printf("Revision %d was committed so, by %s: netquorum history --revision %d\n", c.Revision, orDash(c.Actor), c.Revision)
	}
	for _, m := range r.Missing {
		t.printf("%s did not answer: %s\n", m.Filer, m.Error)
	}
	return nil
}

func tookText(e api.TraceEntry) string {
	if e.Kind != api.TraceSpan {
		return ""
	}
	return fmt.Sprint(time.Duration(e.Took) * time.Microsecond)
}
