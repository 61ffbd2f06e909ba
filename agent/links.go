package agent

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/link"
)

const pathLinks = "/links"

// link is how patient links are: a path that is silent for about half a heartbeat
// is not used, so that raft, which gives a leader one to three, sees nothing of it.
// Acknowledgements may wait for something to travel with, but those of much data
// not for heartbeats: that would slow down a restore.
func (c Config) link() link.Config {
	return link.Config{
		Ping: c.Heartbeat / 4, Suspect: c.Heartbeat * 3 / 10, AckDelay: c.Heartbeat / 50, AckPatience: c.Heartbeat / 10,
		GiveUp: 25 * c.Heartbeat, Patience: 75 * c.Heartbeat,
	}
}

// spareEndpoints are the addresses of a filer that are not its mgmt aliases'.
func (a *Agent) spareEndpoints(id netquorum.FilerID) []string {
	m, err := a.running()
	if err != nil {
		return nil
	}
	config, _, _ := m.following()
	_, spare := reach(config, id, a.cfg.port())
	return spare
}

// ownAddresses are those of this filer's mgmt aliases.
func (a *Agent) ownAddresses() []netip.Prefix {
	m, err := a.running()
	if err != nil {
		return nil
	}
	config, _, _ := m.following()
	var out []netip.Prefix
	for _, i := range config.Interfaces(m.name) {
		if i.Name.Stem() == "mgmt" {
			out = append(out, i.Addresses...)
		}
	}
	return out
}

// followed is called after each pass: what other filers are dialled from and at
// follows the kernel's addresses.
func (a *Agent) followed(g goal) {
	a.watchFor(g)
	a.endpoint.Readdress()
}

// keepLinks has a link to every other filer all the time: votes need not wait for
// one to be made, and status tells who is out of reach before it matters.
func (m *member) keepLinks(ctx context.Context) error {
	ticker := time.NewTicker(5 * m.cfg.Heartbeat)
	defer ticker.Stop()
	for {
		config, _ := m.newest()
		for _, id := range members(config) {
			if id != m.id {
				m.endpoint.Reach(id)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// wakePaths tries paths that are down as soon as some interface's state changes.
func (a *Agent) wakePaths(ctx context.Context) error {
	if a.monitor == nil {
		return nil
	}
	for range a.monitor.Subscribe(ctx) {
		a.endpoint.Wake()
	}
	return ctx.Err()
}

// Links implements api.Backend.
func (b backend) Links(ctx context.Context, filer string) (api.LinkReport, error) {
	m, err := b.running()
	if err != nil {
		return api.LinkReport{}, err
	}
	if filer == "" || strings.EqualFold(filer, m.name) {
		return m.links(), nil
	}
	config, _ := m.newest()
	id := memberID(config, filer)
	if id == "" {
		return api.LinkReport{}, api.Refuse(api.ErrNotFound, "the cluster has no filer "+filer+" that has joined", nil)
	}
	var r api.LinkReport
	return r, call(ctx, m.client, id, pathLinks, struct{}{}, &r)
}

// links are those of this filer.
func (m *member) links() api.LinkReport {
	config, _ := m.newest()
	r := api.LinkReport{Filer: m.name}
	for _, l := range m.endpoint.Links() {
		name := memberName(config, l.Filer)
		if name == "" {
			name = l.Name
		}
		r.Links = append(r.Links, linkOf(l, name))
	}
	return r
}

func linkOf(l transport.LinkStatus, name string) api.Link {
	out := api.Link{
		Filer: name, ID: l.Filer, State: api.LinkUp, Kind: l.Kind, Reason: l.Reason, Paths: []api.LinkPath{},
		Switches: l.Switches, Streams: l.Streams, Resent: l.Resent, Duplicates: l.Duplicates, Since: known(l.Since),
	}
	for _, p := range l.Paths {
		out.Paths = append(out.Paths, api.LinkPath{
			Kind: p.Kind, Local: p.Local, Remote: p.Remote, State: p.State, Since: known(p.Since),
			RoundTrip: p.RTT.Microseconds(), Uses: p.Classes, Sent: p.Sent, Received: p.Received, Failure: p.Failure,
		})
		out.Sent, out.Received = out.Sent+p.Sent, out.Received+p.Received
		if p.State != string(link.Up) {
			out.State = api.LinkDegraded
		}
	}
	if !l.Up {
		out.State = api.LinkDown
	}
	return out
}

// known is a time, or nil for the zero time.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
