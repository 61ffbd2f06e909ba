package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// Each filer has a link to every other, says so of itself and of others, and of
// one that is gone.
func TestEveryFilerHasALinkToEveryOther(t *testing.T) {
	fs := form(t)
	links := func(ctx context.Context, f *testFiler, of string) (map[string]api.Link, error) {
		r, err := f.client.Links(ctx, of)
		out := map[string]api.Link{}
		for _, l := range r.Links {
			out[l.Filer] = l
		}
		return out, err
	}
	for _, of := range []string{"", "f1", "f2", "F3"} {
		eventually(t, "two links of "+of+" work", func(ctx context.Context) error {
			ls, err := links(ctx, fs[0], of)
			if err != nil {
				return err
			}
			for name, l := range ls {
				// The mgmt addresses are on kernels in memory: what joined is left.
				works := slices.ContainsFunc(l.Paths, func(p api.LinkPath) bool { return p.State == "up" && p.Remote == "127.0.0.1" })
				if l.State != api.LinkDegraded || !works || l.Kind != "tcp" || l.Since == nil {
					return fmt.Errorf("%s: %+v", name, l)
				}
			}
			if len(ls) != 2 {
				return fmt.Errorf("links %v", ls)
			}
			return nil
		})
	}
	if _, err := links(t.Context(), fs[0], "nobody"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("the links of a filer that is not there: %v", err)
	}
	if text := metricsOf(t, fs[0]); !strings.Contains(text, `netquorum_link_up{kind="tcp",peer="f2"} 1`) {
		t.Errorf("metrics: %s", text)
	}
	fs[2].stop()
	eventually(t, "the link to f3 is down", func(ctx context.Context) error {
		ls, err := links(ctx, fs[0], "")
		if err == nil && (ls["f3"].State != api.LinkDown || ls["f2"].State == api.LinkDown) {
			err = fmt.Errorf("links %+v", ls)
		}
		return err
	})
}

// metricsOf reads a filer's metrics from its socket.
func metricsOf(t *testing.T, f *testFiler) string {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", f.cfg.Socket)
	}}}
	defer c.CloseIdleConnections()
	resp, err := c.Get("http://filer/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	return string(text)
}

func TestWhereAFilerIsReached(t *testing.T) {
	config := func(interfaces string, endpoints ...string) netquorum.Config {
		docs := parse(t, "kind: Cluster\nname: c\nspec: {mac: \"00:07:34:04:12:0e\"}\n---\nkind: FilerGroup\nname: main\nspec: {}\n---\nkind: Filer\nname: f1\nspec: {group: main, interfaces: ["+interfaces+"]}\n")
		c, problems := netquorum.Config{}.Change(docs, nil)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		c, problems = c.Change([]netquorum.Document{{Kind: netquorum.KindMember, Name: "f1", Spec: &netquorum.Member{ID: "id-1", Endpoints: endpoints}}}, nil)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return c
	}
	two := "{name: mgmt0, parent: eth0, addresses: [" + netip.MustParsePrefix("10.1.1.1/24").String() + "]}, {name: mgmt1, parent: eth1, addresses: [10.2.1.1/24]}"
	for _, test := range []struct {
		name         string
		config       netquorum.Config
		paths, spare []string
	}{
		{"two networks", config(two, "192.0.2.1:7480", "10.1.1.1:7480"), []string{"10.1.1.1:7480", "10.2.1.1:7480"}, []string{"192.0.2.1:7480"}},
		{"no mgmt address", config("", "192.0.2.1:99"), []string{"192.0.2.1:99"}, nil},
		{"another port", config(two, "192.0.2.1:99"), []string{"10.1.1.1:99", "10.2.1.1:99"}, []string{"192.0.2.1:99"}},
		{"nothing", config(""), nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			paths, spare := reach(test.config, "id-1", "7480")
			if d := cmp.Diff(test.paths, paths); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(test.spare, spare); d != "" {
				t.Error(d)
			}
		})
	}
}
