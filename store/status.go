package store

import (
	"encoding/hex"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum"
)

// A Role is a filer's part in the cluster.
type Role string

// The roles.
const (
	RoleNone      Role = "none" // in no cluster, or removed from it
	RoleFollower  Role = "follower"
	RoleCandidate Role = "candidate"
	RoleLeader    Role = "leader"
	RoleFailed    Role = "failed" // the log failed; see Status.Failure
)

// A Member is one filer of the cluster as raft knows it.
type Member struct {
	ID    netquorum.FilerID `json:"id"`
	Voter bool              `json:"voter"` // false for the seconds of a join
}

// A Status is what operators and metrics see of a store.
type Status struct {
	ID       netquorum.FilerID  `json:"id"`
	Role     Role               `json:"role"`
	Leader   netquorum.FilerID  `json:"leader,omitempty"`
	Term     uint64             `json:"term"`
	LastLog  uint64             `json:"lastLog"` // index of the newest entry
	Commit   uint64             `json:"commit"`  // index of the newest entry known to be committed
	Applied  uint64             `json:"applied"` // index through which State reflects the log
	Revision netquorum.Revision `json:"revision"`
	Hash     string             `json:"hash"` // of the whole state, in hex
	Members  []Member           `json:"members,omitempty"`
	// LastContact is when a follower last heard of a leader.
	LastContact time.Time `json:"lastContact,omitzero"`
	// Failure says why this filer takes no part in decisions any more.
	Failure string `json:"failure,omitempty"`
}

// Status returns the store's present status.
func (s *Store) Status() Status {
	n, v := s.node.Load(), s.views.load()
	hash := v.state.Hash()
	st := Status{
		ID: s.o.ID, Leader: s.reigns.load().leader,
		Term: n.raft.CurrentTerm(), LastLog: n.raft.LastIndex(), Commit: n.raft.CommitIndex(),
		Applied: v.through, Revision: v.state.Revision(), Hash: hex.EncodeToString(hash[:]),
	}
	if servers, err := n.members(); err == nil {
		for _, srv := range servers {
			st.Members = append(st.Members, Member{netquorum.FilerID(srv.ID), srv.Suffrage == raft.Voter})
		}
	}
	switch failure := s.failure.Load(); {
	case failure != nil:
		st.Role, st.Failure = RoleFailed, (*failure).Error()
	case len(st.Members) == 0 || s.member() != nil:
		st.Role = RoleNone
	case st.Leader == s.o.ID:
		st.Role = RoleLeader
	case n.raft.State() == raft.Candidate:
		st.Role = RoleCandidate
	default:
		st.Role = RoleFollower
	}
	if st.Role == RoleFollower || st.Role == RoleCandidate {
		st.LastContact = n.raft.LastContact()
	}
	return st
}

// Writes returns how long the writes of the log took, their syncs included.
func (s *Store) Writes() *Histogram { return &s.disk.Writes }
