package sockhook

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func source(to, address string) Source {
	return Source{netip.MustParsePrefix(to), netip.MustParseAddr(address)}
}

func TestJumpsLeadToTheirLabels(t *testing.T) {
	a := newAssembler()
	a.jump(opJumpEq, r2, 5, "end")
	a.emit(opMoveImm, r0, 0, 0, 1)
	a.at("end")
	a.returns(0)
	code := a.finish()
	if got := int16(binary.NativeEndian.Uint16(code[2:])); got != 1 {
		t.Errorf("the jump goes over %d instructions, want 1", got)
	}
	if len(code) != 4*8 {
		t.Errorf("%d bytes, want 4 instructions", len(code))
	}
}

func TestOnlyTheHooksThatAreNeededAreUsed(t *testing.T) {
	names := func(r Rules) string {
		var list []string
		for _, p := range r.programs() {
			list = append(list, p.name)
		}
		return strings.Join(list, " ")
	}
	addresses := "connect4 connect6 sendmsg4 sendmsg6 bind4 bind6"
	for want, r := range map[string]Rules{
		"":                    {},
		"create":              {Device: 7},
		addresses:             {Sources: []Source{source("0.0.0.0/0", "10.0.0.1")}},
		"create " + addresses: {OtherDevice: 7, Sources: []Source{source("0.0.0.0/0", "10.0.0.1")}},
	} {
		if got := names(r); got != want {
			t.Errorf("%+v: programs %q, want %q", r, got, want)
		}
	}
}

func TestGeneralAddressIsThatOfTheShortestPrefix(t *testing.T) {
	r := Rules{Sources: []Source{source("10.0.0.0/24", "10.0.0.1"), source("0.0.0.0/0", "10.2.0.1"), source("fd00::/64", "fd00::1")}}
	if a, ok := r.general(true); !ok || a.String() != "10.2.0.1" {
		t.Errorf("IPv4: %v, %v", a, ok)
	}
	if a, ok := r.general(false); !ok || a.String() != "fd00::1" {
		t.Errorf("IPv6: %v, %v", a, ok)
	}
	if a, ok := (Rules{}).general(true); ok {
		t.Errorf("of no sources: %v", a)
	}
}

func TestParentGroup(t *testing.T) {
	for text, want := range map[string]string{
		"0::/\n": ".",
		"9:name=systemd:/x\n0::/system.slice/sshd.service\n": "system.slice/sshd.service",
		"0::/user.slice/" + groupPrefix + "12-ABCDEFGH\n":    "user.slice",
		"0::/" + groupPrefix + "12-ABCDEFGH/inner\n":         ".",
		"0::/../other\n":      "error",
		"9:name=systemd:/x\n": "error",
	} {
		got, err := parentGroup([]byte(text))
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %q (%v), want %q", text, got, err, want)
		}
	}
}

func FuzzGroups(f *testing.F) {
	f.Add("0::/a/b\n", groupName(5))
	f.Fuzz(func(t *testing.T, text, name string) {
		if p, err := parentGroup([]byte(text)); err == nil && (strings.HasPrefix(p, "/") || strings.HasPrefix(p, "..")) {
			t.Errorf("%q: the group %q leads out of the tree", text, p)
		}
		if pid, ok := processOf(name); ok && (pid < 1 || !strings.HasPrefix(name, groupPrefix)) {
			t.Errorf("%q is process %d's", name, pid)
		}
	})
}

// TestProgramsStayInBounds writes large programs: a jump too far would lead
// somewhere else.
func TestProgramsStayInBounds(t *testing.T) {
	r := Rules{}
	for i := range MaxSources {
		r.Sources = append(r.Sources, source(fmt.Sprintf("fd00:%x::/64", i), fmt.Sprintf("fd00:%x::1", i)))
	}
	for _, p := range r.programs() {
		if n := len(p.code) / 8; n > 32767 {
			t.Errorf("%s has %d instructions", p.name, n)
		}
	}
}
