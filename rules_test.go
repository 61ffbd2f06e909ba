package netquorum

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A ruleCase changes the acceptance example in a way that breaks rules: all
// documents of it are put, the named ones deleted.
type ruleCase struct {
	name   string
	puts   string
	delete string // keys with spaces between them
	want   string // document field rule [of owner], one to a line
}

// filer is a document with interfaces, one to a line, beside the example's.
func filer(interfaces string) string {
	return "kind: Filer\nname: X\nspec:\n  interfaces:\n" + list(interfaces)
}

// server is a virtual server with addresses, one to a line.
func server(addresses string) string {
	return "kind: VirtualServer\nname: X\nspec:\n  group: main\n  addresses:\n" + list(addresses)
}

func service(addresses string) string {
	return "kind: Service\nname: X\nspec:\n  group: main\n  addresses:\n" + list(addresses)
}

func routes(routes string) string {
	return "kind: Routes\nname: X\nspec:\n  routes:\n" + list(routes)
}

func list(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		b.WriteString("  - {" + strings.TrimSpace(line) + "}\n")
	}
	return b.String()
}

var ruleCases = []ruleCase{
	// Names.
	{"a name begins with a letter or digit", "kind: FilerGroup\nname: _x", "", "FilerGroup/_x name name"},
	{"a name has no colon, which separates the parts of a client identifier", "kind: FilerGroup\nname: 'a:b'", "", "FilerGroup/a:b name name"},
	{"only a record's name has slashes", "kind: FilerGroup\nname: a/b", "", "FilerGroup/a/b name name"},
	{"a name has at most 63 characters", "kind: FilerGroup\nname: " + strings.Repeat("a", 64), "", "FilerGroup/" + strings.Repeat("a", 64) + " name name"},
	{"no virtual server has a name that begins with vs_mgmt", strings.Replace(server("alias: data0, prefix: 10.9.9.1/24"), "X", "vs_mgmt2", 1), "", "VirtualServer/vs_mgmt2 name name-reserved"},
	{"no service is named vs_mgmt", strings.Replace(service("alias: mgmt0, prefix: 10.9.9.1/24"), "X", "VS_MGMT", 1), "", "Service/VS_MGMT name name-reserved"},
	{"a service has the name of no virtual server", strings.Replace(service("alias: mgmt0, prefix: 10.9.9.1/24"), "X", "vsvra", 1), "", "Service/vsvra name name-shared of VirtualServer/VsvrA"},
	{"a service has the name of no filer, or their client identifiers would be the same", strings.Replace(service("alias: mgmt0, prefix: 10.9.9.1/24"), "X", "filer1", 1), "", "Service/filer1 name name-shared of Filer/Filer1"},

	// What the cluster writes.
	{"a partner's endpoints can be called", "kind: Partner\nname: berlin\nspec: {endpoints: [10.0.0.1, '[2001:db8::7]:7480', filer1.example.com, 10.0.0.1, '10.0.0.1:0', '0.0.0.0', 'a b'], clusterID: x}", "", `Partner/berlin spec.clusterID partner-cluster
Partner/berlin spec.endpoints[3] partner-endpoint
Partner/berlin spec.endpoints[4] partner-endpoint
Partner/berlin spec.endpoints[5] partner-endpoint
Partner/berlin spec.endpoints[6] partner-endpoint`},
	{"one secret is in use with a partner", "kind: Secret\nname: a\nspec: {partner: berlin, state: use, key: AAEC}\n---\nkind: Secret\nname: b\nspec: {partner: Berlin, state: use, key: AAED}\n---\nkind: Secret\nname: c\nspec: {partner: Berlin, state: accept, key: AAED}", "", "Secret/b spec.state secret-use of Secret/a"},
	{"there is one authority", "kind: Authority\nname: a\nspec: {phase: settled}\n---\nkind: Authority\nname: b\nspec: {phase: settled}", "", "Authority/b name authority-one of Authority/a"},
	{"there is one rollout at a time", "kind: Rollout\nname: a\nspec: {phase: done}\n---\nkind: Rollout\nname: b\nspec: {phase: done}", "", "Rollout/b name rollout-one of Rollout/a"},

	// The cluster.
	{"there is one Cluster document", "kind: Cluster\nname: other\nspec: {mac: '00:07:34:04:12:0f'}", "", "Cluster/other name cluster-one of Cluster/acme"},
	{"the Cluster document cannot be deleted", "", "Cluster/acme", "Cluster/acme  cluster-one"},
	{"the cluster MAC is there", "kind: Cluster\nname: acme", "", "Cluster/acme spec.mac cluster-mac"},
	{"the cluster MAC is not multicast", "kind: Cluster\nname: acme\nspec: {mac: '01:07:34:04:12:0f'}", "", "Cluster/acme spec.mac cluster-mac"},
	{"history is not negative", "kind: Cluster\nname: acme\nspec: {mac: '00:07:34:04:12:0f', history: -1}", "", "Cluster/acme spec.history cluster-history"},
	{"history has an end", "kind: Cluster\nname: acme\nspec: {mac: '00:07:34:04:12:0f', history: 100001}", "", "Cluster/acme spec.history cluster-history"},

	// Probes.
	{"probes are not too frequent", "kind: Cluster\nname: acme\nspec: {mac: '00:07:34:04:12:0f', probes: {interval: 50}}", "", "Cluster/acme spec.probes.interval probe-time"},
	{"one lost packet is no fault", "kind: Cluster\nname: acme\nspec: {mac: '00:07:34:04:12:0f', probes: {interval: 1000, fault: 1500}}", "", "Cluster/acme spec.probes.fault probe-time"},
	{"times of probes are not negative", "kind: Cluster\nname: acme\nspec: {mac: '00:07:34:04:12:0f', probes: {repair: -1}}", "", "Cluster/acme spec.probes.repair option-value"},
	{"a probe target is on an alias", "kind: Cluster\nname: acme\nspec: {mac: '00:07:34:04:12:0f', probes: {targets: [{alias: bond0, address: 10.0.0.1}]}}", "", "Cluster/acme spec.probes.targets[0].alias probe-target"},
	{"a probe target is a host", "kind: Cluster\nname: acme\nspec: {mac: '00:07:34:04:12:0f', probes: {targets: [{alias: data0, address: 224.0.0.1}]}}", "", "Cluster/acme spec.probes.targets[0].address probe-target"},
	{"a probe target has an alias", "kind: Cluster\nname: acme\nspec: {mac: '00:07:34:04:12:0f', probes: {targets: [{address: 10.0.0.1}]}}", "", "Cluster/acme spec.probes.targets[0].alias required"},
	{"a probe target stands there once", "kind: Cluster\nname: acme\nspec: {mac: '00:07:34:04:12:0f', probes: {targets: [{alias: data0, address: 10.0.0.1}, {alias: data0, address: 10.0.0.1}]}}", "", "Cluster/acme spec.probes.targets[1] probe-target"},
	{"a filer's own probes are checked", "kind: Filer\nname: X\nspec: {probes: {interval: 1}}", "", "Filer/X spec.probes.interval probe-time"},

	// References.
	{"a filer's group exists", "kind: Filer\nname: X\nspec: {group: none}", "", "Filer/X spec.group reference"},
	{"a filer's policy exists", "kind: Filer\nname: X\nspec: {routes: none}", "", "Filer/X spec.routes reference"},
	{"a group's policy exists", "kind: FilerGroup\nname: X\nspec: {routes: none}", "", "FilerGroup/X spec.routes reference"},
	{"a virtual server's group and policy exist", "kind: VirtualServer\nname: X\nspec: {group: none, routes: none}", "",
		"VirtualServer/X spec.group reference\nVirtualServer/X spec.routes reference"},
	{"a virtual server has a group", "kind: VirtualServer\nname: X", "", "VirtualServer/X spec.group required"},
	{"a service has a group", "kind: Service\nname: X", "", "Service/X spec.group required"},
	{"a policy in use is not deleted", "", "Routes/a-out", "Routes/a-out  in-use of VirtualServer/VsvrA"},
	{"a group in use is not deleted, whoever uses it",
		"kind: FilerGroup\nname: g\n---\nkind: Filer\nname: Filer3\nspec: {group: g}", "FilerGroup/main",
		`FilerGroup/main  in-use of Filer/Filer1
FilerGroup/main  in-use of Filer/Filer2
FilerGroup/main  in-use of Service/MySQLAppNode1
FilerGroup/main  in-use of Service/MySQLAppNode2
FilerGroup/main  in-use of Service/MySQLAppNode3
FilerGroup/main  in-use of Service/MySQLDataNode1
FilerGroup/main  in-use of Service/MySQLDataNode2
FilerGroup/main  in-use of Service/MySQLMgmtNode
FilerGroup/main  in-use of VirtualServer/VsvrA
FilerGroup/main  in-use of VirtualServer/VsvrB
FilerGroup/main  in-use of VirtualServer/VsvrC`},
	{"a user that the same change writes is told that what it uses is gone",
		"kind: VirtualServer\nname: VsvrA\nspec: {group: main, routes: a-out}", "Routes/a-out", "VirtualServer/VsvrA spec.routes reference"},

	// Interfaces by themselves.
	{"an interface stands in a document once", filer("name: eth0\nname: eth0"), "", "Filer/X spec.interfaces[1].name interface-once"},
	{"a physical interface has no members", filer("name: eth0, members: [eth1]"), "", "Filer/X spec.interfaces[0].members interface-field"},
	{"a VLAN's parent is in its name", filer("name: eth0.5, parent: eth0"), "", "Filer/X spec.interfaces[0].parent interface-field"},
	{"an alias has no bond options", filer("name: mgmt0, parent: eth0, bond: {}, failover: {}"), "",
		"Filer/X spec.interfaces[0].bond interface-field\nFiler/X spec.interfaces[0].failover interface-field"},
	{"a failover interface has no bond options", filer("name: fail0, members: [eth0], bond: {}"), "", "Filer/X spec.interfaces[0].bond interface-field"},
	{"a bond has members", filer("name: bond0"), "", "Filer/X spec.interfaces[0].members required"},
	{"a failover interface has members", filer("name: fail0"), "", "Filer/X spec.interfaces[0].members required"},
	{"an alias has a parent", filer("name: mgmt0"), "", "Filer/X spec.interfaces[0].parent required"},
	{"an alias stands on no alias", filer("name: mgmt0, parent: eth0\nname: mgmt1, parent: mgmt0"), "", "Filer/X spec.interfaces[1].parent interface-layer"},
	{"an alias stands on no VLAN of an alias", filer("name: mgmt0, parent: eth0\nname: mgmt0.5\nname: mgmt1, parent: mgmt0.5"), "", "Filer/X spec.interfaces[2].parent interface-layer"},
	{"a bond is made of physical interfaces", filer("name: eth0.5\nname: bond0, members: [eth0.5, eth1]"), "", "Filer/X spec.interfaces[1].members[0] interface-layer"},
	{"a failover interface is not made of aliases", filer("name: mgmt0, parent: eth0\nname: fail0, members: [mgmt0, eth1]"), "", "Filer/X spec.interfaces[1].members[0] interface-layer"},
	{"a failover interface is not made of what is on another", filer("name: fail0, members: [eth0]\nname: fail0.5\nname: fail1, members: [fail0.5]"), "", "Filer/X spec.interfaces[2].members[0] interface-layer"},
	{"an MTU is not too small", filer("name: eth0, mtu: 67"), "", "Filer/X spec.interfaces[0].mtu mtu-range"},
	{"an MTU is not too large", filer("name: eth0, mtu: 65536"), "", "Filer/X spec.interfaces[0].mtu mtu-range"},

	// Bond options.
	{"a bonding mode is one of the kernel's", filer("name: bond0, members: [eth0], bond: {mode: fast}"), "", "Filer/X spec.interfaces[0].bond.mode option-value"},
	{"words are those that the kernel takes", filer("name: bond0, members: [eth0], bond: {lacpRate: x, adSelect: x, xmitHashPolicy: x}"), "",
		"Filer/X spec.interfaces[0].bond.adSelect option-value\nFiler/X spec.interfaces[0].bond.lacpRate option-value\nFiler/X spec.interfaces[0].bond.xmitHashPolicy option-value"},
	{"words of a failover interface too", filer("name: fail0, members: [eth0], failover: {primary: eth0, primaryReselect: x, failOverMac: x}"), "",
		"Filer/X spec.interfaces[0].failover.failOverMac option-value\nFiler/X spec.interfaces[0].failover.primaryReselect option-value"},
	{"no more links are asked for than there are members", filer("name: bond0, members: [eth0, eth1], bond: {minLinks: 3}"), "", "Filer/X spec.interfaces[0].bond.minLinks option-value"},
	{"no number is negative", filer("name: bond0, members: [eth0], bond: {miimon: -1}"), "", "Filer/X spec.interfaces[0].bond.miimon option-value"},
	{"the LACP system is a unicast MAC", filer("name: bond0, members: [eth0], bond: {adSystem: 'ff:ff:ff:ff:ff:ff'}"), "", "Filer/X spec.interfaces[0].bond.adSystem option-value"},
	{"the LACP priority and key have their ranges", filer("name: bond0, members: [eth0], bond: {adPriority: 65536, adUserPortKey: 1024}"), "",
		"Filer/X spec.interfaces[0].bond.adPriority option-value\nFiler/X spec.interfaces[0].bond.adUserPortKey option-value"},
	{"LACP options go with 802.3ad only", filer("name: bond0, members: [eth0], bond: {mode: balance-rr, lacpRate: fast, lacpActive: true, minLinks: 1, adSelect: count, adSystem: '02:00:00:00:00:01', adPriority: 1, adUserPortKey: 1}"), "",
		`Filer/X spec.interfaces[0].bond.adPriority option-combination
Filer/X spec.interfaces[0].bond.adSelect option-combination
Filer/X spec.interfaces[0].bond.adSystem option-combination
Filer/X spec.interfaces[0].bond.adUserPortKey option-combination
Filer/X spec.interfaces[0].bond.lacpActive option-combination
Filer/X spec.interfaces[0].bond.lacpRate option-combination
Filer/X spec.interfaces[0].bond.minLinks option-combination`},
	{"a hash policy goes with a mode that hashes", filer("name: bond0, members: [eth0], bond: {mode: active-backup, xmitHashPolicy: layer2}"), "", "Filer/X spec.interfaces[0].bond.xmitHashPolicy option-combination"},
	{"a primary goes with a mode that has one, which 802.3ad, the default, is not", filer("name: bond0, members: [eth0], bond: {primary: eth0}"), "", "Filer/X spec.interfaces[0].bond.primary option-combination"},
	{"the MAC policy goes with active-backup", filer("name: bond0, members: [eth0], bond: {mode: balance-tlb, failOverMac: active}"), "", "Filer/X spec.interfaces[0].bond.failOverMac option-combination"},
	{"a primary is a member", filer("name: fail0, members: [eth0], failover: {primary: eth1}"), "", "Filer/X spec.interfaces[0].failover.primary primary-member"},
	{"reselection needs a primary", filer("name: fail0, members: [eth0], failover: {primaryReselect: better}"), "", "Filer/X spec.interfaces[0].failover.primaryReselect option-combination"},
	{"ARP probes do not go with 802.3ad", filer("name: bond0, members: [eth0], bond: {arpInterval: 100, arpTargets: [10.0.0.1]}"), "", "Filer/X spec.interfaces[0].bond.arpInterval option-combination"},
	{"ARP probes do not go with miimon", filer("name: fail0, members: [eth0], failover: {miimon: 100, arpInterval: 100, arpTargets: [10.0.0.1]}"), "", "Filer/X spec.interfaces[0].failover.arpInterval option-combination"},
	{"ARP probes need targets", filer("name: fail0, members: [eth0], failover: {arpInterval: 100}"), "", "Filer/X spec.interfaces[0].failover.arpTargets option-combination"},
	{"targets need ARP probes", filer("name: fail0, members: [eth0], failover: {arpTargets: [10.0.0.1]}"), "", "Filer/X spec.interfaces[0].failover.arpTargets option-combination"},
	{"targets are hosts, each once", filer("name: fail0, members: [eth0], failover: {arpInterval: 100, arpTargets: [10.0.0.1, 224.0.0.1, 10.0.0.1]}"), "",
		"Filer/X spec.interfaces[0].failover.arpTargets[1] option-value\nFiler/X spec.interfaces[0].failover.arpTargets[2] option-value"},
	{"targets are sixteen at most", filer("name: fail0, members: [eth0], failover: {arpInterval: 100, arpTargets: [" + manyTargets(17) + "]}"), "", "Filer/X spec.interfaces[0].failover.arpTargets[16] option-value"},
	{"a delay is a multiple of miimon", filer("name: bond0, members: [eth0], bond: {miimon: 50, upDelay: 75}"), "", "Filer/X spec.interfaces[0].bond.upDelay option-combination"},
	{"a delay does not go with ARP probes", filer("name: fail0, members: [eth0], failover: {arpInterval: 100, arpTargets: [10.0.0.1], downDelay: 100}"), "", "Filer/X spec.interfaces[0].failover.downDelay option-combination"},

	// Interfaces among each other.
	{"a VLAN's parent exists", filer("name: bond0.10"), "", "Filer/X spec.interfaces[0].name interface-exists"},
	{"an alias's parent exists", filer("name: mgmt0, parent: fail0"), "", "Filer/X spec.interfaces[0].parent interface-exists"},
	{"a member exists", filer("name: fail0, members: [eth0, bond0]"), "", "Filer/X spec.interfaces[0].members[1] interface-exists"},
	{"a filer must have what an alias of its group is built on",
		"kind: FilerGroup\nname: main\nspec:\n  interfaces:\n  - {name: data5, parent: fail1}", "",
		"FilerGroup/main spec.interfaces[0].parent interface-exists\nFilerGroup/main spec.interfaces[0].parent interface-exists"},
	{"a member is in one interface", filer("name: bond0, members: [eth0, eth1]\nname: bond1, members: [eth1, eth2]"), "", "Filer/X spec.interfaces[1].members[0] member-shared of Filer/X"},
	{"a member is in an interface once", filer("name: bond0, members: [eth0, eth0]"), "", "Filer/X spec.interfaces[0].members[1] member-shared"},
	{"no alias is on a member", filer("name: bond0, members: [eth0]\nname: mgmt0, parent: eth0"), "", "Filer/X spec.interfaces[1].parent member-shared of Filer/X"},
	{"no VLAN is on a member", filer("name: bond0, members: [eth0]\nname: eth0.5"), "", "Filer/X spec.interfaces[1].name member-shared of Filer/X"},
	{"what carries a VLAN is no member", filer("name: eth0.5\nname: bond0, members: [eth1]\nname: fail0, members: [bond0, eth0]"), "", "Filer/X spec.interfaces[2].members[1] member-shared of Filer/X"},
	{"a group's interface and a filer's own do not share a member",
		"kind: FilerGroup\nname: g\nspec:\n  interfaces:\n  - {name: bond0, members: [eth0]}\n---\nkind: Filer\nname: X\nspec:\n  group: g\n  interfaces:\n  - {name: bond1, members: [eth0]}", "",
		"Filer/X spec.interfaces[0].members[0] member-shared of FilerGroup/g"},
	{"a member has no address", filer("name: eth0, addresses: [10.9.9.1/24]\nname: bond0, members: [eth0]"), "",
		"Filer/X spec.interfaces[0].addresses member-address\nFiler/X spec.interfaces[0].addresses[0] address-place"},
	{"no interface is built on itself", filer("name: fail0, members: [fail0.5]\nname: fail0.5"), "",
		"Filer/X spec.interfaces[0].members[0] interface-circle\nFiler/X spec.interfaces[0].members[0] interface-layer\nFiler/X spec.interfaces[1].name interface-circle"},
	{"an alias's MTU is not above its parent's", filer("name: eth0, mtu: 1500\nname: data0, parent: eth0, mtu: 9000"), "", "Filer/X spec.interfaces[1].mtu mtu-parent"},
	{"an MTU is not above what a parent inherits", filer("name: eth0, mtu: 9000\nname: eth1, mtu: 1500\nname: bond0, members: [eth0, eth1]\nname: bond0.5\nname: data0, parent: bond0.5, mtu: 1501"), "", "Filer/X spec.interfaces[4].mtu mtu-parent"},
	{"a bond's MTU is not above its members'", filer("name: eth0, mtu: 1500\nname: bond0, members: [eth0], mtu: 9000"), "", "Filer/X spec.interfaces[1].mtu mtu-parent"},
	{"an alias with IPv6 addresses has room for IPv6", filer("name: eth0, mtu: 1279\nname: mgmt0, parent: eth0, addresses: ['fd00::1/64']"), "", "Filer/X spec.interfaces[1].addresses[0] mtu-ipv6"},
	{"a group by itself breaks rules too", "kind: FilerGroup\nname: X\nspec:\n  interfaces:\n  - {name: bond0, members: [eth0]}\n  - {name: bond1, members: [eth0]}", "",
		"FilerGroup/X spec.interfaces[1].members[0] member-shared of FilerGroup/X"},

	// Addresses.
	{"an address is not the subnet's", filer("name: mgmt0, parent: eth0, addresses: [10.9.9.0/24]"), "", "Filer/X spec.interfaces[0].addresses[0] address-host"},
	{"an address is not the broadcast address", filer("name: mgmt0, parent: eth0, addresses: [10.9.9.255/24]"), "", "Filer/X spec.interfaces[0].addresses[0] address-host"},
	{"an IPv6 address is not the subnet's", filer("name: mgmt0, parent: eth0, addresses: ['fd00::/64']"), "", "Filer/X spec.interfaces[0].addresses[0] address-host"},
	{"an address has the length of its subnet", filer("name: mgmt0, parent: eth0, addresses: [10.9.9.1/0]"), "", "Filer/X spec.interfaces[0].addresses[0] address-host"},
	{"an address is that of one host", filer("name: mgmt0, parent: eth0, addresses: [224.0.0.1/24, 127.0.0.1/8, 0.0.0.0/24, 240.0.0.1/8, '::/64', '::1/128', 'ff02::1/64']"), "",
		`Filer/X spec.interfaces[0].addresses[0] address-host
Filer/X spec.interfaces[0].addresses[1] address-host
Filer/X spec.interfaces[0].addresses[2] address-host
Filer/X spec.interfaces[0].addresses[3] address-host
Filer/X spec.interfaces[0].addresses[4] address-host
Filer/X spec.interfaces[0].addresses[5] address-host
Filer/X spec.interfaces[0].addresses[6] address-host`},
	{"a filer has no data addresses", filer("name: data0, parent: eth0, addresses: [10.9.9.1/24]"), "", "Filer/X spec.interfaces[0].addresses[0] address-place"},
	{"only aliases have addresses", filer("name: bond0, members: [eth0], addresses: [10.9.9.1/24]"), "", "Filer/X spec.interfaces[0].addresses[0] address-place"},
	{"a group has no addresses", "kind: FilerGroup\nname: X\nspec:\n  interfaces:\n  - {name: mgmt0, parent: eth0, addresses: [10.9.9.1/24]}", "", "FilerGroup/X spec.interfaces[0].addresses[0] address-place"},
	{"a virtual server has addresses on data aliases", server("alias: mgmt0, prefix: 10.9.9.1/24\nalias: san0, prefix: 10.9.9.2/24"), "",
		"VirtualServer/X spec.addresses[0].alias address-place\nVirtualServer/X spec.addresses[1].alias address-place"},
	{"vs_mgmt has none on san aliases", strings.Replace(server("alias: san0, prefix: 10.9.9.2/24"), "X", "vs_mgmt", 1), "", "VirtualServer/vs_mgmt spec.addresses[0].alias address-place"},
	{"a service has addresses on mgmt aliases", service("alias: data0, prefix: 10.9.9.1/24"), "", "Service/X spec.addresses[0].alias address-place"},
	{"an address has an alias and a prefix", server("instance: 1"), "",
		"VirtualServer/X spec.addresses[0].alias required\nVirtualServer/X spec.addresses[0].prefix address-host"},
	{"the source's own duplicate is refused",
		"kind: Filer\nname: Filer2\nspec:\n  group: main\n  interfaces:\n  - {name: san0, parent: eth0, addresses: [10.2.2.3/24]}\n  - {name: data0, parent: eth0}\n  - {name: data1, parent: eth0}\n  - {name: data2, parent: eth0}", "",
		"Filer/Filer2 spec.interfaces[0].addresses[0] address-unique of VirtualServer/VsvrA"},
	{"an address is there once whatever its prefix length", server("alias: data0, prefix: 10.3.4.1/16"), "", "VirtualServer/X spec.addresses[0].prefix address-unique of VirtualServer/VsvrB"},
	{"an IPv4 address in the form of IPv6 is the IPv4 address", server("alias: data0, prefix: '::ffff:10.3.4.1/120'"), "", "VirtualServer/X spec.addresses[0].prefix address-unique of VirtualServer/VsvrB"},
	{"an address is in a document once", server("alias: data0, instance: 0, prefix: 10.9.9.1/24\nalias: data0, instance: 1, prefix: 10.9.9.1/25"), "", "VirtualServer/X spec.addresses[1].prefix address-unique of VirtualServer/X"},
	{"two documents of one change do not share an address", server("alias: data0, prefix: 'fd00::1/64'") + "---\n" + service("alias: mgmt0, prefix: 'fd00:0::1/64'"), "",
		"Service/X name name-shared of VirtualServer/X\nService/X spec.addresses[0].prefix address-unique of VirtualServer/X"},
	{"alias and instance tell addresses apart", server("alias: data0, prefix: 10.9.9.1/24\nalias: data0, prefix: 10.9.9.2/24"), "", "VirtualServer/X spec.addresses[1].instance address-instance"},
	{"an instance is not negative", server("alias: data0, instance: -1, prefix: 10.9.9.1/24"), "", "VirtualServer/X spec.addresses[0].instance address-instance"},
	{"a service has one address on an alias", service("alias: mgmt0, prefix: 10.9.9.1/24\nalias: mgmt0, prefix: 10.9.9.2/24"), "", "Service/X spec.addresses[1].alias address-instance"},
	{"names of addresses are DNS names", server("alias: data0, prefix: 10.9.9.1/24, names: [a.example.com., a b, -x, '']"), "",
		"VirtualServer/X spec.addresses[0].names[1] address-name\nVirtualServer/X spec.addresses[0].names[2] address-name\nVirtualServer/X spec.addresses[0].names[3] address-name"},

	// Hosts.
	{"some filer of the group has every alias", server("alias: data2, prefix: 10.9.9.1/24\nalias: data7, prefix: 10.9.8.1/24"), "", "VirtualServer/X spec.addresses no-host"},
	{"a filer does not lose an alias that only it has",
		"kind: Filer\nname: Filer2\nspec:\n  group: main\n  interfaces:\n  - {name: data0, parent: eth0}", "", "VirtualServer/VsvrC spec.addresses no-host"},
	{"a filer that only has an alias does not leave the group", "kind: Filer\nname: Filer2", "", "VirtualServer/VsvrC spec.addresses no-host"},
	{"a filer that only has an alias is not deleted", "", "Filer/Filer2", "VirtualServer/VsvrC spec.addresses no-host"},
	{"the first filer of a group is measured against its virtual servers",
		"kind: FilerGroup\nname: g\n---\nkind: Filer\nname: X\nspec: {group: g}\n---\nkind: VirtualServer\nname: X\nspec:\n  group: g\n  addresses:\n  - {alias: data0, prefix: 10.9.9.1/24}", "",
		"VirtualServer/X spec.addresses no-host"},
	{"IPv6 addresses fit through their alias on every filer",
		"kind: Filer\nname: Filer4\nspec:\n  group: main\n  interfaces:\n  - {name: data0, parent: eth0, mtu: 1000}\n---\n" + server("alias: data0, prefix: 'fd00::1/64'"), "",
		"VirtualServer/X spec.addresses[0].alias mtu-ipv6"},

	// Routes.
	{"a destination has no bits beyond its length", routes("to: 10.0.0.1/8, via: 10.9.9.1"), "", "Routes/X spec.routes[0].to route-destination"},
	{"a destination is no multicast group", routes("to: 224.0.0.0/4, via: 10.9.9.1"), "", "Routes/X spec.routes[0].to route-destination"},
	{"destination and gateway are of one family", routes("to: '2001:db8::/32', via: 10.9.9.1"), "", "Routes/X spec.routes[0].via route-family"},
	{"a route has a gateway", routes("to: default"), "", "Routes/X spec.routes[0].via route-gateway"},
	{"a gateway is one host", routes("to: default, via: 224.0.0.1"), "", "Routes/X spec.routes[0].via route-gateway"},
	{"one route leads to a destination", routes("to: default, via: 10.9.9.1\nto: 0.0.0.0/0, via: 10.9.9.2\nto: default, via: 10.9.9.3, metric: 5\nto: default, via: 'fd00::1'"), "", "Routes/X spec.routes[1].to route-once"},
	{"a metric is not negative", routes("to: default, via: 10.9.9.1, metric: -1"), "", "Routes/X spec.routes[0].metric route-metric"},
	{"a route leaves by an alias", routes("to: default, via: 10.9.9.1, alias: eth0"), "", "Routes/X spec.routes[0].alias route-alias"},
	{"a link-local gateway needs an alias", routes("to: default, via: 'fe80::1'"), "", "Routes/X spec.routes[0].alias route-alias"},
	{"a gateway is on link", strings.Replace(routes("to: default, via: 10.8.8.8"), "X", "b-out", 1), "", "VirtualServer/VsvrB spec.routes gateway-on-link"},
	{"a gateway is on link by the alias that is named", strings.Replace(routes("to: default, via: 10.3.4.254, alias: data1"), "X", "b-out", 1), "", "VirtualServer/VsvrB spec.routes gateway-on-link"},
	{"a gateway that two aliases reach needs the alias named", strings.Replace(routes("to: default, via: 10.2.2.254"), "X", "a-out", 1), "", "VirtualServer/VsvrA spec.routes gateway-on-link"},
	{"a gateway is on link for every user, also through the group",
		routes("to: default, via: 10.1.1.254, alias: mgmt0") + "---\nkind: FilerGroup\nname: main\nspec: {routes: X}\n---\nkind: Filer\nname: Filer4\nspec:\n  group: main\n  interfaces:\n  - {name: mgmt0, parent: eth0, addresses: [10.9.9.1/24]}", "",
		"Filer/Filer4 spec.routes gateway-on-link"},
	{"a gateway is not an address of the cluster's own", routes("to: default, via: 10.3.4.1"), "", "Routes/X spec.routes[0].via gateway-owned of VirtualServer/VsvrB"},
	{"an address is not that of a gateway", server("alias: data0, prefix: 10.3.4.254/24"), "", "Routes/b-out spec.routes[0].via gateway-owned of VirtualServer/X"},

	// Records and members.
	{"a record has its size", "kind: Record\nname: a/b\nspec: {data: " + strings.Repeat("x", 256<<10) + "}", "", "Record/a/b spec.data record-size"},
	{"a member has an id", "kind: Member\nname: Filer1", "", "Member/Filer1 spec.id member-id"},
	{"a member's id is its own", "kind: Member\nname: Filer1\nspec: {id: a}\n---\nkind: Member\nname: Filer2\nspec: {id: a}", "", "Member/Filer2 spec.id member-id of Member/Filer1"},
	{"a token has a key", "kind: Token\nname: a", "", "Token/a spec.key required"},

	{"every broken rule is told, in the order of the documents",
		filer("name: mgmt0, addresses: [10.3.4.1/24]") + "---\n" + routes("to: default, via: 10.3.4.1, metric: -1") + "---\nkind: FilerGroup\nname: _g", "Cluster/acme",
		`Cluster/acme  cluster-one
Routes/X spec.routes[0].metric route-metric
Routes/X spec.routes[0].via gateway-owned of VirtualServer/VsvrB
FilerGroup/_g name name
Filer/X spec.interfaces[0].addresses[0] address-unique of VirtualServer/VsvrB
Filer/X spec.interfaces[0].parent required`},
}

func manyTargets(n int) string {
	var all []string
	for i := range n {
		all = append(all, "10.0.0."+strings.Repeat("1", 1+i/9)+string(rune('1'+i%9)))
	}
	return strings.Join(all, ", ")
}

func TestRules(t *testing.T) {
	base := acceptance(t)
	for _, tc := range ruleCases {
		t.Run(tc.name, func(t *testing.T) {
			var puts []Document
			if tc.puts != "" {
				puts = parse(t, tc.puts)
			}
			var deletes []Key
			for k := range strings.FieldsSeq(tc.delete) {
				deletes = append(deletes, key(k))
			}
			next, problems := base.Change(puts, deletes)
			if diff := cmp.Diff(strings.TrimSpace(tc.want), strings.TrimSpace(briefly(problems))); diff != "" {
				t.Errorf("broken rules (-want +got):\n%s\n%v", diff, problems)
			}
			if next.Hash() != base.Hash() {
				t.Error("the refused change changed something")
			}
		})
	}
}

// Every rule of the book has a case above, or a test of its own.
func TestEveryRuleIsTested(t *testing.T) {
	elsewhere := []Rule{
		RuleDocumentOnce, RuleDocumentKind, RuleDocumentSize, // TestChangeRefusesWhatNoFileCanSay
		RuleInterfaceName, RuleRecordData, // the same: a file with such a name or data is not even read
		RulePortMAC, // TestPortsNeedDifferentMACs
	}
	tested := map[Rule]bool{}
	for _, r := range elsewhere {
		tested[r] = true
	}
	for _, tc := range ruleCases {
		for line := range strings.Lines(tc.want) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " of ")
			tested[Rule(line[strings.LastIndexByte(line, ' ')+1:])] = true
		}
	}
	for _, r := range RuleBook {
		if !tested[r.Rule] {
			t.Errorf("no test breaks %s", r.Rule)
		}
		delete(tested, r.Rule)
	}
	for r := range tested {
		t.Errorf("%s is not in the rule book", r)
	}
}
