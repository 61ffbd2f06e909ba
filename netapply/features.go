package netapply

import "context"

// A Feature is something that a kernel may lack.
type Feature struct {
	Name    string `json:"name"`
	Present bool   `json:"present"`
	Detail  string `json:"detail,omitempty"` // why it counts as absent
}

// The features that are probed.
const (
	FeatureBond            = "bond"
	FeatureVLAN            = "vlan"
	FeatureMacvlan         = "macvlan"
	FeatureVRF             = "vrf"
	FeatureNftables        = "nftables"
	FeatureSCTP            = "sctp"
	FeatureAddressProtocol = "ifaproto"
)

// Features tells what this machine's kernel can do, by trying.
func Features(ctx context.Context) []Feature { return nil }

// Requires lists the features without which the kernel cannot be made to match.
func Requires(want Desired) []string { return nil }
