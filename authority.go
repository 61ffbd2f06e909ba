package netquorum

import "slices"

// AuthorityName is the name of the one Authority document.
const AuthorityName = "authority"

// An Authority document says by which certificate authority the filers know each
// other, how far they are with changing to another, and who was cut off. It
// holds no key: keys go from filer to filer, and never into the log.
type Authority struct {
	// Current is the fingerprint of the authority's certificate; Made is when it
	// was made, in milliseconds since 1970.
	Current string         `json:"current,omitempty"`
	Made    int64          `json:"made,omitempty"`
	Phase   AuthorityPhase `json:"phase"`
	// Next is the fingerprint of the authority that takes over, made at Begun
	// by request of Actor; empty until the leader has made it.
	Next  string `json:"next,omitempty"`
	Begun int64  `json:"begun,omitempty"`
	Actor string `json:"actor,omitempty"`
	// Without are filers that are not waited for: one that has not taken part
	// when the rotation is over has to join again.
	Without []string `json:"without,omitempty"`
	// Revoked are filers whose certificates are refused. The list ends with the
	// authority that issued them.
	Revoked []Revocation `json:"revoked,omitempty"`
}

// A Revocation cuts a filer off, whatever certificate it shows.
type Revocation struct {
	ID   FilerID `json:"id"`
	Name string  `json:"name"`
	At   int64   `json:"at"` // in milliseconds since 1970
}

// An AuthorityPhase is how far the filers are with changing their authority.
// Each begins when every filer has on disk what the one before asks for.
type AuthorityPhase string

const (
	// AuthoritySettled: there is one authority.
	AuthoritySettled AuthorityPhase = "settled"
	// AuthorityTrust: every filer is given the next authority and trusts it
	// beside the current one.
	AuthorityTrust AuthorityPhase = "trust"
	// AuthorityUse: every filer gets a certificate of the next and shows it.
	AuthorityUse AuthorityPhase = "use"
	// AuthorityRetire: every filer forgets the one before.
	AuthorityRetire AuthorityPhase = "retire"
)

var authorityPhases = []AuthorityPhase{AuthoritySettled, AuthorityTrust, AuthorityUse, AuthorityRetire}

func (*Authority) Kind() Kind { return KindAuthority }

// Open reports whether the authority is being changed.
func (s *Authority) Open() bool { return s.Phase != AuthoritySettled }

// Clone returns a copy whose lists may be changed.
func (s *Authority) Clone() *Authority {
	c := *s
	c.Without, c.Revoked = slices.Clone(s.Without), slices.Clone(s.Revoked)
	return &c
}

// IsRevoked reports whether a filer was cut off.
func (s *Authority) IsRevoked(id FilerID) bool {
	return slices.ContainsFunc(s.Revoked, func(r Revocation) bool { return r.ID == id })
}

// Authority returns the cluster's Authority document. A cluster that never
// changed its authority may have none; it is settled.
func (c Config) Authority() (Document, *Authority) {
	for d := range c.All(KindAuthority) {
		return d, d.Spec.(*Authority)
	}
	return Document{Kind: KindAuthority, Name: AuthorityName}, &Authority{Phase: AuthoritySettled}
}

func (s *Authority) check(c *checker) {
	if !slices.Contains(authorityPhases, s.Phase) {
		c.add("spec.phase", RuleOptionValue, "%q is no phase of an authority", s.Phase)
	}
	if s.Open() && s.Current == "" {
		c.add("spec.current", RuleRequired, "is missing")
	}
	if s.Open() && s.Next == "" && s.Phase != AuthorityTrust { // the leader is about to make it
		c.add("spec.next", RuleRequired, "is missing")
	}
}

func (*Authority) checkAmong(Config, *checker) {}
func (*Authority) uses() []use                 { return nil }

// There is one authority document.
func (*Authority) claims(Key) []claim {
	return []claim{{thing: nameThing + "authority", field: "name", rule: RuleAuthorityOne, what: "the one authority"}}
}
