package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/api"
)

func (t *tool) clientFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "client", shellClient, "whose: the name that was sent with")
	_ = cmd.RegisterFlagCompletionFunc("client", func(cmd *cobra.Command, _ []string, part string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		c := api.NewClient(t.socket)
		defer c.Close()
		st, _ := c.MessageStatus(ctx) // a shell's completion has no place for an error
		var names []string
		for _, m := range st.Clients {
			names = append(names, m.Client)
		}
		return withPrefix(names, part), cobra.ShellCompDirectiveNoFileComp
	})
}

func (t *tool) messagePendingCommand() *cobra.Command {
	var client string
	cmd := &cobra.Command{
		Use:   "pending [--client NAME]",
		Short: "List messages that have no completion yet",
		Long:  "List a client's messages of this filer that have no completion yet, the oldest first.",
		Example: `  netquorum message pending
  netquorum message pending --client mxa -o json`,
		Args: cobra.NoArgs,
	}
	t.clientFlag(cmd, &client)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var pending []api.PendingMessage
		err := t.call(cmd, "reading", func(ctx context.Context, c *api.Client) (err error) {
			pending, err = c.PendingMessages(ctx, client)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(pending, func() error {
			for _, p := range pending {
				t.printf("%s\n  to %s, %s bytes, sent %s, %s\n", p.ID, p.To, amount(uint64(p.Size)), p.Sent.Format(time.RFC3339), stateOf(p))
			}
			return nil
		})
	}
	return cmd
}

func stateOf(p api.PendingMessage) string {
	text := p.State
	if p.At != "" {
		text += " at " + p.At
	}
	if p.Waiting != "" {
		text += ", waits for " + p.Waiting
	}
	return text
}

func (t *tool) messageResultCommand() *cobra.Command {
	acknowledge := false
	cmd := &cobra.Command{
		Use:   "result ID [--acknowledge]",
		Short: "Wait for the completion of a message",
		Long: `Wait for the completion of a message that was sent, and print the answer as it is.
The exit code is as that of "message call".`,
		Example: `  netquorum message result "$id" --timeout 1h --acknowledge`,
		Args:    cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVar(&acknowledge, "acknowledge", false, "and forget it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		parts := strings.Split(args[0], "/")
		if len(parts) != 4 {
			return api.Refuse(api.ErrUsage, fmt.Sprintf("%q is no id of a message", args[0]), nil)
		}
		return t.result(cmd, args[0], parts[1], acknowledge)
	}
	return cmd
}

func (t *tool) messageCompletionsCommand() *cobra.Command {
	var client string
	var after uint64
	var watch bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "completions [--client NAME] [--after POSITION] [--wait DURATION | --watch]",
		Short: "List completions that were not acknowledged",
		Long: `List the completions that this filer keeps for a client, those it missed first:
until they are acknowledged, or grow too old or too many.`,
		Example: `  netquorum message completions --client mxa
  netquorum message completions --client mxa --watch -o json`,
		Args: cobra.NoArgs,
	}
	t.clientFlag(cmd, &client)
	f := cmd.Flags()
	f.Uint64Var(&after, "after", 0, "only those after this position")
	f.DurationVar(&wait, "wait", 0, "wait for one while there is none")
	f.BoolVar(&watch, "watch", false, "and print those that come, until interrupted")
	cmd.MarkFlagsMutuallyExclusive("wait", "watch")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := api.NewClient(t.socket)
		defer c.Close()
		if watch {
			for done, err := range c.WatchCompletions(cmd.Context(), client, after) {
				if err != nil {
					return err
				}
				if err := t.print(done, func() error { t.showCompletion(done); return nil }); err != nil {
					return err
				}
			}
			return nil
		}
		found, err := c.Completions(cmd.Context(), client, after, 0, wait)
		if err != nil {
			return err
		}
		return t.print(found, func() error {
			for _, done := range found {
				t.showCompletion(done)
			}
			return nil
		})
	}
	return cmd
}

func (t *tool) showCompletion(c api.Completion) {
	t.printf("%d %s %s\n", c.Position, c.Outcome, c.ID)
	by := ""
	if c.By != "" {
		by = ", by " + c.By
	}
	t.printf("  at %s%s, an answer of %s\n", c.At.Format(time.RFC3339), by, count(len(c.Answer), "byte"))
	if c.Error != "" {
		t.printf("  %s\n", strings.Join(wrap(c.Error, lineWidth-2), "\n  "))
	}
}

func (t *tool) messageAcknowledgeCommand() *cobra.Command {
	var client string
	var through uint64
	cmd := &cobra.Command{
		Use:   "acknowledge [--client NAME] (ID... | --through POSITION)",
		Short: "Forget completions that were seen",
		Long:  "Forget completions that a client has seen: those of the messages, or all up to a position.",
		Example: `  netquorum message acknowledge --client mxa --through 17
  netquorum message acknowledge "$id"`,
		Args: func(_ *cobra.Command, args []string) error {
			if (len(args) == 0) == (through == 0) {
				return errors.New("want ids of messages, or --through")
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	t.clientFlag(cmd, &client)
	cmd.Flags().Uint64Var(&through, "through", 0, "all up to this position")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return t.call(cmd, "asking the daemon", func(ctx context.Context, c *api.Client) error {
			return c.AcknowledgeCompletions(ctx, api.Acknowledgement{Client: client, IDs: args, Through: through})
		})
	}
	return cmd
}

func (t *tool) messageWithdrawCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "withdraw ID",
		Short: "Give a message up that is not completed",
		Long: `Give a message up that is not completed. Whether a handler saw it is not known; its
completion says "withdrawn".`,
		Example: `  netquorum message withdraw "$id"`,
		Args:    cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return t.call(cmd, "asking the daemon", func(ctx context.Context, c *api.Client) error { return c.WithdrawMessage(ctx, args[0]) })
	}
	return cmd
}

func (t *tool) messageTargetCommand() *cobra.Command {
	var wait, watch bool
	cmd := &cobra.Command{
		Use:   "target TARGET [--wait | --watch]",
		Short: "Tell whether somebody handles messages for a target",
		Long: `Tell whether a target's filer is within reach and somebody handles messages there.
With --wait, wait until it is so: exit code 4 when the time-out comes first. With
--watch, print each change. Nobody has to wait before sending: messages do.`,
		Example: `  netquorum message target backup@vsvra
  netquorum message target backup@vsvra --wait --timeout 5m && start-backup`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: t.completeTarget,
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until somebody does")
	cmd.Flags().BoolVar(&watch, "watch", false, "print changes until interrupted")
	cmd.MarkFlagsMutuallyExclusive("wait", "watch")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		to, err := api.ParseMessageTarget(args[0])
		if err != nil {
			return err
		}
		show := func(st api.TargetState) error { return t.print(st, func() error { return t.showTarget(to, st) }) }
		if watch {
			c := api.NewClient(t.socket)
			defer c.Close()
			for st, err := range c.WatchTarget(cmd.Context(), to) {
				if err != nil {
					return err
				}
				if err := show(st); err != nil {
					return err
				}
			}
			return nil
		}
		var st api.TargetState
		err = t.call(cmd, "waiting for "+to.String(), func(ctx context.Context, c *api.Client) (err error) {
			if !wait {
				st, err = c.MessageTarget(ctx, to)
				return err
			}
			for latest, err := range c.WatchTarget(ctx, to) {
				if ctx.Err() != nil && cmd.Context().Err() == nil {
					return api.Refuse(api.ErrTimeout, fmt.Sprintf("%s is not up: %s", to, st.Reason), nil)
				}
				if st = latest; err != nil || st.Up() {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		return show(st)
	}
	return cmd
}

func (t *tool) showTarget(to api.MessageTarget, st api.TargetState) error {
	text := fmt.Sprintf("%s: up, on %s", to, st.Filer)
	if !st.Up() {
		text = fmt.Sprintf("%s: not up: %s", to, st.Reason)
	}
	t.printf("%s\n", strings.Join(wrap(text, lineWidth-2), "\n  "))
	return nil
}

func (t *tool) messageStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what this filer holds of messages",
		Long: `Show what this filer holds of messages: its clients with what they have sent and not
heard of, its services with what waits for them, and other filers as targets.`,
		Example: `  netquorum message status
  netquorum message status -o json | jq '.services[] | select(.served | not)'`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var st api.MessageStatus
		err := t.call(cmd, "reading", func(ctx context.Context, c *api.Client) (err error) {
			st, err = c.MessageStatus(ctx)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(st, func() error { return t.showMessageStatus(st) })
	}
	return cmd
}

func (t *tool) showMessageStatus(st api.MessageStatus) error {
	if st.Error != "" {
		t.printf("Messages stand still: %s\n\n", st.Error)
	}
	clients := newTable("CLIENT", "INCARNATION", "PENDING", "COMPLETIONS", "OLDEST")
	for _, c := range st.Clients {
		clients.row(c.Client, c.Incarnation, fmt.Sprint(c.Pending), fmt.Sprint(c.Completions), instantOf(c.Oldest))
	}
	services := newTable("SERVICE", "SERVED", "WAITING", "RUNNING")
	for _, s := range st.Services {
		served := "no"
		if s.Served {
			served = "yes"
		}
		services.row(s.Service, served, fmt.Sprint(s.Waiting), fmt.Sprint(s.Running))
	}
	peers := newTable("FILER", "CONNECTED", "WAITING", "SENT", "ERROR")
	for _, p := range st.Peers {
		connected := "no"
		if p.Connected {
			connected = "yes"
		}
		peers.row(p.Filer, connected, fmt.Sprint(p.Waiting), fmt.Sprint(p.Sent), p.LastError)
	}
	for _, tab := range []*table{clients, services, peers} {
		if len(tab.rows) == 0 {
			continue
		}
		if err := tab.write(t.out); err != nil {
			return err
		}
		t.printf("\n")
	}
	t.printf("Large bodies on disk: %s bytes to be sent, %s received.\n", amount(uint64(st.SpoolOut)), amount(uint64(st.SpoolIn)))
	return nil
}
