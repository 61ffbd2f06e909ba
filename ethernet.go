package netquorum

import (
	"maps"
	"slices"
)

// Ethernet has the settings that ethtool shows and changes. What is not said
// stays as the driver has it.
type Ethernet struct {
	// Autoneg: true lets both ends agree on speed and duplex, false forces
	// those that are said.
	Autoneg *bool `json:"autoneg,omitempty"`
	// Speed in Mb/s: the one forced with autoneg false, the only one offered
	// with autoneg true.
	Speed int `json:"speed,omitempty"`
	// Duplex is half or full, and goes with a speed; full when not said.
	Duplex string `json:"duplex,omitempty"`
	// Offloads are switched on or off by the names that ethtool -k shows: the
	// short ones (rx, tx, sg, tso, gso, gro, lro, rxvlan, txvlan, ntuple, rxhash)
	// or the kernel's (rx-gro-hw, tx-udp-segmentation).
	Offloads map[string]bool `json:"offloads,omitempty"`
	Rings    *Rings          `json:"rings,omitempty"`
	Coalesce *Coalesce       `json:"coalesce,omitempty"`
	Channels *Channels       `json:"channels,omitempty"`
	Pause    *Pause          `json:"pause,omitempty"`
}

// Rings are the numbers of packets that the interface holds for the kernel and
// the kernel for the interface.
type Rings struct {
	RX int `json:"rx,omitempty"`
	TX int `json:"tx,omitempty"`
}

// Coalesce says how long, in microseconds, or for how many packets an interrupt
// waits.
type Coalesce struct {
	AdaptiveRX  *bool `json:"adaptiveRx,omitempty"` // the driver chooses the times itself
	AdaptiveTX  *bool `json:"adaptiveTx,omitempty"`
	RXUsecs     *int  `json:"rxUsecs,omitempty"`
	RXFrames    *int  `json:"rxFrames,omitempty"`
	RXUsecsIRQ  *int  `json:"rxUsecsIrq,omitempty"` // while an interrupt is being served
	RXFramesIRQ *int  `json:"rxFramesIrq,omitempty"`
	TXUsecs     *int  `json:"txUsecs,omitempty"`
	TXFrames    *int  `json:"txFrames,omitempty"`
	TXUsecsIRQ  *int  `json:"txUsecsIrq,omitempty"`
	TXFramesIRQ *int  `json:"txFramesIrq,omitempty"`
}

// Channels are the numbers of queues: combined ones, or of each direction.
type Channels struct {
	RX       int `json:"rx,omitempty"`
	TX       int `json:"tx,omitempty"`
	Combined int `json:"combined,omitempty"`
}

// Pause is flow control by pause frames (802.3x).
type Pause struct {
	Autoneg *bool `json:"autoneg,omitempty"` // both ends agree; rx and tx are what is offered
	RX      *bool `json:"rx,omitempty"`
	TX      *bool `json:"tx,omitempty"`
}

// The words and numbers that Ethernet has.
var (
	duplexes = []string{"half", "full"}
	speeds   = []int{10, 100, 1000, 2500, 5000, 10_000, 20_000, 25_000, 40_000, 50_000, 56_000, 100_000, 200_000, 400_000, 800_000}
)

const (
	firstFullOnly = 1000      // Mb/s; nobody ever built half duplex from here on
	maxRing       = 1 << 20   // far beyond what any interface has
	maxChannels   = 1 << 14   // likewise
	maxUsecs      = 1_000_000 // a second; drivers take less
	maxFrames     = 1 << 16
)

// offloadGroups are the short names of ethtool and the kernel's features that
// each stands for. A driver has some of a group.
var offloadGroups = map[string][]string{
	"rx":     {"rx-checksum"},
	"tx":     {"tx-checksum-ipv4", "tx-checksum-ip-generic", "tx-checksum-ipv6", "tx-checksum-fcoe-crc", "tx-checksum-sctp"},
	"sg":     {"tx-scatter-gather", "tx-scatter-gather-fraglist"},
	"tso":    {"tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp6-segmentation"},
	"gso":    {"tx-generic-segmentation"},
	"gro":    {"rx-gro"},
	"lro":    {"rx-lro"},
	"rxvlan": {"rx-vlan-hw-parse"},
	"txvlan": {"tx-vlan-hw-insert"},
	"ntuple": {"rx-ntuple-filter"},
	"rxhash": {"rx-hashing"},
}

// OffloadFeatures returns the kernel's features that the name of an offload
// stands for: those of a short name, or the feature of that very name.
func OffloadFeatures(name string) []string {
	if group, ok := offloadGroups[name]; ok {
		return slices.Clone(group)
	}
	return []string{name}
}

func (e *Ethernet) check(c *checker, field string) {
	e.checkLink(c, field)
	e.checkOffloads(c, field+".offloads")
	if r := e.Rings; r != nil {
		checkRange(c, field+".rings.rx", r.RX, maxRing, "no interface has so many")
		checkRange(c, field+".rings.tx", r.TX, maxRing, "no interface has so many")
	}
	if h := e.Channels; h != nil {
		checkRange(c, field+".channels.rx", h.RX, maxChannels, "no interface has so many")
		checkRange(c, field+".channels.tx", h.TX, maxChannels, "no interface has so many")
		checkRange(c, field+".channels.combined", h.Combined, maxChannels, "no interface has so many")
	}
	if e.Coalesce != nil {
		e.Coalesce.check(c, field+".coalesce")
	}
}

// checkLink checks speed, duplex and who decides them.
func (e *Ethernet) checkLink(c *checker, field string) {
	checkWord(c, field+".duplex", e.Duplex, duplexes)
	if e.Speed != 0 && !slices.Contains(speeds, e.Speed) {
		c.add(field+".speed", RuleOptionValue, "%d is no speed of Ethernet; in Mb/s there are %v", e.Speed, speeds)
	}
	switch {
	case e.Speed != 0 && e.Autoneg == nil:
		c.add(field+".speed", RuleOptionCombination, "says nothing without autoneg: add autoneg: false to force %d Mb/s, or autoneg: true to offer nothing else", e.Speed)
	case e.Speed == 0 && e.Autoneg != nil && !*e.Autoneg:
		c.add(field+".autoneg", RuleOptionCombination, "when it is false, somebody must say the speed; add speed and duplex as the other end has them")
	}
	if e.Duplex != "" && e.Speed == 0 {
		c.add(field+".duplex", RuleOptionCombination, "goes with a speed; add speed or remove it")
	}
	if e.Duplex == "half" && e.Speed >= firstFullOnly {
		c.add(field+".duplex", RuleOptionCombination, "there is no half duplex at %d Mb/s; write full, or a speed of 10 or 100", e.Speed)
	}
}

func (e *Ethernet) checkOffloads(c *checker, field string) {
	said := map[string]string{} // features by who says them
	for _, name := range slices.Sorted(maps.Keys(e.Offloads)) {
		at := field + "." + name
		if !validFeature(name) {
			c.add(at, RuleOptionValue, "%q is no name of an offload; ethtool -k shows them", name)
			continue
		}
		for _, f := range OffloadFeatures(name) {
			if by, again := said[f]; again {
				c.add(at, RuleOptionCombination, "%s is among what %s switches already; keep one of the two", f, by)
			}
			said[f] = name
		}
	}
}

// validFeature reports whether the kernel could have a feature of the name:
// lower case, with dashes.
func validFeature(name string) bool {
	if len(name) < 2 || len(name) > 31 { // ETH_GSTRING_LEN less the closing zero
		return false
	}
	for i, r := range []byte(name) {
		letter := r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
		if !letter && (r != '-' || i == 0 || i == len(name)-1) {
			return false
		}
	}
	return true
}

func (o *Coalesce) check(c *checker, field string) {
	for _, v := range []struct {
		name  string
		value *int
		most  int
		why   string
	}{
		{"rxUsecs", o.RXUsecs, maxUsecs, "a second is the most"},
		{"rxFrames", o.RXFrames, maxFrames, "65536 is the most"},
		{"rxUsecsIrq", o.RXUsecsIRQ, maxUsecs, "a second is the most"},
		{"rxFramesIrq", o.RXFramesIRQ, maxFrames, "65536 is the most"},
		{"txUsecs", o.TXUsecs, maxUsecs, "a second is the most"},
		{"txFrames", o.TXFrames, maxFrames, "65536 is the most"},
		{"txUsecsIrq", o.TXUsecsIRQ, maxUsecs, "a second is the most"},
		{"txFramesIrq", o.TXFramesIRQ, maxFrames, "65536 is the most"},
	} {
		if v.value != nil {
			checkRange(c, field+"."+v.name, *v.value, v.most, v.why)
		}
	}
	// Drivers ignore the fixed times while they adapt.
	if o.AdaptiveRX != nil && *o.AdaptiveRX && o.RXUsecs != nil {
		c.add(field+".rxUsecs", RuleOptionCombination, "the driver chooses it while adaptiveRx is on; keep one of the two")
	}
	if o.AdaptiveTX != nil && *o.AdaptiveTX && o.TXUsecs != nil {
		c.add(field+".txUsecs", RuleOptionCombination, "the driver chooses it while adaptiveTx is on; keep one of the two")
	}
}
