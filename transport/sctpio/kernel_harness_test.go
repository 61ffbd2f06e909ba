package sctpio

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ishidawataru/sctp"
	"golang.org/x/sys/unix"
)

const namespaceEnv = "NQ_SCTPIO_NAMESPACE"

// inNamespaces runs the calling test once more, as a process in namespaces of
// its own: in one network namespace, with another called "far", and two cables
// between them, path0 and path1 at both ends. It reports whether the caller is
// that process; the caller returns when it is not.
func inNamespaces(t *testing.T) bool {
	t.Helper()
	if os.Getenv(namespaceEnv) == t.Name() {
		for _, err := range []error{
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("tmpfs", "/run", "tmpfs", 0, ""),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		cables(t)
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	if err := Supported(); err != nil {
		t.Skipf("%v; run with -exec test/vm/vm-exec", err)
	}
	limit := time.Hour
	if end, ok := t.Deadline(); ok {
		limit = time.Until(end) - 5*time.Second // so that it says where it hangs
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+limit.String())
	cmd.Env = append(os.Environ(), namespaceEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	t.Logf("in its namespaces:\n%s", out.String())
	if err != nil {
		t.Fatalf("in its namespaces: %v", err)
	}
	return false
}

// The addresses of both ends; nobody has the lost one.
var (
	near = []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.1.0.1")}
	far  = []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.1.0.2")}

	near6 = []netip.Addr{netip.MustParseAddr("2001:db8:0::1"), netip.MustParseAddr("2001:db8:1::1")}
	far6  = []netip.Addr{netip.MustParseAddr("2001:db8:0::2"), netip.MustParseAddr("2001:db8:1::2")}

	lost = netip.MustParseAddr("10.0.0.77")
)

func cables(t *testing.T) {
	t.Helper()
	sh(t, `
		ip link set lo up
		ip netns add far
		ip -n far link set lo up
		ip link add path0 type veth peer name path0 netns far
		ip link add path1 type veth peer name path1 netns far`)
	for end, ns := range map[string]string{"1": "", "2": "-n far"} {
		for _, n := range []string{"0", "1"} {
			sh(t, "ip "+ns+" address add 10."+n+".0."+end+"/24 dev path"+n+`
				ip `+ns+" address add 2001:db8:"+n+"::"+end+"/64 dev path"+n+` nodad
				ip `+ns+" link set path"+n+" up")
		}
	}
}

// sh runs commands, one a line.
func sh(t testing.TB, script string) {
	t.Helper()
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if out, err := exec.Command("sh", "-ec", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
}

// inside runs a function in the far namespace. Sockets stay where they were made.
func inside[T any](t testing.TB, do func() (T, error)) T {
	t.Helper()
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and not unlocked: the thread is of no use afterwards
		var r result
		f, err := os.Open("/run/netns/far")
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			f.Close()
		}
		if r.err = err; err == nil {
			r.v, r.err = do()
		}
		done <- r
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.v
}

// listenFar listens in the far namespace.
func listenFar(t testing.TB, o Options, ips ...netip.Addr) *Listener {
	t.Helper()
	l := inside(t, func() (*Listener, error) { return Listen(Addr(0, ips...), o) })
	t.Cleanup(func() { l.Close() })
	return l
}

// pair makes an association from here to the far namespace.
func pair(t testing.TB, o Options, from, to []netip.Addr) (here, there *Conn) {
	t.Helper()
	l := listenFar(t, o, to...)
	here, err := Dial(t.Context(), Addr(0, from...), l.Addr().(*sctp.SCTPAddr), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close() })
	l.SetDeadline(time.Now().Add(10 * time.Second))
	if there, err = l.AcceptSCTP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close() })
	return here, there
}

// await waits for a condition.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within ten seconds: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// within fails when a result does not come.
func within[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("not within ten seconds: %s", what)
		panic("not reached")
	}
}

// async runs a function that returns an error.
func async(f func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- f() }()
	return c
}
