package netapply_test

import (
	"net/netip"
	"testing"

	netquorum "github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
)

// TestKernelBondOptions sets every option in every mode that has it, looks where
// the kernel shows it to people, and takes all of them out again.
func TestKernelBondOptions(t *testing.T) {
	if !inNamespace(t, netapply.FeatureBond) {
		return
	}
	sh(t, `ip link add eth0 type veth peer name far0
		ip link add eth1 type veth peer name far1`)
	ownSysfs(t)
	k := openKernel(t)
	target := netip.MustParseAddr("10.1.1.254")
	for _, tc := range []struct {
		bond  netquorum.Bond
		shows map[string]string // below bonding/
	}{
		{netquorum.Bond{Mode: netquorum.ModeActiveBackup, NumGratARP: new(5), PeerNotifDelay: 200, ResendIGMP: new(0), AllSlavesActive: true, FailOverMAC: "follow", Primary: "eth1", PrimaryReselect: "better"},
			map[string]string{"num_grat_arp": "5", "num_unsol_na": "5", "peer_notif_delay": "200", "resend_igmp": "0", "all_slaves_active": "1", "fail_over_mac": "follow 2", "primary": "eth1"}},
		{netquorum.Bond{Mode: netquorum.ModeActiveBackup, ARPInterval: 500, ARPTargets: []netip.Addr{target}, ARPValidate: "filter_active", ARPAllTargets: "all", MissedMax: 7, NumGratARP: new(0)},
			map[string]string{"arp_interval": "500", "arp_validate": "filter_active 5", "arp_all_targets": "all 1", "arp_missed_max": "7", "num_grat_arp": "0", "arp_ip_target": "10.1.1.254"}},
		{netquorum.Bond{Mode: netquorum.ModeBalanceRR, PacketsPerSlave: new(0)}, map[string]string{"packets_per_slave": "0", "arp_validate": "none 0", "arp_all_targets": "any 0"}},
		{netquorum.Bond{Mode: netquorum.ModeBalanceTLB, LPInterval: 3, TLBDynamicLB: new(false), XmitHashPolicy: "layer3+4"}, map[string]string{"lp_interval": "3", "tlb_dynamic_lb": "0", "xmit_hash_policy": "layer3+4 1"}},
		{netquorum.Bond{Mode: netquorum.ModeBalanceALB, LPInterval: 9, TLBDynamicLB: new(true)}, map[string]string{"lp_interval": "9", "tlb_dynamic_lb": "1"}},
		{netquorum.Bond{Mode: netquorum.Mode8023AD, LACPRate: "fast", MinLinks: 2, ADSelect: "bandwidth", LACPActive: new(false)},
			map[string]string{"lacp_rate": "fast 1", "min_links": "2", "ad_select": "bandwidth 1", "lacp_active": "off 0", "lp_interval": "1"}},
		{netquorum.Bond{Mode: netquorum.ModeBroadcast, ARPInterval: 100, ARPTargets: []netip.Addr{target}, ARPValidate: "all"}, map[string]string{"arp_validate": "all 3", "arp_missed_max": "2"}},
		{netquorum.Bond{Mode: netquorum.ModeActiveBackup}, map[string]string{"num_grat_arp": "1", "peer_notif_delay": "0", "resend_igmp": "1", "all_slaves_active": "0", "arp_validate": "none 0", "arp_missed_max": "2", "lp_interval": "1", "miimon": "100"}},
	} {
		want := wantCards(t, netquorum.Interface{Name: "bond0", Members: []netquorum.InterfaceName{"eth0", "eth1"}, Bond: &tc.bond})
		r := apply(t, k, want)
		if err := r.Err(); err != nil {
			t.Fatalf("mode %s: %v\n%s", tc.bond.Mode, err, lines(r.Steps))
		}
		if again := apply(t, k, want); again.Writes != 0 {
			t.Errorf("mode %s: applied again it wrote %d times:\n%s", tc.bond.Mode, again.Writes, lines(again.Steps))
		}
		for name, value := range tc.shows {
			if got := readTrimmed(t, "/sys/class/net/bond0/bonding/"+name); got != value {
				t.Errorf("mode %s: %s is %q, not %q", tc.bond.Mode, name, got, value)
			}
		}
	}
}
