package demo

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/netquorum/netquorum/lab"
)

const examples = "../../examples"

func TestNeedsFollowTheConfiguration(t *testing.T) {
	for example, want := range map[string][]lab.Feature{
		"single-nic": {lab.MACVLAN},
		"two-filers": {lab.VLAN, lab.Bonding, lab.MACVLAN, lab.VRF},
	} {
		config, err := read(Options{Examples: examples, Example: example}.Config())
		if err != nil {
			t.Fatal(err)
		}
		got := needs(config)
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, want) {
			t.Errorf("%s needs %v, want %v", example, got, want)
		}
	}
}

func TestTheServerToShowCanFailOver(t *testing.T) {
	for example, want := range map[string]string{"single-nic": "files 10.2.2.1", "two-filers": "VsvrA 10.2.2.1"} {
		config, err := read(Options{Examples: examples, Example: example}.Config())
		if err != nil {
			t.Fatal(err)
		}
		got, err := movable(config)
		if err != nil || got.name+" "+got.address.String() != want {
			t.Errorf("%s: got %v %v, want %s", example, got, err, want)
		}
	}
}

// The demonstration itself, from nothing to nothing.
func TestTheDemonstrationShowsAFailover(t *testing.T) {
	o := Options{Name: "demo-test", Example: "single-nic", Examples: examples, LabDir: t.TempDir(), Check: true}
	missing, err := Missing(o)
	if err != nil || len(missing) > 0 {
		t.Skipf("no lab on this machine: lacking %v %v", missing, err)
	}
	o.Binary = filepath.Join(t.TempDir(), "netquorum")
	build := exec.Command("go", "build", "-o", o.Binary, "../../cmd/netquorum")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	var out strings.Builder
	o.Out = &out
	if err := Run(t.Context(), o); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"hosts files", "files answers again, from filer", "follows the cluster's configuration again"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not told in:\n%s", want, &out)
		}
	}
	left, err := filepath.Glob("/run/netns/nq-demo-test-*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
