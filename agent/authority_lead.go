package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/transport"
)

// pathAuthority is where the leader gives a filer the next authority, and
// pathHolding where a filer says what it holds.
const (
	pathAuthority = "/authority"
	pathHolding   = "/holding"
)

// A givenAuthority is the next authority on its way from the leader to another
// filer. It holds the cluster's greatest secret and goes over links between
// filers only.
type givenAuthority struct {
	Revision  netquorum.Revision `json:"revision"` // of the document that names it
	Authority []byte             `json:"authority"`
}

// keepAuthority leads a change of the authority on while this filer leads.
func (m *member) keepAuthority(ctx context.Context) error {
	ticker := time.NewTicker(m.lead.tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if _, doc := m.store.State().Config().Authority(); !doc.Open() || m.lead.book() == nil {
			continue
		}
		step, cancel := context.WithTimeout(ctx, 5*time.Second)
		if err := m.leadAuthority(step); err != nil && ctx.Err() == nil {
			m.log.Warn("the change of the authority could not be led on; trying again", "error", err)
		}
		cancel()
	}
}

// leadAuthority makes the next move.
func (m *member) leadAuthority(ctx context.Context) error {
	state, err := m.lead.log.Confirm(ctx)
	if err != nil {
		return nil // this filer does not lead (any more)
	}
	was, doc := state.Config().Authority()
	move := nextAuthorityMove(doc, memberNames(state.Config()), m.held(), m.name)
	switch {
	case move.Make:
		return m.makeAuthority(ctx, was, doc)
	case move.Commit != nil:
		if err := m.commitAuthority(ctx, was, move.Commit); err != nil {
			return err
		}
		m.log.Info("the authority is being changed", "phase", move.Commit.Phase, "was", doc.Phase, "next", doc.Next)
		return nil
	}
	return m.giveAuthority(ctx, state, doc.Next, move.Give)
}

// held is what filers hold, as they have reported in this term.
func (m *member) held() map[string]holding {
	out := map[string]holding{}
	m.lead.mu.Lock()
	for name, r := range m.lead.latest {
		out[name] = r.Holds
	}
	m.lead.mu.Unlock()
	out[m.name] = holdingOf(m.keys.Ring())
	return out
}

// makeAuthority makes the next authority. It is committed before it is on this
// filer's disk: one that is lost in between was never used, and the next leader
// makes another.
func (m *member) makeAuthority(ctx context.Context, was netquorum.Document, doc *netquorum.Authority) error {
	made, err := m.keys.Ring().Current.Successor()
	if err != nil {
		return err
	}
	next := doc.Clone()
	next.Next, next.Begun = made.Fingerprint(), m.cfg.Now().UnixMilli()
	if err := m.commitAuthority(ctx, was, next); err != nil {
		return err
	}
	m.log.Info("made the next authority", "fingerprint", next.Next)
	return m.trust(made)
}

func (m *member) trust(next *transport.Authority) error {
	return m.keys.Change(func(now *transport.Keyring, dir string) (*transport.Keyring, error) { return now.Trust(dir, next) })
}

// giveAuthority calls the filers that lack the next authority. That it is this
// filer that calls, at the addresses and by the ids of the configuration, keeps
// the key from anybody who could only pass for a filer when calling.
func (m *member) giveAuthority(ctx context.Context, state *fsm.State, fingerprint string, names []string) error {
	next := m.keys.Ring().Next
	if next == nil || next.Fingerprint() != fingerprint {
		return nil // superseded just now
	}
	text, err := next.PEM()
	if err != nil {
		return err
	}
	to := map[string]netquorum.FilerID{}
	for _, name := range names {
		if name != m.name {
			to[name] = memberID(state.Config(), name)
		}
	}
	_, failed := ask(ctx, to, func(ctx context.Context, id netquorum.FilerID) (holding, error) {
		var h holding
		return h, call(ctx, m.client, id, pathAuthority, givenAuthority{state.Revision(), text}, &h)
	})
	for name, err := range failed {
		m.log.Debug("a filer could not be given the next authority", "to", name, "error", err)
	}
	return nil
}

// takeAuthority is the other side: the authority is kept if it is the one that
// the cluster has agreed on, whoever brings it.
func (m *member) takeAuthority(ctx context.Context, given givenAuthority) (holding, error) {
	next, err := transport.ParseAuthority(given.Authority)
	if err != nil {
		return holding{}, errors.New("what was given is no authority") // the cause might quote it
	}
	if err := m.store.Wait(ctx, given.Revision); err != nil {
		return holding{}, err
	}
	if _, doc := m.store.State().Config().Authority(); doc.Phase != netquorum.AuthorityTrust || doc.Next != next.Fingerprint() {
		return holding{}, fmt.Errorf("the cluster has not agreed on the authority %s", next.Fingerprint())
	}
	if err := m.trust(next); err != nil {
		return holding{}, err
	}
	m.log.Info("trusts the next authority", "fingerprint", next.Fingerprint())
	m.step.tell()
	return holdingOf(m.keys.Ring()), nil
}

// commitAuthority writes the document, provided that nobody else has since.
func (m *member) commitAuthority(ctx context.Context, was netquorum.Document, doc *netquorum.Authority) error {
	return m.commit(ctx, fsm.Transaction{ID: newRequestID(), Actor: "cluster", System: true, Puts: []fsm.Put{putAuthority(was, doc)}})
}

func putAuthority(was netquorum.Document, doc *netquorum.Authority) fsm.Put {
	at := was.Revision
	return fsm.Put{IfRevision: &at, Document: netquorum.Document{Kind: netquorum.KindAuthority, Name: was.Name, Spec: doc}}
}

// tendKeys does this filer's part: it makes the steps of its keyring as the
// document asks for them, and cuts off who was revoked.
func (m *member) tendKeys(ctx context.Context) error {
	var seen netquorum.Revision
	for {
		var again <-chan time.Time
		changed := m.store.Changed()
		if doc, spec := m.store.State().Config().Authority(); doc.Revision != seen {
			if m.followAuthority(spec) {
				seen = doc.Revision
			} else {
				again = time.After(time.Second) // the disk may be full
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-again:
		}
	}
}

// followAuthority reports whether there is no step left to make.
func (m *member) followAuthority(doc *netquorum.Authority) bool {
	defer m.endpoint.Recheck()
	for {
		var step keyStep
		err := m.keys.Change(func(now *transport.Keyring, dir string) (*transport.Keyring, error) {
			switch step = keyStepOf(doc, holdingOf(now)); step {
			case keyUse:
				return now.Use(dir)
			case keyRetire:
				return now.Retire(dir)
			case keyForget:
				return now.Forget(dir)
			}
			return nil, nil
		})
		if err != nil {
			m.log.Error("this filer cannot follow the change of the authority", "step", step, "error", err)
			return false
		}
		if step == keyKeep {
			return true
		}
		if step == keyUse {
			m.endpoint.Renew()
		}
		m.log.Info("follows the change of the authority", "step", step, "certificate of", m.keys.Identity().Issuer())
		m.step.tell()
	}
}

func memberNames(c netquorum.Config) []string {
	var out []string
	for d := range c.All(netquorum.KindMember) {
		out = append(out, d.Name)
	}
	return out
}
