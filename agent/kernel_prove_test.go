package agent

import (
	"context"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A gateway that is there answers, also when the neighbour table holds an older
// answer; one that is not there does not.
func TestKernelGatewayAnswers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for a network namespace of its own")
	}
	// Never unlocked: the thread, and the namespace with it, ends with the test.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("no network namespace:", err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// The neighbour is the other end of a cable, in a namespace of its own.
	here, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(err)
	defer unix.Close(here)
	must(unix.Unshare(unix.CLONE_NEWNET))
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "far"}, PeerName: "mgmt0"}))
	up := func(name, address string) {
		t.Helper()
		l, err := netlink.LinkByName(name)
		must(err)
		a, err := netlink.ParseAddr(address)
		must(err)
		must(netlink.AddrAdd(l, a))
		must(netlink.LinkSetUp(l))
	}
	peer, err := netlink.LinkByName("mgmt0")
	must(err)
	must(netlink.LinkSetNsFd(peer, here))
	up("far", "10.1.1.254/24")
	far, err := netlink.NewHandle()
	must(err)
	defer far.Close()
	must(unix.Setns(here, unix.CLONE_NEWNET))
	up("mgmt0", "10.1.1.1/24")

	ask := func(gateway string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer cancel()
		return netProber{}.Gateway(ctx, "mgmt0", netip.MustParseAddr(gateway))
	}
	for range 2 {
		// A question that is lost is asked again by whoever proves.
		err := ask("10.1.1.254")
		for try := 1; err != nil && try < 10; try++ {
			err = ask("10.1.1.254")
		}
		if err != nil {
			t.Errorf("the gateway that is there: %v", err)
		}
	}
	if err := ask("10.1.1.253"); err == nil {
		t.Error("a gateway that is not there answers")
	}
	l, err := far.LinkByName("far")
	must(err)
	must(far.LinkSetDown(l))
	if err := ask("10.1.1.254"); err == nil {
		t.Error("a gateway whose cable is out answers")
	}
	if err := ask("10.1.1.254"); err == nil {
		t.Error("the second time, too")
	}
}
