package netapply

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// An ethtool speaks the kernel's ethtool netlink (Linux 5.6 to 5.8, set by set).
// Unlike the older ioctl it names link modes and features and passes on what a
// driver has to say about a value. The connection is made when first needed:
// most filers never need it.
type ethtool struct {
	mu     sync.Mutex
	conn   *genetlink.Conn
	family uint16
}

// An ethtoolSet says how a set of settings is read and written: the kind of
// request, and the attributes of numbers and switches in it. Link modes and
// features are bit sets, with code of their own.
type ethtoolSet struct {
	get, set uint8
	numbers  map[string]uint16
	switches map[string]uint16
}

var ethtoolSets = map[string]ethtoolSet{
	setLink: {unix.ETHTOOL_MSG_LINKMODES_GET, unix.ETHTOOL_MSG_LINKMODES_SET,
		map[string]uint16{"speed": unix.ETHTOOL_A_LINKMODES_SPEED},
		map[string]uint16{"autoneg": unix.ETHTOOL_A_LINKMODES_AUTONEG}},
	setFeatures: {unix.ETHTOOL_MSG_FEATURES_GET, unix.ETHTOOL_MSG_FEATURES_SET, nil, nil},
	setRings: {unix.ETHTOOL_MSG_RINGS_GET, unix.ETHTOOL_MSG_RINGS_SET,
		map[string]uint16{"rx": unix.ETHTOOL_A_RINGS_RX, "tx": unix.ETHTOOL_A_RINGS_TX}, nil},
	setChannels: {unix.ETHTOOL_MSG_CHANNELS_GET, unix.ETHTOOL_MSG_CHANNELS_SET,
		map[string]uint16{"rx": unix.ETHTOOL_A_CHANNELS_RX_COUNT, "tx": unix.ETHTOOL_A_CHANNELS_TX_COUNT, "combined": unix.ETHTOOL_A_CHANNELS_COMBINED_COUNT}, nil},
	setCoalesce: {unix.ETHTOOL_MSG_COALESCE_GET, unix.ETHTOOL_MSG_COALESCE_SET,
		map[string]uint16{
			"rx-usecs": unix.ETHTOOL_A_COALESCE_RX_USECS, "rx-frames": unix.ETHTOOL_A_COALESCE_RX_MAX_FRAMES,
			"rx-usecs-irq": unix.ETHTOOL_A_COALESCE_RX_USECS_IRQ, "rx-frames-irq": unix.ETHTOOL_A_COALESCE_RX_MAX_FRAMES_IRQ,
			"tx-usecs": unix.ETHTOOL_A_COALESCE_TX_USECS, "tx-frames": unix.ETHTOOL_A_COALESCE_TX_MAX_FRAMES,
			"tx-usecs-irq": unix.ETHTOOL_A_COALESCE_TX_USECS_IRQ, "tx-frames-irq": unix.ETHTOOL_A_COALESCE_TX_MAX_FRAMES_IRQ,
		},
		map[string]uint16{"adaptive-rx": unix.ETHTOOL_A_COALESCE_USE_ADAPTIVE_RX, "adaptive-tx": unix.ETHTOOL_A_COALESCE_USE_ADAPTIVE_TX}},
	setPause: {unix.ETHTOOL_MSG_PAUSE_GET, unix.ETHTOOL_MSG_PAUSE_SET, nil,
		map[string]uint16{"autoneg": unix.ETHTOOL_A_PAUSE_AUTONEG, "rx": unix.ETHTOOL_A_PAUSE_RX, "tx": unix.ETHTOOL_A_PAUSE_TX}},
}

const (
	attrHeaderNest  = 1 // every request begins with one (ETHTOOL_A_*_HEADER)
	speedUnknown    = 1<<32 - 1
	duplexHalf      = 0
	duplexFull      = 1
	ethtoolCtlGroup = 1 // version of the family
)

// open connects, once.
func (e *ethtool) open() error {
	if e.conn != nil {
		return nil
	}
	c, err := genetlink.Dial(nil)
	if err != nil {
		return fmt.Errorf("cannot open a generic netlink socket: %w", err)
	}
	f, err := c.GetFamily(unix.ETHTOOL_GENL_NAME)
	if err != nil {
		_ = c.Close()
		return fmt.Errorf("the kernel has no ethtool netlink (Linux 5.8 does): %w", err)
	}
	_ = c.SetOption(netlink.ExtendedAcknowledge, true) // the driver's words; old kernels have none
	e.conn, e.family = c, f.ID
	return nil
}

func (e *ethtool) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn == nil {
		return nil
	}
	return e.conn.Close()
}

// request sends one request and returns the attributes of the answer.
func (e *ethtool) request(command uint8, flags netlink.HeaderFlags, m *message) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.open(); err != nil {
		return nil, err
	}
	_ = e.conn.SetDeadline(time.Now().Add(requestTimeout))
	list, err := e.conn.Execute(genetlink.Message{Header: genetlink.Header{Command: command, Version: ethtoolCtlGroup}, Data: m.b}, e.family, netlink.Request|flags)
	if err != nil {
		return nil, ethtoolError(err)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return list[0].Data, nil
}

// ethtoolError takes off what the library puts around the kernel's words.
func ethtoolError(err error) error {
	op := new(netlink.OpError)
	if !errors.As(err, &op) {
		return err
	}
	if op.Message != "" {
		return fmt.Errorf("%w: %s", op.Err, op.Message)
	}
	return op.Err
}

func ethtoolHeader(index int, flags uint32) *message {
	m := &message{b: make([]byte, 0, 128)}
	m.nest(attrHeaderNest|unix.NLA_F_NESTED, func() {
		m.u32(unix.ETHTOOL_A_HEADER_DEV_INDEX, uint32(index))
		if flags != 0 {
			m.u32(unix.ETHTOOL_A_HEADER_FLAGS, flags)
		}
	})
	return m
}

// read returns the settings of one set, as far as the link has them. A link
// that has no such settings has none; that is no error.
func (e *ethtool) read(index int, set string) (Tuning, error) {
	b, err := e.request(ethtoolSets[set].get, 0, ethtoolHeader(index, 0))
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", set, err)
	}
	return decodeEthtool(set, b)
}

// decodeEthtool reads the answer about one set.
func decodeEthtool(set string, b []byte) (Tuning, error) {
	t := Tuning{}
	known := ethtoolSets[set]
	var features [6]map[string]bool
	for a, err := range attributes(b) {
		if err != nil {
			return nil, err
		}
		for name, attr := range known.numbers {
			if a.kind == attr {
				t[set+"/"+name] = strconv.FormatUint(uint64(a.number()), 10)
			}
		}
		for name, attr := range known.switches {
			if a.kind == attr {
				t[set+"/"+name] = onOff(a.number() != 0)
			}
		}
		switch {
		case set == setLink && a.kind == unix.ETHTOOL_A_LINKMODES_OURS:
			modes, err := decodeBits(a.value)
			if err != nil {
				return nil, err
			}
			t.modes(modes)
		case set == setLink && a.kind == unix.ETHTOOL_A_LINKMODES_DUPLEX:
			switch a.number() {
			case duplexHalf:
				t["link/duplex"] = "half"
			case duplexFull:
				t["link/duplex"] = "full"
			}
		case set == setFeatures && int(a.kind) < len(features) && a.kind != attrHeaderNest:
			if features[a.kind], err = decodeBits(a.value); err != nil {
				return nil, err
			}
		}
	}
	switch set {
	case setLink:
		// With both ends agreeing, and without a link, speed and duplex are no
		// settings; what would be offered is none while they are forced.
		if t["link/autoneg"] == "off" {
			delete(t, advertise)
		}
		if t["link/autoneg"] != "off" || t["link/speed"] == strconv.FormatUint(speedUnknown, 10) || t["link/duplex"] == "" {
			delete(t, "link/speed")
			delete(t, "link/duplex")
		}
	case setFeatures:
		t.features(features[unix.ETHTOOL_A_FEATURES_HW], features[unix.ETHTOOL_A_FEATURES_ACTIVE], features[unix.ETHTOOL_A_FEATURES_NOCHANGE])
	}
	return t, nil
}

// modes notes the link modes that the hardware has and those that it offers.
func (t Tuning) modes(offered map[string]bool) {
	var list []string
	for name, on := range offered {
		if _, _, ok := linkMode(name); !ok {
			continue
		}
		t[setModes+"/"+name] = onOff(on)
		if on {
			list = append(list, name)
		}
	}
	if len(list) > 0 {
		slices.Sort(list)
		t[advertise] = strings.Join(list, ",")
	}
}

// features notes which features are on, and which of them can be changed.
func (t Tuning) features(hardware, active, noChange map[string]bool) {
	for name, changeable := range hardware {
		set := setFixed
		if changeable && !noChange[name] {
			set = setFeatures
		}
		t[set+"/"+name] = onOff(active[name])
	}
}

// decodeBits reads a bit set: the bits that it speaks of, and which are set.
func decodeBits(b []byte) (map[string]bool, error) {
	bits := map[string]bool{}
	all := false // without a mask the list is of bits that are set
	for a, err := range attributes(b) {
		if err != nil {
			return nil, err
		}
		switch a.kind {
		case unix.ETHTOOL_A_BITSET_NOMASK:
			all = true
		case unix.ETHTOOL_A_BITSET_BITS:
			for bit, err := range attributes(a.value) {
				if err != nil {
					return nil, err
				}
				name, set := "", false
				for part, err := range attributes(bit.value) {
					if err != nil {
						return nil, err
					}
					switch part.kind {
					case unix.ETHTOOL_A_BITSET_BIT_NAME:
						name = part.text()
					case unix.ETHTOOL_A_BITSET_BIT_VALUE:
						set = true
					}
				}
				if name != "" { // some kernels have features without a name
					bits[name] = set
				}
			}
		}
	}
	if all {
		for name := range bits {
			bits[name] = true
		}
	}
	return bits, nil
}

// write asks for settings of one set. modes are the link modes that the
// hardware has, of which those not offered are said, too.
func (e *ethtool) write(index int, set string, values, modes Tuning) error {
	flags := uint32(0)
	if set == setFeatures {
		flags = unix.ETHTOOL_FLAG_OMIT_REPLY
	}
	m := ethtoolHeader(index, flags)
	if err := encodeEthtool(m, set, values, modes); err != nil {
		return err
	}
	_, err := e.request(ethtoolSets[set].set, netlink.Acknowledge, m)
	return err
}

// encodeEthtool writes the settings of one set.
func encodeEthtool(m *message, set string, values, modes Tuning) error {
	known := ethtoolSets[set]
	features := map[string]bool{}
	for _, setting := range values.names() {
		_, name := setOf(setting)
		v := values[setting]
		if attr, ok := known.switches[name]; ok {
			m.u8(attr, map[string]uint8{"on": 1}[v])
			continue
		}
		if attr, ok := known.numbers[name]; ok {
			n, err := strconv.ParseUint(v, 10, 32)
			if err != nil {
				return fmt.Errorf("%s: %q is no number", setting, v)
			}
			m.u32(attr, uint32(n))
			continue
		}
		switch {
		case set == setFeatures:
			features[name] = v == "on"
		case setting == "link/duplex":
			m.u8(unix.ETHTOOL_A_LINKMODES_DUPLEX, map[string]uint8{"half": duplexHalf, "full": duplexFull}[v])
		case setting == advertise:
			offered := map[string]bool{}
			for mode := range modes.in(setModes) {
				_, name := setOf(mode)
				offered[name] = false
			}
			for name := range strings.SplitSeq(v, ",") {
				offered[name] = true
			}
			encodeBits(m, unix.ETHTOOL_A_LINKMODES_OURS, offered)
		default:
			return fmt.Errorf("there is no setting %s", setting)
		}
	}
	if len(features) > 0 {
		encodeBits(m, unix.ETHTOOL_A_FEATURES_WANTED, features)
	}
	return nil
}

// encodeBits writes which bits to set and which to clear; others stay.
func encodeBits(m *message, kind uint16, bits map[string]bool) {
	names := make([]string, 0, len(bits))
	for name := range bits {
		names = append(names, name)
	}
	slices.Sort(names)
	m.nest(kind|unix.NLA_F_NESTED, func() {
		m.nest(unix.ETHTOOL_A_BITSET_BITS|unix.NLA_F_NESTED, func() {
			for _, name := range names {
				m.nest(unix.ETHTOOL_A_BITSET_BITS_BIT|unix.NLA_F_NESTED, func() {
					m.text(unix.ETHTOOL_A_BITSET_BIT_NAME, name)
					if bits[name] {
						m.bytes(unix.ETHTOOL_A_BITSET_BIT_VALUE, nil)
					}
				})
			}
		})
	})
}
