package netapply

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	netquorum "github.com/netquorum/netquorum"
)

// An effort says what it takes to change an option of a link that exists.
type effort int

const (
	inPlace    effort = iota // at any time
	whileDown                // only while the link is down
	whileEmpty               // only while the link is down and has no members
	never                    // the link must be made again
)

// An encoding is the form of an option's value in a netlink message.
type encoding int

const (
	asU8 encoding = iota
	asU16
	asU32
	asMAC
	asIPv4List
	asIPv6List
	asLink // a link's name here, its index in the message
)

// An option describes one setting of a kind of link. The tables of options are
// all that encoding, decoding and comparing know about a kind.
type option struct {
	name   string // ip's word
	attr   uint16
	as     encoding
	words  []string // names of the values, by number
	effort effort
}

// optionTables lists the options of each kind.
var optionTables = map[LinkKind][]option{
	Bond:    bondOptions,
	VLAN:    vlanOptions,
	Macvlan: macvlanOptions,
	VRF:     vrfOptions,
}

// changeNeeded tells what it takes to turn the options that a link has into
// those wanted, and which differ. What the kernel does not show is not compared.
func changeNeeded(kind LinkKind, want, have Options) (Options, effort) {
	var differ Options
	most := inPlace
	for _, o := range optionTables[kind] {
		w, wanted := want[o.name]
		h, shown := have[o.name]
		if !wanted || !shown || w == h {
			continue
		}
		if differ == nil {
			differ = Options{}
		}
		differ[o.name] = w
		most = max(most, o.effort)
	}
	return differ, most
}

// encodeOptions writes the options as attributes. index resolves names of links.
func encodeOptions(m *message, kind LinkKind, options Options, index func(string) (int, bool)) error {
	left := maps.Clone(options)
	for _, o := range optionTables[kind] {
		v, ok := options[o.name]
		if !ok {
			continue
		}
		delete(left, o.name)
		if err := o.encode(m, v, index); err != nil {
			return fmt.Errorf("%s %s: %w", kind, o.name, err)
		}
	}
	for name := range left {
		return fmt.Errorf("%s has no option %q", kind, name)
	}
	return nil
}

func (o option) encode(m *message, v string, index func(string) (int, bool)) error {
	switch o.as {
	case asU8, asU16, asU32:
		n, err := o.number(v)
		if err != nil {
			return err
		}
		switch o.as {
		case asU8:
			m.u8(o.attr, uint8(n))
		case asU16:
			m.u16(o.attr, uint16(n))
		default:
			m.u32(o.attr, n)
		}
	case asMAC:
		mac, err := netquorum.ParseMAC(v)
		if err != nil {
			return err
		}
		m.bytes(o.attr, mac[:])
	case asIPv4List, asIPv6List:
		return o.encodeList(m, v)
	case asLink:
		i, ok := 0, true // 0 names none
		if v != "" {
			i, ok = index(v)
		}
		if !ok {
			return fmt.Errorf("there is no link %s", v)
		}
		m.u32(o.attr, uint32(i))
	}
	return nil
}

// number turns a word or a decimal into the kernel's number.
func (o option) number(v string) (uint32, error) {
	if i := slices.Index(o.words, v); i >= 0 && v != "" {
		return uint32(i), nil
	}
	bits := map[encoding]int{asU8: 8, asU16: 16, asU32: 32}[o.as]
	n, err := strconv.ParseUint(v, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%q is not one of %s nor a number of %d bits", v, strings.Join(o.words, ", "), bits)
	}
	return uint32(n), nil
}

// encodeList writes addresses as attributes numbered from 0 inside one. An
// empty list empties the kernel's.
func (o option) encodeList(m *message, v string) error {
	var addrs []netip.Addr
	for text := range strings.SplitSeq(v, ",") {
		if text == "" {
			continue
		}
		a, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		if a.Is4() != (o.as == asIPv4List) {
			return fmt.Errorf("%s is of the wrong family", a)
		}
		addrs = append(addrs, a)
	}
	m.nest(o.attr, func() {
		for i, a := range addrs {
			m.bytes(uint16(i), a.AsSlice())
		}
	})
	return nil
}

// decodeOptions reads the options of a kind; name resolves indexes of links.
func decodeOptions(kind LinkKind, b []byte, name func(int) string) (Options, error) {
	table := optionTables[kind]
	options := make(Options, len(table))
	for _, o := range table {
		if o.as == asLink || o.as == asIPv4List || o.as == asIPv6List {
			options[o.name] = "" // the kernel does not mention an empty one
		}
	}
	for a, err := range attributes(b) {
		if err != nil {
			return nil, err
		}
		for _, o := range table {
			if o.attr == a.kind {
				if options[o.name], err = o.decode(a, name); err != nil {
					return nil, err
				}
			}
		}
	}
	return options, nil
}

func (o option) decode(a attribute, name func(int) string) (string, error) {
	switch o.as {
	case asMAC:
		if len(a.value) != 6 {
			return "", errAttributes
		}
		return netquorum.MAC(a.value).String(), nil
	case asIPv4List, asIPv6List:
		var list []string
		for item, err := range attributes(a.value) {
			if err != nil {
				return "", err
			}
			addr, ok := netip.AddrFromSlice(item.value)
			if !ok || addr.Is4() != (o.as == asIPv4List) {
				return "", errAttributes
			}
			list = append(list, addr.String())
		}
		return strings.Join(list, ","), nil
	case asLink:
		return name(int(a.number())), nil
	}
	n := a.number()
	if int(n) < len(o.words) && o.words[n] != "" {
		return o.words[n], nil
	}
	return strconv.FormatUint(uint64(n), 10), nil
}
