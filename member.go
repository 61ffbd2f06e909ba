package netquorum

// A FilerID identifies a filer for raft and in certificates: a UUID made when
// the filer first joins a cluster. Names and addresses may change, it does not.
type FilerID string

// A Member document is written when a filer joins, under the filer's name.
type Member struct {
	ID FilerID `json:"id"`
	// Endpoints are the host:port addresses at which the filer was last known
	// to listen beside those that its mgmt addresses imply.
	Endpoints []string `json:"endpoints,omitempty"`
}

func (*Member) Kind() Kind { return KindMember }

// A Placement says which filer hosts the virtual server or service of the same
// name.
type Placement struct {
	// Filer is the host's name; empty when no filer can host it now.
	Filer string `json:"filer,omitempty"`
	// Leaving is a live filer that must stop hosting before another may start.
	Leaving string `json:"leaving,omitempty"`
	// Epoch grows with every move, so that what a former host does late can be
	// recognised and refused.
	Epoch uint64 `json:"epoch"`
}

func (*Placement) Kind() Kind { return KindPlacement }

// A Token lets one filer join once. Its document's name is the public half.
type Token struct {
	// Key is derived from the secret half; both sides prove that they know it.
	// It never leaves the store.
	Key []byte `json:"key"`
	// Expires is in seconds since 1970, compared with the proposer's time.
	Expires int64 `json:"expires"`
	// Filer, when set, is the only filer name the token is good for.
	Filer string `json:"filer,omitempty"`
	// UsedBy is the filer that joined with it. A used token stays until it
	// expires, so that a filer whose answer was lost can ask again.
	UsedBy FilerID `json:"usedBy,omitempty"`
}

func (*Token) Kind() Kind { return KindToken }

// What the cluster itself writes refers to user's documents without holding
// them: a virtual server that is deleted leaves its Placement to the leader to
// remove, and a filer that is deleted leaves its Member to be removed.

func (s *Member) check(c *checker) {
	if s.ID == "" {
		c.add("spec.id", RuleMemberID, "is missing")
	}
}

func (*Member) checkAmong(Config, *checker) {}
func (*Member) uses() []use                 { return nil }

func (s *Member) claims(Key) []claim {
	return []claim{{thing: nameThing + "member/" + string(s.ID), field: "spec.id", rule: RuleMemberID, what: "member id " + string(s.ID)}}
}

func (*Placement) check(*checker) {}

func (s *Token) check(c *checker) {
	if len(s.Key) == 0 {
		c.add("spec.key", RuleRequired, "is missing")
	}
}
