package statistics

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/lab/nstest"
)

var kernel Netlink

var (
	vsvra = netquorum.Key{Kind: netquorum.KindVirtualServer, Name: "vsvra"}
	vsvrb = netquorum.Key{Kind: netquorum.KindVirtualServer, Name: "vsvrb"}
	a4    = netip.MustParseAddr("10.0.0.1")
	b4    = netip.MustParseAddr("10.0.0.2")
	a6    = netip.MustParseAddr("fd00::1")
	epoch = time.Unix(1_763_719_200, 0).UTC()
)

// peer cables a namespace with a client at 10.0.0.9 and fd00::9 to this one.
const peer = `
	ip netns add peer
	ip link add port type veth peer name eth0 netns peer
	ip -n peer link set lo up
	ip -n peer addr add 10.0.0.9/24 dev eth0
	ip -n peer addr add fd00::9/64 dev eth0 nodad
	ip -n peer link set eth0 up`

func ensure(t *testing.T, want Counted, changed bool) {
	t.Helper()
	did, err := kernel.Ensure(want, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if did != changed {
		t.Errorf("changed is %v, want %v", did, changed)
	}
}

// traffic returns what was counted for one address.
func traffic(t *testing.T, a netip.Addr) AddressTraffic {
	t.Helper()
	list, err := kernel.Traffic()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		if x.Address == a {
			return x
		}
	}
	t.Fatalf("nothing is counted for %s", a)
	return AddressTraffic{}
}

// datagrams sends n datagrams of the size from the peer, each after the answer
// to the one before.
func datagrams(t *testing.T, to netip.Addr, n, size int) {
	t.Helper()
	l, err := net.ListenPacket("udp", netip.AddrPortFrom(to, 4000).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, from, err := l.ReadFrom(b)
			if err != nil {
				return
			}
			l.WriteTo(b[:n], from)
		}
	}()
	if err := nstest.Inside("peer", func() error {
		c, err := net.Dial("udp", netip.AddrPortFrom(to, 4000).String())
		if err != nil {
			return err
		}
		defer c.Close()
		b := make([]byte, size)
		for i := range n {
			c.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := c.Write(b); err != nil {
				return err
			}
			if _, err := c.Read(b); err != nil {
				return fmt.Errorf("waiting for answer %d: %w", i, err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// upload has the peer send size bytes over one connection, which stays open
// while look is called.
func upload(t *testing.T, to netip.Addr, size int, look func()) {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(to, 5000).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got, sent, end := make(chan int64, 1), make(chan struct{}), make(chan struct{})
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- 0
			return
		}
		defer c.Close()
		n, _ := io.CopyN(io.Discard, c, int64(size))
		got <- n
		<-end
	}()
	client := func() error {
		c, err := net.Dial("tcp", netip.AddrPortFrom(to, 5000).String())
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write(make([]byte, size)); err != nil {
			return err
		}
		if n := <-got; n != int64(size) {
			return fmt.Errorf("the server read %d of %d bytes", n, size)
		}
		close(sent)
		<-end
		return nil
	}
	go func() {
		select {
		case <-sent:
			look()
		case <-t.Context().Done():
		}
		close(end)
	}()
	if err := nstest.Inside("peer", client); err != nil {
		t.Fatal(err)
	}
}

func TestKernelCountersMatchWhatWasSent(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	nstest.Sh(t, peer)
	nstest.Sh(t, `ip addr add 10.0.0.1/24 dev port
		ip addr add 10.0.0.2/24 dev port
		ip addr add fd00::1/64 dev port nodad
		ip link set port up`)
	ensure(t, Counted{a4: vsvra, a6: vsvra, b4: vsvrb}, true)

	datagrams(t, a4, 100, 500)
	datagrams(t, a6, 10, 300)
	want := Flow{Count{100, 100 * 528}, Count{100, 100 * 528}}
	if got := traffic(t, a4).Flows[UDP]; got != want {
		t.Errorf("UDP of %s: %+v, want %+v", a4, got, want)
	}
	want = Flow{Count{10, 10 * 348}, Count{10, 10 * 348}}
	if got := traffic(t, a6).Flows[UDP]; got != want {
		t.Errorf("UDP of %s: %+v, want %+v", a6, got, want)
	}
	if got := traffic(t, b4).Flows[IP]; got != (Flow{}) {
		t.Errorf("%s got nothing, but %+v is counted", b4, got)
	}

	nstest.Sh(t, "ip netns exec peer ping -q -c 3 -i 0.01 -s 56 10.0.0.2")
	if got, want := traffic(t, b4).Flows[IP], (Flow{Count{3, 3 * 84}, Count{3, 3 * 84}}); got != want {
		t.Errorf("pings of %s: %+v, want %+v", b4, got, want)
	}

	const size = 3_000_000
	upload(t, b4, size, func() {
		all, err := kernel.Sockets(t.Context(), Counted{a4: vsvra, b4: vsvrb})
		if err != nil {
			t.Error(err)
			return
		}
		s := all[vsvrb]
		if s == nil || s.States["established"] != 1 || s.States["listen"] != 1 || s.RTT <= 0 || s.RTT > time.Second {
			t.Errorf("sockets of %s: %+v, want one that listens and one connection with a round trip time", vsvrb, s)
		}
		if all[vsvra] != nil {
			t.Errorf("%s has no sockets, but %+v are shown", vsvra, all[vsvra])
		}
	})
	got := traffic(t, b4).Flows
	// Every segment has between 40 (IPv4 and TCP) and 80 bytes (all options) of
	// headers.
	segments := got[TCP].In.Packets
	if low, high := size+40*segments, size+80*segments; got[TCP].In.Bytes < low || got[TCP].In.Bytes > high {
		t.Errorf("TCP in: %+v, want %d to %d bytes", got[TCP].In, low, high)
	}
	if got[Opens].In.Packets != 1 || got[Opens].Out.Packets != 0 || got[Resets].Out.Packets > 1 {
		t.Errorf("opens %+v, resets %+v, want one connection from outside", got[Opens], got[Resets])
	}
}

func TestKernelCountersSurvive(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	nstest.Sh(t, peer)
	nstest.Sh(t, `ip addr add 10.0.0.1/24 dev port
		ip addr add 10.0.0.2/24 dev port
		ip link set port up
		nft add table inet foreign
		nft add chain inet foreign c`)
	both := Counted{a4: vsvra, b4: vsvrb}
	ensure(t, both, true)
	datagrams(t, a4, 10, 100)
	datagrams(t, b4, 20, 100)
	counts := func(of string, a, b uint64) {
		t.Helper()
		if got := traffic(t, a4).Flows[UDP].In.Packets; got != a {
			t.Errorf("%s: %d datagrams to %s are counted, want %d", of, got, a4, a)
		}
		if got := traffic(t, b4).Flows[UDP].In.Packets; got != b {
			t.Errorf("%s: %d datagrams to %s are counted, want %d", of, got, b4, b)
		}
	}
	counts("at first", 10, 20)
	ensure(t, both, false)
	counts("a second time", 10, 20)

	third := netip.MustParseAddr("10.0.0.3")
	ensure(t, Counted{a4: vsvra, b4: vsvrb, third: vsvrb}, true)
	ensure(t, both, true)
	counts("with an address more and one less", 10, 20)

	// The server leaves this filer and comes back.
	nstest.Sh(t, "ip addr del 10.0.0.2/24 dev port")
	ensure(t, both, false)
	nstest.Sh(t, "ip addr add 10.0.0.2/24 dev port")
	datagrams(t, b4, 1, 100)
	counts("after a move", 10, 21)

	// Somebody else's doing is put right without losing what was counted.
	nstest.Sh(t, "nft flush chain inet netquorum_count in4")
	ensure(t, both, true)
	datagrams(t, a4, 5, 100)
	counts("after its rules were flushed", 15, 21)
	nstest.Sh(t, "nft insert rule inet netquorum_count in drop")
	ensure(t, both, true)
	datagrams(t, a4, 1, 100)
	counts("after a rule was inserted", 16, 21)

	// An address that goes to another server begins anew: it is not its traffic.
	ensure(t, Counted{a4: vsvrb, b4: vsvrb}, true)
	counts("with a new owner", 0, 21)
	if got := traffic(t, a4); got.Owner != vsvrb || !got.Since.Equal(epoch) {
		t.Errorf("counted for %s since %s, want %s since %s", got.Owner, got.Since, vsvrb, epoch)
	}
	if out, err := exec.Command("nft", "list", "table", "inet", "foreign").CombinedOutput(); err != nil {
		t.Errorf("the foreign table is gone: %s", out)
	}
	nstest.Sh(t, "nft flush ruleset")
	if _, err := kernel.Traffic(); err == nil {
		t.Error("counters are read from a table that is not there")
	}
	ensure(t, both, true)
	counts("after everything was removed", 0, 0)
}

func TestKernelVRFCountsOnce(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	nstest.Possible(t, "ip link add vrf-a type vrf table 100")
	nstest.Sh(t, peer)
	nstest.Sh(t, `ip link set vrf-a up
		ip link set port master vrf-a
		ip addr add 10.0.0.1/24 dev port
		ip addr add fd00::1/64 dev port nodad
		ip link set port up`)
	ensure(t, Counted{a4: vsvra, a6: vsvra}, true)
	nstest.Sh(t, `ip netns exec peer ping -q -c 4 -i 0.05 10.0.0.1
		ip netns exec peer ping -q -c 4 -i 0.05 fd00::1`)
	if got, want := traffic(t, a4).Flows[IP], (Flow{Count{4, 336}, Count{4, 336}}); got != want {
		t.Errorf("%s: %+v, want %+v", a4, got, want)
	}
	// Neighbour discovery may be among IPv6's packets.
	if got := traffic(t, a6).Flows[IP].Out.Packets; got < 4 || got > 6 {
		t.Errorf("%s: %d packets out for 4 answers", a6, got)
	}
}

func TestKernelManyAddressesAreCheap(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	want := Counted{}
	for i := range 1000 {
		a := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		want[a] = netquorum.Key{Kind: netquorum.KindVirtualServer, Name: fmt.Sprintf("vsvr%d", i/10)}
	}
	begin := time.Now()
	ensure(t, want, true)
	made := time.Since(begin)
	begin = time.Now()
	ensure(t, want, false)
	checked := time.Since(begin)
	begin = time.Now()
	list, err := kernel.Traffic()
	if err != nil || len(list) != 1000 {
		t.Fatalf("%d addresses (%v), want 1000", len(list), err)
	}
	read := time.Since(begin)
	begin = time.Now()
	if _, err := kernel.Sockets(context.Background(), want); err != nil {
		t.Fatal(err)
	}
	t.Logf("1000 addresses: made in %v, checked in %v, read in %v, sockets in %v", made, checked, read, time.Since(begin))
}
