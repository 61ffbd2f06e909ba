package netquorum

import "testing"

func TestInterfaceNames(t *testing.T) {
	for _, tc := range []struct {
		name   string
		layer  Layer
		alias  bool
		parent InterfaceName
		tag    int
	}{
		{"eth0", LayerPhysical, false, "", 0},
		{"eth10", LayerPhysical, false, "", 0},
		{"bond0", LayerBond, false, "", 0},
		{"fail0", LayerFailover, false, "", 0},
		{"mgmt0", LayerAlias, true, "", 0},
		{"data12", LayerAlias, true, "", 0},
		{"san0", LayerAlias, true, "", 0},
		{"bond0.10", LayerVLAN, false, "bond0", 10},
		{"eth0.5.4094", LayerVLAN, false, "eth0.5", 4094},
		{"data0.5", LayerVLAN, true, "data0", 5},
	} {
		n := InterfaceName(tc.name)
		parent, tag, vlan := n.VLAN()
		if n.Layer() != tc.layer || n.IsAlias() != tc.alias || parent != tc.parent || tag != tc.tag || vlan != (tc.layer == LayerVLAN) {
			t.Errorf("%s: layer %s, alias %v, VLAN %d of %q", n, n.Layer(), n.IsAlias(), tag, parent)
		}
	}
	for _, bad := range []string{"", "eth", "0", "lo", "eth01", "eth-1", "eth0.", "eth0.0", "eth0.4095", "eth0.05", ".5", "veth0", "xdata0", "eth10000", "data0.1000.2000.3", "eth 0", "eth0 ", "éth0"} {
		if n, err := ParseInterfaceName(bad); err == nil {
			t.Errorf("%q is taken for the name %s", bad, n)
		}
	}
}
