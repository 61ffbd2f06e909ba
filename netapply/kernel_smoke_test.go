package netapply_test

import (
	"testing"
	"net/netip"

	netquorum "github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
)

func config(t testing.TB, docs ...netquorum.Document) netquorum.Config {
	t.Helper()
	c, problems := netquorum.Config{}.Change(docs, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return c
}

func TestKernelSmoke(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	sh(t, "ip link add eth0 type veth peer name sw0\nip link set sw0 up")
	c := config(t,
		netquorum.Document{Kind: netquorum.KindCluster, Name: "acme", Spec: &netquorum.Cluster{MAC: netquorum.MAC{0, 7, 0x34, 4, 0x12, 0xe}}},
		netquorum.Document{Kind: netquorum.KindFilerGroup, Name: "main", Spec: &netquorum.FilerGroup{}},
		netquorum.Document{Kind: netquorum.KindRoutes, Name: "out", Spec: &netquorum.Routes{Routes: []netquorum.Route{{Via: netip.MustParseAddr("10.1.1.254"), Alias: "mgmt0"}}}},
		netquorum.Document{Kind: netquorum.KindFiler, Name: "filer1", Spec: &netquorum.Filer{Group: "main", Routes: "out", Interfaces: []netquorum.Interface{
			{Name: "mgmt0", Parent: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.1.2/24"), netip.MustParsePrefix("2001:db8::2/64")}},
			{Name: "mgmt1", Parent: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.1.3/24")}},
			{Name: "data0", Parent: "eth0"},
		}}},
		netquorum.Document{Kind: netquorum.KindVirtualServer, Name: "VsvrA", Spec: &netquorum.VirtualServer{Group: "main", Addresses: []netquorum.Address{
			{Alias: "data0", Prefix: netip.MustParsePrefix("10.2.2.1/24")},
			{Alias: "data0", Instance: 1, Prefix: netip.MustParsePrefix("2001:db8:2::1/64")},
		}}},
	)
	k := openKernel(t)
	want, err := netapply.Want(c, "filer1", func(netquorum.Key) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	a := netapply.Applier{Kernel: k}
	for range 2 {
		r, err := a.Apply(t.Context(), want)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.Steps {
			t.Log(s)
		}
		t.Logf("%v %d writes %d rounds %v", r.Failures, r.Writes, r.Rounds, r.Duration)
	}
	t.Log(run(t, "ip", "-d", "addr"))
	t.Log(run(t, "sh", "-c", "ip rule; ip route; ip -6 route show table all; ip route show table all"))
	want, _ = netapply.Want(c, "filer1", func(netquorum.Key) bool { return false })
	r, err := a.Apply(t.Context(), want)
	t.Log(r, err)
	r, err = a.Apply(t.Context(), netapply.Desired{})
	t.Log(r, err)
	t.Log(run(t, "sh", "-c", "ip addr; ip rule; ip -6 route show table all; ip route show table all"))
}

func TestFeatures(t *testing.T) {
	t.Logf("%+v", netapply.Features(t.Context()))
}
