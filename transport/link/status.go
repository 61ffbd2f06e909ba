package link

import "time"

// A State is how a carrier does.
type State string

const (
	// Up: the carrier's pings are answered in time.
	Up State = "up"
	// Suspect: the carrier owes an answer for too long; another is used if one
	// answers.
	Suspect State = "suspect"
	// Down: the carrier owes an answer for longer than ten times that.
	Down State = "down"
)

// A CarrierStatus is what is known of one carrier.
type CarrierStatus struct {
	Path  Path      `json:"path"`
	State State     `json:"state"`
	Since time.Time `json:"since"` // of the state
	// RTT is the smoothed round trip time of pings; zero until one was answered.
	RTT time.Duration `json:"rtt"`
	// Classes are those whose data this side sends here.
	Classes []string `json:"classes,omitempty"`
	// Sent and Received count bytes of frames, pings included.
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
}

// A Status is what a link knows of itself.
type Status struct {
	Incarnation     uint64          `json:"incarnation"`
	PeerIncarnation uint64          `json:"peerIncarnation"` // 0 until there was a carrier
	Carriers        []CarrierStatus `json:"carriers"`
	Streams         int             `json:"streams"`
	// Switches counts how often data that was sent on one carrier went on by
	// another.
	Switches uint64 `json:"switches"`
	// Resent counts bytes sent again, Duplicates bytes that arrived again.
	Resent     uint64 `json:"resent"`
	Duplicates uint64 `json:"duplicates"`
	Err        error  `json:"-"` // why the link has ended; nil while it lives
}

// Status says how the link does.
func (l *Link) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := Status{
		Incarnation: l.incarnation, PeerIncarnation: l.peer,
		Carriers: []CarrierStatus{}, Streams: len(l.streams),
		Switches: l.switches, Resent: l.resent, Duplicates: l.duplicates, Err: l.err,
	}
	if l.streams[0] != nil {
		st.Streams-- // the link's own
	}
	for _, c := range l.carriers {
		cs := CarrierStatus{
			Path: c.path, State: c.state, Since: c.since, RTT: c.rtt.mean,
			Sent: c.sent, Received: c.received,
		}
		if c == l.ordinary {
			cs.Classes = append(cs.Classes, Urgent.String(), Control.String())
		}
		if c == l.bulk {
			cs.Classes = append(cs.Classes, Bulk.String())
		}
		st.Carriers = append(st.Carriers, cs)
	}
	return st
}
