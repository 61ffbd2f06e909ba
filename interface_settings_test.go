package netquorum

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// The table of settings by layer, for people who plan a configuration (N15).
func TestSettingsTableIsCurrent(t *testing.T) {
	const file = "docs/settings.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- layers: made by go generate from interface_settings.go -->\n", "<!-- end of layers -->\n"
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table, between %q and %q", file, begin, end)
	}
	want := before + begin + settingsTable() + end + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(text) {
		t.Errorf("%s is stale; run: go generate .", file)
	}
}

func settingsTable() string {
	var b strings.Builder
	b.WriteString("| setting |")
	for _, l := range Layers {
		b.WriteString(" " + string(l) + " |")
	}
	b.WriteString(" like |\n|---|" + strings.Repeat(":-:|", len(Layers)) + "---|\n")
	for _, s := range InterfaceSettings {
		b.WriteString("| `" + s.Field + "` |")
		for _, l := range Layers {
			if s.Carries(l) {
				b.WriteString(" yes |")
			} else {
				b.WriteString(" |")
			}
		}
		b.WriteString(" `" + s.Like + "` |\n")
	}
	return b.String()
}

// exampleOf is, for each layer, an interface with all that it stands on, and
// for each setting a value: every pair of them is tried.
var (
	exampleOf = map[Layer]string{
		LayerPhysical: "name: eth0",
		LayerBond:     "name: bond0",
		LayerVLAN:     "name: eth0.5",
		LayerFailover: "name: fail0",
		LayerAlias:    "name: data0",
	}
	neededBy = map[Layer]string{
		LayerBond: ", members: [eth0]", LayerFailover: ", members: [eth0]", LayerAlias: ", parent: eth0",
	}
	exampleValue = map[string]string{
		"mtu": "mtu: 1500", "members": "members: [eth0]", "parent": "parent: eth0",
		"bond": "bond: {mode: balance-rr}", "failover": "failover: {miimon: 100}",
		"ethernet.autoneg":  "ethernet: {autoneg: true}",
		"ethernet.speed":    "ethernet: {speed: 100}",
		"ethernet.duplex":   "ethernet: {duplex: full}",
		"ethernet.offloads": "ethernet: {offloads: {tso: false}}",
		"ethernet.rings":    "ethernet: {rings: {rx: 512}}",
		"ethernet.coalesce": "ethernet: {coalesce: {rxUsecs: 0}}",
		"ethernet.channels": "ethernet: {channels: {combined: 2}}",
		"ethernet.pause":    "ethernet: {pause: {rx: false}}",
		"cpu":               "cpu: {rps: '0'}",
	}
)

// Every setting is tried on every layer: it is refused exactly where the table
// says so, and the refusal names the layers that may carry it.
func TestEachSettingStandsOnItsLayersOnly(t *testing.T) {
	for _, s := range InterfaceSettings {
		value := exampleValue[s.Field]
		if value == "" {
			t.Errorf("no value to try %s with", s.Field)
			continue
		}
		for _, l := range Layers {
			text := exampleOf[l] + ", " + value
			if s.Field != "members" && s.Field != "parent" {
				text += neededBy[l]
			}
			_, problems := Config{}.Change(append(parse(t, "kind: Cluster\nname: acme\nspec: {mac: '00:07:34:04:12:0e'}"), parse(t, filer(text))...), nil)
			i := slices.IndexFunc(problems, func(p Problem) bool { return p.Rule == RuleInterfaceField })
			switch {
			case s.Carries(l) && i >= 0:
				t.Errorf("%s on a %s interface is refused: %v", s.Field, l, problems[i])
			case !s.Carries(l) && i < 0:
				t.Errorf("%s on a %s interface is taken", s.Field, l)
			case !s.Carries(l):
				if want := fmt.Sprintf("stands on %s only", layersText(s.Layers)); problems[i].Field != "spec.interfaces[0]."+s.Field || !strings.Contains(problems[i].Message, want) {
					t.Errorf("the refusal of %s on a %s interface does not say %q: %v", s.Field, l, want, problems[i])
				}
			}
		}
	}
}

// Every field that an interface and its Ethernet settings have is in the table,
// unless it is what the interface is rather than how it is set.
func TestNoSettingIsForgotten(t *testing.T) {
	listed := map[string]bool{"name": true, "addresses": true, "ethernet": true}
	for _, s := range InterfaceSettings {
		listed[s.Field] = true
	}
	for typ, fields := range fieldsOf {
		prefix := map[string]string{"Interface": "", "Ethernet": "ethernet."}
		p, ok := prefix[typ.Name()]
		for name := range fields {
			if ok && !listed[p+name] {
				t.Errorf("which layers may carry %s is not said in InterfaceSettings", p+name)
			}
		}
	}
}
