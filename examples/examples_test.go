// Package examples has no code. Its test keeps the example files honest.
package examples

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/lab"
)

// load reads one example's documents.
func load(t *testing.T, file string) []netquorum.Document {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	docs, err := netquorum.ParseDocuments(file, data)
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func config(t *testing.T, file string) netquorum.Config {
	t.Helper()
	c, problems := netquorum.Config{}.Change(load(t, file), nil)
	if len(problems) > 0 {
		t.Fatalf("%s breaks rules:\n%v", file, problems)
	}
	return c
}

// Every example has its two files, and they fit: each filer of the topology is
// configured, and has the cards that its configuration builds on.
func TestEveryExampleFitsItsTopology(t *testing.T) {
	topologies, err := filepath.Glob("*.topology.yaml")
	if err != nil || len(topologies) == 0 {
		t.Fatalf("no topologies here: %v", err)
	}
	for _, file := range topologies {
		t.Run(file, func(t *testing.T) {
			top, err := lab.ReadTopology(file)
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(file, ".topology.yaml")
			if top.Name != name {
				t.Errorf("the topology's name is %s", top.Name)
			}
			c := config(t, name+".yaml")
			for _, filer := range top.Filers {
				if _, ok := c.Filer(filer.Name); !ok {
					t.Errorf("filer %s of the topology is not configured", filer.Name)
				}
				var cards []netquorum.InterfaceName
				for _, p := range filer.Ports {
					cards = append(cards, netquorum.InterfaceName(p.Name))
				}
				for _, need := range physical(c.Interfaces(filer.Name)) {
					if !slices.Contains(cards, need) {
						t.Errorf("filer %s is configured with %s, which has no cable in the topology", filer.Name, need)
					}
				}
			}
		})
	}
}

// physical lists the cards that interfaces are, or are built on.
func physical(interfaces []netquorum.Interface) []netquorum.InterfaceName {
	var cards []netquorum.InterfaceName
	for _, i := range interfaces {
		for _, n := range append([]netquorum.InterfaceName{i.Name, i.Parent}, i.Members...) {
			if n.Layer() == netquorum.LayerPhysical && !slices.Contains(cards, n) {
				cards = append(cards, n)
			}
		}
	}
	return cards
}

// The sources give filer2's san0 the address of VsvrA's data1.
func TestTheSourcesDuplicateAddressIsRefusedNamingBothOwners(t *testing.T) {
	data, err := os.ReadFile("two-filers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	source := strings.Replace(string(data), "10.2.2.4/24", "10.2.2.3/24", 1)
	docs, err := netquorum.ParseDocuments("source.yaml", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	_, problems := netquorum.Config{}.Change(docs, nil)
	if len(problems) == 0 {
		t.Fatal("10.2.2.3 is accepted twice")
	}
	said := problems.Error()
	for _, p := range problems {
		if p.Owner != nil {
			said += " " + p.Owner.String()
		}
	}
	for _, want := range []string{"10.2.2.3", "Filer/filer2", "VirtualServer/VsvrA"} {
		if !strings.Contains(said, want) {
			t.Errorf("%s is not named in:\n%s", want, said)
		}
	}
}

func TestOnlyVsvrCCannotFailOver(t *testing.T) {
	c := config(t, "two-filers.yaml")
	for h := range c.Hosted() {
		lacking := map[string][]netquorum.InterfaceName{}
		for _, candidate := range c.Candidates(h) {
			if len(candidate.Missing) > 0 {
				lacking[candidate.Filer] = candidate.Missing
			}
		}
		if h.Key.Name != "VsvrC" {
			if len(lacking) > 0 {
				t.Errorf("%s cannot be hosted everywhere: %v", h.Key, lacking)
			}
			continue
		}
		if len(lacking) != 2 || !slices.Equal(lacking["filer1"], []netquorum.InterfaceName{"data2"}) {
			t.Errorf("VsvrC is lacking %v", lacking)
		}
	}
	if len(c.Findings()) == 0 {
		t.Error("nothing is found about VsvrC")
	}
}

func TestAFileThatIsNotThereIsAnError(t *testing.T) {
	if _, err := lab.ReadTopology("none.topology.yaml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
