package messages

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/netquorum/netquorum"
)

// An outKey names a stream at its sender.
type outKey struct {
	client   string
	to       Target
	stream   string
	priority Priority
}

// An outStream is what one client has to send in order. At any time all that may
// be somewhere is at one place, so that messages of one stream cannot pass each
// other at two filers. All is under Node.mu.
type outStream struct {
	key   outKey
	outs  []*out // without a completion, by number
	next  int    // index of the first that is not sent over this session
	place Place  // where all that have a target belong
	// held counts those that place may have: exposed, and neither refused nor
	// completed. While there are any the stream cannot go to another place.
	held     int
	unplaced int         // without a target
	refusals int         // that have not been given another target
	draining bool        // the virtual server is not at place any more
	parked   bool        // place has no room for them
	queued   *outSession // in whose list it is
	recalled uint64
	retry    time.Time // not again to the same place before
	owed     []owed    // refusals whose target may forget them when they are placed again
}

// An owed is a refusal that was acted on.
type owed struct {
	to      netquorum.FilerID
	id      ID
	attempt uint32
}

// window bounds how much of one stream is under way without being on the
// receiver's disk.
const window = 256

// enter adds a message to its stream and, where that needs no decision, gives it a
// target.
func (n *Node) enter(o *out) {
	key := outKey{o.env.id.Client, o.env.to, o.env.stream, o.env.priority}
	s := n.lines[key]
	if s == nil {
		s = &outStream{key: key}
		n.lines[key] = s
	}
	o.line = s
	s.outs = append(s.outs, o)
	switch {
	case o.at != "": // loaded
		s.place = Place{o.at, o.env.epoch}
		s.held++
	case o.env.to.Filer != "":
		o.at, o.env.attempt = o.env.to.Filer, 1
		s.place = Place{Filer: o.at}
	default:
		place, known := n.where(o.env.to.Server)
		if len(s.outs) == 1 && known && !o.durable {
			s.place, s.draining, s.parked = place, false, false
		}
		if known && place == s.place && !s.draining && s.unplaced+s.refusals == 0 && !o.durable {
			o.at, o.env.epoch, o.env.attempt = place.Filer, place.Epoch, o.env.attempt+1
		} else {
			s.unplaced++
		}
	}
	if o.at != "" {
		n.peer(o.at).lines[s] = true
	}
}

// findOut looks for a number in a list that is ordered by it.
func findOut(list []*out, seq uint64) (int, bool) {
	return slices.BinarySearchFunc(list, seq, func(o *out, seq uint64) int { return cmp.Compare(o.env.id.Seq, seq) })
}

// dropOut removes from a list what is most often its first.
func dropOut(list []*out, i int) []*out {
	if i > 0 {
		return slices.Delete(list, i, i+1)
	}
	list[0] = nil
	return list[1:]
}

// leave takes a completed message out of its stream.
func (n *Node) leave(o *out) {
	c, s := n.client(o.env.id.Client), o.line
	if i, ok := findOut(c.outs, o.env.id.Seq); ok {
		c.outs = dropOut(c.outs, i)
	}
	i, ok := findOut(s.outs, o.env.id.Seq)
	if !ok {
		return
	}
	if s.outs = dropOut(s.outs, i); i < s.next {
		s.next--
	}
	if !o.completing { // it never reached the disk
		s.resolve(o)
	}
	if len(s.outs) == 0 && len(s.owed) == 0 && n.lines[s.key] == s {
		delete(n.lines, s.key)
		if p := n.peers[s.place.Filer]; p != nil {
			delete(p.lines, s)
		}
	}
}

// resolve takes a message out of the stream's counts: it has an end.
func (s *outStream) resolve(o *out) {
	switch {
	case o.at == "":
		s.unplaced--
	case o.refused:
		s.refusals--
	case o.exposed:
		s.held--
	}
}

// rewind has everything put again, over this session or the next.
func (s *outStream) rewind() {
	for _, o := range s.outs {
		o.sent, o.accepted = false, false
	}
	s.next, s.parked, s.recalled = 0, false, 0
}

// route decides where a stream's messages go, and has those put that may be. The
// caller holds mu.
func (n *Node) route(s *outStream) {
	if len(s.outs) == 0 {
		n.settleOwed(s)
		return
	}
	if to := s.key.to.Filer; to != "" {
		if !n.cfg.Hosts.Member(to) {
			n.giveUp(s)
			return
		}
		n.peer(to).activate(s)
		return
	}
	place, known := n.where(s.key.to.Server)
	if known && place == s.place && s.unplaced+s.refusals == 0 {
		if s.draining {
			s.draining, s.next = false, 0
		}
		n.peer(s.place.Filer).activate(s)
		return
	}
	s.draining = true
	if s.held > 0 && !n.abandon(s, place, known) {
		n.recall(s)
		n.peer(s.place.Filer).activate(s) // a new session has to ask for what is held
		return
	}
	// A host that refuses what it is placed for has no lease at the moment: it is
	// asked again when something changes, or a little later.
	if known && (place != s.place || s.refusals == 0 || !n.cfg.Clock.Now().Before(s.retry)) {
		n.place(s, place)
	}
}

// giveUp completes the messages to a filer that was removed from the cluster.
func (n *Node) giveUp(s *outStream) {
	for _, o := range slices.Clone(s.outs) {
		if o.durable && !o.completing {
			n.complete(o, "", verdict{outcome: Undeliverable, reason: fmt.Sprintf("filer %s is not in the cluster any more", s.key.to.Filer)}, func(error) {})
		}
	}
}

// recall tells the stream's place that there is a newer placement, so that what it
// has not begun to handle comes back without its having heard of that itself.
func (n *Node) recall(s *outStream) {
	epoch := n.newest(s.key.to.Server)
	p := n.peers[s.place.Filer]
	if p == nil || p.session == nil || !p.session.ready || epoch <= s.place.Epoch || s.recalled == epoch {
		return
	}
	s.recalled = epoch
	p.session.notes[Control] = appendRecall(p.session.notes[Control], s.key.to.Server, epoch)
	poke(p.session.wake[Control])
}

// abandon gives up waiting for the stream's place to refuse what it may have. It
// may be done when that filer can have no part in it any more as far as anybody can
// know: a later placement exists, and it has been out of reach for long.
func (n *Node) abandon(s *outStream, now Place, known bool) bool {
	if !known || now.Epoch <= s.place.Epoch {
		return false
	}
	if n.cfg.Hosts.Member(s.place.Filer) && !n.peer(s.place.Filer).gone() {
		return false
	}
	for _, o := range s.outs {
		if o.exposed && !o.refused && !o.completing && !o.moving {
			o.exposed = false
			s.held--
			n.counts.Abandoned++
		}
	}
	return s.held == 0
}

// place gives all messages of a drained stream their target, on disk first.
func (n *Node) place(s *outStream, place Place) {
	var list []*out
	for _, o := range s.outs {
		if o.completing {
			continue
		}
		if o.moving || !o.durable {
			return // when that is on disk, route is called again
		}
		list = append(list, o)
	}
	if len(list) == 0 {
		return
	}
	old := s.place
	for _, o := range list {
		o.moving = true
		if o.refused {
			n.counts.Retargeted++
		}
	}
	n.commits.submit(s.key.priority, &op{
		do: func(tx *bbolt.Tx) error {
			for _, o := range list {
				if err := n.rewrite(tx, o, place); err != nil {
					return err
				}
			}
			return nil
		},
		bytes: 256 * len(list),
		book: func(err error) {
			if err != nil {
				return // the disk has failed
			}
			for _, o := range list {
				o.moving = false
				if o.completing {
					continue
				}
				s.resolve(o)
				o.at, o.env.epoch = place.Filer, place.Epoch
				o.env.attempt++
				o.refused, o.exposed, o.sent, o.accepted = false, false, false, false
			}
			s.place, s.draining, s.next, s.parked, s.recalled = place, false, 0, false, 0
			if p := n.peers[old.Filer]; p != nil && old.Filer != place.Filer {
				delete(p.lines, s)
			}
			n.peer(place.Filer).lines[s] = true
			n.settleOwed(s)
			n.route(s)
		},
	})
}

// rewrite gives a message in the file its next target.
func (n *Node) rewrite(tx *bbolt.Tx, o *out, place Place) error {
	b, key := tx.Bucket(bucketOut), idKey(o.env.id)
	v := b.Get(key)
	if v == nil {
		return nil // it was completed meanwhile
	}
	r, err := parseOut(v, n.cfg.Self)
	if err != nil {
		return err
	}
	r.at, r.env.epoch = place.Filer, place.Epoch
	r.env.attempt++
	return b.Put(key, r.encode())
}

// settleOwed lets the filers that refused messages forget that.
func (n *Node) settleOwed(s *outStream) {
	for _, w := range s.owed {
		if p := n.peers[w.to]; p != nil {
			p.settle(w.id, s.key.priority, w.attempt)
		}
	}
	s.owed = nil
	if len(s.outs) == 0 && n.lines[s.key] == s {
		delete(n.lines, s.key)
	}
}

// ready returns the next message that may be put, if any.
func (s *outStream) ready(at netquorum.FilerID) *out {
	if s.parked || s.next >= len(s.outs) {
		return nil
	}
	if i := s.next - window; i >= 0 && s.outs[i].sent && !s.outs[i].accepted {
		return nil
	}
	for s.next < len(s.outs) && (s.outs[s.next].sent || s.outs[s.next].completing || s.outs[s.next].refused) {
		s.next++
	}
	if s.next == len(s.outs) {
		return nil
	}
	o := s.outs[s.next]
	if o.at != at || !o.durable || o.moving || s.draining && !s.holds(s.next) {
		return nil
	}
	return o
}

// holds reports whether the stream's place may have the i-th message or a later
// one. While the stream drains, that is put again to hear what became of it, with
// all before it: else it could be handled before them.
func (s *outStream) holds(i int) bool {
	for _, o := range slices.Backward(s.outs[i:]) {
		if o.exposed && !o.refused && !o.completing {
			return true
		}
	}
	return false
}
