package netapply

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	netquorum "github.com/netquorum/netquorum"
)

// A Denial is what a line of the new rules turns away, of which something came
// through before.
type Denial struct {
	Rule    string            // of which policy, like "Access/clients rules[0]"
	Traffic []netquorum.Ports // empty: everything that no rule before it lets through
	From    []netip.Prefix    // empty: anywhere
}

// String is the denial in the words of the policy.
func (d Denial) String() string {
	what, from := "everything else", ""
	if len(d.Traffic) > 0 {
		words := make([]string, len(d.Traffic))
		for i, t := range d.Traffic {
			words[i] = t.String()
		}
		what = strings.Join(words, ", ")
	} else if len(d.From) > 0 {
		what = "everything"
	}
	if len(d.From) > 0 {
		words := make([]string, len(d.From))
		for i, p := range d.From {
			words[i] = p.String()
		}
		from = " from " + strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s%s (%s)", what, from, d.Rule)
}

// Denials says what new connections to an address the rules turn away that came
// through under the old ones. What is connected stays so: see accessBase.
func (s SetAccess) Denials(a netip.Addr) []Denial {
	return denials(s.Old.court().judge(a), s.New.court().judge(a))
}

func denials(before, after judge) []Denial {
	var out []Denial
	for _, t := range samples(append(before.lines(), after.lines()...)) {
		if after.peer && (t.protocol == tcp || t.protocol == sctp) && t.port == netquorum.ClusterPort {
			continue
		}
		for _, from := range t.from {
			if before.decide(from, t) != nil {
				continue
			}
			if by := after.decide(from, t); by != nil {
				out = by.add(out)
			}
		}
	}
	return out
}

const tcp, sctp = 6, 132

// A court is a ruleset, ready to be asked about many addresses.
type court struct {
	chains map[string][]Line
	start  map[netip.Addr]string
	peers  map[netip.Addr]bool
}

func (r *Ruleset) court() court {
	c := court{map[string][]Line{}, map[netip.Addr]string{}, map[netip.Addr]bool{}}
	if r == nil {
		return c
	}
	for _, l := range r.Chains {
		c.chains[l.Name] = l.Lines
	}
	for _, g := range r.Addresses {
		c.start[g.Address] = g.Chain
	}
	for _, a := range r.Peers {
		c.peers[a] = true
	}
	return c
}

func (c court) judge(a netip.Addr) judge { return judge{c.chains, c.start[a], c.peers[a]} }

// A judge decides about packets to one address. Without a chain all pass.
type judge struct {
	chains map[string][]Line
	start  string
	peer   bool // filers reach each other here
}

// lines are all that a packet may meet.
func (j judge) lines() []Line {
	var out []Line
	seen := map[string]bool{}
	var walk func(string)
	walk = func(name string) {
		if name == "" || seen[name] {
			return
		}
		seen[name] = true
		for _, l := range j.chains[name] {
			out = append(out, l)
			walk(l.Verdict.Chain)
		}
	}
	walk(j.start)
	return out
}

// A denier is the line that turns a packet away, with the one that led to it
// when the policy's rule was split into two chains.
type denier struct{ port, line Line }

// decide returns the line that turns a packet away; nil when it passes.
func (j judge) decide(from netip.Addr, t sample) *denier {
	by, _ := j.walk(j.start, from, t)
	return by
}

func (j judge) walk(chain string, from netip.Addr, t sample) (by *denier, decided bool) {
	for _, l := range j.chains[chain] {
		if l.From.IsValid() && !l.From.Contains(from) || l.Protocol != 0 && (l.Protocol != t.protocol || t.port < l.Low || t.port > l.High) {
			continue
		}
		switch l.Verdict.Word {
		case accept.Word:
			return nil, true
		case drop.Word:
			return &denier{l, l}, true
		case "goto":
			return j.walk(l.Verdict.Chain, from, t)
		case "jump":
			if by, decided = j.walk(l.Verdict.Chain, from, t); decided {
				if by != nil && by.line.Note == l.Note { // of the same rule: the other half of it
					by.port = l
				}
				return by, true
			}
		}
	}
	return nil, false
}

// add puts the denier's line to the others of its rule.
func (d *denier) add(list []Denial) []Denial {
	i := slices.IndexFunc(list, func(o Denial) bool { return o.Rule == d.line.Note })
	if i < 0 {
		i = len(list)
		list = append(list, Denial{Rule: d.line.Note})
	}
	if l := d.port; l.Protocol != 0 {
		p := netquorum.Ports{Protocol: protocolNames[l.Protocol], Low: l.Low, High: l.High}
		if !slices.Contains(list[i].Traffic, p) {
			list[i].Traffic = append(list[i].Traffic, p)
		}
	}
	if p := d.line.From; p.IsValid() && !slices.Contains(list[i].From, p) {
		list[i].From = append(list[i].From, p)
	}
	return list
}

// A sample stands for all packets of a protocol and a range of ports that every
// line treats alike, and from lists one source for each such range of sources.
type sample struct {
	protocol uint8
	port     uint16
	from     []netip.Addr
}

// samples are as many packets as tell everything about the lines.
func samples(lines []Line) []sample {
	const other = 255 // a protocol without ports, which no line names
	ports := map[uint8][]uint16{other: {0}}
	for p := range protocolNames {
		ports[p] = []uint16{0}
	}
	from := []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	for _, l := range lines {
		if l.Protocol != 0 {
			ports[l.Protocol] = append(ports[l.Protocol], l.Low)
			if l.High < 65535 {
				ports[l.Protocol] = append(ports[l.Protocol], l.High+1)
			}
		}
		if l.From.IsValid() {
			from = append(from, l.From.Masked().Addr())
			if next := last(l.From).Next(); next.IsValid() {
				from = append(from, next)
			}
		}
	}
	// The cluster's port is decided about before the lines.
	for _, protocol := range []uint8{tcp, sctp} {
		ports[protocol] = append(ports[protocol], netquorum.ClusterPort, netquorum.ClusterPort+1)
	}
	slices.SortFunc(from, netip.Addr.Compare)
	from = slices.Compact(from)
	var out []sample
	for _, protocol := range []uint8{tcp, 17, sctp, other} {
		list := ports[protocol]
		slices.SortFunc(list, cmp.Compare[uint16])
		for _, p := range slices.Compact(list) {
			out = append(out, sample{protocol, p, from})
		}
	}
	return out
}

// last is the highest address of a network.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
