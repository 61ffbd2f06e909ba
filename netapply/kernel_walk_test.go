package netapply_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	netquorum "github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
	"github.com/vishvananda/netns"
)

// TestKernelWalk is TestWalk on the real kernel, as far as it goes: without
// bonds, VLANs and VRFs where it has none. After every configuration
//
//   - the kernel has what a fresh namespace has after that configuration alone,
//   - what somebody else has is as it was,
//   - and from a mgmt alias that every configuration has to another filer's mgmt
//     alias no packet was lost, whatever was made and removed beside it.
//
// NQ_KERNEL_WALK=300 takes 300 configurations, NQ_WALK_SEED repeats a walk.
func TestKernelWalk(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan) {
		return
	}
	seed := walkSeed(t)
	d := &drawer{
		rng:  rand.New(rand.NewPCG(seed, 2)),
		vlan: hasFeature(t, netapply.FeatureBond) && hasFeature(t, netapply.FeatureVLAN) && hasFeature(t, netapply.FeatureVRF),
		kept: &netquorum.Interface{Name: "mgmt9", Parent: "eth9", Addresses: []netip.Prefix{prefix("172.31.9.1/24")}},
	}
	steps := 40
	if emulated {
		steps = 15 // a second or two each
	}
	if n, err := strconv.Atoi(os.Getenv("NQ_KERNEL_WALK")); err == nil {
		steps = n
	}
	cards(t, "eth0", "eth1", "eth2", "eth3", "eth4", "eth5")
	echo := walkPeer(t)
	sh(t, `ip link add ext0 type veth peer name xext0
		ip link set ext0 up
		ip link add link ext0 name other0 type macvlan mode bridge
		ip link set other0 addrgenmode none
		ip link set other0 alias "somebody else's" up
		ip addr add 192.0.2.1/24 dev other0
		ip route add 198.51.100.0/24 via 192.0.2.254 dev other0
		ip route add 203.0.113.0/24 via 192.0.2.254 dev other0 table 1000500
		ip rule add pref 700 from 192.0.2.1 lookup 1000500`)
	foreign := func() string {
		return run(t, "sh", "-c", `printf '%s\n' 'link show other0' 'addr show dev other0' 'route show 198.51.100.0/24' 'route show table 1000500' 'rule show pref 700' | ip -d -batch -`)
	}
	foreignBefore := foreign()
	k := openKernel(t)
	var stream *udpStream
	rounds := map[int]int{}
	start := time.Now()
	for step := range steps {
		c, hosts := d.config()
		desired, err := netapply.Want(c, "filer1", hosts)
		if err != nil {
			t.Fatal(err)
		}
		before := settledState(t, k, desired)
		r := apply(t, k, desired)
		rounds[r.Rounds]++
		if err := r.Err(); err != nil {
			t.Fatalf("step %d: %v\nsteps:\n%s\nbefore:\n%s", step, err, lines(r.Steps), before)
		}
		if stream == nil {
			stream = startStream(t, "172.31.9.1:0", echo)
			defer stream.stop()
		}
		mustBeSettled(t, k, desired)
		got := settledState(t, k, desired)
		expected := elsewhere(t, func() string {
			cards(t, "eth0", "eth1", "eth2", "eth3", "eth4", "eth5", "eth9")
			fresh := openKernel(t)
			sameMTUs(t, k, fresh)
			if err := apply(t, fresh, desired).Err(); err != nil {
				t.Error(err)
			}
			return settledState(t, fresh, desired)
		})
		if diff := cmp.Diff(strings.Split(expected, "\n"), strings.Split(got, "\n")); diff != "" {
			t.Fatalf("step %d: not as in a fresh namespace (-fresh +walked):\n%s\nsteps:\n%s\nbefore:\n%s", step, diff, lines(r.Steps), before)
		}
		if diff := cmp.Diff(foreignBefore, foreign()); diff != "" {
			t.Fatalf("step %d: what is not ours changed (-before +after):\n%s\nsteps:\n%s", step, diff, lines(r.Steps))
		}
		if t.Failed() {
			return
		}
	}
	stream.stop()
	t.Logf("%d configurations in %v; rounds needed: %v; %d packets answered", steps, time.Since(start).Round(time.Second), rounds, stream.answered.Load())
	if lost := stream.lost(); lost > 0 {
		t.Errorf("%d of %d packets between the mgmt aliases were lost", lost, stream.sent.Load())
	}
}

// sameMTUs gives the cards of one kernel the MTUs that another's have.
func sameMTUs(t *testing.T, from, to netapply.Kernel) {
	o, err := from.Observe(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	if _, err := to.Observe(t.Context()); err != nil {
		t.Error(err)
	}
	for _, l := range o.Links {
		for _, n := range drawnCards {
			if l.Name == string(n) {
				if err := to.Do(t.Context(), netapply.SetLink{Name: l.Name, MTU: &l.MTU})[0]; err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// walkPeer plugs eth9 in, whose other end is another filer's only card, and
// returns where that filer's mgmt alias echoes.
func walkPeer(t *testing.T) string {
	sh(t, "ip netns add peer\nip link add eth9 mtu 9000 type veth peer name eth9 mtu 9000 netns peer")
	peer, err := netns.GetFromName("peer")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conns := make(chan net.PacketConn, 1)
	elsewhere(t, func() string {
		if err := netns.Set(peer); err != nil {
			t.Error(err)
			return ""
		}
		mustApply(t, openKernel(t), want(t, single(t, `{name: mgmt9, parent: eth9, addresses: [172.31.9.2/24]}`), "filer1"))
		c, err := net.ListenPacket("udp4", "172.31.9.2:7")
		if err != nil {
			t.Error(err)
			return ""
		}
		conns <- c
		return ""
	})
	if t.Failed() {
		t.FailNow()
	}
	c := <-conns
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 64)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	return c.LocalAddr().String()
}

// A udpStream sends a numbered packet every 20 ms and counts what comes back.
type udpStream struct {
	conn           net.Conn
	sent, answered atomic.Int64
	ended          chan struct{}
	once           sync.Once
	wait           sync.WaitGroup
}

func startStream(t *testing.T, from, to string) *udpStream {
	t.Helper()
	local, err := net.ResolveUDPAddr("udp4", from)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := (&net.Dialer{LocalAddr: local}).Dial("udp4", to)
	if err != nil {
		t.Fatal(err)
	}
	s := &udpStream{conn: conn, ended: make(chan struct{})}
	s.wait.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, uint64(s.sent.Load()))); err != nil {
				fmt.Println("a packet could not be sent:", err) // counts as lost
			}
			s.sent.Add(1)
			select {
			case <-s.ended:
				return
			case <-tick.C:
			}
		}
	})
	go func() { // ends with the connection
		b := make([]byte, 64)
		for {
			if _, err := conn.Read(b); err == nil {
				s.answered.Add(1)
			} else if strings.Contains(err.Error(), "closed") {
				return
			}
		}
	}()
	return s
}

// stop waits for what is under way.
func (s *udpStream) stop() {
	s.once.Do(func() {
		close(s.ended)
		s.wait.Wait()
		for end := time.Now().Add(5 * time.Second); s.lost() > 0 && time.Now().Before(end); {
			<-time.After(10 * time.Millisecond)
		}
		s.conn.Close()
	})
}

func (s *udpStream) lost() int64 { return s.sent.Load() - s.answered.Load() }
