package netapply

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	netquorum "github.com/netquorum/netquorum"
	"golang.org/x/sys/unix"
)

// The table:
//
//	set absent4, absent6, peers4, peers6     addresses
//	map addresses4, addresses6, links        addresses and links : goto chain
//	chain input                              hooked; accessBase
//	chain policy-...                         one for each list of lines
//
// What is established is told by TCP itself for TCP, and by connection tracking
// for the rest. Tracking alone would cut TCP connections that are older than the
// table, and a filer's own replies after a move.

const (
	inputChain = "input"
	register   = 1 // the first of nftables' registers; one is enough

	metaSDIFName = 34 // NFT_META_SDIFNAME: the port below a VRF
)

// A baseRule is one line of the hooked chain.
type baseRule struct {
	words string
	exprs []expr.Any
}

// accessBase is what happens to every packet, in this order.
func accessBase() []baseRule {
	list := []baseRule{
		{"ip daddr @absent4 drop", toAddress(false, lookup("absent4"), verdict(drop))},
		{"ip6 daddr @absent6 drop", toAddress(true, lookup("absent6"), verdict(drop))},
		// Without ICMP there is no path MTU, without ICMPv6 no neighbour, without
		// IGMP no multicast.
		{"meta l4proto icmp accept", protocolIs(unix.IPPROTO_ICMP, verdict(accept))},
		{"meta l4proto ipv6-icmp accept", protocolIs(unix.IPPROTO_ICMPV6, verdict(accept))},
		{"meta l4proto igmp accept", protocolIs(unix.IPPROTO_IGMP, verdict(accept))},
		{"tcp flags & (fin | syn | rst | ack) != syn accept", protocolIs(unix.IPPROTO_TCP,
			&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
			&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 1, Mask: []byte{0x17}, Xor: []byte{0}},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: []byte{0x02}}, verdict(accept))},
		{"ct state established,related accept", []expr.Any{
			&expr.Ct{Key: expr.CtKeySTATE, Register: register},
			&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4,
				Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED), Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: make([]byte, 4)}, verdict(accept)}},
		{"ip daddr @peers4 tcp dport 7480 accept", toAddress(false, append([]expr.Any{lookup("peers4")}, clusterPort(unix.IPPROTO_TCP)...)...)},
		{"ip6 daddr @peers6 tcp dport 7480 accept", toAddress(true, append([]expr.Any{lookup("peers6")}, clusterPort(unix.IPPROTO_TCP)...)...)},
		{"ip daddr @peers4 sctp dport 7480 accept", toAddress(false, append([]expr.Any{lookup("peers4")}, clusterPort(unix.IPPROTO_SCTP)...)...)},
		{"ip6 daddr @peers6 sctp dport 7480 accept", toAddress(true, append([]expr.Any{lookup("peers6")}, clusterPort(unix.IPPROTO_SCTP)...)...)},
		// Links by SCTP, at the end that was called and at the one that called:
		// tracking knows an association by one of its paths only.
		{"ip daddr @peers4 sctp dport 7480 accept", toAddress(false, append([]expr.Any{lookup("peers4")}, associations(toPort)...)...)},
		{"ip6 daddr @peers6 sctp dport 7480 accept", toAddress(true, append([]expr.Any{lookup("peers6")}, associations(toPort)...)...)},
		{"ip daddr @peers4 sctp sport 7480 accept", toAddress(false, append([]expr.Any{lookup("peers4")}, associations(fromPort)...)...)},
		{"ip6 daddr @peers6 sctp sport 7480 accept", toAddress(true, append([]expr.Any{lookup("peers6")}, associations(fromPort)...)...)},
		{"ip daddr vmap @addresses4", toAddress(false, vmap("addresses4"))},
		{"ip6 daddr vmap @addresses6", toAddress(true, vmap("addresses6"))},
	}
	// What is to none of our addresses: link-local ones are on our links only; any
	// other address of this machine is somebody else's business.
	list = append(list,
		baseRule{"ip6 daddr fe80::/10 meta sdifname vmap @links", linkLocal(metaSDIFName)},
		baseRule{"ip6 daddr fe80::/10 meta iifname vmap @links", linkLocal(expr.MetaKeyIIFNAME)},
		baseRule{"fib daddr type local accept", []expr.Any{
			&expr.Fib{Register: register, FlagDADDR: true, ResultADDRTYPE: true},
			&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
			verdict(accept)}},
		baseRule{"meta sdifname vmap @links", []expr.Any{&expr.Meta{Key: metaSDIFName, Register: register}, vmap("links")}},
		baseRule{"meta iifname vmap @links", []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: register}, vmap("links")}},
	)
	return list
}

func lookup(set string) expr.Any { return &expr.Lookup{SourceRegister: register, SetName: set} }

func vmap(set string) expr.Any {
	// A verdict goes to register 0 and is carried out at once.
	return &expr.Lookup{SourceRegister: register, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: set}
}

func verdict(v Verdict) expr.Any {
	kinds := map[string]expr.VerdictKind{"accept": expr.VerdictAccept, "drop": expr.VerdictDrop, "jump": expr.VerdictJump, "goto": expr.VerdictGoto}
	return &expr.Verdict{Kind: kinds[v.Word], Chain: v.Chain}
}

func isFamily(six bool) []expr.Any {
	f := byte(unix.NFPROTO_IPV4)
	if six {
		f = unix.NFPROTO_IPV6
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{f}},
	}
}

// header loads an address of the IP header.
func header(six, source bool) *expr.Payload {
	p := &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
	if six {
		p.Offset, p.Len = 24, 16
	}
	if source {
		p.Offset -= p.Len
	}
	return p
}

func toAddress(six bool, then ...expr.Any) []expr.Any {
	return append(append(isFamily(six), header(six, false)), then...)
}

func protocolIs(number byte, then ...expr.Any) []expr.Any {
	return append([]expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{number}},
	}, then...)
}

func portIs(low, high uint16, then ...expr.Any) []expr.Any {
	from, to := binary.BigEndian.AppendUint16(nil, low), binary.BigEndian.AppendUint16(nil, high)
	load := &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: toPort, Len: 2}
	if low == high {
		return append([]expr.Any{load, &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: from}}, then...)
	}
	return append([]expr.Any{load, &expr.Range{Op: expr.CmpOpEq, Register: register, FromData: from, ToData: to}}, then...)
}

func clusterPort(protocol uint8) []expr.Any {
	return protocolIs(protocol, portIs(netquorum.ClusterPort, netquorum.ClusterPort, verdict(accept))...)
}

// Where the ports are in the headers of TCP, UDP and SCTP.
const fromPort, toPort = 0, 2

// associations are those of filers with each other.
func associations(offset uint32) []expr.Any {
	return protocolIs(unix.IPPROTO_SCTP,
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: binary.BigEndian.AppendUint16(nil, netquorum.ClusterPort)}, verdict(accept))
}

// within compares a loaded address with a network.
func within(p netip.Prefix) []expr.Any {
	n := p.Addr().BitLen() / 8
	mask := make([]byte, n)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: uint32(n), Mask: mask, Xor: make([]byte, n)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: p.Addr().AsSlice()},
	}
}

func linkLocal(key expr.MetaKey) []expr.Any {
	return append(toAddress(true, within(netip.MustParsePrefix("fe80::/10"))...),
		&expr.Meta{Key: key, Register: register}, vmap("links"))
}

func (l Line) exprs() []expr.Any {
	var out []expr.Any
	if l.From.IsValid() {
		six := l.From.Addr().Is6()
		out = append(append(isFamily(six), header(six, true)), within(l.From)...)
	}
	if l.Protocol != 0 {
		out = append(out, protocolIs(l.Protocol, portIs(l.Low, l.High)...)...)
	}
	return append(out, verdict(l.Verdict))
}

// accessSets are the sets and maps of the table, empty.
func accessSets(t *nftables.Table) []*nftables.Set {
	var sets []*nftables.Set
	for _, name := range []string{"absent", "peers", "addresses"} {
		for _, family := range []struct {
			suffix string
			key    nftables.SetDatatype
		}{{"4", nftables.TypeIPAddr}, {"6", nftables.TypeIP6Addr}} {
			sets = append(sets, &nftables.Set{Table: t, Name: name + family.suffix, KeyType: family.key})
		}
	}
	sets = append(sets, &nftables.Set{Table: t, Name: "links", KeyType: nftables.TypeIFName})
	for i, s := range sets {
		s.ID = uint32(i + 1)
		if s.Name[:5] == "addre" || s.Name == "links" {
			s.IsMap, s.DataType = true, nftables.TypeVerdict
		}
	}
	return sets
}

// elements are a set's.
func (r *Ruleset) elements(set string) []nftables.SetElement {
	var out []nftables.SetElement
	add := func(name string, a netip.Addr, chain string) {
		if setFor(name, a) == set {
			out = append(out, element(a.AsSlice(), chain))
		}
	}
	for _, a := range r.Absent {
		add("absent", a, "")
	}
	for _, a := range r.Peers {
		add("peers", a, "")
	}
	for _, g := range r.Addresses {
		add("addresses", g.Address, g.Chain)
	}
	if set == "links" {
		for _, g := range r.Links {
			out = append(out, element(linkKey(g.Link), g.Chain))
		}
	}
	return out
}

func linkKey(name string) []byte {
	key := make([]byte, unix.IFNAMSIZ)
	copy(key, name)
	return key
}

func element(key []byte, chain string) nftables.SetElement {
	e := nftables.SetElement{Key: key}
	if chain != "" {
		e.VerdictData = &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}
	}
	return e
}

// maxElements is how many elements go into one message: the length of a netlink
// attribute has 16 bits.
const maxElements = 400

// encode writes the whole table into one batch: whatever there is goes, and the
// new content comes, at the same instant.
func (r *Ruleset) encode(c *nftables.Conn) error {
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: AccessTable}
	// Adding is allowed to a table that exists, deleting only from one.
	c.AddTable(t)
	c.DelTable(t)
	if r == nil {
		return nil
	}
	c.AddTable(t)
	policy := nftables.ChainPolicyAccept
	base := c.AddChain(&nftables.Chain{Table: t, Name: inputChain, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter, Policy: &policy})
	chains := make([]*nftables.Chain, len(r.Chains))
	for i, l := range r.Chains {
		chains[i] = c.AddChain(&nftables.Chain{Table: t, Name: l.Name})
	}
	for _, s := range accessSets(t) {
		all := r.elements(s.Name)
		if err := c.AddSet(s, all[:min(len(all), maxElements)]); err != nil {
			return err
		}
		for n := maxElements; n < len(all); n += maxElements {
			if err := c.SetAddElements(s, all[n:min(len(all), n+maxElements)]); err != nil {
				return err
			}
		}
	}
	for i, l := range r.Chains {
		for _, line := range l.Lines {
			c.AddRule(&nftables.Rule{Table: t, Chain: chains[i], Exprs: line.exprs(), UserData: comment(line.Note)})
		}
	}
	for _, b := range accessBase() {
		c.AddRule(&nftables.Rule{Table: t, Chain: base, Exprs: b.exprs})
	}
	return nil
}

func comment(text string) []byte {
	return userdata.AppendString(nil, userdata.TypeComment, text)
}
