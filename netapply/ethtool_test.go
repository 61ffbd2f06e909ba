package netapply

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	netquorum "github.com/netquorum/netquorum"
	"golang.org/x/sys/unix"
)

// Numbers and switches of every set come back as they were written: requests
// and answers have the same attributes.
func TestEthtoolRoundTrip(t *testing.T) {
	for set, known := range ethtoolSets {
		values := Tuning{}
		for name := range known.numbers {
			values[set+"/"+name] = "64"
		}
		for name := range known.switches {
			values[set+"/"+name] = "off"
		}
		if set == setLink {
			values["link/duplex"] = "half"
		}
		m := &message{}
		if err := encodeEthtool(m, set, values, nil); err != nil {
			t.Fatal(err)
		}
		got, err := decodeEthtool(set, m.b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(values, got); diff != "" {
			t.Errorf("%s (-written +read):\n%s", set, diff)
		}
	}
}

// answerAbout is what a kernel says of a link's modes and features.
func answerAbout(bits map[uint16]map[string]bool) []byte {
	m := &message{}
	m.nest(attrHeaderNest|unix.NLA_F_NESTED, func() { m.text(unix.ETHTOOL_A_HEADER_DEV_NAME, "eth0") })
	for _, kind := range []uint16{2, 3, 4, 5} {
		if bits[kind] != nil {
			encodeBits(m, kind, bits[kind])
		}
	}
	return m.b
}

func TestFeaturesAreRead(t *testing.T) {
	got, err := decodeEthtool(setFeatures, answerAbout(map[uint16]map[string]bool{
		unix.ETHTOOL_A_FEATURES_HW:       {"rx-gro": true, "rx-lro": false, "highdma": false, "tx-lockless": true},
		unix.ETHTOOL_A_FEATURES_ACTIVE:   {"rx-gro": true, "highdma": true},
		unix.ETHTOOL_A_FEATURES_NOCHANGE: {"tx-lockless": true, "rx-gro": false},
	}))
	want := Tuning{"features/rx-gro": "on", "fixed/rx-lro": "off", "fixed/highdma": "on", "fixed/tx-lockless": "off"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("features (-want +got):\n%s%v", diff, err)
	}
}

func TestLinkModesAreRead(t *testing.T) {
	b := answerAbout(map[uint16]map[string]bool{
		unix.ETHTOOL_A_LINKMODES_OURS: {"100baseT/Half": true, "100baseT/Full": false, "1000baseT/Full": true, "Autoneg": true, "TP": true, "Pause": true},
	})
	on := (&message{b: b})
	on.u8(unix.ETHTOOL_A_LINKMODES_AUTONEG, 1)
	on.u32(unix.ETHTOOL_A_LINKMODES_SPEED, 1000)
	on.u8(unix.ETHTOOL_A_LINKMODES_DUPLEX, 1)
	got, err := decodeEthtool(setLink, on.b)
	want := Tuning{
		"link/autoneg": "on", "link/advertise": "1000baseT/Full,100baseT/Half",
		"modes/100baseT/Half": "on", "modes/100baseT/Full": "off", "modes/1000baseT/Full": "on",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("modes (-want +got):\n%s%v", diff, err)
	}
}

// What a kernel or a program in its place could send is read or refused, and
// nothing else.
func FuzzEthtoolAnswer(f *testing.F) {
	f.Add(setFeatures, answerAbout(map[uint16]map[string]bool{2: {"rx-gro": true}, 4: {"rx-gro": true}}))
	f.Add(setLink, answerAbout(map[uint16]map[string]bool{3: {"100baseT/Full": true}}))
	for set, known := range ethtoolSets {
		m := &message{}
		for _, attr := range known.numbers {
			m.u32(attr, 7)
		}
		f.Add(set, m.b)
	}
	f.Fuzz(func(t *testing.T, set string, b []byte) {
		got, err := decodeEthtool(set, b)
		if err != nil {
			return
		}
		for name, v := range got {
			if s, what := setOf(name); s == "" || what == "" && s != setFixed || v == "" {
				t.Fatalf("%q is %q", name, v)
			}
		}
	})
}

func TestCPUMasks(t *testing.T) {
	for list, mask := range map[netquorum.CPUList]string{
		"": "0", "0": "1", "0-3": "f", "1,3": "a", "31": "80000000", "32": "1,00000000", "0,64": "1,00000000,00000001",
	} {
		if got := cpuMask(list); got != mask {
			t.Errorf("%q is %s, not %s", list, got, mask)
		}
		for _, shown := range []string{mask, mask + "\n", "00000000," + mask} {
			if got, err := parseCPUMask(shown); err != nil || got != list {
				t.Errorf("%q is %q, not %q: %v", shown, got, list, err)
			}
		}
	}
	for _, bad := range []string{"", "x", "0,,1", "1ffffffff", "-1"} {
		if got, err := parseCPUMask(bad); err == nil {
			t.Errorf("%q is taken for %q", bad, got)
		}
	}
}

func FuzzCPUMask(f *testing.F) {
	f.Add("f")
	f.Add("1,00000000")
	f.Fuzz(func(t *testing.T, s string) {
		list, err := parseCPUMask(s)
		if err != nil {
			return
		}
		if again, err := parseCPUMask(cpuMask(list)); err != nil || again != list {
			t.Fatalf("%q is %q, then %q, %v", s, list, again, err)
		}
	})
}

// remembering is a kernel with nothing but its memory.
func remembering(t *testing.T, path string) *Netlink {
	t.Helper()
	k := &Netlink{}
	if err := k.RememberIn(path); err != nil {
		t.Fatal(err)
	}
	return k
}

// What settings were is known after the daemon was restarted, but not of a link
// that was made anew, and not after the machine was.
func TestWhatWasBeforeOutlivesTheDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "before.json")
	k := remembering(t, path)
	if err := k.memory.keep("eth0", remembered{Index: 7, Before: Tuning{"rings/rx": "256"}, Forced: Tuning{"link/speed": "100"}}); err != nil {
		t.Fatal(err)
	}
	k = remembering(t, path)
	if r := k.memory.of("eth0", 7); r.Before["rings/rx"] != "256" || r.Forced["link/speed"] != "100" {
		t.Errorf("of eth0 it remembers %v", r)
	}
	if r := k.memory.of("eth0", 8); len(r.Before) > 0 {
		t.Errorf("of another eth0 it remembers %v", r)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if links, err := decodeMemory(text, "another boot"); err != nil || len(links) > 0 {
		t.Errorf("of another boot it believes %v, %v", links, err)
	}
	if err := k.memory.keep("eth0", remembered{Index: 7}); err != nil {
		t.Fatal(err)
	}
	if r := remembering(t, path).memory.of("eth0", 7); len(r.Before) > 0 {
		t.Errorf("what was given back is still remembered: %v", r)
	}
}

// A damaged file is told of, and replaced by the next one.
func TestDamagedMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "before.json")
	for _, text := range []string{"{", `{"format":2}`, "\x00"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		k := &Netlink{}
		if err := k.RememberIn(path); err == nil {
			t.Errorf("%q is read without a word", text)
		}
		if err := k.memory.keep("eth0", remembered{Index: 7, Before: Tuning{"rings/rx": "256"}}); err != nil {
			t.Fatal(err)
		}
		if r := remembering(t, path).memory.of("eth0", 7); r.Before["rings/rx"] != "256" {
			t.Errorf("after %q it remembers %v", text, r)
		}
	}
}

func FuzzMemory(f *testing.F) {
	seed, err := json.Marshal(memoryFile{memoryFormat, "b", map[string]remembered{"eth0": {7, Tuning{"rings/rx": "256"}, nil}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, text []byte) {
		links, err := decodeMemory(text, "b")
		if err != nil {
			return
		}
		again, err := json.Marshal(memoryFile{memoryFormat, "b", links})
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeMemory(again, "b"); err != nil || !maps.EqualFunc(links, back, func(a, b remembered) bool {
			return a.Index == b.Index && maps.Equal(a.Before, b.Before) && maps.Equal(a.Forced, b.Forced)
		}) {
			t.Fatalf("%v became %v, %v", links, back, err)
		}
	})
}
