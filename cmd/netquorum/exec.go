package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/behalf"
	"github.com/netquorum/netquorum/behalf/sockhook"
)

func (t *tool) execCommand() *cobra.Command {
	var server, address string
	cmd := &cobra.Command{
		Use:   "exec --vserver NAME [--address ADDRESS] -- COMMAND [ARG...]",
		Short: "Run a command as a virtual server",
		Long: `Run a command on this filer that speaks as a virtual server which is hosted
here: with its address as the source and by its routes, whatever the command is.
It becomes the command: input, output, signals, and the exit code are its own.
Errors before that have netquorum's own exit codes, 1 to 4.

The command, and what it starts, is put into a control group with small BPF
programs at its socket hooks. With a VRF they make each socket belong to it, as
"ip vrf exec" does. Without one they bind sockets to the server's address when
they connect, send or are bound to the wildcard address; ping and others that use
neither TCP nor UDP reach the server's own subnets. What the server has no route
to, or no address for, is refused with "Operation not permitted", so that nothing
is said in the filer's name by mistake. It is no prison: a command that binds to
another address itself gets it.

This needs root, and a kernel with CONFIG_CGROUP_BPF, Linux 5.7 or newer. Names
are looked up as the command does it, with the server's address.`,
		Example: `  netquorum exec --vserver vsvra -- ping -c 1 10.9.0.1
  netquorum exec --vserver vsvra --address 10.9.0.12 -- ldapsearch -H ldap://10.8.0.5`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("a command to run is missing")
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // what follows the command is the command's
	f.StringVar(&server, "vserver", "", "the virtual server or service to speak as")
	f.StringVar(&address, "address", "", "which of its addresses, if not the one that its routes prefer")
	_ = cmd.MarkFlagRequired("vserver")
	_ = cmd.RegisterFlagCompletionFunc("vserver", func(cmd *cobra.Command, _ []string, part string) ([]string, cobra.ShellCompDirective) {
		return t.completeServer(cmd, nil, part)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var only netip.Addr
		if address != "" {
			var err error
			if only, err = netip.ParseAddr(address); err != nil {
				return api.Refuse(api.ErrUsage, "--address: "+err.Error(), nil)
			}
		}
		path, err := exec.LookPath(args[0])
		if err != nil {
			return api.Refuse(api.ErrUsage, err.Error(), nil)
		}
		var id behalf.Identity
		err = t.call(cmd, "asking the daemon", func(ctx context.Context, c *api.Client) (err error) {
			id, err = behalf.Find(ctx, c, server)
			return err
		})
		if err != nil {
			return err
		}
		if only.IsValid() {
			if id, err = id.Only(only); err != nil {
				return err
			}
		}
		return become(id, path, args)
	}
	return cmd
}

// become turns this process into a command that speaks as a server. It returns
// only when it cannot.
func become(id behalf.Identity, path string, args []string) error {
	rules, err := id.Rules(nil)
	if err == nil {
		err = sockhook.Enter(rules)
	}
	if err != nil {
		return fmt.Errorf("this filer cannot run commands as %s: %w", id.Server, err)
	}
	err = syscall.Exec(path, args, os.Environ())
	return api.Refuse(api.ErrUsage, fmt.Sprintf("%s: %v", path, err), nil)
}
