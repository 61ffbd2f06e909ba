package netquorum

// A Filer is one machine of the cluster, or one that is expected to join.
type Filer struct {
	// Group is the filer group among whose filers virtual servers move. A filer
	// without one hosts none.
	Group string `json:"group,omitempty"`
	// Interfaces are this filer's own. One with the name of an interface of the
	// group replaces the group's.
	Interfaces []Interface `json:"interfaces,omitempty"`
	// Routes names the Routes policy for the filer's own mgmt and san
	// addresses; the group's when empty.
	Routes string `json:"routes,omitempty"`
}

func (*Filer) Kind() Kind { return KindFiler }

// A FilerGroup is a set of filers among which virtual servers may move, and the
// place for settings that its filers share.
type FilerGroup struct {
	// Interfaces are inherited by every filer of the group. They carry no
	// addresses: an address belongs to one filer.
	Interfaces []Interface `json:"interfaces,omitempty"`
	// Routes names the Routes policy that the group's filers inherit.
	Routes string `json:"routes,omitempty"`
}

func (*FilerGroup) Kind() Kind { return KindFilerGroup }
