package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// stems are what the names of interfaces that are not the machine's begin with.
var stems = []string{"bond", "data", "fail", "mgmt", "san"}

// A freeName is what `interface next` prints.
type freeName struct {
	Name netquorum.InterfaceName `json:"name"`
}

func (t *tool) interfaceNextCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "next STEM",
		Short: "Show the next free name for an interface",
		Long: `Show the next free name for a bond, a failover interface or an alias: the first
that no filer, group, virtual server, service or policy of the cluster speaks of.
STEM is bond, fail, mgmt, data or san.`,
		Example: `  netquorum interface next data
  netquorum interface next bond -o json`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return withPrefix(stems, part), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var list api.DocumentList
			err := t.call(cmd, "reading", func(ctx context.Context, c *api.Client) (err error) {
				list, err = c.List(ctx, api.Linearizable)
				return err
			})
			if err != nil {
				return err
			}
			name, err := netquorum.NextInterface(slices.Values(list.Documents), args[0])
			if err != nil {
				return api.Refuse(api.ErrUsage, err.Error(), nil)
			}
			return t.print(freeName{name}, func() error {
				t.printf("%s\n", name)
				return nil
			})
		},
	}
}
