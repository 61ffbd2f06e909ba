package api

import (
	"context"
	"iter"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
)

// An InterfaceReport is what a filer's monitor says of its interfaces.
type InterfaceReport struct {
	Filer string `json:"filer,omitempty"`
	// Seq grows by one with each change; zero before the monitor's first look.
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	// Interfaces are groups: a physical interface is one of itself alone, an
	// alias or VLAN one of the interface below it. Lower layers come first.
	Interfaces []GroupStatus      `json:"interfaces"`
	Findings   []InterfaceFinding `json:"findings"`
}

// A GroupState is the state of a group or of one of its members: running, up
// (works and is not trusted or used yet), failed, inactive (works, another
// member is in use), standby (the same by configuration) or offline.
type GroupState string

// A GroupStatus is the state of one interface.
type GroupStatus struct {
	Name   string          `json:"name"`
	Layer  netquorum.Layer `json:"layer"`
	State  GroupState      `json:"state"`
	Reason string          `json:"reason,omitempty"` // when not running
	Since  time.Time       `json:"since"`
	// Members of a bond or failover interface; Active the one in use where only
	// one is.
	Members []MemberStatus `json:"members,omitempty"`
	Active  string         `json:"active,omitempty"`
	// Parent is what an alias or VLAN stands on.
	Parent string `json:"parent,omitempty"`
	// Faults within the last minute.
	Faults    int           `json:"faults,omitempty"`
	LACP      *LACPStatus   `json:"lacp,omitempty"`
	Probes    []ProbeStatus `json:"probes,omitempty"`
	Addresses int           `json:"addresses,omitempty"` // how many the kernel has on it
	Routes    int           `json:"routes,omitempty"`    // how many leave by it
}

// A MemberStatus is the state of one member of a group.
type MemberStatus struct {
	Name   string     `json:"name"`
	State  GroupState `json:"state"`
	Reason string     `json:"reason,omitempty"`
	LACP   *LACPPort  `json:"lacp,omitempty"`
}

// A LACPStatus is what an 802.3ad bond negotiated.
type LACPStatus struct {
	// Partner is the switch's system MAC; zeros when nobody speaks LACP.
	Partner    string `json:"partner"`
	Aggregator int    `json:"aggregator"`
	Ports      int    `json:"ports"` // in that aggregator
	Rate       string `json:"rate"`  // slow, fast
}

// A LACPPort is what one member of an 802.3ad bond negotiated. States are the
// bits of IEEE 802.1AX by name: active, fast, aggregatable, in-sync, collecting,
// distributing, defaulted, expired.
type LACPPort struct {
	Partner      string   `json:"partner"`
	PartnerKey   int      `json:"partnerKey,omitempty"`
	Aggregator   int      `json:"aggregator"`
	Actor        []string `json:"actor"`
	PartnerState []string `json:"partnerState"`
	ActorChurn   string   `json:"actorChurn,omitempty"`
	PartnerChurn string   `json:"partnerChurn,omitempty"`
	Speed        int      `json:"speed,omitempty"` // Mbit/s
	Duplex       string   `json:"duplex,omitempty"`
}

// A ProbeStatus is an address that an alias should reach.
type ProbeStatus struct {
	Address netip.Addr `json:"address"`
	Reason  string     `json:"reason"` // gateway, peer, configured, management
	State   string     `json:"state"`  // answers, silent, never, here
	// Answered is when it answered last.
	Answered *time.Time `json:"answered,omitempty"`
}

// An InterfaceFinding is something that works less well than it looks.
type InterfaceFinding struct {
	Interface string `json:"interface"`
	Code      string `json:"code"`
	Message   string `json:"message"`
	Advice    string `json:"advice"`
}

// An InterfaceEvent is one change that a filer's monitor saw, or why the watch
// ends. The first one has the whole report, and so has the first after changes
// were lost because the reader was slow.
type InterfaceEvent struct {
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	// Interface, or its Member, went from one state to another.
	Interface string     `json:"interface,omitempty"`
	Member    string     `json:"member,omitempty"`
	Was       GroupState `json:"was,omitempty"`
	State     GroupState `json:"state,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	// Finding appeared, or is gone.
	Finding *InterfaceFinding `json:"finding,omitempty"`
	Gone    bool              `json:"gone,omitempty"`
	Report  *InterfaceReport  `json:"report,omitempty"`
	Error   *Error            `json:"error,omitempty"`
}

// A MonitorBackend is the part of a Backend that tells of interfaces. Both
// methods answer without a quorum; an empty filer is the one that is asked.
type MonitorBackend interface {
	Interfaces(ctx context.Context, filer string) (InterfaceReport, error)
	// WatchInterfaces yields what changes for as long as ctx lives.
	WatchInterfaces(ctx context.Context, filer string) iter.Seq2[InterfaceEvent, error]
}

var queryFiler = query{name: "filer", kind: "string", text: "The filer to ask; the one that answers when not given."}

func (s *Server) getInterfaces(w http.ResponseWriter, r *http.Request) error {
	report, err := s.backend.Interfaces(r.Context(), param(r, "filer"))
	if err != nil {
		return err
	}
	report.Interfaces, report.Findings = list(report.Interfaces), list(report.Findings)
	return answer(w, report)
}

func (s *Server) getInterfacesWatch(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	events := strings.Contains(r.Header.Get("Accept"), typeEvents)
	out := http.NewResponseController(w)
	begun := false
	for e, err := range s.backend.WatchInterfaces(ctx, param(r, "filer")) {
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !begun:
			return err // while the answer can still have a status of its own
		case err != nil:
			e = InterfaceEvent{Error: ErrorOf(err)}
		}
		if !begun {
			begun = true
			w.Header().Set("Content-Type", typeLines)
			if events {
				w.Header().Set("Content-Type", typeEvents)
			}
			w.Header().Set("Cache-Control", "no-store")
		}
		if writeEvent(w, e, events) != nil || out.Flush() != nil || e.Error != nil {
			return nil
		}
	}
	return nil
}
