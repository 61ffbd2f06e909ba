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
	"github.com/netquorum/netquorum/transport"
)

// firstAuthority is the document of a new cluster's authority.
func firstAuthority(a *transport.Authority, now time.Time) fsm.Put {
	return fsm.Put{MustNotExist: true, Document: netquorum.Document{Kind: netquorum.KindAuthority, Name: netquorum.AuthorityName,
		Spec: &netquorum.Authority{Phase: netquorum.AuthoritySettled, Current: a.Fingerprint(), Made: now.UnixMilli()}}}
}

// Authority implements api.Backend.
func (b backend) Authority(ctx context.Context) (api.Authority, error) {
	m, err := b.running()
	if err != nil {
		return api.Authority{}, err
	}
	return m.authorityStatus(ctx), nil
}

// authorityStatus asks all filers what they hold.
func (m *member) authorityStatus(ctx context.Context) api.Authority {
	config, _ := m.newest()
	ctx, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	held, _ := ask(ctx, members(config), func(ctx context.Context, id netquorum.FilerID) (holding, error) {
		if id == m.id {
			return holdingOf(m.keys.Ring()), nil
		}
		var h holding
		return h, call(ctx, m.client, id, pathHolding, struct{}{}, &h)
	})
	held[m.name] = holdingOf(m.keys.Ring())
	_, doc := config.Authority()
	return describeAuthority(m.keys.Identity(), doc, memberNames(config), held)
}

// describeAuthority puts the document and what filers hold into the API's words.
func describeAuthority(own *transport.Identity, doc *netquorum.Authority, members []string, held map[string]holding) api.Authority {
	out := api.Authority{
		Cluster: own.Cluster, ClusterID: own.ClusterID, Fingerprint: doc.Current, Phase: doc.Phase, Next: doc.Next,
		Made: since1970(doc.Made), Begun: since1970(doc.Begun), Actor: doc.Actor, Without: doc.Without,
		Awaited: awaitedFor(doc, members, held),
	}
	if out.Fingerprint == "" {
		out.Fingerprint = own.Issuer()
	}
	for _, name := range members {
		f := api.AuthorityFiler{Name: name, Awaited: slices.Contains(out.Awaited, name)}
		if h, ok := held[name]; ok {
			f.Shows = h.Uses
			for _, t := range []string{h.Current, h.Next} {
				if t != "" {
					f.Trusts = append(f.Trusts, t)
				}
			}
			expires := h.Expires.UTC()
			f.Expires = &expires
		}
		out.Filers = append(out.Filers, f)
	}
	for _, r := range doc.Revoked {
		out.Revoked = append(out.Revoked, api.Revoked{Name: r.Name, ID: r.ID, At: time.UnixMilli(r.At).UTC()})
	}
	return out
}

// since1970 is a time in milliseconds since 1970; 0 is not known.
func since1970(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

// RotateAuthority implements api.Backend. It only commits that the authority is
// to be changed; the leader does the rest.
func (b backend) RotateAuthority(ctx context.Context, r api.RotateRequest) (api.Authority, error) {
	m, err := b.running()
	if err != nil {
		return api.Authority{}, err
	}
	state, err := m.read(ctx)
	if err != nil {
		return api.Authority{}, err
	}
	for _, name := range r.Without {
		if memberID(state.Config(), name) == "" {
			return api.Authority{}, api.Refuse(api.ErrNotFound, "the cluster has no filer "+name, nil)
		}
	}
	was, doc := state.Config().Authority()
	next := doc.Clone()
	switch {
	case doc.Open() && len(r.Without) == 0:
		return api.Authority{}, api.Refuse(api.ErrRefused, "the authority is being changed already; `netquorum authority` shows how far it is", nil)
	case doc.Open():
		next.Without = union(doc.Without, r.Without)
	default:
		next.Phase, next.Current, next.Next = netquorum.AuthorityTrust, m.keys.Ring().Current.Fingerprint(), ""
		next.Begun, next.Actor, next.Without = m.cfg.Now().UnixMilli(), r.Actor, r.Without
	}
	t := fsm.Transaction{ID: newRequestID(), Actor: r.Actor, System: true, Puts: []fsm.Put{putAuthority(was, next)}}
	result, err := m.propose(ctx, t)
	if err != nil {
		return api.Authority{}, err
	}
	if err := m.store.Wait(ctx, result.Revision); err != nil {
		return api.Authority{}, apiError(err)
	}
	return m.authorityStatus(ctx), nil
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, name := range b {
		if !slices.ContainsFunc(out, func(o string) bool { return sameName(o, name) }) {
			out = append(out, name)
		}
	}
	return out
}

// RemoveFiler implements api.Backend. A filer that is only removed is heard a
// little longer, so that it learns of it; one that is revoked is cut off by
// every filer as soon as that has the transaction. The leader takes either out
// of raft.
func (b backend) RemoveFiler(ctx context.Context, r api.RemoveRequest) (api.RemoveResult, error) {
	m, err := b.running()
	if err != nil {
		return api.RemoveResult{}, err
	}
	state, err := m.read(ctx)
	if err != nil {
		return api.RemoveResult{}, err
	}
	doc, ok := state.Config().Get(netquorum.KindMember, r.Filer)
	if !ok {
		return api.RemoveResult{}, api.Refuse(api.ErrNotFound, "the cluster has no member "+r.Filer, nil)
	}
	id := doc.Spec.(*netquorum.Member).ID
	if id == m.id {
		return api.RemoveResult{}, api.Refuse(api.ErrRefused, "a filer cannot remove itself; do it on another one", nil)
	}
	if !r.Force {
		if err := m.quorumWithout(ctx, state.Config(), doc.Name); err != nil {
			return api.RemoveResult{}, err
		}
	}
	t := fsm.Transaction{ID: newRequestID(), Actor: r.Actor, System: true, Deletes: []fsm.Delete{{Key: doc.Key(), IfRevision: &doc.Revision}}}
	if r.Revoke {
		was, authority := state.Config().Authority()
		next := authority.Clone()
		next.Revoked = append(next.Revoked, netquorum.Revocation{ID: id, Name: doc.Name, At: m.cfg.Now().UnixMilli()})
		t.Puts = append(t.Puts, putAuthority(was, next))
	}
	result, err := m.propose(ctx, t)
	if err != nil {
		return api.RemoveResult{}, err
	}
	m.log.Info("a filer was removed", "name", doc.Name, "id", id, "revoked", r.Revoke, "actor", r.Actor)
	return api.RemoveResult{Filer: doc.Name, ID: id, Revision: result.Revision}, nil
}

// quorumWithout asks the others whether enough of them are there to go on
// without one.
func (m *member) quorumWithout(ctx context.Context, c netquorum.Config, name string) error {
	rest := members(c)
	delete(rest, name)
	ctx, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	_, failed := ask(ctx, rest, func(ctx context.Context, id netquorum.FilerID) (holding, error) {
		if id == m.id {
			return holding{}, nil
		}
		var h holding
		return h, call(ctx, m.client, id, pathHolding, struct{}{}, &h)
	})
	if live := len(rest) - len(failed); live > len(rest)/2 {
		return nil
	}
	var away []string
	for f := range failed {
		away = append(away, f)
	}
	slices.Sort(away)
	return api.Refuse(api.ErrUnsafe, fmt.Sprintf("without %s the cluster would have no quorum while %s does not answer; --force does it all the same", name, strings.Join(away, ", ")), nil)
}

// openAuthority tells, for status, of a change of the authority that is under way,
// or due because a filer was revoked.
func (m *member) openAuthority(c netquorum.Config, answers map[string]selfAnswer) *api.Authority {
	_, doc := c.Authority()
	if !doc.Open() && len(doc.Revoked) == 0 {
		return nil
	}
	held := map[string]holding{}
	for name, a := range answers {
		held[name] = a.Holds
	}
	out := describeAuthority(m.keys.Identity(), doc, memberNames(c), held)
	return &out
}
