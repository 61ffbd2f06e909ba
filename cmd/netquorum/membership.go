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

func (t *tool) initCommand() *cobra.Command {
	var cluster, mac, filer string
	var files []string
	cmd := &cobra.Command{
		Use:   "init --filer NAME [--cluster NAME --mac MAC] [-f FILE]",
		Short: "Form a cluster of this filer alone",
		Long: `Form a cluster of this filer alone. The files are its first configuration; name and
MAC of the cluster come from their Cluster document when they have one.

Other filers join with a token that "netquorum token create" makes here.`,
		Example: `  netquorum init --cluster acme --mac 00:07:34:04:12:0e --filer filer1
  netquorum init --filer filer1 -f cluster.yaml`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&cluster, "cluster", "", "name of the cluster")
	f.StringVar(&mac, "mac", "", "the cluster's MAC: an identifier in DHCP, never used on the wire")
	f.StringVar(&filer, "filer", "", "name of this filer in the cluster")
	addFileFlag(cmd, &files, "file with the first configuration, - for standard input; may be repeated")
	cmd.MarkFlagRequired("filer")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		req := api.InitRequest{Cluster: cluster, Filer: filer}
		if mac != "" {
			m, err := netquorum.ParseMAC(mac)
			if err != nil {
				return api.Refuse(api.ErrUsage, "--mac: "+err.Error(), nil)
			}
			req.MAC = &m
		}
		var err error
		if req.Documents, err = t.readDocuments(files); err != nil {
			return err
		}
		if err := needCluster(req); err != nil {
			return err
		}
		var res api.MemberResult
		err = t.call(cmd, "forming the cluster", func(ctx context.Context, c *api.Client) (err error) {
			res, err = c.Init(ctx, req)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(res, func() error {
			t.printf("cluster %s formed by %s at revision %d\n", res.Cluster, res.Filer, res.Revision)
			return nil
		})
	}
	return cmd
}

// needCluster finds out here what the daemon would have to refuse.
func needCluster(r api.InitRequest) error {
	for _, d := range r.Documents {
		if d.Kind == netquorum.KindCluster {
			return nil
		}
	}
	if r.Cluster == "" || r.MAC == nil {
		return api.Refuse(api.ErrUsage, "give --cluster and --mac, or a file with a Cluster document", nil)
	}
	return nil
}

func (t *tool) joinCommand() *cobra.Command {
	var filer, token, tokenFile, peer string
	var files []string
	cmd := &cobra.Command{
		Use:   "join --filer NAME --peer HOST --token-file FILE",
		Short: "Make this filer a member of a cluster",
		Long: `Make this filer a member of the cluster that the peer belongs to. The token comes
from "netquorum token create" on any member, and is good once.

When no address reaches the peer yet, -f gives a configuration with this filer's
interfaces. They are brought up before the peer is dialled.`,
		Example: `  netquorum join --filer filer2 --peer 10.1.1.2 --token-file token
  ssh filer1 netquorum token create | netquorum join --filer filer2 --peer filer1:7480 --token-file -
  netquorum join --filer filer3 --peer 10.1.1.2 --token-file token -f cluster.yaml`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&filer, "filer", "", "name of this filer in the cluster")
	f.StringVar(&peer, "peer", "", "host or host:port of any member")
	f.StringVar(&tokenFile, "token-file", "", "file with the token, - for standard input")
	f.StringVar(&token, "token", "", "the token itself; other users of this machine can see it in ps while this runs")
	addFileFlag(cmd, &files, "file with this filer's interfaces; may be repeated")
	cmd.MarkFlagRequired("filer")
	cmd.MarkFlagRequired("peer")
	cmd.MarkFlagsOneRequired("token", "token-file")
	cmd.MarkFlagsMutuallyExclusive("token", "token-file")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		req := api.JoinRequest{Filer: filer, Peer: peer, Token: token}
		if tokenFile != "" {
			text, err := t.readInput(tokenFile)
			if err != nil {
				return err
			}
			req.Token = string(text)
		}
		if req.Token = strings.TrimSpace(req.Token); req.Token == "" {
			return api.Refuse(api.ErrUsage, "the token is empty", nil)
		}
		var err error
		if req.Documents, err = t.readDocuments(files); err != nil {
			return err
		}
		var res api.MemberResult
		t.bePatient(cmd)
		err = t.call(cmd, "joining through "+peer, func(ctx context.Context, c *api.Client) (err error) {
			res, err = c.Join(ctx, req)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(res, func() error {
			t.printf("%s joined cluster %s at revision %d\n", res.Filer, res.Cluster, res.Revision)
			return nil
		})
	}
	return cmd
}

func (t *tool) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke the tokens with which filers join",
	}
	cmd.AddCommand(t.tokenCreateCommand(), t.tokenListCommand(), t.tokenRevokeCommand())
	return cmd
}

func (t *tool) tokenCreateCommand() *cobra.Command {
	var req api.TokenRequest
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a token with which one filer can join once",
		Long: `Make a token with which one filer can join once. It is printed here and stored
nowhere: whoever has it can join, so hand it over like a password.`,
		Example: `  netquorum token create --filer filer2 > token
  netquorum token create --ttl 10m`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&req.Filer, "filer", "", "the only filer name that the token is good for")
	cmd.Flags().DurationVar((*time.Duration)(&req.TTL), "ttl", time.Hour, "how long the token is good for")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var token api.Token
		err := t.call(cmd, "making a token", func(ctx context.Context, c *api.Client) (err error) {
			token, err = c.CreateToken(ctx, req)
			return err
		})
		if err != nil {
			return err
		}
		return t.print(token, func() error {
			t.printf("%s\n", token.Token)
			if isTerminal(t.out) {
				fmt.Fprintf(t.err, "good once, until %s; on the new filer:\n  netquorum join --filer %s --peer THIS-FILER --token-file -\n",
					clock(token.Expires), nameOr(token.Filer, "NAME"))
			}
			return nil
		})
	}
	return cmd
}

func (t *tool) tokenListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the tokens that are not used yet, without their secrets",
		Example: "  netquorum token list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var tokens []api.Token
			err := t.call(cmd, "reading", func(ctx context.Context, c *api.Client) (err error) {
				tokens, err = c.Tokens(ctx)
				return err
			})
			if err != nil {
				return err
			}
			return t.print(tokens, func() error {
				tab := newTable("ID", "FILER", "EXPIRES")
				for _, k := range tokens {
					tab.row(k.ID, nameOr(k.Filer, "any"), clock(k.Expires))
				}
				return tab.write(t.out)
			})
		},
	}
}

func (t *tool) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "revoke ID",
		Short:   "Make a token useless",
		Example: "  netquorum token revoke 5f1c09",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.call(cmd, "revoking", func(ctx context.Context, c *api.Client) error {
				return c.RevokeToken(ctx, args[0])
			})
		},
	}
}

func nameOr(name, other string) string {
	if name == "" {
		return other
	}
	return name
}
