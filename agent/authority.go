package agent

import (
	"slices"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport"
)

// A holding is what a filer has on disk of the cluster's authorities, by their
// fingerprints. It is part of every report.
type holding struct {
	Current string    `json:"current,omitempty"`
	Next    string    `json:"next,omitempty"`
	Uses    string    `json:"uses,omitempty"` // which of them issued its certificate
	Expires time.Time `json:"expires,omitzero"`
}

func holdingOf(k *transport.Keyring) holding {
	h := holding{Current: k.Current.Fingerprint(), Uses: k.Identity.Issuer(), Expires: k.Identity.Expires}
	if k.Next != nil {
		h.Next = k.Next.Fingerprint()
	}
	return h
}

// trusts reports whether certificates of the authority are accepted.
func (h holding) trusts(fingerprint string) bool {
	return fingerprint != "" && (h.Current == fingerprint || h.Next == fingerprint)
}

// A keyStep is what a filer does next with its keyring.
type keyStep string

const (
	keyKeep   keyStep = ""
	keyUse    keyStep = "use"    // get a certificate of the next authority
	keyRetire keyStep = "retire" // the next authority takes the place of the current one
	keyForget keyStep = "forget" // the next authority was given up before it was used
)

// keyStepOf decides by the document alone, so that a filer which was away does
// the steps that it missed, in their order.
func keyStepOf(doc *netquorum.Authority, h holding) keyStep {
	if h.Next == "" {
		return keyKeep
	}
	inForce := doc.Phase == netquorum.AuthoritySettled && doc.Current == h.Next
	meant := doc.Open() && doc.Next == h.Next
	switch {
	case !inForce && !meant && h.Uses != h.Next:
		return keyForget
	case !inForce && !meant, doc.Phase == netquorum.AuthorityTrust:
		return keyKeep
	case h.Uses != h.Next:
		return keyUse
	case inForce, doc.Phase == netquorum.AuthorityRetire:
		return keyRetire
	}
	return keyKeep
}

// An authorityMove is what the leader does next for a change of the authority.
type authorityMove struct {
	Make    bool                 // make the next authority: nobody here holds it
	Give    []string             // filers that lack the next authority
	Commit  *netquorum.Authority // how the change goes on
	Awaited []string             // filers without which it does not
}

// nextAuthorityMove decides from the document and from what filers have
// reported. A leader that does not hold the next authority makes another while
// nobody can use it yet: who made the one before may be gone for good.
func nextAuthorityMove(doc *netquorum.Authority, members []string, held map[string]holding, self string) authorityMove {
	var m authorityMove
	if !doc.Open() {
		return m
	}
	if doc.Phase == netquorum.AuthorityTrust && (doc.Next == "" || held[self].Next != doc.Next) {
		return authorityMove{Make: true, Awaited: members}
	}
	m.Awaited = awaitedFor(doc, members, held)
	for _, name := range members {
		if doc.Phase == netquorum.AuthorityTrust && !held[name].trusts(doc.Next) {
			m.Give = append(m.Give, name)
		}
	}
	if len(m.Awaited) > 0 {
		return m
	}
	m.Commit = doc.Clone()
	switch doc.Phase {
	case netquorum.AuthorityTrust:
		m.Commit.Phase = netquorum.AuthorityUse
	case netquorum.AuthorityUse:
		m.Commit.Phase = netquorum.AuthorityRetire
	case netquorum.AuthorityRetire:
		// Revoked filers have certificates of the authority that ends here.
		m.Commit = &netquorum.Authority{Phase: netquorum.AuthoritySettled, Current: doc.Next, Made: doc.Begun}
	}
	return m
}

// awaitedFor returns the members that have not done yet what the phase asks for,
// but for those that are not waited for.
func awaitedFor(doc *netquorum.Authority, members []string, held map[string]holding) []string {
	var out []string
	for _, name := range members {
		h, done := held[name], true
		switch doc.Phase {
		case netquorum.AuthorityTrust:
			done = h.trusts(doc.Next)
		case netquorum.AuthorityUse:
			done = h.Uses == doc.Next
		case netquorum.AuthorityRetire:
			done = h.Current == doc.Next
		}
		if !done && !slices.ContainsFunc(doc.Without, func(w string) bool { return sameName(w, name) }) {
			out = append(out, name)
		}
	}
	return out
}
