package rollout

import (
	"slices"
	"strings"

	"github.com/netquorum/netquorum"
)

// Candidates returns what lists the filers that may host a server, as each of
// them is now: one that has yet to change has the aliases of before.
func Candidates(c netquorum.Config) func(netquorum.Hosted) []netquorum.Candidate {
	_, r, ok := c.Rollout()
	if !ok || !r.Open() {
		return c.Candidates
	}
	s, problems := sidesOf(c, r)
	if len(problems) > 0 {
		return c.Candidates
	}
	return func(h netquorum.Hosted) []netquorum.Candidate {
		out, from := s.to.Candidates(h), s.from.Candidates(h)
		for i := range out {
			if arrived(r, out[i].Filer, false) {
				continue
			}
			at := slices.IndexFunc(from, func(c netquorum.Candidate) bool { return strings.EqualFold(c.Filer, out[i].Filer) })
			if at >= 0 {
				out[i].Missing = from[at].Missing
			}
		}
		return out
	}
}

// Draining reports whether servers are to leave a filer, and none to come.
func Draining(c netquorum.Config, filer string) bool {
	_, r, ok := c.Rollout()
	if !ok || !r.Open() {
		return false
	}
	s, ok := stepOf(r, filer)
	return ok && s.Interrupts && (s.State == netquorum.StepDraining || s.State == netquorum.StepApplying)
}

// Homes returns what tells which filer a server left for that filer's step and
// is to return to; "" for none.
func Homes(c netquorum.Config) func(server string) string {
	homes := map[string]string{}
	if _, r, ok := c.Rollout(); ok && r.Open() {
		for _, s := range r.Steps {
			if s.State != netquorum.StepDone && s.State != netquorum.StepFailed {
				continue
			}
			for _, server := range s.Servers {
				if key := strings.ToLower(server); homes[key] == "" {
					homes[key] = s.Filer
				}
			}
		}
	}
	return func(server string) string { return homes[strings.ToLower(server)] }
}

// Grounded lists the servers that no other filer can host while the filer that
// hosts them takes its links down: they go down with it.
func Grounded(c netquorum.Config, need Reason, live func(filer string) bool) []string {
	interrupts := map[string]bool{}
	for _, s := range need.Steps {
		interrupts[strings.ToLower(s.Filer)] = s.Interrupts
	}
	var out []string
	for h := range c.Hosted() {
		p, ok := c.Placement(h.Key.Name)
		if !ok || !interrupts[strings.ToLower(p.Filer)] {
			continue
		}
		elsewhere := slices.ContainsFunc(c.Candidates(h), func(c netquorum.Candidate) bool {
			return c.Eligible() && !strings.EqualFold(c.Filer, p.Filer) && live(c.Filer)
		})
		if !elsewhere {
			out = append(out, h.Key.String()+" on "+p.Filer)
		}
	}
	return out
}
