package main

import (
	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
)

func (t *tool) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Write the JSON Schema of documents, for editors",
		Long: `Write the JSON Schema of the documents of this version. An editor that knows it
completes the YAML and marks mistakes.`,
		Example: `  netquorum schema > netquorum.schema.json
  # then, as the first line of a file:
  # yaml-language-server: $schema=netquorum.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := t.out.Write(netquorum.Schema())
			return err
		},
	}
}
