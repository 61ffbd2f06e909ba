package sockhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netquorum/netquorum/lab/nstest"
)

// rulesEnv makes the test's binary a program that speaks by these rules.
const rulesEnv = "NQ_SOCKHOOK_RULES"

func TestMain(m *testing.M) {
	if text := os.Getenv(rulesEnv); text != "" {
		if err := speak(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// speak is a program that enters a control group, or not, and tells how others
// see it by each way to speak.
func speak(text string) error {
	var rules *Rules
	if err := json.Unmarshal([]byte(text), &rules); err != nil {
		return err
	}
	if rules != nil {
		if err := Enter(*rules); err != nil {
			return err
		}
	}
	for _, way := range ways {
		seen, err := way.do()
		if err != nil {
			seen = "refused"
			// EINVAL: a socket for IPv6 only, where the server has only IPv4.
			if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EINVAL) {
				seen = err.Error()
			}
		}
		fmt.Printf("%s: %s\n", way.name, seen)
	}
	return nil
}

// ways are those in which programs speak. The servers answer with the address
// that they see.
var ways = []struct {
	name string
	do   func() (string, error)
}{
	{"tcp4", func() (string, error) { return dial(net.Dialer{}, "tcp4", "10.0.0.9:7") }},
	{"tcp6", func() (string, error) { return dial(net.Dialer{}, "tcp6", "[fd00::9]:7") }},
	{"tcp mapped", mapped},
	{"tcp4 bound to a port", func() (string, error) {
		return dial(net.Dialer{LocalAddr: &net.TCPAddr{Port: 6000}}, "tcp4", "10.0.0.9:7")
	}},
	{"tcp4 bound to an address", func() (string, error) {
		return dial(net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}}, "tcp4", "10.0.0.9:7")
	}},
	{"udp4", func() (string, error) { return dial(net.Dialer{}, "udp4", "10.0.0.9:7") }},
	{"udp6", func() (string, error) { return dial(net.Dialer{}, "udp6", "[fd00::9]:7") }},
	{"udp4 not connected", func() (string, error) { return send("udp4", "10.0.0.9:7") }},
	{"udp6 not connected", func() (string, error) { return send("udp6", "[fd00::9]:7") }},
	{"udp of both, to 4", func() (string, error) { return send("udp", "10.0.0.9:7") }},
	{"udp of both, to 6", func() (string, error) { return send("udp", "[fd00::9]:7") }},
	{"elsewhere", func() (string, error) { return dial(net.Dialer{}, "udp4", "192.0.2.1:7") }},
	{"itself", itself},
}

func dial(d net.Dialer, network, to string) (string, error) {
	d.Timeout = 2 * time.Second
	c, err := d.Dial(network, to)
	if err != nil {
		return "", err
	}
	defer c.Close()
	// Without a TIME_WAIT, the next program can bind to the same port.
	if tcp, ok := c.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return "", err
		}
	}
	return answer(c)
}

func answer(c net.Conn) (string, error) {
	c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.Write([]byte("?")); err != nil {
		return "", err
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	return string(b[:n]), err
}

func send(network, to string) (string, error) {
	c, err := new(net.ListenConfig).ListenPacket(context.Background(), network, ":0")
	if err != nil {
		return "", err
	}
	defer c.Close()
	a, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		return "", err
	}
	c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.WriteTo([]byte("?"), a); err != nil {
		return "", err
	}
	b := make([]byte, 100)
	n, _, err := c.ReadFrom(b)
	return string(b[:n]), err
}

// mapped reaches an IPv4 server through an IPv6 socket, as C programs do.
func mapped() (string, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	if err := unix.Connect(fd, &unix.SockaddrInet6{Port: 7, Addr: [16]byte{10: 0xff, 11: 0xff, 12: 10, 15: 9}}); err != nil {
		return "", err
	}
	if _, err := f.Write([]byte("?")); err != nil {
		return "", err
	}
	b := make([]byte, 100)
	n, err := f.Read(b)
	return string(b[:n]), err
}

// itself speaks to a server on the same machine, by its own address.
func itself() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	go serveTCP(l)
	return dial(net.Dialer{}, "tcp4", l.Addr().String())
}

func serveTCP(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if _, err := c.Read(make([]byte, 1)); err == nil {
				io.WriteString(c, host(c.RemoteAddr()))
			}
		}()
	}
}

func serveUDP(c net.PacketConn) {
	for {
		_, from, err := c.ReadFrom(make([]byte, 100))
		if err != nil {
			return
		}
		c.WriteTo([]byte(host(from)), from)
	}
}

func host(a net.Addr) string {
	h, _, _ := net.SplitHostPort(a.String())
	return h
}

func TestKernelSocketsSpeakAsTheirSource(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	nstest.Sh(t, `
		ip netns add peer
		ip link add port type veth peer name eth0 netns peer
		ip -n peer link set lo up
		ip -n peer addr add 10.0.0.9/24 dev eth0
		ip -n peer addr add fd00::9/64 dev eth0 nodad
		ip -n peer link set eth0 up
		ip addr add 10.0.0.1/24 dev port
		ip addr add 10.0.0.2/24 dev port
		ip addr add fd00::1/64 dev port nodad
		ip addr add fd00::2/64 dev port nodad preferred_lft 0
		ip link set port up
		ip route add 192.0.2.0/24 via 10.0.0.9`)
	serveInPeer(t)
	filer := map[string]string{
		"tcp4": "10.0.0.1", "tcp6": "fd00::1", "tcp mapped": "10.0.0.1", "tcp4 bound to a port": "10.0.0.1",
		"tcp4 bound to an address": "10.0.0.1", "udp4": "10.0.0.1", "udp6": "fd00::1",
		"udp4 not connected": "10.0.0.1", "udp6 not connected": "fd00::1",
		"udp of both, to 4": "10.0.0.1", "udp of both, to 6": "fd00::1", "itself": "127.0.0.1",
	}
	with := func(changes map[string]string) map[string]string {
		out := map[string]string{}
		for k, v := range filer {
			out[k] = v
		}
		for k, v := range changes {
			out[k] = v
		}
		return out
	}
	server4 := map[string]string{
		"tcp4": "10.0.0.2", "tcp mapped": "10.0.0.2", "tcp4 bound to a port": "10.0.0.2",
		"udp4": "10.0.0.2", "udp4 not connected": "10.0.0.2", "udp of both, to 4": "10.0.0.2", "elsewhere": "refused",
	}
	both := with(server4)
	for _, way := range []string{"tcp6", "udp6", "udp6 not connected", "udp of both, to 6"} {
		both[way] = "fd00::2"
	}
	only4 := with(server4)
	for _, way := range []string{"tcp6", "udp6", "udp6 not connected"} {
		only4[way] = "refused"
	}
	delete(only4, "udp of both, to 6")
	for _, c := range []struct {
		name  string
		rules *Rules
		want  map[string]string
	}{
		{"no rules", nil, filer},
		{"both families", &Rules{Sources: []Source{source("10.0.0.0/24", "10.0.0.2"), source("fd00::/64", "fd00::2")}}, both},
		{"IPv4 only", &Rules{Sources: []Source{source("10.0.0.0/24", "10.0.0.2")}}, only4},
		{"an address that has moved away", &Rules{Sources: []Source{source("10.0.0.0/24", "10.0.0.3"), source("::/0", "fd00::1")}}, map[string]string{
			"tcp4": "refused", "tcp mapped": "refused", "udp4": "refused", "tcp6": "fd00::1", "itself": "127.0.0.1",
		}},
	} {
		rules, err := json.Marshal(c.rules)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), rulesEnv+"="+string(rules))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", c.name, err, out)
			continue
		}
		got := map[string]string{}
		for line := range strings.Lines(string(out)) {
			way, seen, _ := strings.Cut(strings.TrimSpace(line), ": ")
			got[way] = seen
		}
		for way, want := range c.want {
			if got[way] != want {
				t.Errorf("%s: %s is seen as %q, want %q", c.name, way, got[way], want)
			}
		}
	}
	// The kernel's verifier takes the largest programs too.
	large := Rules{}
	for i := range MaxSources / 2 {
		large.Sources = append(large.Sources, source(fmt.Sprintf("10.%d.%d.0/24", i/256, i%256), "10.0.0.2"), source(fmt.Sprintf("fd00:%x::/64", i), "fd00::2"))
	}
	for _, p := range large.programs() {
		fd, err := load(p)
		if err != nil {
			t.Errorf("%s of %d instructions: %v", p.name, len(p.code)/8, err)
			continue
		}
		unix.Close(fd)
	}
}

func TestKernelEndedGroupsAreRemoved(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	for range 3 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), rulesEnv+`={"Sources":[{"To":"203.0.113.0/24","Address":"203.0.113.1"}]}`)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	root, err := mountGroups()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	parent, err := parentGroup(text)
	if err != nil {
		t.Fatal(err)
	}
	sweep(root, parent)
	fd, err := unix.Openat(root, parent, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	names, err := os.NewFile(uintptr(fd), parent).Readdirnames(-1)
	for _, name := range names {
		if pid, ours := processOf(name); ours && unix.Kill(pid, 0) != nil {
			t.Errorf("group %s is left behind", name)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// serveInPeer answers at port 7 of the peer.
func serveInPeer(t *testing.T) {
	t.Helper()
	if err := nstest.Inside("peer", func() error {
		for _, a := range []string{"10.0.0.9:7", "[fd00::9]:7"} {
			l, err := net.Listen("tcp", a)
			if err != nil {
				return err
			}
			c, err := net.ListenPacket("udp", a)
			if err != nil {
				return err
			}
			go serveTCP(l)
			go serveUDP(c)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
