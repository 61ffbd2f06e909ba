package main

import (
	"context"

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
