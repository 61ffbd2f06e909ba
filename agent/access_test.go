package agent

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/netapply"
)

// An access policy for kernels of which one has no packet filter is refused,
// naming the filer and what it lacks.
func TestAccessPoliciesNeedNftables(t *testing.T) {
	text, err := os.ReadFile("../examples/access.yaml")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := netquorum.ParseDocuments("access.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	c, problems := netquorum.Config{}.Change(docs, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	kernel := func(nftables bool) []api.Feature {
		return []api.Feature{{Name: netapply.FeatureMacvlan, Available: true}, {Name: netapply.FeatureNftables, Available: nftables, Detail: "not built in"}}
	}
	if err := lacking(c, map[string][]api.Feature{"filer1": kernel(true), "filer2": kernel(true)}); err != nil {
		t.Errorf("kernels that have everything: %v", err)
	}
	err = lacking(c, map[string][]api.Feature{"filer1": kernel(true), "filer2": kernel(false)})
	if !errors.Is(err, api.ErrUnsupported) || !strings.Contains(err.Error(), "Filer/filer2") || !strings.Contains(err.Error(), "needs nftables") || strings.Contains(err.Error(), "filer1") {
		t.Errorf("a kernel without nftables: %v", err)
	}
	// Without policies nobody needs it.
	var deletes []netquorum.Key
	for d := range c.All(netquorum.KindAccess) {
		deletes = append(deletes, d.Key())
	}
	name, cluster, _ := c.Cluster()
	plain := *cluster
	plain.Access, plain.Servers = "", netquorum.Policies{}
	puts := []netquorum.Document{{Kind: netquorum.KindCluster, Name: name, Spec: &plain}}
	for d := range c.All(netquorum.KindVirtualServer) {
		v := *d.Spec.(*netquorum.VirtualServer)
		v.Access = ""
		d.Spec = &v
		puts = append(puts, d)
	}
	if c, problems = c.Change(puts, deletes); len(problems) > 0 {
		t.Fatal(problems)
	}
	if err := lacking(c, map[string][]api.Feature{"filer2": kernel(false)}); err != nil {
		t.Errorf("without policies: %v", err)
	}
}
