package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/api"
)

// version is stamped by the build: -ldflags "-X main.version=v1.2.3".
var version = "devel"

func (t *tool) versionCommand() *cobra.Command {
	var client bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show the versions of this tool and of the daemon",
		Example: "  netquorum version --client -o json",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&client, "client", false, "only this tool's")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out := struct {
			Client api.Version  `json:"client"`
			Daemon *api.Version `json:"daemon,omitempty"`
		}{Client: api.Version{Version: version, Go: runtime.Version(), API: api.APIVersion}}
		var unreachable error
		if !client {
			unreachable = t.call(cmd, "asking the daemon", func(ctx context.Context, c *api.Client) error {
				v, err := c.Version(ctx)
				if err == nil {
					out.Daemon = &v
				}
				return err
			})
		}
		return t.print(out, func() error {
			t.printf("netquorum %s\n", describe(out.Client))
			switch {
			case out.Daemon != nil:
				t.printf("daemon    %s\n", describe(*out.Daemon))
			case unreachable != nil:
				t.printf("daemon    unknown: %v\n", unreachable) // not this command's failure
			}
			return nil
		})
	}
	return cmd
}

func describe(v api.Version) string { return fmt.Sprintf("%s, %s, API %s", v.Version, v.Go, v.API) }
