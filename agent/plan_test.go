package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

func TestStrandedServersAreThoseThatLoseTheirLastFiler(t *testing.T) {
	const text = `
kind: Cluster
name: home
spec: {mac: "00:07:34:04:12:0f"}
---
{kind: FilerGroup, name: main, spec: {}}
---
{kind: Filer, name: filer1, spec: {group: main, interfaces: [{name: data0, parent: eth0}]}}
---
{kind: Filer, name: filer2, spec: {group: main, interfaces: [{name: data0, parent: eth0}, {name: data1, parent: eth0}]}}
---
{kind: VirtualServer, name: both, spec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.1/24}]}}
---
{kind: VirtualServer, name: second, spec: {group: main, addresses: [{alias: data1, instance: 0, prefix: 10.2.3.1/24}]}}
---
{kind: Filer, name: filer3, spec: {group: main, interfaces: [{name: data0, parent: eth0}, {name: data1, parent: eth0}]}}
`
	docs, err := netquorum.ParseDocuments("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	before, problems := netquorum.Config{}.Change(docs, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	change, err := netquorum.ParseDocuments("test", []byte("kind: Filer\nname: filer2\nspec: {group: main, interfaces: [{name: data0, parent: eth0}]}"))
	if err != nil {
		t.Fatal(err)
	}
	after, problems := before.Change(change, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	missing := []netquorum.InterfaceName{"data1"}
	expected := []api.StrandedServer{{
		Key:        netquorum.Key{Kind: netquorum.KindVirtualServer, Name: "second"},
		Candidates: []netquorum.Candidate{{Filer: "filer1", Missing: missing}, {Filer: "filer2", Missing: missing}, {Filer: "filer3"}},
	}}
	withoutThird := func(filer string) bool { return filer != "filer3" }
	if diff := cmp.Diff(expected, stranded(before, after, withoutThird)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := stranded(before, after, func(string) bool { return true }); got != nil {
		t.Errorf("filer3 is there and could host %v", got)
	}
	if got := stranded(after, before, withoutThird); got != nil {
		t.Errorf("the way back strands %v", got)
	}
}
