package netapply_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum/netapply"
)

func awaitWake(t *testing.T, wake <-chan struct{}, what string) {
	t.Helper()
	select {
	case _, open := <-wake:
		if !open {
			t.Fatalf("closed while waiting for a wake-up after %s", what)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("waited 10 s for a wake-up after %s", what)
	}
}

// TestKernelWatch expects one wake-up or a few for a burst of changes, one for
// each kind of change, and an end with the context.
func TestKernelWatch(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	wake := netapply.Watch(ctx, nil)
	for _, change := range []string{
		"ip link add eth0 type veth peer name x0",
		"ip link set eth0 up", "ip link set x0 up",
		"ip addr add 10.0.0.1/24 dev eth0",
		"ip -6 addr add 2001:db8::1/64 dev eth0 nodad",
		"ip route add 10.9.0.0/16 via 10.0.0.9",
		"ip -6 route add 2001:db8:9::/48 via 2001:db8::9",
		"ip rule add from 10.0.0.1 lookup 100",
		"ip -6 rule add from 2001:db8::1 lookup 100",
	} {
		run(t, "sh", "-c", change)
		awaitWake(t, wake, change)
	}
	// IPv6 goes on by itself for a while (duplicate address detection).
	quiet := func() {
		for {
			select {
			case <-wake:
			case <-time.After(3 * time.Second):
				return
			}
		}
	}
	quiet()
	var addresses strings.Builder
	for i := range 200 {
		fmt.Fprintf(&addresses, "addr add 10.1.%d.1/24 dev eth0\n", i)
	}
	batch(t, addresses.String())
	wakes := 0
	for more := true; more; {
		select {
		case <-wake:
			wakes++
		case <-time.After(time.Second):
			more = false
		}
	}
	if wakes == 0 || wakes > 100 {
		t.Errorf("%d wake-ups for 200 changes in a burst", wakes)
	}
	cancel()
	eventually(t, "the channel to close", 5*time.Second, func() bool {
		select {
		case _, open := <-wake:
			return !open
		default:
			return false
		}
	})
}

// TestKernelFeatures compares what is probed with what can be done.
func TestKernelFeatures(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	cards(t, "eth0")
	before := len(ipLinks(t))
	features := netapply.Features(t.Context())
	if after := ipLinks(t); len(after) != before {
		t.Errorf("probing left something behind: %v", after)
	}
	try := map[string]string{
		netapply.FeatureBond:     "ip link add probe0 type bond",
		netapply.FeatureVLAN:     "ip link add link eth0 name probe0 type vlan id 5",
		netapply.FeatureMacvlan:  "ip link add link eth0 name probe0 type macvlan",
		netapply.FeatureVRF:      "ip link add probe0 type vrf table 1000",
		netapply.FeatureNftables: "nft add table inet probe",
	}
	for _, f := range features {
		command, ok := try[f.Name]
		if !ok {
			continue
		}
		if can := tryCommand(command); can != f.Present {
			t.Errorf("%s: %q works: %t, probed: %+v", f.Name, command, can, f)
		}
		tryCommand("ip link del probe0")
		if !f.Present && f.Detail == "" {
			t.Errorf("%s is absent without a reason", f.Name)
		}
	}
	t.Logf("%+v", features)
}
