package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/netquorum/netquorum/lab"
	"github.com/netquorum/netquorum/lab/demo"
)

func demoCommand() *cobra.Command {
	var shell bool
	var machine string
	o := demo.Options{}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show a cluster forming, a virtual server answering, and its move to another filer",
		Long: `Show a cluster forming, a virtual server answering, and its move to another filer
when the one that hosts it loses its power. The lab then stays up to be tried.

An example that needs more than this machine's kernel has is shown in a virtual
machine with Debian's kernel.`,
		Example: `  netquorum-lab demo
  netquorum-lab demo --example two-filers --check`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Binary == "" {
				o.Binary = besides("netquorum")
			}
			o.Out = cmd.OutOrStdout()
			if os.Geteuid() != 0 {
				return fmt.Errorf("a lab needs root for its namespaces; run this with sudo")
			}
			missing, err := demo.Missing(o)
			if err != nil {
				return err
			}
			if len(missing) > 0 {
				return inMachine(cmd, machine, o, missing)
			}
			if emulated() {
				// An emulated processor is held up for longer than a real one
				// may be before its filer counts as lost.
				fmt.Fprintln(o.Out, "Time-outs are three times as long in here, as the processor is emulated.")
				o.Command = []string{"netquorum", "serve", "--heartbeat", "600ms"}
			}
			if err := demo.Run(cmd.Context(), o); err != nil {
				return err
			}
			if o.Check {
				return nil
			}
			tryOut(cmd, o)
			if shell {
				return interactive(cmd)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.Example, "example", "single-nic", "name of the example")
	f.StringVar(&o.Examples, "examples", "examples", "directory of the examples")
	f.StringVar(&o.Binary, "binary", "", "the daemon's binary (default: netquorum beside this program)")
	f.BoolVar(&o.Check, "check", false, "leave nothing behind")
	f.BoolVar(&shell, "shell", false, "open a shell when the demonstration is over")
	f.StringVar(&machine, "vm-exec", "test/vm/vm-exec", "what runs a command in the virtual machine")
	return c
}

// emulated reports whether this runs in the virtual machine already.
func emulated() bool { return os.Getenv("NQ_IN_VM") != "" }

// inMachine gives the demonstration in the virtual machine, and says why.
func inMachine(cmd *cobra.Command, machine string, o demo.Options, missing []lab.Feature) error {
	names := make([]string, len(missing))
	for i, f := range missing {
		names[i] = string(f)
	}
	if emulated() {
		return fmt.Errorf("the virtual machine's kernel lacks %s too", strings.Join(names, ", "))
	}
	fmt.Fprintf(o.Out, "This machine's kernel lacks %s, which the example %s needs: showing it in a virtual machine with Debian's kernel.\n", strings.Join(names, ", "), o.Example)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	run, err := filepath.Abs(machine)
	if err != nil {
		return err
	}
	args := []string{self, "demo", "--example", o.Example, "--examples", o.Examples, "--binary", o.Binary}
	env := os.Environ()
	if o.Check || !hasTerminal() {
		args = append(args, "--check")
	} else {
		args = append(args, "--shell")
		env = append(env, "VM_CONSOLE=1", "VM_TIMEOUT=0")
	}
	vm := exec.CommandContext(cmd.Context(), run, args...)
	vm.Env = env
	vm.Cancel = func() error { return vm.Process.Signal(os.Interrupt) } // it ends the machine
	vm.Stdin, vm.Stdout, vm.Stderr = os.Stdin, os.Stdout, os.Stderr
	return vm.Run()
}

// hasTerminal reports whether somebody could use a shell.
func hasTerminal() bool {
	_, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS)
	return err == nil
}

// tryOut tells what to do with a lab that stays up.
func tryOut(cmd *cobra.Command, o demo.Options) {
	self, err := filepath.Rel(".", os.Args[0])
	if err != nil || strings.HasPrefix(self, "..") {
		self = os.Args[0]
	}
	fmt.Fprintf(o.Out, `
The lab stays up. Try:
  %[1]s status                              what is switched on and plugged in
  %[1]s exec filer1 -- netquorum status     how the cluster is
  %[1]s shell filer2                        a shell on a filer
  %[1]s link down filer1 eth0               pull a cable; link up plugs it in
  %[1]s partition filer3                    cut a filer off; heal ends it
  %[1]s power-cycle --all --cables-out      the worst morning; plug --all ends it
  %[1]s logs filer1                         what the daemon says
  %[1]s down demo                           clear it away
`, self)
}

// interactive is for the virtual machine, which ends with its shell.
func interactive(cmd *cobra.Command) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), "\nThis is the virtual machine's shell; leaving it ends the machine.")
	sh := exec.CommandContext(cmd.Context(), "/bin/bash", "--norc")
	sh.Env = append(os.Environ(), "PATH="+filepath.Dir(self)+":"+os.Getenv("PATH"), `PS1=vm:\w# `)
	sh.Stdin, sh.Stdout, sh.Stderr = os.Stdin, os.Stdout, os.Stderr
	sh.Run() // how the user's last command ended does not matter
	return lab.Down("", demo.DefaultName)
}
