package messages

import (
	"context"
	"slices"
	"time"

	"github.com/netquorum/netquorum"
)

// collectEvery is how often age is looked at. Size is looked at when it grows.
const collectEvery = time.Minute

func (n *Node) collectAll(ctx context.Context) {
	for {
		n.mu.Lock()
		for name, c := range n.clients {
			n.expire(c)
			n.expireKeys(c)
			if c.unused() {
				delete(n.clients, name)
				c.announce() // whoever waits for its completions asks anew
			}
		}
		for filer := range n.from {
			n.expireFrom(filer)
		}
		n.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-n.cfg.Clock.After(min(collectEvery, n.cfg.Limits.CompletionAge/4)):
		}
	}
}

// expire drops the oldest completions of a client that does not come for them. The
// caller holds mu.
func (n *Node) expire(c *client) {
	var list []*kept
	bytes, limit := c.bytes, n.cfg.Limits.CompletionBytes
	since := n.cfg.Clock.Now().Add(-n.cfg.Limits.CompletionAge)
	for _, k := range c.kept {
		if bytes <= limit && k.at.After(since) {
			break
		}
		if bytes -= k.size; !k.gone {
			list = append(list, k)
		}
	}
	if len(list) > 0 {
		n.counts.Collected += uint64(len(list))
		n.drop(c, list)
	}
}

// expireFrom drops what a sending filer does not come for: the results of its
// clients' messages by age and size, and everything that has ended when it is no
// member any more. That a message was handled is remembered until its sender has
// settled it: it may still send it again.
func (n *Node) expireFrom(filer netquorum.FilerID) {
	var list []*in
	bytes := int64(0)
	for _, x := range n.from[filer] {
		if x.state == inCompleted || x.state == inRefused {
			list = append(list, x)
			bytes += int64(x.result) + keptOverhead
		}
	}
	if !n.cfg.Hosts.Member(filer) {
		for _, x := range n.from[filer] {
			if x.ended() && !x.writing {
				n.erase(x)
			}
		}
		return
	}
	slices.SortFunc(list, func(a, b *in) int { return a.at.Compare(b.at) })
	since := n.cfg.Clock.Now().Add(-n.cfg.Limits.CompletionAge)
	for _, x := range list {
		if bytes <= n.cfg.Limits.CompletionBytes && x.at.After(since) {
			break
		}
		bytes -= int64(x.result) + keptOverhead
		switch {
		case x.writing:
		case x.state == inRefused: // its sender asks again; then it is looked at anew
			if !x.at.After(since) {
				n.erase(x)
			}
		default:
			n.counts.Collected++
			x.state, x.writing, x.result = inCollected, true, 0
			r := inRecord{env: x.env, state: inCollected, at: x.at, verdict: verdict{outcome: Collected, epoch: x.env.epoch}}
			n.write(x, &r, 256, func() { n.answer(x) })
		}
	}
}
