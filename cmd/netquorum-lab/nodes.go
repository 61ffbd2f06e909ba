package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/lab"
)

func shellCommand(w *where) *cobra.Command {
	return &cobra.Command{
		Use:   "shell NODE",
		Short: "Open a shell in a node",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			shell := os.Getenv("SHELL")
			if shell == "" {
				shell = "/bin/sh"
			}
			inNode := lab.Command(cmd.Context(), shell)
			inNode.Env = append(inNode.Env, `PS1=`+args[0]+`:\w\$ `)
			return attached(w, args[0], inNode)
		},
	}
}

func execCommand(w *where) *cobra.Command {
	return &cobra.Command{
		Use:     "exec NODE -- COMMAND [ARG ...]",
		Short:   "Run a command in a node",
		Example: "  netquorum-lab exec client -- ping -c3 10.2.2.1",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return attached(w, args[0], lab.Command(cmd.Context(), args[1], args[2:]...))
		},
	}
}

// attached runs a command in a node with this program's own input and output.
func attached(w *where, node string, cmd *exec.Cmd) error {
	l, err := w.open()
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return l.Run(node, cmd)
}

func linkCommand(w *where) *cobra.Command {
	return &cobra.Command{
		Use:   "link down|up NODE INTERFACE",
		Short: "Pull one cable, or plug it in again",
		Example: `  netquorum-lab link down filer1 eth0
  netquorum-lab link down sw1 sw2        # between two switches`,
		Args: cobra.ExactArgs(3),
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] != "up" && args[0] != "down" {
				return fmt.Errorf("a link goes up or down, not %q", args[0])
			}
			l, err := w.open()
			if err != nil {
				return err
			}
			return l.SetLink(args[1], args[2], args[0] == "up")
		},
	}
}

func cablesCommand(w *where, name string, in bool) *cobra.Command {
	short := map[bool]string{true: "Plug in all cables of nodes", false: "Pull all cables of nodes"}
	return simple(w, name+" NODE ...|--all", short[in], func(l *lab.Lab, names []string) error {
		return l.SetCables(in, names...)
	})
}

func partitionCommand(w *where) *cobra.Command {
	return &cobra.Command{
		Use:   "partition NODE ...",
		Short: "Cut nodes off from all others; they still reach each other",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := w.open()
			if err != nil {
				return err
			}
			return l.Partition(args...)
		},
	}
}

func healCommand(w *where) *cobra.Command {
	return &cobra.Command{
		Use:   "heal",
		Short: "End all partitions",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			l, err := w.open()
			if err != nil {
				return err
			}
			return l.Heal()
		},
	}
}

func killCommand(w *where) *cobra.Command {
	var daemon bool
	c := simple(w, "kill NODE ...|--all", "Cut the power of nodes, or kill the daemon only", func(l *lab.Lab, names []string) error {
		if !daemon {
			return l.Kill(names...)
		}
		return each(names, l.KillDaemon)
	})
	c.Flags().BoolVar(&daemon, "daemon", false, "kill the filer's daemon only; its kernel stays as it is")
	return c
}

func startCommand(w *where) *cobra.Command {
	return simple(w, "start NODE ...|--all", "Switch nodes on, and start the daemons that do not run", func(l *lab.Lab, names []string) error {
		if err := l.Power(names...); err != nil {
			return err
		}
		filers := map[string]bool{}
		for _, f := range l.Topology().FilerNames() {
			filers[f] = true
		}
		return each(names, func(n string) error {
			if !filers[n] || !l.HasDaemon() {
				return nil
			}
			return l.StartDaemon(n)
		})
	})
}

func powerCycleCommand(w *where) *cobra.Command {
	var cablesOut bool
	c := simple(w, "power-cycle NODE ...|--all", "Cut the power of nodes and switch them on again; only their disks stay", func(l *lab.Lab, names []string) error {
		return l.PowerCycle(cablesOut, names...)
	})
	c.Flags().BoolVar(&cablesOut, "cables-out", false, "pull all their cables meanwhile; plug puts them in again")
	return c
}

// simple makes a command that does one thing to nodes.
func simple(w *where, use, short string, do func(*lab.Lab, []string) error) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   use,
		Short: short,
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := w.open()
			if err != nil {
				return err
			}
			names, err := nodes(l, args, all)
			if err != nil {
				return err
			}
			return do(l, names)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "all filers")
	return c
}

func each(names []string, do func(string) error) error {
	for _, n := range names {
		if err := do(n); err != nil {
			return err
		}
	}
	return nil
}

func logsCommand(w *where) *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:   "logs FILER",
		Short: "Print what a filer's daemon has logged",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := w.open()
			if err != nil {
				return err
			}
			if follow {
				tail := exec.CommandContext(cmd.Context(), "tail", "-n", "+1", "-F", l.LogFile(args[0]))
				tail.Stdout, tail.Stderr = os.Stdout, os.Stderr
				return tail.Run()
			}
			f, err := os.Open(l.LogFile(args[0]))
			if err != nil {
				return fmt.Errorf("%s has logged nothing: %w", args[0], err)
			}
			defer f.Close()
			_, err = io.Copy(cmd.OutOrStdout(), f)
			return err
		},
	}
	c.Flags().BoolVar(&follow, "follow", false, "go on as more is logged")
	return c
}
