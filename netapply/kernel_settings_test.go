package netapply_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum/netapply"
)

func sysctl(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/proc/sys/net", path))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// TestKernelNothingIsForwarded turns forwarding and proxies on in the machine,
// as other programs do, and expects our links to have neither, and those of
// others to keep theirs.
func TestKernelNothingIsForwarded(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan) {
		return
	}
	cards(t, "eth0", "ext0")
	sh(t, `sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.default.proxy_arp=1 net.ipv4.conf.ext0.proxy_arp=1
		sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.proxy_ndp=1`)
	k := openKernel(t)
	d := want(t, example(t, "single-nic.yaml"), "filer1", "files")
	mustApply(t, k, d)
	for _, link := range []string{"mgmt0", "data0", "data0-files"} {
		for _, name := range []string{"ipv4/conf/%/forwarding", "ipv4/conf/%/proxy_arp", "ipv6/conf/%/forwarding", "ipv6/conf/%/proxy_ndp"} {
			if path := strings.Replace(name, "%", link, 1); sysctl(t, path) != "0" {
				t.Errorf("%s is %s", path, sysctl(t, path))
			}
		}
	}
	for _, path := range []string{"ipv4/conf/ext0/forwarding", "ipv4/conf/ext0/proxy_arp", "ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if sysctl(t, path) != "1" {
			t.Errorf("%s is %s: it is not ours", path, sysctl(t, path))
		}
	}
	// Turned on for all later: our links are put right.
	sh(t, "sysctl -qw net.ipv4.ip_forward=0\nsysctl -qw net.ipv4.ip_forward=1")
	mustApply(t, k, d)
	if sysctl(t, "ipv4/conf/mgmt0/forwarding") != "0" {
		t.Error("mgmt0 forwards after ip_forward was turned on again")
	}
	mustBeSettled(t, k, d)
}

// TestKernelDomainIsReached connects to a server in a VRF of which the daemons
// listen on all interfaces and know nothing of VRFs.
func TestKernelDomainIsReached(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan, netapply.FeatureVRF) {
		return
	}
	withClient(t)
	k := openKernel(t)
	for _, name := range []string{"tcp", "udp"} {
		if v := sysctl(t, "ipv4/"+name+"_l3mdev_accept"); v != "0" {
			t.Fatalf("%s_l3mdev_accept is %s before anything was applied", name, v)
		}
	}
	mustApply(t, k, want(t, parse(t, overlapping), "filer1"))
	if v := sysctl(t, "ipv4/tcp_l3mdev_accept"); v != "0" {
		t.Errorf("tcp_l3mdev_accept is %s where no server with a VRF is hosted", v)
	}
	d := want(t, parse(t, overlapping), "filer1", "inside")
	mustApply(t, k, d)
	mustBeSettled(t, k, d)
	l, err := net.Listen("tcp4", ":7777")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("hello\n"))
			c.Close()
		}
	}()
	u, err := net.ListenPacket("udp4", ":7777")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for _, address := range []string{"10.2.2.1", "10.2.2.3"} {
		if out := run(t, "ip", "netns", "exec", "client", "timeout", "10", "bash", "-c", "cat </dev/tcp/"+address+"/7777"); out != "hello\n" {
			t.Errorf("%s says %q", address, out)
		}
		run(t, "ip", "netns", "exec", "client", "bash", "-c", "echo ping >/dev/udp/"+address+"/7777")
		if err := u.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 16)
		n, from, err := u.ReadFrom(b)
		if err != nil || string(b[:n]) != "ping\n" || !strings.HasPrefix(from.String(), "10.2.2.254:") {
			t.Errorf("over UDP to %s: %q from %v, %v", address, b[:n], from, err)
		}
	}
}
