package e2e

import (
	"fmt"
	"strings"
)

// A foreign set of objects stands beside ours on a filer and must survive
// whatever the daemon does.
type foreign struct {
	c      *cluster
	filers []string
	before map[string]string
}

// plantForeign adds to each filer what some other program could have: links,
// one of them on the card that we use too, addresses, one of them on a link of
// ours, routes, a rule, and firewall rules.
func plantForeign(c *cluster, card string) *foreign {
	c.t.Helper()
	f := &foreign{c: c, filers: c.filers(), before: map[string]string{}}
	for i, filer := range f.filers {
		c.sh(filer, fmt.Sprintf(`
ip link add foreign0 type dummy 2>/dev/null || ip link add foreign0 type veth peer name foreign1
ip link set foreign0 up
ip link add foreign2 link %[1]s type macvlan mode bridge
ip link set foreign2 up
ip addr add 192.168.77.1/24 dev foreign0
ip addr add 192.168.78.%[2]d/32 dev mgmt0
ip -6 addr add fd00:77::1/64 dev foreign0 nodad
ip route add 198.51.100.0/24 dev foreign0
ip route add 203.0.113.0/24 dev mgmt0 proto static
ip route add 203.0.113.0/24 dev mgmt0 proto static table 77
ip rule add from 192.168.77.1 lookup 77 pref 500
nft add table inet foreign
nft add chain inet foreign input '{ type filter hook input priority 0 ; policy accept ; }'
nft add rule inet foreign input ip saddr 198.51.100.7 drop
`, card, i+1))
	}
	for _, filer := range f.filers {
		f.before[filer] = f.see(filer)
	}
	return f
}

// see describes the foreign objects of a filer.
func (f *foreign) see(filer string) string {
	f.c.t.Helper()
	return f.c.sh(filer, `
for link in foreign0 foreign2; do ip -d link show $link; ip -o addr show dev $link scope global; done
ip -o addr show dev mgmt0 to 192.168.78.0/24
ip route show table all 198.51.100.0/24
ip route show table all 203.0.113.0/24
ip rule show pref 500
nft list table inet foreign
`)
}

// survives fails the test when something foreign has changed.
func (f *foreign) survives(c *cluster, what string) {
	c.t.Helper()
	for _, filer := range f.filers {
		on := &foreign{c: c}
		if now := on.see(filer); now != f.before[filer] {
			c.t.Errorf("%s: what is not ours on %s has changed:\n%s\nand was:\n%s", what, filer, strings.TrimSpace(now), strings.TrimSpace(f.before[filer]))
		}
	}
}
