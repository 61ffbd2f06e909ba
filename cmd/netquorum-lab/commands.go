package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/lab"
)

// where is which lab a command means.
type where struct{ dir, name string }

// open finds the lab: the named one, or the only one.
func (w *where) open() (*lab.Lab, error) {
	name := w.name
	if name == "" {
		names, err := lab.List(w.dir)
		if err != nil {
			return nil, err
		}
		switch len(names) {
		case 0:
			return nil, fmt.Errorf("no lab is up; netquorum-lab up -f TOPOLOGY makes one")
		case 1:
			name = names[0]
		default:
			return nil, fmt.Errorf("there are several labs (%s); name one with --lab", strings.Join(names, ", "))
		}
	}
	return lab.Open(w.dir, name)
}

func root() *cobra.Command {
	w := &where{}
	c := &cobra.Command{
		Use:   "netquorum-lab",
		Short: "Filers, switches and clients in network namespaces, running the real daemon",
		Example: `  netquorum-lab up -f examples/single-nic.topology.yaml --apply examples/single-nic.yaml
  netquorum-lab exec filer1 -- netquorum status
  netquorum-lab link down filer1 eth0
  netquorum-lab power-cycle --all --cables-out
  netquorum-lab down`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.PersistentFlags().StringVar(&w.dir, "dir", lab.DefaultDir, "where labs are kept, the disks of their filers too")
	c.PersistentFlags().StringVar(&w.name, "lab", "", "name of the lab (default: the only one that is up)")
	c.AddCommand(upCommand(w), downCommand(w), statusCommand(w), listCommand(w), shellCommand(w), execCommand(w),
		linkCommand(w), cablesCommand(w, "plug", true), cablesCommand(w, "unplug", false), partitionCommand(w), healCommand(w),
		killCommand(w), startCommand(w), powerCycleCommand(w), logsCommand(w), demoCommand())
	return c
}

func upCommand(w *where) *cobra.Command {
	var file, binary, apply string
	c := &cobra.Command{
		Use:   "up -f TOPOLOGY [-- DAEMON-COMMAND ...]",
		Short: "Build a lab, switch it on, and form a cluster in it if asked",
		Args:  cobra.ArbitraryArgs,
		Example: `  netquorum-lab up -f examples/single-nic.topology.yaml
  netquorum-lab up -f examples/single-nic.topology.yaml --apply examples/single-nic.yaml
  netquorum-lab up -f my.yaml -- netquorum serve --log-level debug`,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := lab.ReadTopology(file)
			if err != nil {
				return err
			}
			if binary == "" {
				binary = besides("netquorum")
			}
			l, err := lab.New(t, lab.Options{Name: w.name, Dir: w.dir, Binary: binary, Command: args})
			if err != nil {
				return err
			}
			if err := l.Up(cmd.Context()); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "lab %s is up: %d filers, %d clients, %d switches\n", l.Name(), len(t.Filers), len(t.Clients), len(t.Switches))
			if apply == "" {
				return nil
			}
			return l.Form(cmd.Context(), apply, cmd.OutOrStdout())
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "topology file")
	c.Flags().StringVar(&binary, "binary", "", "the daemon's binary (default: netquorum beside this program, if it is there)")
	c.Flags().StringVar(&apply, "apply", "", "form a cluster of all filers with the configuration of this file")
	c.MarkFlagRequired("file")
	return c
}

// besides finds another program in this one's directory.
func besides(name string) string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

func downCommand(w *where) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "down [LAB]",
		Short: "Take a lab away: processes, namespaces, disks",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := lab.List(w.dir)
			if err != nil {
				return err
			}
			switch {
			case len(args) == 1:
				names = args
			case w.name != "":
				names = []string{w.name}
			case len(names) > 1 && !all:
				return fmt.Errorf("there are several labs (%s); name one, or use --all", strings.Join(names, ", "))
			}
			for _, name := range names {
				if err := lab.Down(w.dir, name); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&all, "all", false, "all labs")
	return c
}

func listCommand(w *where) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Name the labs that are up",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names, err := lab.List(w.dir)
			for _, n := range names {
				fmt.Fprintln(cmd.OutOrStdout(), n)
			}
			return err
		},
	}
}

func statusCommand(w *where) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the nodes of a lab",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := w.open()
			if err != nil {
				return err
			}
			nodes, err := l.Status()
			if err != nil {
				return err
			}
			switch format {
			case "json":
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(nodes)
			case "table":
				return printNodes(cmd.OutOrStdout(), nodes)
			}
			return fmt.Errorf("there is no output format %q; use table or json", format)
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	return c
}

func printNodes(out io.Writer, nodes []lab.NodeStatus) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tKIND\tPOWER\tDAEMON\tPART\tUNPLUGGED\tNAMESPACE")
	for _, n := range nodes {
		power, daemon, unplugged := "off", "-", "-"
		if n.On {
			power = "on"
		}
		if n.Daemon != 0 {
			daemon = fmt.Sprint(n.Daemon)
		}
		if len(n.Unplugged) > 0 {
			unplugged = strings.Join(n.Unplugged, ",")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", n.Name, n.Kind, power, daemon, n.Part, unplugged, n.Namespace)
	}
	return t.Flush()
}

// nodes returns those named in args, or all filers.
func nodes(l *lab.Lab, args []string, all bool) ([]string, error) {
	switch {
	case all && len(args) > 0:
		return nil, fmt.Errorf("either name nodes or use --all")
	case all:
		return l.Topology().FilerNames(), nil
	case len(args) == 0:
		return nil, fmt.Errorf("name the nodes, or use --all for all filers")
	}
	return slices.Clone(args), nil
}
