// Package apitest has a Backend for tests: a cluster of one filer in memory
// that keeps every promise of the real one but durability. It runs the real
// state machine, so rules, preconditions and history are the real ones.
package apitest

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/trace"
)

// Peer and PeerToken are what a Join of the fake must be given.
const (
	Peer      = "10.0.0.1:7480"
	PeerToken = "nqt-peer-secret"
)

// A Backend is a filer's daemon in memory. The zero value is a filer without a
// cluster.
type Backend struct {
	// Now is the clock; time.Now when nil.
	Now func() time.Time

	mu       sync.Mutex
	state    *fsm.State
	changed  chan struct{} // closed at the next change
	filer    string
	index    uint64
	tokens   []api.Token
	noQuorum bool
	laggards []string // filers that never apply or cache anything
	status   *api.Status

	statistics api.Statistics
	present    []api.Presence
	monitors   monitors
	links      map[string]api.LinkReport
	rollout    *api.Rollout
	authority  api.Authority
	removed    []api.RemoveRequest
	partners   partners
	// Steered are the requests that SteerRollout was given.
	Steered []api.RolloutRequest
}

// LoseQuorum makes writes and linearizable reads fail until it is called again
// with false.
func (b *Backend) LoseQuorum(lost bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noQuorum = lost
}

// Lag names filers that never apply what is committed, so that who waits for
// them runs out of time.
func (b *Backend) Lag(filers ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.laggards = filers
}

// Report makes Status answer with this.
func (b *Backend) Report(st api.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = &st
}

func (b *Backend) now() time.Time {
	if b.Now != nil {
		return b.Now()
	}
	return time.Now()
}

// ready reports why the filer cannot serve, with b.mu held.
func (b *Backend) ready(needQuorum bool) error {
	switch {
	case b.state == nil:
		return api.Refuse(api.ErrUnconfigured, "this filer is in no cluster: use init or join", nil)
	case needQuorum && b.noQuorum:
		return fmt.Errorf("%w: 1 of 3 filers answers", api.ErrNoQuorum)
	}
	return nil
}

// Init forms a cluster of one.
func (b *Backend) Init(_ context.Context, r api.InitRequest) (api.MemberResult, error) {
	docs := r.Documents
	if r.Cluster != "" {
		spec := &netquorum.Cluster{}
		if r.MAC != nil {
			spec.MAC = *r.MAC
		}
		docs = append(docs[:len(docs):len(docs)], netquorum.Document{Kind: netquorum.KindCluster, Name: r.Cluster, Spec: spec})
	}
	return b.begin(r.Filer, r.Actor, docs)
}

// Join enters the cluster of one peer, which has one token.
func (b *Backend) Join(_ context.Context, r api.JoinRequest) (api.MemberResult, error) {
	switch {
	case r.Peer != Peer:
		return api.MemberResult{}, fmt.Errorf("%w: no filer answers at %s", api.ErrUnreachable, r.Peer)
	case r.Token != PeerToken:
		return api.MemberResult{}, api.Refuse(api.ErrToken, "the token is unknown to the cluster", nil)
	}
	return b.begin(r.Filer, r.Actor, []netquorum.Document{
		{Kind: netquorum.KindCluster, Name: "joined", Spec: &netquorum.Cluster{MAC: netquorum.MAC{0, 7, 0x34, 4, 0x12, 0xe}}},
	})
}

func (b *Backend) begin(filer, actor string, docs []netquorum.Document) (api.MemberResult, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state != nil {
		name, _, _ := b.state.Config().Cluster()
		return api.MemberResult{}, api.Refuse(api.ErrConfigured, "this filer is in cluster "+name+" already", nil)
	}
	b.state, b.changed = fsm.NewState(), make(chan struct{})
	t := fsm.Transaction{ID: "begin", Actor: actor}
	for _, d := range docs {
		t.Puts = append(t.Puts, fsm.Put{Document: d})
	}
	res, err := b.commit(t)
	if err != nil {
		b.state = nil
		return api.MemberResult{}, err
	}
	b.filer = filer
	name, _, _ := b.state.Config().Cluster()
	return api.MemberResult{Cluster: name, Filer: filer, ID: "00000000-0000-4000-8000-000000000001", Revision: res.Revision}, nil
}

// commit applies one transaction as raft would, with b.mu held.
func (b *Backend) commit(t fsm.Transaction) (fsm.Result, error) {
	t.Time = b.now().UnixMilli()
	entry, err := fsm.EncodeEntry([]fsm.Transaction{t})
	if err != nil {
		return fsm.Result{}, refused(err)
	}
	b.index++
	next, results, err := fsm.Apply(b.state, b.index, entry)
	if err != nil {
		return fsm.Result{}, err
	}
	if r := results[0].Refusal; r != nil {
		return results[0], refused(r)
	}
	b.publish(next)
	return results[0], nil
}

func (b *Backend) publish(next *fsm.State) {
	b.state = next
	close(b.changed)
	b.changed = make(chan struct{})
}

// refused turns the state machine's refusal into the API's, code for code.
func refused(err error) error {
	if r, ok := err.(*fsm.Refusal); ok {
		return api.Refuse(api.Code(r.Code), r.Message, r.Problems)
	}
	return err
}

// Apply commits one transaction, or tries it.
func (b *Backend) Apply(ctx context.Context, r api.ApplyRequest) (api.ApplyResult, error) {
	b.mu.Lock()
	if err := b.ready(true); err != nil {
		b.mu.Unlock()
		return api.ApplyResult{}, err
	}
	t := fsm.Transaction{ID: r.RequestID, Actor: r.Actor, Trace: uint64(r.Trace)}
	for _, p := range r.Puts {
		t.Puts = append(t.Puts, fsm.Put{Document: p.Document, IfRevision: p.IfRevision, MustNotExist: p.MustNotExist})
	}
	for _, d := range r.Deletes {
		t.Deletes = append(t.Deletes, fsm.Delete{Key: d.Key(), IfRevision: d.IfRevision})
	}
	if r.DryRun {
		defer b.mu.Unlock()
		return b.dryRun(t)
	}
	res, err := b.commit(t)
	laggards := b.laggards
	b.mu.Unlock()
	out := api.ApplyResult{Revision: res.Revision, Changed: res.Changed}
	if err == nil && r.Wait != api.WaitCommitted && len(laggards) > 0 {
		<-ctx.Done()
		err = fmt.Errorf("%w: %s not on %v", api.ErrTimeout, r.Wait, laggards)
	}
	return out, err
}

func (b *Backend) dryRun(t fsm.Transaction) (api.ApplyResult, error) {
	before := b.state.Config()
	after, res := fsm.DryRun(b.state, t)
	if res.Refusal != nil {
		return api.ApplyResult{}, refused(res.Refusal)
	}
	out := api.ApplyResult{Revision: b.state.Revision(), Plans: map[string]api.Plan{}}
	note := func(k netquorum.Key) {
		c := api.DocumentChange{Kind: k.Kind, Name: k.Name}
		was, had := before.Get(k.Kind, k.Name)
		is, has := after.Get(k.Kind, k.Name)
		if had == has && (!has || was.Equal(is)) {
			return
		}
		if had {
			c.Before = &was
		}
		if has {
			c.After = &is
		}
		out.Changes = append(out.Changes, c)
	}
	for _, p := range t.Puts {
		note(p.Document.Key())
	}
	for _, d := range t.Deletes {
		note(d.Key)
	}
	out.Changed = len(out.Changes)
	for d := range after.All(netquorum.KindFiler) {
		if d.Name != b.filer {
			out.Plans[d.Name] = api.Plan{Unknown: "it is not in the cluster"}
			continue
		}
		plan := api.Plan{Steps: []string{}}
		for _, i := range after.Interfaces(d.Name) {
			plan.Steps = append(plan.Steps, "link set "+string(i.Name)+" up")
		}
		out.Plans[d.Name] = plan
	}
	return out, nil
}

// Restore replaces all user documents.
func (b *Backend) Restore(_ context.Context, r api.RestoreRequest) (api.RestoreResult, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.ready(true); err != nil {
		return api.RestoreResult{}, err
	}
	t := fsm.Transaction{}
	for _, d := range r.Documents {
		t.Puts = append(t.Puts, fsm.Put{Document: d})
	}
	encoded, err := fsm.EncodeTransaction(t)
	if err == nil {
		t, err = fsm.DecodeTransaction(encoded)
	}
	if err != nil {
		return api.RestoreResult{}, err
	}
	docs := make([]netquorum.Document, len(t.Puts))
	for i, p := range t.Puts {
		docs[i] = p.Document
	}
	next, refusal := fsm.FromDocuments(b.state, docs, fsm.Origin{Actor: r.Actor, Time: b.now().UnixMilli()})
	if refusal != nil {
		return api.RestoreResult{}, refused(refusal)
	}
	b.publish(next)
	return api.RestoreResult{Revision: next.Revision(), Documents: len(r.Documents)}, nil
}

// Read returns the configuration.
func (b *Backend) Read(_ context.Context, c api.Consistency) (api.Snapshot, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.ready(c == api.Linearizable); err != nil {
		return api.Snapshot{}, err
	}
	return api.Snapshot{Config: b.state.Config(), Revision: b.state.Revision()}, nil
}

// History returns past changes.
func (b *Backend) History(_ context.Context, r api.HistoryRequest) ([]api.Change, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.ready(false); err != nil {
		return nil, err
	}
	if r.From != 0 && r.From < b.state.Oldest() {
		return nil, compacted(b.state)
	}
	to := r.To
	if to == 0 {
		to = b.state.Revision()
	}
	var out []api.Change
	for c := range b.state.History(r.From, to) {
		out = append(out, change(c))
	}
	if n := len(out); r.Limit > 0 && n > r.Limit {
		if r.From != 0 {
			return out[:r.Limit], nil
		}
		return out[n-r.Limit:], nil
	}
	return out, nil
}

func compacted(s *fsm.State) error {
	return api.Refuse(api.ErrCompacted, fmt.Sprintf("the history begins with revision %d", s.Oldest()), nil)
}

func change(c fsm.Change) api.Change {
	out := api.Change{Revision: c.Revision, Time: time.UnixMilli(c.Time).UTC(), Actor: c.Actor, Trace: trace.ID(c.Trace), RequestID: c.ID,
		Restore: c.Restore, Abridged: c.Abridged}
	for _, d := range c.Documents {
		out.Documents = append(out.Documents, api.DocumentChange{Kind: d.Key.Kind, Name: d.Key.Name, Before: d.Before, After: d.After})
	}
	return out
}

// Watch yields changes as they are committed.
func (b *Backend) Watch(ctx context.Context, from netquorum.Revision) iter.Seq2[api.Change, error] {
	return func(yield func(api.Change, error) bool) {
		for {
			b.mu.Lock()
			s, changed := b.state, b.changed
			b.mu.Unlock()
			if s.Revision() > from && from+1 < s.Oldest() {
				yield(api.Change{}, compacted(s))
				return
			}
			for c := range s.History(from+1, s.Revision()) {
				if !yield(change(c), nil) {
					return
				}
			}
			from = max(from, s.Revision())
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// CreateToken makes a token.
func (b *Backend) CreateToken(_ context.Context, r api.TokenRequest) (api.Token, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.ready(true); err != nil {
		return api.Token{}, err
	}
	id := fmt.Sprintf("%06d", len(b.tokens)+1)
	t := api.Token{ID: id, Filer: r.Filer, Expires: b.now().Add(time.Duration(r.TTL)).UTC(), Token: "nqt-" + id + "-secret"}
	b.tokens = append(b.tokens, t)
	return t, nil
}

// Tokens lists the tokens; the fake leaves the secrets in, which it is the
// server's duty to take out.
func (b *Backend) Tokens(context.Context) ([]api.Token, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]api.Token{}, b.tokens...), b.ready(true)
}

// RevokeToken forgets a token.
func (b *Backend) RevokeToken(_ context.Context, _, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, t := range b.tokens {
		if t.ID == id {
			b.tokens = append(b.tokens[:i], b.tokens[i+1:]...)
			return nil
		}
	}
	return api.Refuse(api.ErrNotFound, "there is no token "+id, nil)
}

// Status reports what was set with Report, or a running filer.
func (b *Backend) Status(context.Context) (api.Status, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.status != nil:
		return *b.status, nil
	case b.state == nil:
		return api.Status{State: api.StateUnconfigured}, nil
	}
	name, _, _ := b.state.Config().Cluster()
	hash := b.state.Hash()
	st := api.Status{Filer: b.filer, Cluster: name, State: api.StateRunning, Quorum: !b.noQuorum, Commit: b.state.Revision(),
		Findings: b.state.Config().Findings()}
	f := api.FilerStatus{Name: b.filer, Role: api.RoleLeader, State: api.StateRunning, Committed: st.Commit, Applied: st.Commit,
		Cached: st.Commit, StateHash: fmt.Sprintf("%x", hash)}
	if b.noQuorum {
		f.Role = api.RoleCandidate
	} else {
		st.Leader = b.filer
	}
	now := b.now()
	f.Seen = &now
	st.Filers = []api.FilerStatus{f}
	return st, nil
}

var _ api.Backend = (*Backend)(nil)
