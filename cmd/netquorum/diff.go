package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

func (t *tool) diffCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "diff -f FILE",
		Short: "Compare documents in files with the cluster's",
		Long: `Compare documents in files with the cluster's, as lines of YAML: what apply would
change. No rule is checked; "netquorum apply --dry-run" does that too, and shows
what each filer would do.`,
		Example: `  netquorum diff -f cluster.yaml
  netquorum dump | ssh other-site netquorum diff -f -`,
		Args: cobra.NoArgs,
	}
	addFileFlag(cmd, &files, "file with documents, - for standard input; may be repeated")
	cmd.MarkFlagRequired("file")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		docs, err := t.readDocuments(files)
		if err != nil {
			return err
		}
		return t.showDifference(cmd, docs, false)
	}
	return cmd
}

// showDifference prints how the cluster's documents would change; with whole,
// those that the files lack would be deleted.
func (t *tool) showDifference(cmd *cobra.Command, docs []netquorum.Document, whole bool) error {
	var have api.DocumentList
	err := t.call(cmd, "reading the configuration", func(ctx context.Context, c *api.Client) (err error) {
		have, err = c.List(ctx, api.Linearizable)
		return err
	})
	if err != nil {
		return err
	}
	changes := difference(have.Documents, docs, whole)
	return t.print(changes, func() error {
		for _, c := range changes {
			t.printf("%s", c.Diff)
		}
		return nil
	})
}

func difference(have, want []netquorum.Document, whole bool) []api.DocumentChange {
	changes := []api.DocumentChange{}
	compare := func(k netquorum.Key, before, after *netquorum.Document) {
		if text := netquorum.FormatDiff(before, after); text != "" {
			changes = append(changes, api.DocumentChange{Kind: k.Kind, Name: k.Name, Before: before, After: after, Diff: text})
		}
	}
	left := map[netquorum.Key]*netquorum.Document{} // in the cluster and not yet compared
	for i, d := range have {
		left[d.Key().Fold()] = &have[i]
	}
	for i, d := range want {
		compare(d.Key(), left[d.Key().Fold()], &want[i])
		delete(left, d.Key().Fold())
	}
	if !whole {
		return changes
	}
	for i, d := range have {
		if left[d.Key().Fold()] != nil {
			compare(d.Key(), &have[i], nil)
		}
	}
	return changes
}
