package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/api"
)

func (t *tool) dumpCommand() *cobra.Command {
	var stale bool
	cmd := &cobra.Command{
		Use:   "dump",
		Short: "Write the whole configuration as text",
		Long: `Write everything that users configured as text that can be read, edited, and given
to restore or apply: YAML, or with -o json one JSON document a line. What the
cluster writes itself (members, placements, tokens) is not in it, and neither
are secrets.`,
		Example: `  netquorum dump > cluster.yaml
  netquorum dump -o json | jq -c 'select(.kind == "VirtualServer")'`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&stale, "stale", false, "answer from this filer's copy, even without a quorum")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		form, cons := api.DumpYAML, api.Linearizable
		switch {
		case t.output == formatJSON:
			form = api.DumpLines
		case t.output == formatTable && cmd.Flags().Changed("output"):
			return api.Refuse(api.ErrUsage, "a dump is yaml or json", nil)
		}
		if stale {
			cons = api.Stale
		}
		return t.call(cmd, "reading the configuration", func(ctx context.Context, c *api.Client) error {
			return c.Dump(ctx, t.out, form, cons)
		})
	}
	return cmd
}
