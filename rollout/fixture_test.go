package rollout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
)

func parse(t testing.TB, text string) []netquorum.Document {
	t.Helper()
	docs, err := netquorum.ParseDocuments("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func change(t testing.TB, c netquorum.Config, puts []netquorum.Document, deletes ...netquorum.Key) netquorum.Config {
	t.Helper()
	next, problems := c.Change(puts, deletes)
	if len(problems) > 0 {
		t.Fatalf("the change is refused:\n%v", problems)
	}
	return next
}

const head = `
kind: Cluster
name: test
spec: {mac: "00:07:34:04:12:0e"}
---
kind: FilerGroup
name: main
spec:
  interfaces: [{name: data0, parent: eth0}]
---
kind: VirtualServer
name: web
spec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.1/24}]}
`

// filerYAML is a filer whose mgmt0 has an address in the network, on a parent.
func filerYAML(n int, network, parent string) string {
	return fmt.Sprintf("\n---\nkind: Filer\nname: f%d\nspec: {group: main, interfaces: [{name: mgmt0, parent: %s, addresses: [%s.%d/24]}]}\n", n, parent, network, n)
}

// cluster has n members f1.. in 10.1.1.0/24.
func cluster(t testing.TB, n int) netquorum.Config {
	t.Helper()
	text := head
	for i := range n {
		text += filerYAML(i+1, "10.1.1", "eth0")
	}
	docs := parse(t, text)
	for i := range n {
		docs = append(docs, netquorum.Document{Kind: netquorum.KindMember, Name: fmt.Sprintf("f%d", i+1),
			Spec: &netquorum.Member{ID: netquorum.FilerID(fmt.Sprintf("id-%d", i+1)), Endpoints: []string{fmt.Sprintf("10.1.1.%d:7480", i+1)}}})
	}
	return change(t, netquorum.Config{}, docs)
}

// moved are the documents that take n filers to another network.
func moved(t testing.TB, n int, network string) []netquorum.Document {
	text := ""
	for i := range n {
		text += filerYAML(i+1, network, "eth0")
	}
	return parse(t, strings.TrimPrefix(text, "\n---\n"))
}

const bondGroup = `
kind: FilerGroup
name: main
spec:
  interfaces: [{name: bond0, members: [eth0, eth1], bond: {mode: active-backup}}, {name: data0, parent: bond0}]
`

// bonded are the documents that put a bond under every alias of n filers.
func bonded(t testing.TB, n int) []netquorum.Document {
	text := bondGroup
	for i := range n {
		text += filerYAML(i+1, "10.1.1", "bond0")
	}
	return parse(t, text)
}

// begun is a configuration with the change and its rollout, as one transaction
// makes it.
func begun(t testing.TB, c netquorum.Config, puts []netquorum.Document, o Order, deletes ...netquorum.Key) netquorum.Config {
	t.Helper()
	after := change(t, c, puts, deletes...)
	need := Guard(c, after)
	if !need.Needed() {
		t.Fatal("the change needs no rollout")
	}
	doc, gone, err := Begin(c, after, need, o)
	if err != nil {
		t.Fatal(err)
	}
	doc.Revision = 10
	out := change(t, c, append(puts, doc), append(deletes, gone...)...)
	if problems := Check(out); len(problems) > 0 {
		t.Fatalf("the rollout cannot be led: %v", problems)
	}
	return out
}

func addresses(c netquorum.Config, filer string) string {
	var out []string
	for _, p := range mgmtAddresses(c, filer) {
		out = append(out, p.String())
	}
	return strings.Join(out, " ")
}

func millis(n int) time.Duration { return time.Duration(n) * time.Millisecond }
