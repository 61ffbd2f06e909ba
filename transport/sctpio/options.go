package sctpio

import (
	"syscall"
	"time"
)

// Options say how an association behaves. Those of Control and Bulk find a dead
// path in about 110 ms; the kernel's own need over a second. Both ends should
// have the same: RTOMin must not be below the SACKDelay of the other end.
type Options struct {
	// RTOInitial, RTOMin and RTOMax bound how long an answer is waited for.
	// Data goes on by another path about RTOMin after the first fell silent.
	RTOInitial, RTOMin, RTOMax time.Duration
	// PathRetransmits is how many answers in a row a path may miss before it is
	// unreachable, PathFailing how many before others are preferred. The latter
	// must be the smaller, or the path is never seen failing.
	PathRetransmits, PathFailing uint16
	// Retransmits is how many answers in a row, of all paths together, may be
	// missing before the association is lost. 0: enough for all paths to fail.
	Retransmits uint16
	// Heartbeat is the time between heartbeats of an idle path, beside RTO/2.
	Heartbeat time.Duration
	// SACKDelay is how long an acknowledgement may wait for data to go with.
	SACKDelay time.Duration
	// InitAttempts and InitTimeout bound how long a silent peer is called.
	InitAttempts uint16
	InitTimeout  time.Duration
	// Streams is how many streams are asked for. The net.Conn uses one.
	Streams uint16
	// SendBuffer and ReceiveBuffer are for the whole association, all paths.
	SendBuffer, ReceiveBuffer int
	// DSCP marks packets (RFC 2474), 0 to 63.
	DSCP uint8

	// Observe is called with what the kernel noticed, where the connection is
	// read, so it must not block. It may be nil.
	Observe func(Event)
	// Socket is called before the socket is bound, as net.Dialer's Control is.
	// It may be nil.
	Socket func(network, address string, c syscall.RawConn) error
}

// Control returns the options for what must arrive soon: requests, heartbeats.
func Control() Options {
	return Options{
		RTOInitial: 200 * time.Millisecond, RTOMin: 100 * time.Millisecond, RTOMax: 400 * time.Millisecond,
		PathRetransmits: 2, PathFailing: 0,
		Heartbeat: 250 * time.Millisecond, SACKDelay: 20 * time.Millisecond,
		InitAttempts: 4, InitTimeout: 500 * time.Millisecond,
		Streams:    8,
		SendBuffer: 1 << 20, ReceiveBuffer: 1 << 20,
		DSCP: 48, // CS6: routing and what else keeps the network together
	}
}

// Bulk returns the options for what is large. Its association has small buffers,
// so that little of it lies on a wire before control's packets, and no mark.
func Bulk() Options {
	o := Control()
	o.SendBuffer, o.ReceiveBuffer = 256<<10, 512<<10
	o.DSCP = 0
	return o
}

// leastRetransmits is Retransmits with one or two paths. Fewer end an association
// half a second after silence, about when its other path would have helped.
const leastRetransmits = 8

// A sockopt is one option with its bytes.
type sockopt struct {
	name  string
	no    int
	bytes []byte
}

// sockopts lists what is set on a socket with so many paths before it is bound;
// accepted sockets inherit all of it.
func (o Options) sockopts(paths int) []sockopt {
	retransmits := o.Retransmits
	if retransmits == 0 {
		// Two more than each path may miss, so that the last one is tried
		// when the others are known to be dead.
		retransmits = max(leastRetransmits, uint16(paths)*(o.PathRetransmits+2))
	}
	return []sockopt{
		{"INITMSG", optInitMsg, initMsg(o.Streams, o.InitAttempts, o.InitTimeout)},
		{"RTOINFO", optRTOInfo, rtoInfo(o.RTOInitial, o.RTOMin, o.RTOMax)},
		{"ASSOCINFO", optAssocInfo, assocInfo(retransmits)},
		{"PEER_ADDR_PARAMS", optPeerAddrParams, peerAddrParams(o.Heartbeat, o.PathRetransmits, o.DSCP)},
		{"PEER_ADDR_THLDS", optPeerAddrThlds, peerAddrThlds(o.PathRetransmits, o.PathFailing)},
		{"DELAYED_SACK", optDelayedSACK, delayedSACK(o.SACKDelay)},
		// Without it a small message waits for the acknowledgement of the last.
		{"NODELAY", optNoDelay, native.AppendUint32(nil, 1)},
		// Without it events keep silent about paths that are failing.
		{"EXPOSE_POTENTIALLY_FAILED_STATE", optExposePF, assocValue(2)},
		{"RECVRCVINFO", optRecvRcvInfo, native.AppendUint32(nil, 1)},
		{"EVENT", optEvent, event(noteAssocChange)},
		{"EVENT", optEvent, event(notePeerAddrChange)},
		{"EVENT", optEvent, event(noteShutdown)},
	}
}
