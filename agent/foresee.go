package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/netapply"
)

// peerPatience is how long a filer that may be down is waited for, when its
// answer would be good to have and its silence is an answer too.
const peerPatience = 1500 * time.Millisecond

// A planRequest asks a filer what it would do after a transaction.
type planRequest struct {
	Transaction []byte `json:"transaction"` // as package fsm encodes it
}

// dryRun tells what a transaction would change and what each filer would do.
func (m *member) dryRun(ctx context.Context, t fsm.Transaction) (api.ApplyResult, error) {
	state, err := m.read(ctx)
	if err != nil {
		return api.ApplyResult{}, err
	}
	after, result := fsm.DryRun(state, t)
	if result.Refusal != nil {
		return api.ApplyResult{}, refusal(result.Refusal)
	}
	out := api.ApplyResult{Revision: state.Revision(), Changed: result.Changed, Plans: map[string]api.Plan{}}
	out.Changes = changes(state.Config(), after, t)
	m.foreseeRollout(ctx, state.Config(), after, &out)
	if empty := len(t.Puts)+len(t.Deletes) == 0; !empty && !touchesKernel(t) {
		return out, nil
	}
	encoded, err := fsm.EncodeTransaction(t)
	if err != nil {
		return api.ApplyResult{}, err
	}
	plans, failed := ask(ctx, members(state.Config()), func(ctx context.Context, id netquorum.FilerID) (api.Plan, error) {
		if id == m.id {
			return m.plan(ctx, planRequest{encoded})
		}
		ctx, cancel := context.WithTimeout(ctx, peerPatience)
		defer cancel()
		var p api.Plan
		return p, call(ctx, m.client, id, pathPlan, planRequest{encoded}, &p)
	})
	out.Plans = plans
	out.Stranded = stranded(state.Config(), after, func(filer string) bool { _, absent := failed[filer]; return !absent })
	for name, err := range failed {
		out.Plans[name] = api.Plan{Unknown: fmt.Sprintf("%s does not answer: %v", name, err)}
	}
	for d := range after.All(netquorum.KindFiler) {
		if _, ok := out.Plans[d.Name]; !ok {
			out.Plans[d.Name] = api.Plan{Unknown: d.Name + " has not joined the cluster"}
		}
	}
	return out, nil
}

// changes lists the documents that differ, in the order of the transaction.
func changes(before, after netquorum.Config, t fsm.Transaction) []api.DocumentChange {
	var keys []netquorum.Key
	for _, p := range t.Puts {
		keys = append(keys, p.Document.Key())
	}
	for _, d := range t.Deletes {
		keys = append(keys, d.Key)
	}
	var out []api.DocumentChange
	for _, k := range keys {
		c := api.DocumentChange{Kind: k.Kind, Name: k.Name}
		if d, ok := before.Get(k.Kind, k.Name); ok {
			c.Before = &d
		}
		if d, ok := after.Get(k.Kind, k.Name); ok {
			c.After = &d
		}
		if c.Before == nil && c.After == nil || c.Before != nil && c.After != nil && c.Before.Equal(*c.After) {
			continue
		}
		out = append(out, c)
	}
	return out
}

// plan tells what this filer's kernel would be asked to do, given what it hosts
// now.
func (m *member) plan(ctx context.Context, r planRequest) (api.Plan, error) {
	t, err := fsm.DecodeTransaction(r.Transaction)
	if err != nil {
		return api.Plan{}, err
	}
	after, result := fsm.DryRun(m.store.State(), t)
	if result.Refusal != nil {
		return api.Plan{}, refusal(result.Refusal)
	}
	want, err := netapply.Want(after, m.name, placedOn(m.store.State().Config(), m.name))
	if err != nil {
		return api.Plan{}, err
	}
	have, err := m.kernel.Observe(ctx, want.Looks()...)
	if err != nil {
		return api.Plan{}, err
	}
	return planned(want, have), nil
}

// checkFeatures refuses a configuration that needs what some filer's kernel
// cannot do. Filers that do not answer are given the benefit of the doubt: they
// report what failed when they are back.
func (m *member) checkFeatures(ctx context.Context, after netquorum.Config) error {
	present, _ := ask(ctx, members(m.store.State().Config()), func(ctx context.Context, id netquorum.FilerID) ([]api.Feature, error) {
		if id == m.id {
			return m.features, nil
		}
		ctx, cancel := context.WithTimeout(ctx, peerPatience)
		defer cancel()
		var f []api.Feature
		return f, call(ctx, m.client, id, pathFeatures, struct{}{}, &f)
	})
	return lacking(after, present)
}

// lacking refuses a configuration that needs features which filers lack. Every
// filer is looked at as if it hosted all it may come to host.
func lacking(c netquorum.Config, present map[string][]api.Feature) error {
	var problems netquorum.Problems
	for d := range c.All(netquorum.KindFiler) {
		list, known := present[d.Name]
		if !known {
			continue
		}
		may := map[netquorum.Key]bool{}
		for h := range c.Hosted() {
			for _, cand := range c.Candidates(h) {
				if cand.Filer == d.Name && len(cand.Missing) == 0 {
					may[h.Key.Fold()] = true
				}
			}
		}
		want, err := netapply.Want(c, d.Name, func(k netquorum.Key) bool { return may[k.Fold()] })
		if err != nil {
			return err
		}
		for _, need := range netapply.Requires(want) {
			i := slices.IndexFunc(list, func(f api.Feature) bool { return f.Name == need })
			if i < 0 || list[i].Available {
				continue
			}
			problems = append(problems, netquorum.Problem{
				Document: d.Key(), Rule: "kernel-feature",
				Message: strings.TrimSuffix(fmt.Sprintf("the configuration needs %s, which the kernel of %s does not have: %s", need, d.Name, list[i].Detail), ": "),
			})
		}
	}
	if len(problems) > 0 {
		return api.Refuse(api.ErrUnsupported, problems.Error(), problems)
	}
	return nil
}
