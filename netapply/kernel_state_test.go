package netapply_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	netquorum "github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
)

// An ipLink is what `ip -d -j link` says of a link.
type ipLink struct {
	Name     string   `json:"ifname"`
	Parent   string   `json:"link"`
	Master   string   `json:"master"`
	Flags    []string `json:"flags"`
	MTU      int      `json:"mtu"`
	MAC      string   `json:"address"`
	Alias    string   `json:"ifalias"`
	LinkInfo struct {
		Kind string         `json:"info_kind"`
		Data map[string]any `json:"info_data"`
	} `json:"linkinfo"`
}

// ipLinks asks ip, whose view of the kernel is independent of ours.
func ipLinks(t testing.TB) map[string]ipLink {
	t.Helper()
	var list []ipLink
	if err := json.Unmarshal([]byte(run(t, "ip", "-d", "-j", "link")), &list); err != nil {
		t.Fatal(err)
	}
	m := map[string]ipLink{}
	for _, l := range list {
		m[l.Name] = l
	}
	return m
}

// ipAddresses lists the addresses of every link, without link-local ones.
func ipAddresses(t testing.TB) map[string][]string {
	t.Helper()
	var list []struct {
		Name      string `json:"ifname"`
		Addresses []struct {
			Local string `json:"local"`
			Bits  int    `json:"prefixlen"`
			Scope string `json:"scope"`
		} `json:"addr_info"`
	}
	if err := json.Unmarshal([]byte(run(t, "ip", "-j", "addr")), &list); err != nil {
		t.Fatal(err)
	}
	m := map[string][]string{}
	for _, l := range list {
		for _, a := range l.Addresses {
			if a.Scope == "global" {
				m[l.Name] = append(m[l.Name], fmt.Sprintf("%s/%d", a.Local, a.Bits))
			}
		}
		slices.Sort(m[l.Name])
	}
	return m
}

// cards plugs virtual network cards in: veths whose other ends are up.
func cards(t testing.TB, names ...string) {
	t.Helper()
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "link add %s mtu 9000 type veth peer name x%s mtu 9000\nlink set x%s up\n", n, n, n)
	}
	batch(t, b.String())
}

// batch runs many ip commands at once.
func batch(t testing.TB, commands string) {
	t.Helper()
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(commands)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ip -batch: %v\n%s\n%s", err, out, commands)
	}
}

// example reads one of the published examples.
func example(t testing.TB, name string) netquorum.Config {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(data))
}

// parse makes a configuration of YAML documents.
func parse(t testing.TB, text string) netquorum.Config {
	t.Helper()
	docs, err := netquorum.ParseDocuments("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c, problems := netquorum.Config{}.Change(docs, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return c
}

func want(t testing.TB, c netquorum.Config, filer string, hosts ...string) netapply.Desired {
	t.Helper()
	d, err := netapply.Want(c, filer, func(k netquorum.Key) bool { return slices.Contains(hosts, k.Name) })
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// mustApply applies and expects no failures.
func mustApply(t testing.TB, k netapply.Kernel, d netapply.Desired) netapply.Report {
	t.Helper()
	a := netapply.Applier{Kernel: k}
	r, err := a.Apply(t.Context(), d)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		t.Fatalf("%v\nafter the steps:\n%s", err, lines(r.Steps))
	}
	return r
}

// mustBeSettled expects that applying again asks nothing of the kernel.
func mustBeSettled(t testing.TB, k netapply.Kernel, d netapply.Desired) {
	t.Helper()
	if r := mustApply(t, k, d); r.Writes != 0 {
		t.Errorf("applying the same again made %d writes:\n%s", r.Writes, lines(r.Steps))
	}
}

// settledState describes what is ours in the kernel, without what depends on
// history or chance.
func settledState(t testing.TB, k netapply.Kernel, d netapply.Desired) string {
	t.Helper()
	o, err := k.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	wanted := map[string]netapply.Link{}
	for _, l := range d.Links {
		wanted[l.Name] = l
	}
	for _, l := range o.Links {
		w, ok := wanted[l.Name]
		if !ok && !l.Ours() {
			continue
		}
		if w.MAC.IsZero() {
			l.MAC = netquorum.MAC{} // chosen at random
		}
		if w.Kind == netapply.Physical {
			l.Parent, l.Kind, l.Settings = "", "", nil
		}
		for o := range l.Options {
			if _, ok := w.Options[o]; !ok {
				delete(l.Options, o) // of another bond mode; the kernel keeps it, without effect
			}
		}
		lines = append(lines, fmt.Sprintf("link %s kind=%s parent=%s master=%s up=%t mtu=%d mac=%s alias=%q options=%v settings=%v",
			l.Name, l.Kind, l.Parent, l.Master, l.Up, l.MTU, l.MAC, l.Alias, l.Options, l.Settings))
	}
	for _, a := range o.Addresses {
		if a.Protocol == netapply.Protocol {
			lines = append(lines, fmt.Sprintf("address %s dev %s", a.Prefix, a.Link))
		}
	}
	for _, r := range o.Routes {
		lines = append(lines, "route "+r.String())
	}
	for _, r := range o.Rules {
		lines = append(lines, "rule "+r.String())
	}
	slices.SortFunc(lines, cmp.Compare[string])
	return strings.Join(lines, "\n")
}

// eventually waits until what holds, looking again at every wake-up.
func eventually(t testing.TB, what string, within time.Duration, look func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !look() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited %v for: %s", within, what)
		case <-tick.C:
		}
	}
}

// routeFrom asks the kernel how a packet from a source would leave.
func routeFrom(t testing.TB, to, from string) string {
	t.Helper()
	return strings.Join(strings.Fields(run(t, "ip", "route", "get", to, "from", from)), " ")
}
