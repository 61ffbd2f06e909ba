package netquorum

import (
	"fmt"
	"net"
	"strings"
)

// A MAC is a 48-bit address, printed in lower case with colons.
type MAC [6]byte

// ParseMAC reads a 48-bit address in any of the usual forms.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return MAC{}, fmt.Errorf("%q is not a MAC address like 00:07:34:04:12:0e", s)
	}
	return MAC(hw), nil
}

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// Multicast reports whether the address stands for a group, which no interface
// can have.
func (m MAC) Multicast() bool { return m[0]&1 == 1 }

func (m MAC) IsZero() bool                 { return m == MAC{} }
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

func (m *MAC) UnmarshalText(text []byte) error {
	v, err := ParseMAC(strings.TrimSpace(string(text)))
	*m = v
	return err
}
