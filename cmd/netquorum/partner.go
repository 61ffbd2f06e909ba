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

func (t *tool) partnerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "partner",
		Short: "Show the clusters that this one exchanges streams with",
		Long: `Show the partners: other clusters, with which this one exchanges streams. A Partner
document says where one is; a secret that both share says that it is the one.`,
		Example: `  netquorum partner
  netquorum partner -o json | jq -r .clusterID`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var l api.PartnerList
		err := t.call(cmd, "reading", func(ctx context.Context, c *api.Client) (err error) {
			l, err = c.Partners(ctx)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(l, func() error { return t.showPartners(l, time.Now()) })
	}
	cmd.AddCommand(t.secretCommand())
	return cmd
}

func (t *tool) showPartners(l api.PartnerList, now time.Time) error {
	t.printf("This cluster is %s, id %s\n", l.Cluster, l.ClusterID)
	if len(l.Partners) == 0 {
		t.printf("It has no partners; `netquorum apply` of a Partner document makes one.\n")
		return nil
	}
	partners := newTable("PARTNER", "CLUSTER", "ENDPOINTS")
	secrets := newTable("PARTNER", "SECRET", "STATE", "ADDED")
	links := newTable("PARTNER", "FILER", "STREAMS", "PATH", "STATE", "RTT", "SWITCHES")
	problems := newTable("PARTNER", "ENDPOINT", "PROBLEM")
	for _, p := range l.Partners {
		partners.row(p.Name, nameOr(p.ClusterID, "any"), nameOr(strings.Join(p.Endpoints, ", "), "it calls us"))
		for _, s := range p.Secrets {
			secrets.row(p.Name, s.ID, string(s.State), ago(s.Made, now))
		}
		for _, w := range p.Problems {
			problems.row(p.Name, w.Endpoint, w.Message)
		}
		for _, k := range p.Links {
			for _, path := range k.Paths {
				links.row(p.Name, shorten(string(k.Filer), 11), fmt.Sprint(k.Streams), path.Remote.String(), path.State, time.Duration(path.RTT).String(), fmt.Sprint(k.Switches))
			}
		}
	}
	for _, tab := range []*table{partners, secrets, links, problems} {
		if len(tab.rows) == 0 {
			continue
		}
		t.printf("\n")
		if err := tab.write(t.out); err != nil {
			return err
		}
	}
	return nil
}

func (t *tool) secretCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Add, use and remove the secrets shared with a partner",
		Long: `Add, use and remove the secrets shared with a partner. A secret is made on one of the
two clusters and added on both. To change it without a pause: add the new one on both
sides, use it on both, then remove the old one on both.`,
	}
	cmd.AddCommand(t.secretAddCommand(), t.secretUseCommand(), t.secretRemoveCommand())
	return cmd
}

func (t *tool) secretAddCommand() *cobra.Command {
	var req api.SecretRequest
	var file string
	cmd := &cobra.Command{
		Use:   "add PARTNER",
		Short: "Make a secret to share with a partner, or take the partner's",
		Long: `Make a secret to share with a partner. It is printed here and shown nowhere else;
hand it to the other cluster like a password, and add it there with --secret-file.

From then on the partner may call with it. This cluster calls with it too if it is the
first, or with --use, or after "netquorum partner secret use".`,
		Example: `  netquorum partner secret add berlin > secret
  ssh berlin-1 netquorum partner secret add munich --secret-file - < secret`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completePartner,
	}
	cmd.Flags().StringVar(&file, "secret-file", "", "file with the secret that the partner has made, - for standard input")
	cmd.Flags().BoolVar(&req.Use, "use", false, "call the partner with it from now on")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req.Partner = args[0]
		if file != "" {
			text, err := t.readInput(file)
			if err != nil {
				return err
			}
			if req.Secret = strings.TrimSpace(string(text)); req.Secret == "" {
				return api.Refuse(api.ErrUsage, "the secret is empty", nil)
			}
		}
		var s api.Secret
		err := t.call(cmd, "adding the secret", func(ctx context.Context, c *api.Client) (err error) {
			s, err = c.AddSecret(ctx, req)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(s, func() error {
			if s.Secret != "" {
				t.printf("%s\n", s.Secret)
				return nil
			}
			t.printf("secret %s of %s: %s\n", s.ID, s.Partner, s.State)
			return nil
		})
	}
	return cmd
}

func (t *tool) secretUseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "use PARTNER ID",
		Short: "Call a partner with this secret from now on",
		Long: `Call a partner with this secret from now on. Connections are made anew with it before
those by the one in use until now are closed; that one is still accepted.`,
		Example:           "  netquorum partner secret use berlin mq3ztw5rkhu2a7cd",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: t.completeSecret,
		RunE: func(cmd *cobra.Command, args []string) error {
			var s api.Secret
			err := t.call(cmd, "using the secret", func(ctx context.Context, c *api.Client) (err error) {
				s, err = c.UseSecret(ctx, args[0], args[1])
				return err
			})
			if err != nil {
				return err
			}
			return t.print(s, func() error { t.printf("secret %s of %s: %s\n", s.ID, s.Partner, s.State); return nil })
		},
	}
}

func (t *tool) secretRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "remove PARTNER ID",
		Short: "Make a secret useless, and cut what was proved by it",
		Long: `Make a secret useless, and cut the connections that were proved by it. One that is in
use goes last: use another one first.`,
		Example:           "  netquorum partner secret remove berlin mq3ztw5rkhu2a7cd",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: t.completeSecret,
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.call(cmd, "removing the secret", func(ctx context.Context, c *api.Client) error {
				return c.RemoveSecret(ctx, args[0], args[1])
			})
		},
	}
}

// completePartner completes the name of a partner.
func (t *tool) completePartner(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return withPrefix(t.documentNames(cmd, netquorum.KindPartner), part), cobra.ShellCompDirectiveNoFileComp
}

// completeSecret completes a partner, then one of its secrets.
func (t *tool) completeSecret(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return t.completePartner(cmd, args, part)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	c := api.NewClient(t.socket)
	defer c.Close()
	l, err := c.Partners(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for _, p := range l.Partners {
		for _, s := range p.Secrets {
			if strings.EqualFold(p.Name, args[0]) {
				ids = append(ids, s.ID)
			}
		}
	}
	return withPrefix(ids, part), cobra.ShellCompDirectiveNoFileComp
}
