package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

func (t *tool) authorityCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "authority",
		Short: "Show the cluster's certificate authority, or change it",
		Long: `Show the certificate authority by which the filers of this cluster know each
other: its fingerprint and age, which filer shows and trusts which, who was
revoked, and how far a change of it is. See authority rotate.`,
		Example: `  netquorum authority
  netquorum authority -o json | jq -r .fingerprint`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var a api.Authority
		err := t.call(cmd, "asking the filers", func(ctx context.Context, c *api.Client) (err error) {
			a, err = c.Authority(ctx)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(a, func() error { return t.showAuthority(a, time.Now()) })
	}
	cmd.AddCommand(t.authorityRotateCommand())
	return cmd
}

func (t *tool) authorityRotateCommand() *cobra.Command {
	var req api.RotateRequest
	var noWait bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Change the cluster's certificate authority, without a pause",
		Long: `Change the cluster's certificate authority: every filer is given the next one and
trusts it beside the current one, then shows a certificate of it, then forgets the
current one and its key. A phase begins when every filer has done the one before;
the change waits for a filer that is away, and goes on by itself when it is back.

With --without, a filer is no longer waited for, also in a change that is under
way. Unless it is back in time, it has to join again with a token then.`,
		Example: `  netquorum authority rotate
  netquorum authority rotate --without filer3`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringSliceVar(&req.Without, "without", nil, "filers that are away and are not waited for")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait for the end")
	cmd.RegisterFlagCompletionFunc("without", t.completeFiler)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		t.bePatient(cmd)
		var a api.Authority
		err := t.call(cmd, "changing the authority", func(ctx context.Context, c *api.Client) (err error) {
			if a, err = c.RotateAuthority(ctx, req); err != nil || noWait {
				return err
			}
			a, err = awaitAuthority(ctx, c, a)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(a, func() error { t.printf("%s\n", authorityLine(a)); return nil })
	}
	return cmd
}

// awaitAuthority asks until the change is done.
func awaitAuthority(ctx context.Context, c *api.Client, a api.Authority) (api.Authority, error) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for a.Open() {
		select {
		case <-ctx.Done():
			return a, api.Refuse(api.ErrTimeout, authorityLine(a)+"; it goes on by itself, `netquorum authority` shows how far it is", nil)
		case <-tick.C:
		}
		now, err := c.Authority(ctx)
		switch {
		case err == nil:
			a = now
		case ctx.Err() == nil && !errors.Is(err, api.ErrTimeout):
			return a, err
		}
	}
	return a, nil
}

// authorityLine is how far a change of the authority is, on one line.
func authorityLine(a api.Authority) string {
	var line string
	switch a.Phase {
	case netquorum.AuthorityTrust:
		line = "the next authority is given to every filer"
	case netquorum.AuthorityUse:
		line = "every filer gets a certificate of the next authority"
	case netquorum.AuthorityRetire:
		line = "every filer forgets the authority before"
	default:
		return "the authority is " + shortPrint(a.Fingerprint)
	}
	line = "the authority is being changed: " + line
	if len(a.Awaited) > 0 {
		line += "; waiting for " + strings.Join(a.Awaited, ", ")
	}
	return line
}

func (t *tool) showAuthority(a api.Authority, now time.Time) error {
	made := ""
	if a.Made != nil {
		made = ", made " + ago(a.Made, now)
	}
	t.printf("Cluster %s, id %s\n", a.Cluster, a.ClusterID)
	t.printf("authority %s%s\n", shortPrint(a.Fingerprint), made)
	if a.Open() {
		t.printf("next      %s, begun %s by %s\n", nameOr(shortPrint(a.Next), "not made yet"), ago(a.Begun, now), nameOr(a.Actor, "?"))
		t.printf("%s\n", strings.Join(wrap(authorityLine(a), lineWidth), "\n"))
	}
	if len(a.Without) > 0 {
		t.printf("not waited for: %s\n", strings.Join(a.Without, ", "))
	}
	t.printf("\n")
	tab := newTable("FILER", "CERTIFICATE OF", "EXPIRES", "AWAITED", "TRUSTS")
	for _, f := range a.Filers {
		expires, awaited := "", ""
		if f.Expires != nil {
			expires = f.Expires.Local().Format("2006-01-02")
		}
		if f.Awaited {
			awaited = "yes"
		}
		trusts := make([]string, len(f.Trusts))
		for i, p := range f.Trusts {
			trusts[i] = shortPrint(p)
		}
		tab.row(f.Name, shortPrint(f.Shows), expires, awaited, strings.Join(trusts, ", "))
	}
	if err := tab.write(t.out); err != nil {
		return err
	}
	for i, r := range a.Revoked {
		if i == 0 {
			t.printf("\nRevoked; each holds the authority's key until the authority is changed:\n")
		}
		at := r.At
		t.printf("  %s (%s), %s\n", r.Name, r.ID, ago(&at, now))
	}
	return nil
}

func shortPrint(fingerprint string) string { return fingerprint[:min(len(fingerprint), 16)] }

func (t *tool) filerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "filer",
		Short: "Take filers out of the cluster",
	}
	cmd.AddCommand(t.filerRemoveCommand(false), t.filerRemoveCommand(true))
	return cmd
}

func (t *tool) filerRemoveCommand(revoke bool) *cobra.Command {
	req := api.RemoveRequest{Revoke: revoke}
	cmd := &cobra.Command{
		Use:   "remove FILER",
		Short: "Take a filer out of the cluster",
		Long: `Take a filer out of the cluster. Its servers move, it learns that it was removed,
and it waits to be joined again. Its Filer document stays.`,
		Example:           "  netquorum filer remove filer3",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completeFiler,
	}
	if revoke {
		cmd.Use, cmd.Short = "revoke FILER", "Cut a filer off that must not be trusted any more"
		cmd.Long = `Take a filer out of the cluster and cut its links at once, whatever certificate it
shows. For a filer that was stolen or taken over.

Every filer holds the key of the cluster's authority: change the authority next, with
"netquorum authority rotate", or whoever has the filer can make certificates.`
		cmd.Example = "  netquorum filer revoke filer3 && netquorum authority rotate"
	}
	cmd.Flags().BoolVar(&req.Force, "force", false, "also when the rest may have no quorum without it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req.Filer = args[0]
		var res api.RemoveResult
		err := t.call(cmd, "removing the filer", func(ctx context.Context, c *api.Client) (err error) {
			res, err = c.RemoveFiler(ctx, req)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(res, func() error {
			t.printf("%s is out of the cluster since revision %d\n", res.Filer, res.Revision)
			if revoke {
				fmt.Fprintf(t.err, "it holds the key of the cluster's authority: run `netquorum authority rotate` now\n")
			}
			return nil
		})
	}
	return cmd
}
