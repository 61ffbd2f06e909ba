package sctpio

import (
	"net/netip"
	"testing"
	"time"

	"github.com/ishidawataru/sctp"

	"github.com/netquorum/netquorum/lab/nstest"
)

// inNamespaces runs the calling test once more, as a process in namespaces of
// its own: in one network namespace, with another called "far", and two cables
// between them, path0 and path1 at both ends. It reports whether the caller is
// that process; the caller returns when it is not.
func inNamespaces(t *testing.T) bool {
	t.Helper()
	if err := Supported(); err != nil {
		t.Skipf("%v; run with -exec test/vm/vm-exec", err)
	}
	if !nstest.Enter(t) {
		return false
	}
	cables(t)
	return true
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
	nstest.Sh(t, `
		ip netns add far
		ip -n far link set lo up
		ip link add path0 type veth peer name path0 netns far
		ip link add path1 type veth peer name path1 netns far`)
	for end, ns := range map[string]string{"1": "", "2": "-n far"} {
		for _, n := range []string{"0", "1"} {
			nstest.Sh(t, "ip "+ns+" address add 10."+n+".0."+end+"/24 dev path"+n+`
				ip `+ns+" address add 2001:db8:"+n+"::"+end+"/64 dev path"+n+` nodad
				ip `+ns+" link set path"+n+" up")
		}
	}
}

// listenFar listens in the far namespace.
func listenFar(t testing.TB, o Options, ips ...netip.Addr) *Listener {
	t.Helper()
	return listenFarAt(t, Addr(0, ips...), o)
}

func listenFarAt(t testing.TB, a *sctp.SCTPAddr, o Options) *Listener {
	t.Helper()
	var l *Listener
	if err := nstest.Inside("far", func() (err error) { l, err = Listen(a, o); return err }); err != nil {
		t.Fatal(err)
	}
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
	over := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("not within ten seconds: %s", what)
		}
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
