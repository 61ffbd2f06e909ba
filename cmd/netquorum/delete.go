package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

func (t *tool) deleteCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "delete (KIND NAME... | -f FILE)",
		Short: "Delete documents in one transaction",
		Long: `Delete documents in one transaction: those named, or those that the files hold.
What other documents refer to is not deleted without them.`,
		Example: `  netquorum delete vserver VsvrC
  netquorum delete record backup-plan --if-revision 17
  netquorum delete -f vservers.yaml --dry-run`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(files) > 0 && len(args) > 0:
				return fmt.Errorf("either KIND NAME... or -f FILE, not both")
			case len(files) == 0 && len(args) == 0:
				return fmt.Errorf("nothing to delete: give KIND NAME... or -f FILE")
			case len(args) == 1:
				return fmt.Errorf("which %s? give at least one name", args[0])
			}
			return nil
		},
		ValidArgsFunction: t.completeKindAndName(1 << 10),
	}
	addFileFlag(cmd, &files, "file with the documents to delete, - for standard input; may be repeated")
	flags := addWriteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		keys, err := t.keysToDelete(files, args)
		if err != nil {
			return err
		}
		req, err := flags.request(nil, keys)
		if err != nil {
			return err
		}
		return t.write(cmd, req)
	}
	return cmd
}

func (t *tool) keysToDelete(files, args []string) ([]netquorum.Key, error) {
	var keys []netquorum.Key
	if len(files) > 0 {
		docs, err := t.readDocuments(files)
		for _, d := range docs {
			keys = append(keys, d.Key())
		}
		return keys, err
	}
	kind, err := api.ParseKind(args[0])
	for _, name := range args[1:] {
		keys = append(keys, netquorum.Key{Kind: kind, Name: name})
	}
	return keys, err
}
