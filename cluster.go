package netquorum

// A Cluster document is the cluster itself: there is exactly one in a
// configuration, and its name is the cluster's.
type Cluster struct {
	// MAC identifies the cluster in DHCP client identifiers. It has the form of
	// a MAC address and is never used on the wire as one (N30).
	MAC MAC `json:"mac"`
	// History is how many past revisions are kept for `history`, `diff` and
	// `watch`; 1000 when zero.
	History int `json:"history,omitempty"`
}

// DefaultHistory is how many revisions are kept when the cluster does not say.
const DefaultHistory = 1000

func (*Cluster) Kind() Kind { return KindCluster }
