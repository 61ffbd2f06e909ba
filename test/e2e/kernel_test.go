package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/netquorum/netquorum"
)

// A link is what `ip -d -j link` says of one.
type link struct {
	Index   int      `json:"ifindex"`
	Name    string   `json:"ifname"`
	Parent  string   `json:"link"`
	Master  string   `json:"master"`
	MTU     int      `json:"mtu"`
	MAC     string   `json:"address"`
	Flags   []string `json:"flags"`
	Purpose string   `json:"ifalias"`
	Info    struct {
		Kind string `json:"info_kind"`
		Data struct {
			// Mode is a bond's or a macvlan's.
			Mode     string `json:"mode"`
			LACPRate string `json:"ad_lacp_rate"`
			Hash     string `json:"xmit_hash_policy"`
			Tag      int    `json:"id"`
		} `json:"info_data"`
	} `json:"linkinfo"`
}

func (l link) up() bool { return slices.Contains(l.Flags, "UP") }

// role is what a link is, in one line: kind, what tells links of a kind apart,
// what it is on and part of, MTU.
func (l link) role() string {
	words := []string{l.Info.Kind}
	add := func(name, value string) {
		if value != "" && value != "0" {
			words = append(words, name+" "+value)
		}
	}
	switch l.Info.Kind {
	case "bond":
		add("mode", l.Info.Data.Mode)
		if l.Info.Data.Mode == "802.3ad" {
			add("lacp", l.Info.Data.LACPRate)
			add("hash", l.Info.Data.Hash)
		}
	case "vlan":
		add("tag", strconv.Itoa(l.Info.Data.Tag))
	}
	if l.Info.Kind != "veth" { // the card of a lab; its parent is the cable's other end
		add("on", l.Parent)
	}
	add("of", l.Master)
	add("mtu", strconv.Itoa(l.MTU))
	if !l.up() {
		words = append(words, "down")
	}
	return strings.Join(words, " ")
}

// links are a node's, by name.
func (c *cluster) links(node string) map[string]link {
	c.t.Helper()
	var list []link
	c.ipJSON(node, &list, "-d", "link")
	all := map[string]link{}
	for _, l := range list {
		all[l.Name] = l
	}
	return all
}

// ipJSON asks ip for something.
func (c *cluster) ipJSON(node string, into any, args ...string) {
	c.t.Helper()
	out := c.exec(node, append([]string{"ip", "-j"}, args...)...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		c.t.Fatalf("%s: ip -j %s: %v", node, strings.Join(args, " "), err)
	}
}

// indexes are the numbers of a node's links, which change when a link is made
// anew.
func (c *cluster) indexes(node string) map[string]int {
	c.t.Helper()
	out := map[string]int{}
	for name, l := range c.links(node) {
		out[name] = l.Index
	}
	return out
}

// addresses are a node's by link, without those that every kernel has.
func (c *cluster) addresses(node string) map[string][]string {
	c.t.Helper()
	var list []struct {
		Name      string `json:"ifname"`
		Addresses []struct {
			Local string `json:"local"`
			Bits  int    `json:"prefixlen"`
			Scope string `json:"scope"`
		} `json:"addr_info"`
	}
	c.ipJSON(node, &list, "addr")
	out := map[string][]string{}
	for _, l := range list {
		for _, a := range l.Addresses {
			if a.Scope == "link" || l.Name == "lo" {
				continue
			}
			out[l.Name] = append(out[l.Name], fmt.Sprintf("%s/%d", a.Local, a.Bits))
		}
		slices.Sort(out[l.Name])
	}
	return out
}

// configuration reads the example's file.
func (c *cluster) configuration() netquorum.Config {
	c.t.Helper()
	docs, err := netquorum.ParseDocuments(c.example.config, []byte(read(c.t, c.example.config)))
	if err != nil {
		c.t.Fatal(err)
	}
	config, problems := netquorum.Config{}.Change(docs, nil)
	if len(problems) > 0 {
		c.t.Fatal(problems)
	}
	return config
}

// misplaced compares the addresses of all filers with what they should be: a
// filer's own on its alias, a virtual server's on a port of the same alias on
// the filer that hosts it, nothing anywhere else. hosts gives the host of each
// server.
func (c *cluster) misplaced(config netquorum.Config, hosts map[string]string) error {
	c.t.Helper()
	// The purpose that a port's link must name, by address.
	wanted := map[string]map[netip.Prefix]string{}
	for _, f := range c.filers() {
		wanted[f] = map[netip.Prefix]string{}
		for _, i := range config.Interfaces(f) {
			for _, p := range i.Addresses {
				wanted[f][p] = string(i.Name)
			}
		}
	}
	for h := range config.Hosted() {
		host := hosts[h.Key.Name]
		if host == "" {
			continue
		}
		for _, a := range h.Addresses {
			wanted[host][a.Prefix] = "port " + string(a.Alias) + " " + h.Key.String()
		}
	}
	var errs []error
	for _, f := range c.filers() {
		links := c.links(f)
		for name, list := range c.addresses(f) {
			if strings.HasPrefix(name, "foreign") {
				continue
			}
			for _, text := range list {
				p := netip.MustParsePrefix(text)
				on := wanted[f][p]
				switch {
				case on == "":
					errs = append(errs, fmt.Errorf("%s has %s on %s, which belongs elsewhere or nowhere", f, p, name))
				case on != name && !strings.HasSuffix(links[name].Purpose, on):
					errs = append(errs, fmt.Errorf("%s has %s on %s (%s), which belongs to %s", f, p, name, links[name].Purpose, on))
				}
				delete(wanted[f], p)
			}
		}
		for p, on := range wanted[f] {
			errs = append(errs, fmt.Errorf("%s lacks %s of %s", f, p, on))
		}
	}
	return errors.Join(errs...)
}

// hosts returns where each server is served, as a filer reports it.
func (c *cluster) hosts(asked string) map[string]string {
	c.t.Helper()
	out := map[string]string{}
	for _, s := range c.mustStatus(asked).Servers {
		out[s.Name] = s.Host
	}
	return out
}

// none hosts nothing.
var none = map[string]string{}

// wantLinks are links that must exist, with their roles.
type wantLinks map[string]string

// missingLinks compares links with those that must exist.
func (c *cluster) missingLinks(filer string, want wantLinks) error {
	c.t.Helper()
	have := c.links(filer)
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(want)) {
		l, ok := have[name]
		switch role := l.role(); {
		case !ok:
			errs = append(errs, fmt.Errorf("%s has no %s (%s)", filer, name, want[name]))
		case role != want[name]:
			errs = append(errs, fmt.Errorf("%s of %s is %q, want %q", name, filer, role, want[name]))
		}
	}
	return errors.Join(errs...)
}

// writes is how often a filer's daemon has asked its kernel to change.
func (c *cluster) writes(filer string) int {
	c.t.Helper()
	return int(c.metric(filer, "netquorum_kernel_writes_total"))
}

// metric reads one of the daemon's figures.
func (c *cluster) metric(filer, name string) float64 {
	c.t.Helper()
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", c.socket(filer))
	}}
	defer t.CloseIdleConnections()
	h := &http.Client{Transport: t, Timeout: patience()}
	resp, err := h.Get("http://netquorum/metrics")
	if err != nil {
		c.t.Fatalf("figures of %s: %v", filer, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("figures of %s: %v", filer, err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				c.t.Fatal(err)
			}
			return v
		}
	}
	c.t.Fatalf("%s has no figure %s:\n%s", filer, name, text)
	return 0
}
