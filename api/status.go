package api

import (
	"net/netip"
	"time"

	"github.com/netquorum/netquorum"
)

// A Status tells how the cluster is, as one filer sees it.
type Status struct {
	// Filer is the filer that answered; empty before it is in a cluster.
	Filer   string    `json:"filer,omitempty"`
	Cluster string    `json:"cluster,omitempty"`
	State   LifeState `json:"state"`
	// Message explains a state that is not running.
	Message string `json:"message,omitempty"`
	// Quorum is true when a leader with a quorum was in contact just now.
	// Without it, everything below is what this filer knew last.
	Quorum bool               `json:"quorum"`
	Leader string             `json:"leader,omitempty"` // filer name
	Term   uint64             `json:"term,omitempty"`
	Commit netquorum.Revision `json:"revision"` // newest revision known here
	// Filers are sorted by name and include those that are configured but
	// have not joined.
	Filers   []FilerStatus       `json:"filers"`
	Servers  []ServerStatus      `json:"servers"`
	Findings []netquorum.Finding `json:"findings"`
	// Rollout is the one that is open or was the last.
	Rollout *Rollout `json:"rollout,omitempty"`
	// Authority is there while the cluster changes its certificate authority, or
	// should because a filer was revoked.
	Authority *Authority `json:"authority,omitempty"`
}

// A LifeState is where a filer's daemon is in its life.
type LifeState string

const (
	StateUnconfigured LifeState = "unconfigured" // in no cluster; waits for init or join
	StateBooting      LifeState = "booting"      // configured from the boot cache, not caught up
	StateJoining      LifeState = "joining"
	StateRunning      LifeState = "running"
	StateFailed       LifeState = "failed" // cannot go on; Message says what to do
)

// A Role is what a filer is in the raft cluster.
type Role string

const (
	RoleLeader      Role = "leader"
	RoleFollower    Role = "follower"
	RoleCandidate   Role = "candidate"
	RoleLearner     Role = "learner"     // a member without a vote yet
	RoleUnreachable Role = "unreachable" // a member that does not report
	RoleAbsent      Role = "absent"      // configured, but never joined
)

// A FilerStatus is one filer's report.
type FilerStatus struct {
	Name    string            `json:"name"`
	ID      netquorum.FilerID `json:"id,omitempty"`
	Role    Role              `json:"role"`
	State   LifeState         `json:"state,omitempty"`
	Version string            `json:"version,omitempty"`
	// Seen is when the filer last reported.
	Seen *time.Time `json:"seen,omitempty"`
	// Committed is the newest revision in its state machine, Applied the
	// newest that its kernel follows, Cached the newest in its boot cache.
	Committed netquorum.Revision `json:"committed"`
	Applied   netquorum.Revision `json:"applied"`
	Cached    netquorum.Revision `json:"cached"`
	// StateHash is that of the state machine at Committed, in hexadecimal:
	// two filers with the same revision must have the same.
	StateHash string            `json:"stateHash,omitempty"`
	BootCache []BootCopy        `json:"bootCache,omitempty"`
	Lease     *Lease            `json:"lease,omitempty"`
	Features  []Feature         `json:"features,omitempty"`
	Links     []InterfaceStatus `json:"interfaces,omitempty"`
	// Peers are its links to other filers.
	Peers  []Link        `json:"links,omitempty"`
	Errors []ObjectError `json:"errors,omitempty"`
	// Drifts are objects that somebody else changed lately, the worst first.
	Drifts []Drift `json:"drifts,omitempty"`
	// Troubles are the interfaces that do not work, Findings what works less
	// well than it looks. GET /v1/interfaces has the whole.
	Troubles []InterfaceTrouble `json:"troubles,omitempty"`
	Findings []InterfaceFinding `json:"findings,omitempty"`
}

// An InterfaceTrouble is an interface that does not work.
type InterfaceTrouble struct {
	Name   string     `json:"name"`
	State  GroupState `json:"state"` // failed, offline
	Reason string     `json:"reason"`
	Since  time.Time  `json:"since"`
}

// A BootCopy is one file of a filer's boot cache.
type BootCopy struct {
	File     string             `json:"file"`
	State    string             `json:"state"` // valid, stale, missing, damaged, newer-version
	Revision netquorum.Revision `json:"revision,omitempty"`
	Detail   string             `json:"detail,omitempty"`
}

// A Lease is a filer's right to answer for the servers placed on it.
type Lease struct {
	Held    bool      `json:"held"`
	Expires time.Time `json:"expires"`
}

// A Feature is something that a filer's kernel can or cannot do.
type Feature struct {
	Name      string `json:"name"`
	Available bool   `json:"available"`
	Detail    string `json:"detail,omitempty"` // why not
}

// An InterfaceStatus is one link as the filer's kernel has it.
type InterfaceStatus struct {
	Name  string          `json:"name"`
	Layer netquorum.Layer `json:"layer,omitempty"` // empty for a port
	// State is up, down, no-carrier, missing or error.
	State string `json:"state"`
	MTU   int    `json:"mtu,omitempty"`
	MAC   string `json:"mac,omitempty"`
	// Members of a bond or failover interface; Active the one in use.
	Members []string `json:"members,omitempty"`
	Active  string   `json:"active,omitempty"`
	Parent  string   `json:"parent,omitempty"`
	// Server is the virtual server or service whose port this is.
	Server    string         `json:"server,omitempty"`
	Addresses []netip.Prefix `json:"addresses,omitempty"`
}

// An ObjectError is something that a filer could not make its kernel do. It
// keeps trying.
type ObjectError struct {
	Object  string    `json:"object"` // like link data0, address 10.0.0.1/24 on data0
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
}

// A ServerStatus is one virtual server or service.
type ServerStatus struct {
	Kind  netquorum.Kind `json:"kind"`
	Name  string         `json:"name"`
	Group string         `json:"group"`
	// Host is the filer it is placed on; empty when none can host it.
	Host  string `json:"host,omitempty"`
	Epoch uint64 `json:"epoch"`
	// State is serving (the host reports its ports up), moving, unplaced, or
	// failed.
	State string `json:"state"`
	// Candidates are the filers that could host it, and what the others of
	// its group lack.
	Candidates []netquorum.Candidate `json:"candidates,omitempty"`
	Addresses  []netip.Prefix        `json:"addresses,omitempty"`
	// Traffic is what its host has counted; see GET /v1/statistics for more.
	Traffic *ServerTraffic `json:"traffic,omitempty"`
}
