package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/rollout"
	"github.com/netquorum/netquorum/store"
	"github.com/netquorum/netquorum/store/bootcache"
	"github.com/netquorum/netquorum/transport"
)

// Token implements transport.Joining.
func (m *member) Token(ctx context.Context, id string) ([]byte, error) {
	s, err := m.store.Read(ctx, store.Linearizable)
	if err != nil {
		return nil, err
	}
	t, _, ok := findToken(s, id)
	if !ok {
		return nil, nil
	}
	if m.cfg.Now().Unix() >= t.Expires {
		return t.Key, &transport.Refusal{Code: transport.RefusedExpired,
			Message: "the token has expired: make a new one with `netquorum token create`"}
	}
	return t.Key, nil
}

func findToken(s *fsm.State, id string) (*netquorum.Token, netquorum.Document, bool) {
	d, ok := s.Config().Get(netquorum.KindToken, id)
	if !ok {
		return nil, d, false
	}
	return d.Spec.(*netquorum.Token), d, true
}

// Admit implements transport.Joining. Using the token up and recording the
// member are one transaction, so that a token can be good for one filer only,
// whatever dies in between. The leader then adds the member to raft.
func (m *member) Admit(ctx context.Context, tokenID string, req transport.JoinRequest) (transport.JoinReply, error) {
	if err := netquorum.CheckFilerName(req.Name); err != nil {
		return transport.JoinReply{}, &transport.Refusal{Code: transport.RefusedInvalid, Message: err.Error()}
	}
	s, err := m.store.Read(ctx, store.Linearizable)
	if err != nil {
		return transport.JoinReply{}, err
	}
	token, doc, ok := findToken(s, tokenID)
	switch {
	case !ok:
		return transport.JoinReply{}, &transport.Refusal{Code: transport.RefusedUsed, Message: "the token was revoked"}
	case token.UsedBy == req.Filer:
		return m.reply(req, s) // it was admitted already, and the answer was lost
	case token.UsedBy != "":
		return transport.JoinReply{}, &transport.Refusal{Code: transport.RefusedUsed, Message: "the token was used by another filer: make a new one"}
	case token.Filer != "" && !sameName(token.Filer, req.Name):
		return transport.JoinReply{}, &transport.Refusal{Code: transport.RefusedWrongName, Message: fmt.Sprintf("the token is good for %s, not for %s", token.Filer, req.Name)}
	}
	t, err := admission(s, token, doc, req)
	if err != nil {
		return transport.JoinReply{}, err
	}
	result, err := m.store.Propose(ctx, t)
	if err != nil {
		return transport.JoinReply{}, err
	}
	if result.Refusal != nil {
		return transport.JoinReply{}, &transport.Refusal{Code: transport.RefusedUnavailable, Message: result.Refusal.Error()}
	}
	if err := m.store.Wait(ctx, result.Revision); err != nil {
		return transport.JoinReply{}, err
	}
	m.log.Info("admitted a filer", "name", req.Name, "id", req.Filer, "revision", result.Revision)
	return m.reply(req, m.store.State())
}

// admission is the transaction that takes a filer in. A filer of a name that is
// taken is refused, unless the token was made for that very name: that is how a
// filer that lost its disk, or its replacement, comes back.
func admission(s *fsm.State, token *netquorum.Token, doc netquorum.Document, req transport.JoinRequest) (fsm.Transaction, error) {
	used := *token
	used.UsedBy = req.Filer
	doc.Spec = &used
	member := fsm.Put{MustNotExist: true, Document: netquorum.Document{Kind: netquorum.KindMember, Name: req.Name,
		Spec: &netquorum.Member{ID: req.Filer, Endpoints: req.Endpoints}}}
	if old, ok := s.Config().Get(netquorum.KindMember, req.Name); ok {
		if token.Filer == "" {
			return fsm.Transaction{}, &transport.Refusal{Code: transport.RefusedNameTaken, Message: fmt.Sprintf(
				"the cluster has a filer %s; to replace it, make a token with `netquorum token create --filer %s`", old.Name, old.Name)}
		}
		member.MustNotExist, member.IfRevision = false, &old.Revision
	}
	t := fsm.Transaction{ID: newRequestID(), Actor: "join:" + req.Name, System: true,
		Puts: []fsm.Put{{Document: doc, IfRevision: &doc.Revision}, member}}
	if _, ok := s.Config().Filer(req.Name); !ok {
		t.Puts = append(t.Puts, fsm.Put{MustNotExist: true,
			Document: netquorum.Document{Kind: netquorum.KindFiler, Name: req.Name, Spec: &netquorum.Filer{}}})
	}
	return t, nil
}

// reply gives the newcomer its identity and the configuration to start from.
func (m *member) reply(req transport.JoinRequest, s *fsm.State) (transport.JoinReply, error) {
	var list []transport.Member
	for d := range s.Config().All(netquorum.KindMember) {
		spec := d.Spec.(*netquorum.Member)
		list = append(list, transport.Member{ID: spec.ID, Name: d.Name, Endpoints: endpoints(rollout.View(s.Config(), m.name), spec.ID, m.cfg.port())})
	}
	ring := m.keys.Ring()
	if _, a := s.Config().Authority(); a.Open() && (ring.Next == nil || ring.Next.Fingerprint() != a.Next) && ring.Current.Fingerprint() != a.Next {
		return transport.JoinReply{}, errors.New("the authority is being changed and this filer has not followed yet; try again")
	}
	reply, err := transport.NewJoinReply(ring, req, list)
	if err != nil {
		return reply, err
	}
	if reply.Payload, err = json.Marshal(bootcache.Documents(s.Config())); err != nil {
		return reply, fmt.Errorf("configuration for %s: %w", req.Name, err)
	}
	return reply, nil
}

// asRefusal is errors.As for the state machine's refusals.
func asRefusal(err error, into **fsm.Refusal) bool { return errors.As(err, into) }
