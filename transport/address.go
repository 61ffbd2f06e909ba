package transport

import (
	"slices"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport/link"
)

// Readdress tells that this filer's own addresses or those of others changed.
// New paths get carriers before those that are no path any more lose theirs.
func (e *Endpoint) Readdress() {
	e.sctp.rebind()
	e.wakeAll(true)
}

// Wake tells that a path which is down may work again: a cable was plugged in, a
// link came up. It is tried at once.
func (e *Endpoint) Wake() { e.wakeAll(true) }

// Renew tells that Identity returns another one, or that others must show theirs
// anew: each carrier is replaced by one with a handshake of its own, and is
// closed only then. The links and what runs over them go on.
func (e *Endpoint) Renew() {
	e.generation.Add(1)
	e.wakeAll(true)
}

// paths are those to a filer.
func (e *Endpoint) paths(id netquorum.FilerID) []path {
	return pathsTo(e.cfg.Addresses(), e.cfg.Resolver.Endpoints(id))
}

// allPaths are paths and, after them, spare ones.
func (e *Endpoint) allPaths(id netquorum.FilerID) []path {
	return pathsTo(e.cfg.Addresses(), slices.Concat(e.cfg.Resolver.Endpoints(id), e.cfg.Spare(id)))
}

// self is this filer's id; empty when it is in no cluster.
func (e *Endpoint) self() netquorum.FilerID {
	if i := e.cfg.Identity(); i != nil {
		return i.Filer
	}
	return ""
}

// ping is the time between two pings on each path.
func (e *Endpoint) ping() time.Duration {
	if e.cfg.Link.Ping > 0 {
		return e.cfg.Link.Ping
	}
	return 50 * time.Millisecond
}

// giveUp is how long a connection may be silent.
func (e *Endpoint) giveUp() time.Duration {
	if e.cfg.Link.GiveUp > 0 {
		return e.cfg.Link.GiveUp
	}
	return 5 * time.Second
}

func (e *Endpoint) linkConfig(peer netquorum.FilerID, changed func()) link.Config {
	c := e.cfg.Link
	c.Local, c.Peer, c.Changed, c.Accept = e.self(), peer, changed, e.acceptStream
	c.Ping, c.GiveUp = e.ping(), e.giveUp()
	c.Log = e.log.With("peer", peer)
	return c
}

// acceptStream hands a stream that the peer opens to whoever serves it.
func (e *Endpoint) acceptStream(offered []string, _ link.Class) (string, func(*link.Stream)) {
	for _, name := range offered {
		l := e.listener(Service(name))
		if l == nil {
			continue
		}
		if l.full() {
			e.count.refused.add(NotAccepted)
			return "", nil
		}
		return name, func(st *link.Stream) {
			if !l.offer(st) {
				e.count.refused.add(NotAccepted)
				st.Abort(ErrNotServed)
			}
		}
	}
	return "", nil
}
