package netapply

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	netquorum "github.com/netquorum/netquorum"
)

// Tuning are settings of a link that rtnetlink does not have: what ethtool
// shows and changes, and files below /sys and /proc. A name is a set and what
// is in it, "rings/rx" or "queues/rx-0/rps_cpus"; a value is as ethtool writes
// it, and lists of processors are as in 0-3,8.
//
// What is wanted may say more than the kernel has names for, in the sets offload
// and spread: which features a name like tso stands for, and which queues and
// interrupts there are, is known only where the link is. What is observed has
// two more sets, which nobody can change: fixed features, and link modes.
type Tuning map[string]string

// The sets, in the order in which they are written: a driver that gets other
// queues forgets what was set on the old ones.
var tuningSets = []string{
	setChannels, setRings, setLink, setPause, setCoalesce, setFeatures,
	setDevice, setQueues, setIRQ, setSysctl,
}

const (
	setLink     = "link"     // ethtool -s
	setFeatures = "features" // ethtool -K
	setRings    = "rings"    // ethtool -G
	setCoalesce = "coalesce" // ethtool -C
	setChannels = "channels" // ethtool -L
	setPause    = "pause"    // ethtool -A
	setDevice   = "device"   // /sys/class/net/LINK/
	setQueues   = "queues"   // /sys/class/net/LINK/queues/
	setIRQ      = "irq"      // /proc/irq/
	setSysctl   = "sysctl"   // /proc/sys/, of the whole machine: only ever raised

	setOffload = "offload" // wanted only
	setSpread  = "spread"  // wanted only
	setFixed   = "fixed"   // observed only: features that cannot be changed
	setModes   = "modes"   // observed only: link modes that the hardware has
)

// readWith says which set one has to read to know another.
var readWith = map[string]string{setOffload: setFeatures, setSpread: setQueues, setSysctl: setQueues, setFixed: setFeatures, setModes: setLink}

// setOf is the set of a setting, name what it is called there.
func setOf(setting string) (set, name string) {
	set, name, _ = strings.Cut(setting, "/")
	return set, name
}

// A Look asks for tuning of a link to be observed. Asking costs a question to
// the driver for each set, so it is asked for where something is configured
// and nowhere else.
type Look struct {
	Link string
	Sets []string
}

// Looks lists what must be observed to plan for what is desired.
func (d Desired) Looks() []Look {
	var list []Look
	for _, l := range d.Links {
		if len(l.Tuning) > 0 {
			list = append(list, Look{l.Name, l.Tuning.sets()})
		}
	}
	return list
}

// sets lists the sets to be read, sorted.
func (t Tuning) sets() []string {
	var list []string
	for name := range t {
		set, _ := setOf(name)
		if other, ok := readWith[set]; ok {
			set = other
		}
		if name == wantInterrupts {
			set = setIRQ
		}
		list = append(list, set)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// What is wanted of processors, until the queues are known.
const (
	wantInterrupts = setSpread + "/interrupts"
	wantRPS        = setSpread + "/rps"
	wantXPS        = setSpread + "/xps"
	wantFlows      = setSpread + "/flows"
)

// tuning is what an interface's configuration asks for; nil when nothing.
func tuning(i netquorum.Interface) Tuning {
	t := Tuning{}
	if i.Ethernet != nil {
		t.ethernet(*i.Ethernet)
	}
	if i.CPU != nil {
		t.cpu(*i.CPU)
	}
	if len(t) == 0 {
		return nil
	}
	return t
}

func (t Tuning) ethernet(e netquorum.Ethernet) {
	t.flag("link/autoneg", e.Autoneg)
	if e.Speed != 0 {
		t["link/speed"] = strconv.Itoa(e.Speed)
		t["link/duplex"] = or(e.Duplex, "full")
	}
	for name, on := range e.Offloads {
		t.flag(setOffload+"/"+name, &on)
	}
	if r := e.Rings; r != nil {
		t.count("rings/rx", r.RX)
		t.count("rings/tx", r.TX)
	}
	if c := e.Channels; c != nil {
		t.count("channels/rx", c.RX)
		t.count("channels/tx", c.TX)
		t.count("channels/combined", c.Combined)
	}
	if c := e.Coalesce; c != nil {
		t.flag("coalesce/adaptive-rx", c.AdaptiveRX)
		t.flag("coalesce/adaptive-tx", c.AdaptiveTX)
		t.number("coalesce/rx-usecs", c.RXUsecs)
		t.number("coalesce/rx-frames", c.RXFrames)
		t.number("coalesce/rx-usecs-irq", c.RXUsecsIRQ)
		t.number("coalesce/rx-frames-irq", c.RXFramesIRQ)
		t.number("coalesce/tx-usecs", c.TXUsecs)
		t.number("coalesce/tx-frames", c.TXFrames)
		t.number("coalesce/tx-usecs-irq", c.TXUsecsIRQ)
		t.number("coalesce/tx-frames-irq", c.TXFramesIRQ)
	}
	if p := e.Pause; p != nil {
		t.flag("pause/autoneg", p.Autoneg)
		t.flag("pause/rx", p.RX)
		t.flag("pause/tx", p.TX)
	}
}

func (t Tuning) cpu(c netquorum.CPU) {
	for name, list := range map[string]netquorum.CPUList{wantInterrupts: c.Interrupts, wantRPS: c.RPS, wantXPS: c.XPS} {
		if list != "" {
			t[name] = string(list)
		}
	}
	t.count(wantFlows, c.RPSFlows)
	if c.ThreadedNAPI != nil {
		t["device/threaded"] = map[bool]string{false: "0", true: "1"}[*c.ThreadedNAPI]
	}
	t.number("device/napi_defer_hard_irqs", c.DeferHardIRQs)
	t.number("device/gro_flush_timeout", c.GROFlushTimeout)
}

func (t Tuning) flag(name string, v *bool) {
	if v != nil {
		t[name] = onOff(*v)
	}
}

func (t Tuning) number(name string, v *int) {
	if v != nil {
		t[name] = strconv.Itoa(*v)
	}
}

// count is number for what is never zero.
func (t Tuning) count(name string, v int) {
	if v != 0 {
		t[name] = strconv.Itoa(v)
	}
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// in returns the part that is in one set.
func (t Tuning) in(set string) Tuning {
	var part Tuning
	for name, v := range t {
		if s, _ := setOf(name); s == set {
			if part == nil {
				part = Tuning{}
			}
			part[name] = v
		}
	}
	return part
}

// names lists the settings in a fixed order; queue 2 comes before queue 10.
func (t Tuning) names() []string {
	return slices.SortedFunc(maps.Keys(t), compareNumbered)
}

// compareNumbered compares runs of digits as numbers.
func compareNumbered(a, b string) int {
	for a != "" && b != "" {
		x, y := leadingDigits(a), leadingDigits(b)
		if x == "" || y == "" {
			if a[0] != b[0] {
				return int(a[0]) - int(b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		m, _ := strconv.Atoi(x)
		n, _ := strconv.Atoi(y)
		if m != n {
			return m - n
		}
		a, b = a[len(x):], b[len(y):]
	}
	return len(a) - len(b)
}

func leadingDigits(s string) string {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return s[:n]
}
