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
	before := map[netquorum.Key]*netquorum.Document{}
	for i, d := range have {
		before[d.Key().Fold()] = &have[i]
	}
	changes := []api.DocumentChange{}
	for i := range want {
		d := &want[i]
		b := before[d.Key().Fold()]
		delete(before, d.Key().Fold())
		if text := api.Diff(b, d); text != "" {
			changes = append(changes, api.DocumentChange{Kind: d.Kind, Name: d.Name, Before: b, After: d, Diff: text})
		}
	}
	if !whole {
		return changes
	}
	for i := range have {
		d := &have[i]
		if before[d.Key().Fold()] != nil {
			changes = append(changes, api.DocumentChange{Kind: d.Kind, Name: d.Name, Before: d, Diff: api.Diff(d, nil)})
		}
	}
	return changes
}
