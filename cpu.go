package netquorum

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// CPU says which processors handle the packets of a physical interface (N17).
// What is not said stays as the kernel has it.
type CPU struct {
	// Interrupts are the processors that serve the interface's interrupts: the
	// first interrupt the first processor, and so on in turn.
	Interrupts CPUList `json:"interrupts,omitempty"`
	// RPS are the processors among which received packets are spread, whatever
	// queue they came in by (receive packet steering).
	RPS CPUList `json:"rps,omitempty"`
	// RPSFlows is how many flows are followed to the processor where their
	// application runs, over all queues (receive flow steering); a power of two.
	RPSFlows int `json:"rpsFlows,omitempty"`
	// XPS are the processors that share out the transmit queues among them in
	// turn (transmit packet steering).
	XPS CPUList `json:"xps,omitempty"`
	// ThreadedNAPI moves the work from interrupts to kernel threads, which can
	// be given processors and priorities.
	ThreadedNAPI *bool `json:"threadedNapi,omitempty"`
	// DeferHardIRQs and GROFlushTimeout, in nanoseconds, let an application that
	// polls busily (SO_BUSY_POLL) keep interrupts away: so often, and for so
	// long, does the kernel look for packets before it allows an interrupt.
	DeferHardIRQs   *int `json:"deferHardIrqs,omitempty"`
	GROFlushTimeout *int `json:"groFlushTimeout,omitempty"`
}

// A CPUList names processors as the kernel does: 0-3,8. It is kept with its
// numbers ascending and joined.
type CPUList string

const (
	maxCPU      = 8191      // what the kernel can be built for
	maxRPSFlows = 1 << 20   // the kernel takes more, no machine needs them
	maxFlush    = 1_000_000 // ns: a millisecond without looking at the wire
	maxDefer    = 1000
)

// ParseCPUList reads a list and writes it in the form in which it is kept.
func ParseCPUList(s string) (CPUList, error) {
	var cpus []int
	for part := range strings.SplitSeq(s, ",") {
		low, high, ranged := strings.Cut(part, "-")
		if !ranged {
			high = low
		}
		if !plainNumber(low, maxCPU) || !plainNumber(high, maxCPU) {
			return "", fmt.Errorf("%q is no list of processors like 0-3,8", s)
		}
		from, _ := strconv.Atoi(low)
		to, _ := strconv.Atoi(high)
		if from > to {
			return "", fmt.Errorf("%q in %q goes downwards", part, s)
		}
		for n := from; n <= to; n++ {
			cpus = append(cpus, n)
		}
		if len(cpus) > 4*maxCPU {
			return "", fmt.Errorf("a list of processors names some again and again")
		}
	}
	return FormatCPUList(cpus), nil
}

// FormatCPUList writes processors as a list, in any order and with repetitions.
func FormatCPUList(cpus []int) CPUList {
	cpus = slices.Compact(slices.Sorted(slices.Values(cpus)))
	var b strings.Builder
	for i := 0; i < len(cpus); i++ {
		from := i
		for i+1 < len(cpus) && cpus[i+1] == cpus[i]+1 {
			i++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(cpus[from]))
		if i > from {
			b.WriteString("-" + strconv.Itoa(cpus[i]))
		}
	}
	return CPUList(b.String())
}

// CPUs returns the processors, ascending; none when the list is empty.
func (l CPUList) CPUs() []int {
	var cpus []int
	if l == "" {
		return nil
	}
	for part := range strings.SplitSeq(string(l), ",") {
		low, high, ranged := strings.Cut(part, "-")
		if !ranged {
			high = low
		}
		from, errFrom := strconv.Atoi(low)
		to, errTo := strconv.Atoi(high)
		for n := from; errFrom == nil && errTo == nil && n <= to; n++ {
			cpus = append(cpus, n)
		}
	}
	return cpus
}

func (l *CPUList) UnmarshalText(text []byte) error {
	v, err := ParseCPUList(string(text))
	if err != nil {
		return err
	}
	*l = v
	return nil
}

func (p *CPU) check(c *checker, field string) {
	for _, l := range []struct {
		name string
		list CPUList
	}{{"interrupts", p.Interrupts}, {"rps", p.RPS}, {"xps", p.XPS}} {
		if l.list == "" {
			continue
		}
		if kept, err := ParseCPUList(string(l.list)); err != nil || kept != l.list {
			c.add(field+"."+l.name, RuleOptionValue, "%q is no list of processors like 0-3,8", l.list)
		}
	}
	checkRange(c, field+".rpsFlows", p.RPSFlows, maxRPSFlows, "1048576 is the most")
	if n := p.RPSFlows; n > 0 && n&(n-1) != 0 {
		c.add(field+".rpsFlows", RuleOptionValue, "%d is no power of two, and the kernel would round it up", n)
	}
	if p.DeferHardIRQs != nil {
		checkRange(c, field+".deferHardIrqs", *p.DeferHardIRQs, maxDefer, "1000 is the most")
	}
	if p.GROFlushTimeout != nil {
		checkRange(c, field+".groFlushTimeout", *p.GROFlushTimeout, maxFlush, "a millisecond is the most")
	}
	if (p.DeferHardIRQs == nil) != (p.GROFlushTimeout == nil) {
		at, other := "deferHardIrqs", "groFlushTimeout"
		if p.DeferHardIRQs == nil {
			at, other = other, at
		}
		c.add(field+"."+at, RuleOptionCombination, "works together with %s only; add that", other)
	}
}
