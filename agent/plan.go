package agent

import (
	"slices"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/netapply"
)

// planned is a plan in the API's words.
func planned(want netapply.Desired, have netapply.Observed) api.Plan {
	steps, problems := netapply.Plan(want, have)
	plan := api.Plan{Steps: make([]string, len(steps))}
	for i, s := range steps {
		plan.Steps[i] = s.String()
	}
	for _, i := range netapply.Impacts(have, steps) {
		impact := api.Impact{Step: i.Index, Interfaces: i.Links, Addresses: i.Addresses, Servers: i.Servers, Lasting: i.Lasting}
		for _, d := range i.Denials {
			impact.Denied = append(impact.Denied, d.String())
		}
		plan.Impacts = append(plan.Impacts, impact)
	}
	for _, p := range problems {
		plan.Problems = append(plan.Problems, p.Error())
	}
	return plan
}

// stranded lists the servers that some filer can host before a change and none
// after it. Filers that are away count neither time: the rules see to it that
// there is always a filer that could, but it may be down.
func stranded(before, after netquorum.Config, present func(filer string) bool) []api.StrandedServer {
	host := func(c netquorum.Config, h netquorum.Hosted) bool {
		return slices.ContainsFunc(c.Candidates(h), func(x netquorum.Candidate) bool { return x.Eligible() && present(x.Filer) })
	}
	had := map[netquorum.Key]bool{}
	for h := range before.Hosted() {
		had[h.Key.Fold()] = host(before, h)
	}
	var out []api.StrandedServer
	for h := range after.Hosted() {
		if had[h.Key.Fold()] && !host(after, h) {
			out = append(out, api.StrandedServer{Key: h.Key, Candidates: after.Candidates(h)})
		}
	}
	return out
}
