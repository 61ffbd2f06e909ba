package agent

import (
	"errors"
	"strings"
	"testing"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/netapply"
)

const needy = `
kind: Cluster
name: acme
spec: {mac: "00:07:34:04:12:0e"}
---
kind: FilerGroup
name: main
---
kind: Filer
name: filer1
spec:
  group: main
  interfaces:
  - {name: data0, parent: eth0}
---
kind: Filer
name: filer2
spec:
  group: main
  interfaces:
  - {name: eth0, ethernet: {rings: {rx: 512}}, cpu: {rps: "0-3"}}
  - {name: data0, parent: eth0}
---
kind: Routes
name: own
spec: {vrf: true}
---
kind: VirtualServer
name: files
spec:
  group: main
  routes: own
  addresses:
  - {alias: data0, prefix: 10.2.2.1/24}
`

// A configuration that needs what a filer's kernel lacks is refused before it is
// committed, with the names of filer and feature. A filer that did not answer,
// or that does not know of the feature, is not held against it.
func TestWhatAKernelLacksIsRefused(t *testing.T) {
	docs, err := netquorum.ParseDocuments("test", []byte(needy))
	if err != nil {
		t.Fatal(err)
	}
	c, problems := netquorum.Config{}.Change(docs, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	features := func(absent ...string) []api.Feature {
		var list []api.Feature
		for _, name := range []string{netapply.FeatureMacvlan, netapply.FeatureVRF, netapply.FeatureEthtool, netapply.FeatureRPS} {
			f := api.Feature{Name: name, Available: true}
			for _, a := range absent {
				if a == name {
					f.Available, f.Detail = false, "not built in"
				}
			}
			list = append(list, f)
		}
		return list
	}
	for _, tc := range []struct {
		name    string
		present map[string][]api.Feature
		want    string // filer and feature
	}{
		{"all there", map[string][]api.Feature{"filer1": features(), "filer2": features()}, ""},
		{"VRF on a filer that may come to host the server", map[string][]api.Feature{"filer1": features(), "filer2": features(netapply.FeatureVRF)},
			"Filer/filer2: the configuration needs vrf, which the kernel of filer2 does not have: not built in"},
		{"ethtool where rings are set", map[string][]api.Feature{"filer1": features(netapply.FeatureEthtool), "filer2": features(netapply.FeatureEthtool)},
			"Filer/filer2: the configuration needs ethtool"},
		{"packet steering", map[string][]api.Feature{"filer2": features(netapply.FeatureRPS)}, "Filer/filer2: the configuration needs rps"},
		{"a filer that does not answer", map[string][]api.Feature{"filer1": features()}, ""},
		{"a filer that does not know of the feature", map[string][]api.Feature{"filer1": {}, "filer2": {}}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := lacking(c, tc.present)
			if tc.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if !errors.Is(err, api.ErrUnsupported) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "Filer/filer1") {
				t.Errorf("the refusal is: %v", err)
			}
		})
	}
}
