package behalf_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/behalf"
	"github.com/netquorum/netquorum/behalf/sockhook"
	"github.com/netquorum/netquorum/lab/nstest"
	"github.com/netquorum/netquorum/netapply"
)

// rulesEnv makes the test's binary what netquorum exec starts.
const rulesEnv = "NQ_BEHALF_RULES"

// remote is an address that both gateways have, behind them as it were: who
// answers tells which gateway was taken. The filer itself has no route to it.
const (
	remote4 = "198.51.100.1"
	remote6 = "2001:db8:1:ffff::1"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(rulesEnv); text != "" {
		if err := asCommand(text, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// asCommand is what netquorum exec does, and then a command that knows nothing of
// virtual servers: it prints what a server far away answers.
func asCommand(text string, args []string) error {
	var rules *sockhook.Rules
	if err := json.Unmarshal([]byte(text), &rules); err != nil {
		return err
	}
	if rules != nil {
		if err := sockhook.Enter(*rules); err != nil {
			return err
		}
		os.Setenv(rulesEnv, "null")
		return syscall.Exec("/proc/self/exe", append([]string{"behalf"}, args...), os.Environ())
	}
	said, err := ask(new(net.Dialer).DialContext, args[0], args[1])
	fmt.Println(said)
	return err
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

func ask(dial dialFunc, network, address string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	c, err := dial(ctx, network, address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := c.Write([]byte("?")); err != nil {
		return "", err
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	return string(b[:n]), err
}

// world is a filer with two virtual servers in subnets of their own, whose
// gateways are gw1 and gw2.
func world(vrf bool) string {
	return fmt.Sprintf(`
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
  - {name: mgmt0, parent: eth0, addresses: [192.0.2.1/24, "2001:db8:0::1/64"]}
---
kind: Routes
name: by1
spec:
  vrf: %[1]v
  routes:
  - {to: default, via: 10.1.0.254}
  - {to: default, via: "2001:db8:1::254"}
---
kind: Routes
name: by2
spec:
  vrf: %[1]v
  routes:
  - {to: default, via: 10.2.0.254}
  - {to: default, via: "2001:db8:2::254"}
---
kind: VirtualServer
name: vsvra
spec:
  group: g
  routes: by1
  addresses:
  - {alias: data0, instance: 0, prefix: 10.1.0.1/24}
  - {alias: data0, instance: 1, prefix: "2001:db8:1::1/64"}
---
kind: VirtualServer
name: vsvrb
spec:
  group: g
  routes: by2
  addresses:
  - {alias: data0, instance: 0, prefix: 10.2.0.1/24}
  - {alias: data0, instance: 1, prefix: "2001:db8:2::1/64"}
`, vrf)
}

// buildWorld makes it, and returns what is known of the servers.
func buildWorld(t *testing.T, vrf bool) behalf.Given {
	t.Helper()
	nstest.Sh(t, `
		ip netns add switch
		ip -n switch link add name br0 type bridge
		ip -n switch link set br0 up
		ip link add eth0 type veth peer name p0 netns switch
		ip link set eth0 up
		ip -n switch link set p0 master br0 up`)
	for _, n := range []string{"1", "2"} {
		nstest.Sh(t, strings.ReplaceAll(`ip netns add gwN
			ip -n gwN link add eth0 type veth peer name pN netns switch
			ip -n switch link set pN master br0 up
			ip -n gwN link set lo up
			ip -n gwN addr add 10.N.0.254/24 dev eth0
			ip -n gwN addr add 2001:db8:N::254/64 dev eth0 nodad
			ip -n gwN addr add 198.51.100.1/32 dev lo
			ip -n gwN addr add 2001:db8:1:ffff::1/128 dev lo nodad
			ip -n gwN link set eth0 up`, "N", n))
		serveAt(t, "gw"+n)
	}
	docs, err := netquorum.ParseDocuments("world", []byte(world(vrf)))
	if err != nil {
		t.Fatal(err)
	}
	config, problems := netquorum.Config{}.Change(docs, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want, err := netapply.Want(config, "filer1", func(netquorum.Key) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := netapply.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kernel.Close() })
	report, err := (&netapply.Applier{Kernel: kernel}).Apply(t.Context(), want)
	if err := errors.Join(err, report.Err()); err != nil {
		t.Fatal(err)
	}
	untilUsable(t)
	given := behalf.Given{}
	for _, name := range []string{"vsvra", "vsvrb"} {
		p, ok := netapply.PresenceOf(config, "filer1", netquorum.Key{Kind: netquorum.KindVirtualServer, Name: name})
		if !ok {
			t.Fatalf("%s is not present", name)
		}
		is := api.Presence{Name: name, VRF: p.VRF}
		for _, a := range p.Addresses {
			is.Addresses = append(is.Addresses, api.PresenceAddress(a))
		}
		for _, s := range p.Sources {
			is.Sources = append(is.Sources, api.PresenceSource(s))
		}
		given[name] = is
	}
	return given
}

// untilUsable waits for the filer's own IPv6 address to have been checked for
// duplicates: until then it is no source for anything.
func untilUsable(t *testing.T) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		out, err := exec.Command("ip", "-6", "addr", "show", "dev", "mgmt0", "scope", "global", "-tentative").Output()
		if err == nil && bytes.Contains(out, []byte("inet6")) {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			t.Fatal("waited 20 s for duplicate address detection on mgmt0")
		}
	}
}

func TestKernelServersSpeakByTheirOwnGateways(t *testing.T) { inNamespace(t, false, speakByGateways) }

func TestKernelServersSpeakByTheirOwnGatewaysInVRFs(t *testing.T) {
	inNamespace(t, true, speakByGateways)
}

func speakByGateways(t *testing.T, vrf bool) {
	given := buildWorld(t, vrf)
	tries := []struct{ network, to string }{
		{"tcp", net.JoinHostPort(remote4, "7")}, {"tcp", net.JoinHostPort(remote6, "7")},
		{"udp", net.JoinHostPort(remote4, "7")}, {"udp", net.JoinHostPort(remote6, "7")},
	}
	for _, s := range []struct{ server, gateway, four, six string }{
		{"vsvra", "gw1", "10.1.0.1", "2001:db8:1::1"}, {"vsvrb", "gw2", "10.2.0.1", "2001:db8:2::1"},
	} {
		id, err := behalf.Find(t.Context(), given, s.server)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := id.Rules(nil)
		if err != nil {
			t.Fatal(err)
		}
		dialer := behalf.Dialer{Server: s.server, Finder: given}
		for _, try := range tries {
			want := s.gateway + " " + s.four
			if strings.HasPrefix(try.to, "[") {
				want = s.gateway + " " + s.six
			}
			if got, err := ask(dialer.DialContext, try.network, try.to); err != nil || got != want {
				t.Errorf("a Dialer of %s, %s %s: %q (%v), want %q", s.server, try.network, try.to, got, err, want)
			}
			if got, err := command(t, &rules, try.network, try.to); err != nil || got != want {
				t.Errorf("a command of %s, %s %s: %q (%v), want %q", s.server, try.network, try.to, got, err, want)
			}
		}
		listening(t, given, s.server, s.gateway, s.four)
	}
	everywhere(t)
	for _, try := range tries {
		if got, err := command(t, nil, try.network, try.to); err == nil {
			t.Errorf("the filer itself has no route, but %s %s answered %q", try.network, try.to, got)
		}
	}
	if _, err := ask((&behalf.Dialer{Server: "vsvrc", Finder: given}).DialContext, "tcp", remote4+":7"); !errors.Is(err, api.ErrElsewhere) {
		t.Errorf("speaking as a server that is not here: %v, want %v", err, api.ErrElsewhere)
	}
	other := behalf.Dialer{Server: "vsvra", Finder: given, Address: netip.MustParseAddr("10.2.0.1")}
	var wrong *behalf.AddressError
	if _, err := ask(other.DialContext, "tcp", remote4+":7"); !errors.As(err, &wrong) {
		t.Errorf("speaking from another server's address: %v", err)
	}
}

// listening has the server listen on its address, and the gateway ask it.
func listening(t *testing.T, given behalf.Given, server, gateway, address string) {
	t.Helper()
	config := behalf.ListenConfig{Server: server, Finder: given}
	l, err := config.Listen(t.Context(), "tcp4", ":99")
	if err != nil {
		t.Error(err)
		return
	}
	defer l.Close()
	go serveTCP(l, server)
	c, err := config.ListenPacket(t.Context(), "udp4", ":99")
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	go serveUDP(c, server)
	for _, network := range []string{"tcp", "udp"} {
		err := nstest.Inside(gateway, func() error {
			d := net.Dialer{} // from far away: the answer needs the server's routes
			if network == "tcp" {
				d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(remote4)}
			} else {
				d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(remote4)}
			}
			got, err := ask(d.DialContext, network, address+":99")
			if want := server + " " + remote4; err == nil && got != want {
				err = fmt.Errorf("%q, want %q", got, want)
			}
			return err
		})
		if err != nil {
			t.Errorf("asking %s by %s from far away: %v", server, network, err)
		}
	}
	if _, err := config.Listen(t.Context(), "tcp4", remote4+":99"); err == nil {
		t.Errorf("%s listens on an address that is not its own", server)
	}
}

// everywhere has a daemon that knows nothing of servers listen on the wildcard
// address: it answers on each of them, by that one's routes.
func everywhere(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", ":98")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go serveTCP(l, "daemon")
	c, err := net.ListenPacket("udp4", ":98")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// UDP has no connection to remember the address that was asked: a daemon has
	// to answer from there itself (IP_PKTINFO), with one network or with many.
	p := ipv4.NewPacketConn(c)
	if err := p.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			_, cm, from, err := p.ReadFrom(make([]byte, 100))
			if err != nil {
				return
			}
			p.WriteTo([]byte("daemon "+host(from)), &ipv4.ControlMessage{Src: cm.Dst, IfIndex: cm.IfIndex}, from)
		}
	}()
	for gateway, addresses := range map[string][]string{"gw1": {"10.1.0.1", "2001:db8:1::1"}, "gw2": {"10.2.0.1", "2001:db8:2::1"}} {
		for i, remote := range []string{remote4, remote6} {
			for _, network := range []string{"tcp", "udp"} {
				if network == "udp" && remote == remote6 {
					continue
				}
				err := nstest.Inside(gateway, func() error {
					d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(remote)}}
					if network == "udp" {
						d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(remote)}
					}
					got, err := ask(d.DialContext, network, net.JoinHostPort(addresses[i], "98"))
					if want := "daemon " + remote; err == nil && got != want {
						err = fmt.Errorf("%q, want %q", got, want)
					}
					return err
				})
				if err != nil {
					t.Errorf("%s asks the daemon at %s by %s from far away: %v", gateway, addresses[i], network, err)
				}
			}
		}
	}
}

// command runs a command with rules and returns what it printed.
func command(t *testing.T, rules *sockhook.Rules, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), rulesEnv+"="+asJSON(t, rules))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), err
}

func asJSON(t *testing.T, rules *sockhook.Rules) string {
	t.Helper()
	text, err := json.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func serveTCP(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if _, err := c.Read(make([]byte, 1)); err == nil {
				io.WriteString(c, name+" "+host(c.RemoteAddr()))
			}
		}()
	}
}

func serveUDP(c net.PacketConn, name string) {
	for {
		_, from, err := c.ReadFrom(make([]byte, 100))
		if err != nil {
			return
		}
		c.WriteTo([]byte(name+" "+host(from)), from)
	}
}

func host(a net.Addr) string {
	h, _, _ := net.SplitHostPort(a.String())
	return h
}

// serveAt answers at the remote addresses in a gateway's namespace.
func serveAt(t *testing.T, namespace string) {
	t.Helper()
	err := nstest.Inside(namespace, func() error {
		for _, a := range []string{remote4, remote6} {
			l, err := net.Listen("tcp", net.JoinHostPort(a, "7"))
			if err != nil {
				return err
			}
			c, err := net.ListenPacket("udp", net.JoinHostPort(a, "7"))
			if err != nil {
				return err
			}
			go serveTCP(l, namespace)
			go serveUDP(c, namespace)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// inNamespace runs the test once more in namespaces of its own.
func inNamespace(t *testing.T, vrf bool, do func(*testing.T, bool)) {
	t.Helper()
	if !nstest.Within(t) {
		for _, f := range netapply.Features(t.Context()) {
			if (f.Name == netapply.FeatureMacvlan || f.Name == netapply.FeatureVRF && vrf) && !f.Present {
				t.Skipf("this kernel has no %s (%s); run with -exec test/vm/vm-exec", f.Name, f.Detail)
			}
		}
	}
	if nstest.Enter(t) {
		do(t, vrf)
	}
}
