package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/trace"
)

// A tool is one invocation of the command line.
type tool struct {
	in       io.Reader
	out, err io.Writer

	socket  string
	output  string
	timeout time.Duration
	trace   string
	verbose bool

	asked   bool // the daemon was asked for something
	running bool // past the command line: errors are no longer usage errors
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	t := &tool{in: stdin, out: stdout, err: stderr}
	root := t.command()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	code := t.report(cmd, err)
	t.reportTrace(code)
	return code
}

const rootHelp = `netquorum keeps one network configuration for a cluster of filers, makes each
filer's kernel follow it, and moves virtual servers between filers when
something breaks.

"netquorum serve" is the daemon. All other commands talk to the daemon of this
filer over its local socket.

Exit codes: 0 done, 1 refused, 2 wrong usage, 3 unreachable or no quorum,
4 timed out.`

func (t *tool) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "netquorum",
		Short:         "The network brain of a clustered filer",
		Long:          rootHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return api.Refuse(api.ErrUsage, "a command is missing", nil)
		},
	}
	root.SetIn(t.in)
	root.SetOut(t.out)
	root.SetErr(t.err)
	socket := os.Getenv("NETQUORUM_SOCKET")
	if socket == "" {
		socket = api.DefaultSocket
	}
	f := root.PersistentFlags()
	f.StringVar(&t.socket, "socket", socket, "the daemon's socket (or set NETQUORUM_SOCKET)")
	f.StringVarP(&t.output, "output", "o", formatTable, "form of the output: table, json or yaml")
	f.DurationVar(&t.timeout, "timeout", 30*time.Second, "how long to wait for the daemon and the cluster")
	root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	f.StringVar(&t.trace, "trace", "", "id under which filers remember what this leads to, 16 hexadecimal digits; made when not given")
	f.BoolVarP(&t.verbose, "verbose", "v", false, "say the id of the trace, for netquorum trace")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if !slices.Contains(formats, t.output) {
			return fmt.Errorf("-o %s is none of %s", t.output, strings.Join(formats, ", "))
		}
		if t.timeout <= 0 {
			return fmt.Errorf("--timeout %s is not above zero", t.timeout)
		}
		return t.beginTrace(cmd)
	}
	root.AddCommand(
		t.serveCommand(), t.initCommand(), t.tokenCommand(), t.joinCommand(),
		t.applyCommand(), t.planCommand(), t.diffCommand(), t.validateCommand(), t.getCommand(), t.deleteCommand(),
		t.rolloutCommand(), t.confirmCommand(), t.revertCommand(),
		t.dumpCommand(), t.restoreCommand(), t.historyCommand(), t.watchCommand(),
		t.authorityCommand(), t.filerCommand(), t.partnerCommand(), t.streamCommand(),
		t.statusCommand(), t.statisticsCommand(), t.execCommand(), t.interfaceCommand(), t.linksCommand(), t.messageCommand(), t.schemaCommand(), t.versionCommand(), t.traceCommand(),
	)
	root.SetHelpCommand(helpCommand(root))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	t.markRunning(root)
	return root
}

// helpCommand is cobra's, but for a mistyped topic being an error.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command",
		ValidArgsFunction: func(_ *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if at, _, err := root.Find(args); err == nil {
				for _, sub := range at.Commands() {
					names = append(names, sub.Name())
				}
			}
			return withPrefix(names, part), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			of, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return api.Refuse(api.ErrUsage, "there is no command "+strings.Join(args, " "), nil)
			}
			of.InitDefaultHelpFlag()
			return of.Help()
		},
	}
}

// markRunning makes every command note that its command line was good.
func (t *tool) markRunning(cmd *cobra.Command) {
	if inner := cmd.RunE; inner != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			t.running = true
			return inner(cmd, args)
		}
	}
	if cmd.HasSubCommands() && cmd.RunE == nil && cmd.Run == nil {
		cmd.Args = cobra.NoArgs // an unknown subcommand is an error, not a reason to print help
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			return fmt.Errorf("%s needs one of its commands", cmd.CommandPath())
		}
	}
	for _, sub := range cmd.Commands() {
		t.markRunning(sub)
	}
}

// report prints the error of a command, if any, and returns the exit code.
func (t *tool) report(cmd *cobra.Command, err error) int {
	if err == nil {
		return api.ExitDone
	}
	if !t.running {
		err = api.Refuse(api.ErrUsage, err.Error(), nil)
	}
	e := api.ErrorOf(err)
	name := "netquorum"
	if cmd != nil {
		name = cmd.CommandPath()
	}
	switch lines := strings.Split(e.Error(), "\n"); {
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(t.err, "%s: interrupted\n", name)
	case e.Code == api.ErrUsage:
		fmt.Fprintf(t.err, "%s: %s\nSee \"%s --help\".\n", name, e, name)
	case e.Code == api.ErrNotFound || e.Code == api.ErrCompacted || e.Code == api.ErrElsewhere || !e.Code.Refusal():
		fmt.Fprintf(t.err, "%s: %s\n", name, e)
	case len(lines) > 1:
		fmt.Fprintf(t.err, "%s: refused, nothing was changed: %d problems\n  %s\n", name, len(lines), strings.Join(lines, "\n  "))
	default:
		fmt.Fprintf(t.err, "%s: refused, nothing was changed: %s\n", name, e)
	}
	if e.Revision != 0 {
		fmt.Fprintf(t.err, "Revision %d stays committed; `netquorum status` shows which filers follow it.\n", e.Revision)
	}
	return api.ExitCode(err)
}

// beginTrace gives all that the command asks for one trace.
func (t *tool) beginTrace(cmd *cobra.Command) error {
	id := trace.New()
	if t.trace != "" {
		var err error
		if id, err = trace.Parse(t.trace); err != nil {
			return fmt.Errorf("--trace: %w", err)
		}
	}
	t.trace = id.String()
	cmd.SetContext(trace.With(cmd.Context(), id))
	return nil
}

// reportTrace says under which id to look for what the command led to: when asked
// to, and when something went wrong beyond this process.
func (t *tool) reportTrace(code int) {
	if t.asked && (t.verbose || code != api.ExitDone) {
		fmt.Fprintf(t.err, "Trace %s\n", t.trace)
	}
}

// patience is how long a command waits that talks to machines which may be slow
// to answer, unless the user says.
const patience = 2 * time.Minute

func (t *tool) bePatient(cmd *cobra.Command) {
	if !cmd.Flags().Changed("timeout") {
		t.timeout = patience
	}
}

// call talks to the daemon within the time-out. what says, for whoever waits
// at a terminal, what is being waited for.
func (t *tool) call(cmd *cobra.Command, what string, f func(ctx context.Context, c *api.Client) error) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), t.timeout)
	defer cancel()
	c := api.NewClient(t.socket)
	defer c.Close()
	t.asked = true
	done := t.progress(what)
	defer done()
	return f(ctx, c)
}
