package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// addRolloutFlags are how a change is rolled out, if it needs to be.
func addRolloutFlags(cmd *cobra.Command, o *api.RolloutOptions) {
	f := cmd.Flags()
	f.DurationVar((*time.Duration)(&o.Confirm), "confirm", 0, "take a change that needs a rollout back unless `netquorum confirm` comes within this time")
	f.DurationVar((*time.Duration)(&o.Timeout), "step-timeout", 0, "how long a filer tries to be within reach with the change until it goes back (default 15s)")
	f.BoolVar(&o.Force, "force", false, "roll out what may leave the cluster without a quorum")
}

// watchRollout tells at a terminal how far a rollout is, until done is closed.
func (t *tool) watchRollout(ctx context.Context, c *api.Client, done <-chan struct{}) {
	if !isTerminal(t.err) {
		return
	}
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-done:
			return
		case <-tick.C:
		}
		r, err := c.Rollout(ctx)
		if err != nil || !r.Open {
			continue
		}
		if line := rolloutLine(r); line != last {
			fmt.Fprintf(t.err, "\r\x1b[K%s\n", line)
			last = line
		}
	}
}

// rolloutNote tells whoever made a change what becomes of it.
func rolloutNote(res api.ApplyResult, req api.ApplyRequest) string {
	switch confirm := time.Duration(req.Rollout.Confirm); {
	case confirm > 0 && req.Wait == api.WaitApplied:
		return fmt.Sprintf("%s: the change is in force; `netquorum confirm` within %s, or it is taken back", res.Rollout, confirm)
	case req.Wait == api.WaitApplied:
		return res.Rollout + " is done"
	}
	return res.Rollout + " leads the change over the cluster; `netquorum rollout` shows how far it is"
}

// rolloutLine is a rollout on one line.
func rolloutLine(r api.Rollout) string {
	done, all := r.Progress()
	line := fmt.Sprintf("%s is %s: %d of %d filers", r.Name, phaseWord(r), done, all)
	for _, s := range r.Steps {
		if s.State == netquorum.StepDraining || s.State == netquorum.StepApplying {
			line += fmt.Sprintf(", %s is %s", s.Filer, s.State)
		}
	}
	if r.Deadline != nil {
		line += ", until " + clock(*r.Deadline)
	}
	return line
}

// rolloutProgress is what a change of a Rollout document says in a history.
func rolloutProgress(after *netquorum.Document) string {
	if after == nil {
		return ""
	}
	r, ok := after.Spec.(*netquorum.Rollout)
	if !ok {
		return ""
	}
	words := []string{string(r.Phase)}
	for _, s := range r.Steps {
		words = append(words, s.Filer+"="+string(s.State))
	}
	return strings.Join(words, " ")
}

func phaseWord(r api.Rollout) string {
	switch {
	case r.Phase == netquorum.RolloutJoint:
		return "storing both configurations everywhere"
	case r.Phase == netquorum.RolloutFilers:
		return "under way"
	case r.Phase == netquorum.RolloutConfirm:
		return "waiting for `netquorum confirm`"
	case r.Phase == netquorum.RolloutStopped && r.Reverting:
		return "STOPPED on its way back"
	case r.Phase == netquorum.RolloutStopped:
		return "STOPPED"
	}
	return string(r.Phase)
}

func (t *tool) rolloutCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "Show the rollout that is open or was the last, or resume it",
		Long: `Show the rollout that is open or was the last.

A change that touches how filers reach each other, or takes links down, goes over
the cluster filer by filer: servers leave, the filer applies the change and proves
that it is within reach, and goes back by itself if it is not. See confirm, revert
and rollout resume.`,
		Example: `  netquorum rollout
  netquorum rollout -o json | jq .phase`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var r api.Rollout
		err := t.call(cmd, "reading", func(ctx context.Context, c *api.Client) (err error) {
			r, err = c.Rollout(ctx)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(r, func() error { return t.showRollout(r) })
	}
	cmd.AddCommand(t.rolloutResumeCommand())
	return cmd
}

func (t *tool) showRollout(r api.Rollout) error {
	t.printf("%s\n", rolloutLine(r))
	for _, l := range [][2]string{{"revision", number(r.Revision)}, {"by", r.Actor}, {"because", r.Reason}, {"failure", r.Failure}, {"waits for", r.Waiting}} {
		if l[1] != "" {
			t.printf("  %-10s %s\n", l[0], strings.Join(wrap(l[1], lineWidth-15), "\n             "))
		}
	}
	t.printf("\n")
	tab := newTable("FILER", "STEP", "ATTEMPT", "LINKS", "SERVERS", "REASON")
	for _, s := range r.Steps {
		links := "stay up"
		if s.Interrupts {
			links = "go down"
		}
		attempt := "-"
		if s.Attempt > 0 {
			attempt = fmt.Sprint(s.Attempt)
		}
		tab.row(s.Filer, string(s.State), attempt, links, nameOr(strings.Join(s.Servers, ","), "-"), nameOr(shorten(s.Reason, 50), "-"))
	}
	return tab.write(t.out)
}

func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most-3] + "..."
}

func (t *tool) rolloutResumeCommand() *cobra.Command {
	req := api.RolloutRequest{Action: api.RolloutResume}
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "Let a rollout that was stopped go on",
		Long: `Let a rollout that was stopped go on: filers that failed try again.

With --without, a filer that is away is no longer waited for. It follows the change
unguarded when it is back; if its address changes meanwhile, it may not find the
others then, and has to be joined again.`,
		Example: `  netquorum rollout resume
  netquorum rollout resume --without filer3
  netquorum rollout resume --force`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&req.Force, "force", false, "make steps also while they leave no quorum")
	cmd.Flags().StringSliceVar(&req.Without, "without", nil, "filers that are away and are no longer waited for")
	cmd.RegisterFlagCompletionFunc("without", t.completeFiler)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return t.steer(cmd, req) }
	return cmd
}

func (t *tool) confirmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "confirm",
		Short: "Keep the change that waits to be confirmed",
		Long: `Keep the change that was made with --confirm and is in force now. Without it,
everything returns to what it was before when the time is over.`,
		Example: "  netquorum confirm",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.steer(cmd, api.RolloutRequest{Action: api.RolloutConfirm})
		},
	}
}

func (t *tool) revertCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "revert",
		Short: "Take the open rollout back",
		Long: `Take the rollout that is open or was stopped back: the documents that it changed
become what they were, and the filers that follow the change go back one by one.
Whatever else was changed since stays.`,
		Example: "  netquorum revert",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.steer(cmd, api.RolloutRequest{Action: api.RolloutRevert})
		},
	}
}

func (t *tool) steer(cmd *cobra.Command, req api.RolloutRequest) error {
	var r api.Rollout
	err := t.call(cmd, "waiting for the cluster", func(ctx context.Context, c *api.Client) (err error) {
		r, err = c.SteerRollout(ctx, req)
		return err
	})
	if err != nil {
		return err
	}
	return t.print(r, func() error { t.printf("%s\n", rolloutLine(r)); return nil })
}
