package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

func (t *tool) watchCommand() *cobra.Command {
	var from uint64
	var diff bool
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Show changes as they are committed",
		Long: `Show changes as they are committed, until interrupted. With -o json, one change a
line. With --from, what was committed after that revision comes first.`,
		Example: `  netquorum watch
  netquorum watch --from 42 --diff
  netquorum watch -o json | jq -r .actor`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().Uint64Var(&from, "from", 0, "begin after this revision instead of with the next change")
	cmd.Flags().BoolVar(&diff, "diff", false, "show how each document changed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var after *netquorum.Revision
		if cmd.Flags().Changed("from") {
			after = (*netquorum.Revision)(&from)
		}
		c := api.NewClient(t.socket)
		defer c.Close()
		for change, err := range c.Watch(cmd.Context(), after) {
			if cmd.Context().Err() != nil {
				return nil // interrupted: that is how a watch ends
			}
			if err != nil {
				return err
			}
			if err := t.showWatched(change, diff); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

func (t *tool) showWatched(c api.Change, diff bool) error {
	switch t.output {
	case formatJSON:
		return json.NewEncoder(t.out).Encode(c)
	case formatYAML:
		t.printf("---\n")
	}
	return t.print(c, func() error {
		t.showChange(c, diff)
		return nil
	})
}
