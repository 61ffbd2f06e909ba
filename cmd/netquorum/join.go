package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/api"
)

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
