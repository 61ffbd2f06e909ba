package netapply

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	netquorum "github.com/netquorum/netquorum"
)

// SetTuning changes settings of a link that are in one set; of those in files,
// one at a time. It succeeds when the kernel has exactly what was asked for, and
// otherwise leaves what was there: a driver that makes 4096 of 4000 is told of,
// not argued with.
type SetTuning struct {
	Link   string
	Values Tuning
}

func (s SetTuning) Object() string { return linkObject(s.Link) }

// set is the set that the settings are in.
func (s SetTuning) set() string {
	for name := range s.Values {
		set, _ := setOf(name)
		return set
	}
	return ""
}

// Interrupts implements Interrupter: for these, drivers stop their card and
// start it anew, or the link is negotiated again.
func (s SetTuning) Interrupts() []string {
	if slices.Contains([]string{setLink, setRings, setChannels, setPause}, s.set()) {
		return []string{s.Link}
	}
	return nil
}

var ethtoolFlags = map[string]string{
	setLink: "-s", setFeatures: "-K", setRings: "-G", setCoalesce: "-C", setChannels: "-L", setPause: "-A",
}

func (s SetTuning) String() string {
	flag, ethtool := ethtoolFlags[s.set()]
	if !ethtool {
		var lines []string
		for _, setting := range s.Values.names() {
			lines = append(lines, "echo "+fileText(setting, s.Values[setting])+" > "+tuningPath(s.Link, setting))
		}
		return strings.Join(lines, "; ")
	}
	b := []string{"ethtool", flag, s.Link}
	for _, setting := range s.order() {
		_, name := setOf(setting)
		if setting == advertise {
			b = append(b, "advertise", "mode")
			for mode := range strings.SplitSeq(s.Values[setting], ",") {
				b = append(b, mode, "on")
			}
			continue
		}
		b = append(b, name, s.Values[setting])
	}
	return strings.Join(b, " ")
}

// order is how people write the settings: autoneg, speed, duplex.
func (s SetTuning) order() []string {
	names := s.Values.names()
	if s.set() == setLink {
		rank := []string{"link/autoneg", "link/speed", "link/duplex", advertise}
		slices.SortFunc(names, func(a, b string) int { return slices.Index(rank, a) - slices.Index(rank, b) })
	}
	return names
}

// tuningPath is the file of a setting that has one.
func tuningPath(link, setting string) string {
	set, name := setOf(setting)
	switch set {
	case setQueues:
		return "/sys/class/net/" + link + "/queues/" + name
	case setDevice:
		return "/sys/class/net/" + link + "/" + name
	case setIRQ:
		return "/proc/irq/" + name
	}
	return "/proc/sys/" + name
}

// inMask reports whether the kernel wants processors as a mask there.
func inMask(setting string) bool {
	return strings.HasSuffix(setting, "/rps_cpus") || strings.HasSuffix(setting, "/xps_cpus")
}

// fileText is what is written to the file of a setting.
func fileText(setting, value string) string {
	if inMask(setting) {
		return cpuMask(netquorum.CPUList(value))
	}
	return value
}

// cpuMask writes processors as the kernel's bitmaps: hexadecimal, in groups of
// 32 with commas between them.
func cpuMask(list netquorum.CPUList) string {
	var words []uint32
	for _, n := range list.CPUs() {
		for len(words) <= n/32 {
			words = append(words, 0)
		}
		words[n/32] |= 1 << (n % 32)
	}
	if len(words) == 0 {
		return "0"
	}
	slices.Reverse(words)
	text := strconv.FormatUint(uint64(words[0]), 16)
	for _, w := range words[1:] {
		text += fmt.Sprintf(",%08x", w)
	}
	return text
}

// parseCPUMask reads what the kernel shows as a bitmap.
func parseCPUMask(s string) (netquorum.CPUList, error) {
	var cpus []int
	words := strings.Split(strings.TrimSpace(s), ",")
	slices.Reverse(words)
	for i, word := range words {
		w, err := strconv.ParseUint(word, 16, 32)
		if err != nil {
			return "", fmt.Errorf("%q is no mask of processors", s)
		}
		for bit := range 32 {
			if w&(1<<bit) != 0 {
				cpus = append(cpus, 32*i+bit)
			}
		}
	}
	return netquorum.FormatCPUList(cpus), nil
}

// fieldsOf names the fields of the configuration that settings come from.
func fieldsOf(t Tuning) string {
	var list []string
	for _, setting := range t.names() {
		if f := fieldOf(setting); !slices.Contains(list, f) {
			list = append(list, f)
		}
	}
	return strings.Join(list, ", ")
}

var cpuFields = map[string]string{
	"rps_cpus": "cpu.rps", "rps_flow_cnt": "cpu.rpsFlows", "xps_cpus": "cpu.xps", "smp_affinity_list": "cpu.interrupts",
	"threaded": "cpu.threadedNapi", "napi_defer_hard_irqs": "cpu.deferHardIrqs", "gro_flush_timeout": "cpu.groFlushTimeout",
	"rps_sock_flow_entries": "cpu.rpsFlows",
}

func fieldOf(setting string) string {
	set, name := setOf(setting)
	switch set {
	case setLink:
		if setting == advertise {
			name = "speed"
		}
		return "ethernet." + name
	case setFeatures:
		return "ethernet.offloads." + name
	case setRings, setCoalesce, setChannels, setPause:
		return "ethernet." + set + "." + camel(name)
	}
	return cpuFields[name[strings.LastIndexByte(name, '/')+1:]]
}

// camel turns rx-usecs into rxUsecs.
func camel(s string) string {
	words := strings.Split(s, "-")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}
