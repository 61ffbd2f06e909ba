package agent

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/transport"
)

// A backend answers the local API. It is a view of the agent: every method
// finds out first whether the filer is in a cluster.
type backend struct{ *Agent }

var _ api.Backend = backend{}

// defaultTokenTTL is how long a token is good for when nobody says.
const defaultTokenTTL = time.Hour

// CreateToken implements api.Backend.
func (b backend) CreateToken(ctx context.Context, r api.TokenRequest) (api.Token, error) {
	m, err := b.running()
	if err != nil {
		return api.Token{}, err
	}
	ttl := time.Duration(r.TTL)
	if ttl == 0 {
		ttl = defaultTokenTTL
	}
	if ttl < time.Minute || ttl > 30*24*time.Hour {
		return api.Token{}, fmt.Errorf("%w: a token is good for between one minute and 30 days, not %v", api.ErrUsage, ttl)
	}
	if r.Filer != "" {
		if err := netquorum.CheckFilerName(r.Filer); err != nil {
			return api.Token{}, fmt.Errorf("%w: filer: %w", api.ErrUsage, err)
		}
	}
	token := transport.NewToken()
	expires := b.cfg.Now().Add(ttl)
	t := fsm.Transaction{ID: newRequestID(), Actor: r.Actor, System: true, Puts: []fsm.Put{{
		MustNotExist: true,
		Document: netquorum.Document{Kind: netquorum.KindToken, Name: token.ID(),
			Spec: &netquorum.Token{Key: token.Key(), Expires: expires.Unix(), Filer: r.Filer}},
	}}}
	// Tokens that nobody used are cleared away by whoever makes the next one.
	for d := range m.store.State().Config().All(netquorum.KindToken) {
		if d.Spec.(*netquorum.Token).Expires < b.cfg.Now().Unix() {
			t.Deletes = append(t.Deletes, fsm.Delete{Key: d.Key()})
		}
	}
	if err := m.commit(ctx, t); err != nil {
		return api.Token{}, err
	}
	return api.Token{ID: token.ID(), Token: token.String(), Filer: r.Filer, Expires: expires.UTC()}, nil
}

// Tokens implements api.Backend.
func (b backend) Tokens(ctx context.Context) ([]api.Token, error) {
	m, err := b.running()
	if err != nil {
		return nil, err
	}
	state, err := m.read(ctx)
	if err != nil {
		return nil, err
	}
	var out []api.Token
	for d := range state.Config().All(netquorum.KindToken) {
		t := d.Spec.(*netquorum.Token)
		if t.UsedBy != "" || t.Expires < b.cfg.Now().Unix() {
			continue
		}
		out = append(out, api.Token{ID: d.Name, Filer: t.Filer, Expires: time.Unix(t.Expires, 0).UTC()})
	}
	return out, nil
}

// RevokeToken implements api.Backend.
func (b backend) RevokeToken(ctx context.Context, actor, id string) error {
	m, err := b.running()
	if err != nil {
		return err
	}
	return m.commit(ctx, fsm.Transaction{ID: newRequestID(), Actor: actor, System: true,
		Deletes: []fsm.Delete{{Key: netquorum.Key{Kind: netquorum.KindToken, Name: id}}}})
}

// Apply implements api.Backend.
func (b backend) Apply(ctx context.Context, r api.ApplyRequest) (api.ApplyResult, error) {
	m, err := b.running()
	if err != nil {
		return api.ApplyResult{}, err
	}
	if r.RequestID == "" {
		r.RequestID = newRequestID()
	}
	t := transaction(r)
	if r.DryRun {
		return m.dryRun(ctx, t)
	}
	if touchesKernel(t) {
		// What the state machine refuses it refuses in better words.
		if after, result := fsm.DryRun(m.store.State(), t); result.Refusal == nil {
			if err := m.checkFeatures(ctx, after); err != nil {
				return api.ApplyResult{}, err
			}
		}
	}
	result, name, err := m.proposeChange(ctx, t, r.Rollout)
	if err != nil {
		return api.ApplyResult{}, err
	}
	out := api.ApplyResult{Revision: result.Revision, Changed: result.Changed, Rollout: name}
	if name != "" && r.Wait == api.WaitApplied {
		if result.Revision, err = m.waitRollout(ctx, name, result.Revision); err != nil {
			return out, err
		}
	}
	if r.Wait == api.WaitCached || r.Wait == api.WaitApplied {
		err = m.waitEverywhere(ctx, result.Revision, r.Wait)
	}
	return out, err
}

// Restore implements api.Backend.
func (b backend) Restore(ctx context.Context, r api.RestoreRequest) (api.RestoreResult, error) {
	m, err := b.running()
	if err != nil {
		return api.RestoreResult{}, err
	}
	network := slices.DeleteFunc(slices.Clone(r.Documents), func(d netquorum.Document) bool { return !d.Kind.Network() })
	if after, problems := (netquorum.Config{}).Change(network, nil); len(problems) == 0 {
		if err := m.checkFeatures(ctx, after); err != nil {
			return api.RestoreResult{}, err
		}
	}
	ctx, release := m.quorum.While(ctx)
	defer release()
	rev, err := m.store.Restore(ctx, r.Documents, r.Actor)
	if err != nil {
		var refused *fsm.Refusal
		if asRefusal(err, &refused) {
			return api.RestoreResult{}, refusal(refused)
		}
		return api.RestoreResult{}, apiError(err)
	}
	return api.RestoreResult{Revision: rev, Documents: len(r.Documents)}, nil
}

// Read implements api.Backend.
func (b backend) Read(ctx context.Context, c api.Consistency) (api.Snapshot, error) {
	m, err := b.running()
	if err != nil {
		// A filer that cannot run its store can still say what it booted from.
		if boot, ok := b.bootConfig(); ok && c == api.Stale {
			return api.Snapshot{Config: boot.config, Revision: boot.revision}, nil
		}
		return api.Snapshot{}, err
	}
	if c == api.Stale {
		config, revision := m.newest()
		return api.Snapshot{Config: config, Revision: revision}, nil
	}
	state, err := m.read(ctx)
	if err != nil {
		return api.Snapshot{}, err
	}
	return api.Snapshot{Config: state.Config(), Revision: state.Revision()}, nil
}

// History implements api.Backend.
func (b backend) History(ctx context.Context, r api.HistoryRequest) ([]api.Change, error) {
	m, err := b.running()
	if err != nil {
		return nil, err
	}
	state := m.store.State() // what happened is worth knowing without a quorum too
	if r.From != 0 && r.From < state.Oldest() {
		return nil, fmt.Errorf("%w: revision %d is gone, the oldest kept is %d", api.ErrCompacted, r.From, state.Oldest())
	}
	from := r.From
	if from == 0 && r.Limit > 0 {
		// Revisions are numbered without gaps, so the newest can be counted back.
		end := state.Revision()
		if r.To != 0 {
			end = min(end, r.To)
		}
		if end > netquorum.Revision(r.Limit) {
			from = end - netquorum.Revision(r.Limit) + 1
		}
	}
	var out []api.Change
	for c := range state.History(from, r.To) {
		out = append(out, change(c))
		if r.Limit > 0 && len(out) == r.Limit {
			break
		}
	}
	return out, nil
}

// Watch implements api.Backend.
func (b backend) Watch(ctx context.Context, from netquorum.Revision) iter.Seq2[api.Change, error] {
	return func(yield func(api.Change, error) bool) {
		m, err := b.running()
		if err != nil {
			yield(api.Change{}, err)
			return
		}
		for c, err := range m.store.Watch(ctx, from+1) {
			if err != nil {
				yield(api.Change{}, apiError(err))
				return
			}
			if !yield(change(c), nil) {
				return
			}
		}
	}
}

// touchesKernel reports whether a transaction has documents that kernels follow.
func touchesKernel(t fsm.Transaction) bool {
	return slices.ContainsFunc(t.Puts, func(p fsm.Put) bool { return p.Document.Kind.Network() }) ||
		slices.ContainsFunc(t.Deletes, func(d fsm.Delete) bool { return d.Key.Kind.Network() })
}
