package netapply_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/netapply"
	"github.com/vishvananda/netns"
)

const packetPolicy = `
kind: Cluster
name: acme
spec: {mac: "00:07:34:04:12:0e"}
---
kind: FilerGroup
name: main
spec: {access: few, servers: {access: few}}
---
kind: Filer
name: filer1
spec:
  group: main
  interfaces: [FILER]
---
kind: Access
name: few
spec:
  default: deny
  rules:
  - {action: allow, applications: [tcp/8000, udp/8000]}
---
kind: Routes
name: out
spec: {vrf: VRF, routes: [{to: default, via: 10.2.2.254}]}
---
kind: VirtualServer
name: a
spec:
  group: main
  routes: out
  addresses:
  - {alias: data0, instance: 0, prefix: 10.2.2.1/24}
  - {alias: data0, instance: 1, prefix: "2001:db8:2::1/64"}
`

// TestKernelAccessPackets sends real packets to a guarded server: to its
// addresses, to its link-local address, and to everybody on its link; without a
// VRF and in one, where the kernel shows a filter the VRF in the place of the
// link.
func TestKernelAccessPackets(t *testing.T) { accessPackets(t, false) }

func TestKernelAccessPacketsVRF(t *testing.T) { accessPackets(t, true, netapply.FeatureVRF) }

func accessPackets(t *testing.T, domain bool, features ...string) {
	if !inNamespace(t, append(features, netapply.FeatureNftables)...) {
		return
	}
	sh(t, `ip link add eth0 type veth peer name x0
		ip link set x0 up
		ip netns add client
		ip link set x0 netns client name eth0
		ip -n client link set lo up
		ip -n client addr add 10.2.2.9/24 dev eth0
		ip -n client addr add 2001:db8:2::9/64 dev eth0 nodad
		ip -n client link set eth0 up`)
	k := openKernel(t)
	docs := parse(t, strings.NewReplacer("VRF", fmt.Sprint(domain), "FILER", guardedFiler).Replace(packetPolicy))
	settle(t, k, wantOf(t, docs, "a"))
	heard := &hearing{}
	for _, port := range []int{8000, 8001} {
		heard.listen(t, port)
	}
	client, err := netns.GetFromName("client")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// By number: package net remembers the numbers of names, of any namespace.
	zone, _, _ := strings.Cut(run(t, "ip", "-n", "client", "-o", "link", "show", "eth0"), ":")
	linkLocal := localAddress(t, "data0-a") + "%" + zone
	eventually(t, "the client reaches the server", 10*time.Second, func() bool {
		return heard.ask(client, "tcp", "[2001:db8:2::1]:8000") == nil && heard.ask(client, "tcp", "["+linkLocal+"]:8000") == nil
	})
	type try struct {
		network, to string
		allowed     bool
	}
	tries := []try{}
	card := "[" + localAddress(t, "eth0") + "%" + zone + "]"
	for _, host := range []string{"10.2.2.1", "[2001:db8:2::1]", "[" + linkLocal + "]", card} {
		for _, network := range []string{"tcp", "udp"} {
			tries = append(tries, try{network, host + ":8000", true}, try{network, host + ":8001", false})
		}
	}
	tries = append(tries,
		try{"udp", "10.2.2.255:8000", true}, try{"udp", "10.2.2.255:8001", false},
		try{"udp", "[ff02::1%" + zone + "]:8000", true}, try{"udp", "[ff02::1%" + zone + "]:8001", false})
	check := func() error {
		errs := make([]error, len(tries))
		var all sync.WaitGroup
		for i, x := range tries {
			all.Go(func() {
				err := heard.ask(client, x.network, x.to)
				for more := 4; err != nil && x.allowed && more > 0; more-- {
					// A rule drops every time; a neighbour that was slow to answer does not.
					err = heard.ask(client, x.network, x.to)
				}
				if (err == nil) != x.allowed {
					errs[i] = fmt.Errorf("%s to %s: allowed %t, and: %v", x.network, x.to, x.allowed, err)
				}
			})
		}
		all.Wait()
		return errors.Join(errs...)
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	run(t, "ip", "netns", "exec", "client", "ping", "-c1", "-W5", "10.2.2.1")
	run(t, "ip", "netns", "exec", "client", "ping", "-6", "-c1", "-W5", "2001:db8:2::1")

	// Nobody has placed it here: the address is there, and silent.
	if err := k.Do(t.Context(), netapply.SetAccess{New: wantOf(t, docs).Access})[0]; err != nil {
		t.Fatal(err)
	}
	for _, x := range tries[:8] {
		if heard.ask(client, x.network, x.to) == nil {
			t.Errorf("%s to %s is answered although the server is not placed here", x.network, x.to)
		}
	}
	if tryCommand("ip netns exec client ping -c1 -W1 10.2.2.1") {
		t.Error("a ping is answered although the server is not placed here")
	}
	if err := k.Do(t.Context(), netapply.SetAccess{})[0]; err != nil {
		t.Fatal(err)
	}
	if check() == nil {
		t.Error("without the table the same is reached: this test shows nothing")
	}
}

// hearing remembers what servers on the wildcard address have heard by UDP:
// answers would need a source address, which a broadcast does not give.
type hearing struct {
	mu   sync.Mutex
	said map[string]bool
}

func (h *hearing) listen(t *testing.T, port int) {
	t.Helper()
	at := fmt.Sprintf("[::]:%d", port)
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("x"))
			c.Close()
		}
	}()
	u, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		b := make([]byte, 64)
		for {
			n, _, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			h.mu.Lock()
			if h.said == nil {
				h.said = map[string]bool{}
			}
			h.said[string(b[:n])] = true
			h.mu.Unlock()
		}
	}()
	t.Cleanup(func() { l.Close(); u.Close() })
}

func (h *hearing) has(word string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said[word]
}

// localAddress is a link's link-local address.
func localAddress(t *testing.T, link string) string {
	t.Helper()
	for f := range strings.FieldsSeq(run(t, "ip", "-6", "-o", "addr", "show", "dev", link, "scope", "link")) {
		if p, err := netip.ParsePrefix(f); err == nil {
			return p.Addr().String()
		}
	}
	t.Fatalf("%s has no link-local address", link)
	return ""
}

// ask connects from the client's namespace and waits for one byte, or sends a
// word by UDP and waits until it is heard.
func (h *hearing) ask(client netns.NsHandle, network, to string) error {
	const patience = 500 * time.Millisecond
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with this goroutine
		done <- func() error {
			if err := netns.Set(client); err != nil {
				return err
			}
			if network == "tcp" {
				c, err := net.DialTimeout("tcp", to, patience)
				if err != nil {
					return err
				}
				defer c.Close()
				_ = c.SetReadDeadline(time.Now().Add(patience))
				_, err = c.Read(make([]byte, 1))
				return err
			}
			addr, err := net.ResolveUDPAddr("udp", to)
			if err != nil {
				return err
			}
			c, err := net.ListenPacket("udp", "")
			if err != nil {
				return err
			}
			defer c.Close()
			word := rand.Text()
			if _, err := c.WriteTo([]byte(word), addr); err != nil {
				return err
			}
			for end := time.Now().Add(patience); time.Now().Before(end); {
				if h.has(word) {
					return nil
				}
				_ = c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
				_, _, _ = c.ReadFrom(make([]byte, 1))
			}
			return errors.New("not heard")
		}()
	}()
	return <-done
}
