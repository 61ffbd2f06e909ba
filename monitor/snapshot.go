package monitor

import (
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/netquorum/netquorum"
)

// A Snapshot is what the monitor says at one instant. It is never changed.
type Snapshot struct {
	// Seq grows by one with each published change; zero before the first look
	// at the kernel.
	Seq        uint64
	Time       time.Time
	Filer      string
	Interfaces []Interface // lower layers first
	Findings   []Finding
}

// An Interface is the state of one group.
type Interface struct {
	Name   string
	Layer  netquorum.Layer
	State  State
	Reason string    // in words, when the state is not running
	Since  time.Time // of the state
	// Members are those of a bond or failover interface, in the order of the
	// configuration; Active the one in use where only one is.
	Members []Member
	Active  string
	Below   string // what a VLAN or alias stands on
	// Faults are those within the last minute.
	Faults  int
	LACP    *Aggregate
	Targets []Answering
	// Addresses and Routes are how many the kernel has on the interface.
	Addresses int
	Routes    int
}

// A Member is the state of one member in its group.
type Member struct {
	Name   string
	State  State
	Reason string
	LACP   *Port8023AD
}

// An Aggregate is what an 802.3ad bond negotiated.
type Aggregate struct {
	Partner    netquorum.MAC // zeros: nobody speaks LACP at the other side
	Aggregator int
	Ports      int // in the aggregator that is in use
	Fast       bool
}

// A Port8023AD is what one member of an 802.3ad bond negotiated.
type Port8023AD struct {
	Partner      netquorum.MAC
	Aggregator   int
	PartnerKey   uint16
	Actor        PortState
	Partners     PortState // the partner's view of itself
	ActorChurn   Churn
	PartnerChurn Churn
	Speed        int // Mbit/s; 0 when unknown
	Duplex       string
}

// An Answering is a probe target and what became of asking it.
type Answering struct {
	Address  netip.Addr
	Reason   Reason
	State    string // answers, silent, never when it has never answered, or here
	Answered time.Time
}

// The states of a target.
const (
	Answers = "answers"
	Silent  = "silent"
	Never   = "never"
	Here    = "here" // the address is this filer's own, and not asked for
)

// Interface returns the named interface's state. One that is not watched is
// offline.
func (s Snapshot) Interface(name string) Interface {
	for _, i := range s.Interfaces {
		if i.Name == name {
			return i
		}
	}
	return Interface{Name: name, State: Offline, Reason: "not watched"}
}

// Alias returns the state of an alias: what decides whether a filer may host
// what is reached through it.
func (s Snapshot) Alias(name netquorum.InterfaceName) Interface { return s.Interface(string(name)) }

// differs reports whether there is anything to publish: not for times and
// counts alone.
func (s Snapshot) differs(o Snapshot) bool {
	if s.Filer != o.Filer || !slices.Equal(s.Findings, o.Findings) || len(s.Interfaces) != len(o.Interfaces) {
		return true
	}
	for i := range s.Interfaces {
		a, b := s.Interfaces[i], o.Interfaces[i]
		a.Addresses, a.Routes = b.Addresses, b.Routes
		a.Faults = b.Faults
		a.Targets, b.Targets = still(a.Targets), still(b.Targets)
		if !reflect.DeepEqual(a, b) {
			return true
		}
	}
	return false
}

// still are targets without the times of their answers.
func still(list []Answering) []Answering {
	out := slices.Clone(list)
	for i := range out {
		out[i].Answered = time.Time{}
	}
	return out
}
