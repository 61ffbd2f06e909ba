package sctpio

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// The types of notifications (enum sctp_sn_type) that are asked for.
const (
	noteAssocChange    = 0x8001
	notePeerAddrChange = 0x8002
	noteShutdown       = 0x8005
)

// A Kind says what an Event is about.
type Kind uint8

const (
	// AssociationUp: the handshake is over.
	AssociationUp Kind = iota + 1
	// AssociationLost: the peer aborted, or answers on no path any more.
	AssociationLost
	// AssociationRestarted: another process at the peer's addresses has taken the
	// association over. For those who use it that is a loss.
	AssociationRestarted
	// AssociationEnded: both sides have shut it down.
	AssociationEnded
	// PeerShutdown: the peer sends nothing more.
	PeerShutdown
	// PathAvailable: a path is used again.
	PathAvailable
	// PathFailing: a path missed an answer, others are used ("potentially failed").
	PathFailing
	// PathUnreachable: a path missed several answers.
	PathUnreachable
	// PathConfirmed: a path's address was proven to be the peer's.
	PathConfirmed
	// PathPrimary: a path became the first choice.
	PathPrimary
)

var kindNames = map[Kind]string{
	AssociationUp: "association up", AssociationLost: "association lost", AssociationRestarted: "association restarted",
	AssociationEnded: "association ended", PeerShutdown: "peer shutdown", PathAvailable: "path available",
	PathFailing: "path failing", PathUnreachable: "path unreachable", PathConfirmed: "path confirmed",
	PathPrimary: "path primary",
}

func (k Kind) String() string { return kindNames[k] }

// An Event is something that the kernel noticed.
type Event struct {
	Kind Kind
	// Remote is the peer's address on the path, for events of paths.
	Remote netip.AddrPort
	// Cause is the cause that the peer gave for aborting (RFC 9260, 3.3.10), or 0.
	Cause uint16
}

func (e Event) String() string {
	switch {
	case e.Remote.IsValid():
		return fmt.Sprintf("%s: %s", e.Kind, e.Remote)
	case e.Cause != 0:
		return fmt.Sprintf("%s: cause %d", e.Kind, e.Cause)
	}
	return e.Kind.String()
}

// ends tells whether nothing can be sent or received after the event.
func (e Event) ends() bool {
	switch e.Kind {
	case AssociationLost, AssociationRestarted, AssociationEnded:
		return true
	}
	return false
}

// maxNotification bounds how much of a notification is kept: an abort may quote
// whole packets of the peer behind what is read here.
const maxNotification = 512

// parseNotification reads a notification; false means that it is of no interest.
func parseNotification(b []byte) (Event, bool, error) {
	if len(b) < 8 {
		return Event{}, false, errShort
	}
	switch native.Uint16(b) {
	case noteAssocChange:
		if len(b) < 20 {
			return Event{}, false, errShort
		}
		// The cause, alone among these, is in the order of the network.
		e := Event{Cause: binary.BigEndian.Uint16(b[10:])}
		switch native.Uint16(b[8:]) {
		case 0:
			e.Kind = AssociationUp
		case 1, 4: // COMM_LOST, CANT_STR_ASSOC
			e.Kind = AssociationLost
		case 2:
			e.Kind = AssociationRestarted
		case 3:
			e.Kind = AssociationEnded
		}
		return e, e.Kind != 0, nil
	case notePeerAddrChange:
		if len(b) < 8+sockaddrStorage+12 {
			return Event{}, false, errShort
		}
		remote, _, err := parseSockaddr(b[8 : 8+sockaddrStorage])
		if err != nil {
			return Event{}, false, err
		}
		e := Event{Remote: remote}
		switch native.Uint32(b[8+sockaddrStorage:]) {
		case 0:
			e.Kind = PathAvailable
		case 1:
			e.Kind = PathUnreachable
		case 4:
			e.Kind = PathPrimary
		case 5:
			e.Kind = PathConfirmed
		case 6:
			e.Kind = PathFailing
		}
		return e, e.Kind != 0, nil
	case noteShutdown:
		return Event{Kind: PeerShutdown}, true, nil
	}
	return Event{}, false, nil
}
