package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/api"
)

func (t *tool) restoreCommand() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Replace the whole configuration by a dump",
		Long: `Replace the whole configuration by that of a dump, in one transaction. Documents
that the file lacks are deleted: to change only some, use apply. FILE is - for
standard input.`,
		Example: `  netquorum restore cluster.yaml --dry-run
  netquorum restore cluster.yaml`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would change, as diff does; change nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		docs, err := t.readDocuments(args)
		if err != nil {
			return err
		}
		if dryRun {
			return t.showDifference(cmd, docs, true)
		}
		var res api.RestoreResult
		t.bePatient(cmd)
		err = t.call(cmd, "restoring "+count(len(docs), "document"), func(ctx context.Context, c *api.Client) (err error) {
			res, err = c.Restore(ctx, docs)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(res, func() error {
			t.printf("revision %d: the configuration is the file's %s\n", res.Revision, count(res.Documents, "document"))
			return nil
		})
	}
	return cmd
}
