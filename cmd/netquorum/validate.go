package main

import (
	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

func (t *tool) validateCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "validate -f FILE",
		Short: "Check a whole configuration without a daemon",
		Long: `Check that the files together are a whole configuration in which no rule is
broken, without a daemon. What is allowed but probably not wanted is shown as a
finding. To check a part against a running cluster, use apply --dry-run.`,
		Example: `  netquorum validate -f cluster.yaml -f vservers.yaml
  netquorum dump | netquorum validate -f -`,
		Args: cobra.NoArgs,
	}
	addFileFlag(cmd, &files, "file with documents, - for standard input; may be repeated")
	cmd.MarkFlagRequired("file")
	cmd.RunE = func(*cobra.Command, []string) error {
		docs, err := t.readDocuments(files)
		if err != nil {
			return err
		}
		config, problems := netquorum.Config{}.Change(docs, nil)
		if len(problems) > 0 {
			return api.Refuse(api.ErrInvalid, "", problems)
		}
		findings := config.Findings()
		return t.print(findings, func() error {
			for _, f := range findings {
				t.printf("%s: %s [%s]\n", f.Document, f.Message, f.Code)
			}
			t.printf("%s, no rule is broken\n", count(len(docs), "document"))
			return nil
		})
	}
	return cmd
}
