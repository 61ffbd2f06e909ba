package netapply

import (
	"net/netip"
	"slices"
	"testing"

	netquorum "github.com/netquorum/netquorum"
)

const presenceConfig = `
kind: Cluster
name: lab
spec: {mac: "02:00:00:00:00:01"}
---
kind: FilerGroup
name: g
spec: {}
---
kind: Filer
name: filer1
spec:
  group: g
  interfaces:
  - {name: eth0}
  - {name: data0, parent: eth0}
  - {name: data1, parent: eth0}
  - {name: mgmt0, parent: eth0, addresses: [192.0.2.1/24]}
---
kind: Filer
name: filer2
spec:
  interfaces:
  - {name: eth0}
  - {name: mgmt0, parent: eth0, addresses: [192.0.2.2/24]}
---
kind: Routes
name: r
spec:
  vrf: false
  routes:
  - {to: default, via: 10.1.0.254}
  - {to: 172.16.0.0/12, via: 10.2.0.254}
  - {to: 172.16.0.0/12, via: 10.1.0.253, metric: 50}
---
kind: VirtualServer
name: vsvrA
spec:
  group: g
  routes: r
  addresses:
  - {alias: data0, instance: 1, prefix: 10.1.0.1/24}
  - {alias: data1, instance: 1, prefix: 10.2.0.1/24}
  - {alias: data0, instance: 2, prefix: "fd00::1/64"}
`

func presenceTestConfig(t *testing.T) netquorum.Config {
	t.Helper()
	docs, err := netquorum.ParseDocuments("presence", []byte(presenceConfig))
	if err != nil {
		t.Fatal(err)
	}
	c, problems := netquorum.Config{}.Change(docs, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return c
}

func TestPresenceSaysWhichAddressReachesWhat(t *testing.T) {
	c := presenceTestConfig(t)
	key := netquorum.Key{Kind: netquorum.KindVirtualServer, Name: "VSVRA"}
	p, ok := PresenceOf(c, "filer1", key)
	if !ok || p.VRF != "" || len(p.Addresses) != 3 {
		t.Fatalf("got %+v, %v", p, ok)
	}
	want := []Source{
		{netip.MustParsePrefix("fd00::/64"), netip.MustParseAddr("fd00::1"), "data0-vsvra"},
		{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParseAddr("10.1.0.1"), "data0-vsvra"},
		{netip.MustParsePrefix("10.2.0.0/24"), netip.MustParseAddr("10.2.0.1"), "data1-vsvra"},
		{netip.MustParsePrefix("172.16.0.0/12"), netip.MustParseAddr("10.2.0.1"), "data1-vsvra"},
		{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.1.0.1"), "data0-vsvra"},
	}
	if !slices.Equal(p.Sources, want) {
		t.Errorf("sources:\n got %v\nwant %v", p.Sources, want)
	}
	// The same tables and links as the kernel is given.
	d, err := Want(c, "filer1", func(netquorum.Key) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range p.Addresses {
		if !slices.Contains(d.Addresses, Address{Link: a.Link, Prefix: a.Prefix, Hosted: true}) {
			t.Errorf("the kernel is not given %+v", a)
		}
		if !slices.ContainsFunc(d.Rules, func(r Rule) bool { return r.From.Addr() == a.Prefix.Addr() && r.Table == a.Table }) {
			t.Errorf("no rule leads from %s to table %d", a.Prefix, a.Table)
		}
	}
	if _, ok := PresenceOf(c, "filer2", key); ok {
		t.Error("filer2 has no alias of the server's, but the server is present there")
	}
	if _, ok := PresenceOf(c, "filer1", netquorum.Key{Kind: netquorum.KindVirtualServer, Name: "nobody"}); ok {
		t.Error("a server that does not exist is present")
	}
}
