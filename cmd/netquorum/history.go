package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

func (t *tool) historyCommand() *cobra.Command {
	var revision, from, to uint64
	var limit int
	var diff bool
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show past changes: when, by whom, what",
		Example: `  netquorum history
  netquorum history --limit 5 --diff
  netquorum history --revision 42`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.Uint64Var(&revision, "revision", 0, "only this revision, with its diff")
	f.Uint64Var(&from, "from", 0, "first revision")
	f.Uint64Var(&to, "to", 0, "last revision")
	f.IntVar(&limit, "limit", 20, "at most so many changes, the newest unless --from is given; 0 for all")
	f.BoolVar(&diff, "diff", false, "show how each document changed")
	cmd.MarkFlagsMutuallyExclusive("revision", "from")
	cmd.MarkFlagsMutuallyExclusive("revision", "to")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		req := api.HistoryRequest{From: netquorum.Revision(from), To: netquorum.Revision(to), Limit: limit}
		if limit < 0 {
			return api.Refuse(api.ErrUsage, fmt.Sprintf("--limit %d is below zero", limit), nil)
		}
		if revision != 0 {
			req.From, req.To, diff = netquorum.Revision(revision), netquorum.Revision(revision), true
		}
		var changes []api.Change
		err := t.call(cmd, "reading the history", func(ctx context.Context, c *api.Client) (err error) {
			changes, err = c.History(ctx, req)
			return err
		})
		if err != nil {
			return err
		}
		if revision != 0 && len(changes) == 0 {
			return api.Refuse(api.ErrNotFound, fmt.Sprintf("no change has revision %d", revision), nil)
		}
		return t.print(changes, func() error {
			if diff {
				for _, c := range changes {
					t.showChange(c, true)
				}
				return nil
			}
			tab := newTable("REVISION", "TIME", "ACTOR", "DOCUMENTS")
			for _, c := range changes {
				tab.row(fmt.Sprint(c.Revision), clock(c.Time), c.Actor, documentsChanged(c))
			}
			return tab.write(t.out)
		})
	}
	return cmd
}

// showChange prints one change, as history --diff and watch do.
func (t *tool) showChange(c api.Change, diff bool) {
	t.printf("revision %d  %s  %s  %s\n", c.Revision, clock(c.Time), orDash(c.Actor), documentsChanged(c))
	if !diff {
		return
	}
	for _, d := range c.Documents {
		for line := range strings.Lines(d.Diff) {
			t.printf("  %s", line)
		}
	}
}

// documentsChanged says what happened to which documents; of a long list, only
// the beginning.
func documentsChanged(c api.Change) string {
	const most = 4
	var parts []string
	for i, d := range c.Documents {
		if i == most && len(c.Documents) > most+1 {
			parts = append(parts, fmt.Sprintf("and %d more", len(c.Documents)-most))
			break
		}
		parts = append(parts, d.Key().String()+" "+nameOr(rolloutProgress(d.After), d.Verb()))
	}
	return strings.Join(parts, ", ")
}

// clock writes a time in the zone of whoever reads it, which is the filer's.
func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
