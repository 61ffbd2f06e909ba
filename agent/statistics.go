package agent

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/statistics"
)

// pathStatistics is where filers ask each other what they have counted.
const pathStatistics = "/statistics"

// A statisticsRequest asks for one server, or for all when it is empty.
type statisticsRequest struct {
	Server string `json:"server,omitempty"`
}

// localStatistics are one filer's, by the folded key of the server.
type localStatistics map[string]api.FilerStatistics

// checkTraffic is how often the counters are compared without any reason, which
// puts right what somebody else did to them.
const checkTraffic = 30 * time.Second

// statusPatience is how long a status waits for a look at the kernel that it
// could do without.
const statusPatience = 200 * time.Millisecond

// A traffic has the kernel count for the configuration that a filer follows, and
// is asked for the result. It stands beside the follower and never in its way.
type traffic struct {
	sampler  *statistics.Sampler
	follower *follower
	log      *slog.Logger
}

// newTraffic returns nil when there is nothing to count with: for an agent that
// is given a kernel that is none.
func newTraffic(c Config, f *follower) *traffic {
	if c.Traffic == nil {
		return nil
	}
	return &traffic{statistics.NewSampler(c.Traffic, c.Now), f, c.Log}
}

// Run keeps the counters as the configuration asks until the context ends.
func (t *traffic) Run(ctx context.Context) error {
	if t == nil {
		return nil
	}
	var done goal
	var checked time.Time
	said := ""
	for {
		_, passed := t.follower.Outcome() // before the goal: none is missed
		g, ok := t.follower.current()
		if due := time.Since(checked) >= checkTraffic; ok && (due || g.network != done.network || g.filer != done.filer) {
			done, checked = g, time.Now()
			changed, err := t.sampler.Follow(statistics.CountedOf(g.config))
			switch {
			case err == nil && changed:
				t.log.Debug("counting for the virtual servers as configured")
			case err != nil && err.Error() != said:
				t.log.Warn("what virtual servers send and receive is not counted", "error", err)
			}
			said = ""
			if err != nil {
				said = err.Error()
			}
		}
		timer := time.NewTimer(checkTraffic)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-passed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// local is what this filer knows of a server, or of all.
func (t *traffic) local(ctx context.Context, c netquorum.Config, filer, server string) localStatistics {
	out := localStatistics{}
	o, _ := t.follower.Outcome()
	sample, err := t.sampler.Sample(ctx)
	if err != nil {
		sample.TrafficErr, sample.SocketsErr = err, err
	}
	counted := map[netquorum.Key][]statistics.AddressTraffic{}
	for _, a := range sample.Traffic {
		counted[a.Owner.Fold()] = append(counted[a.Owner.Fold()], a)
	}
	for h := range c.Hosted() {
		if server != "" && !sameName(server, h.Key.Name) {
			continue
		}
		hosts := slices.Contains(o.hosting, h.Key.Name)
		f := api.FilerStatistics{Filer: filer, Hosts: hosts}
		if sample.TrafficErr != nil {
			f.Unknown = sample.TrafficErr.Error()
		} else {
			f.Traffic, f.Addresses = apiTraffic(counted[h.Key.Fold()])
			if !hosts && f.Traffic.IP == (api.Flow{}) {
				continue // never was here
			}
		}
		switch {
		case !hosts:
		case sample.SocketsErr != nil:
			f.SocketsUnknown = sample.SocketsErr.Error()
		default:
			f.Sockets = apiSockets(sample.Sockets[h.Key])
		}
		out[h.Key.Fold().String()] = f
	}
	return out
}

func apiTraffic(list []statistics.AddressTraffic) (*api.Traffic, []api.AddressStatistics) {
	total := new(api.Traffic)
	var addresses []api.AddressStatistics
	for _, a := range list {
		flow := func(m statistics.Meter) api.Flow {
			f := a.Flows[m]
			return api.Flow{In: api.Count(f.In), Out: api.Count(f.Out)}
		}
		one := api.Traffic{
			IP: flow(statistics.IP), TCP: flow(statistics.TCP), UDP: flow(statistics.UDP),
			TCPOpens: flow(statistics.Opens), TCPResets: flow(statistics.Resets),
		}
		*total = total.Plus(one)
		addresses = append(addresses, api.AddressStatistics{Address: a.Address, Since: a.Since, Traffic: one})
	}
	return total, addresses
}

func apiSockets(s *statistics.Sockets) *api.SocketStatistics {
	if s == nil {
		return new(api.SocketStatistics)
	}
	return &api.SocketStatistics{
		TCP: s.States, Retransmits: s.Retransmits, RTT: api.Duration(s.RTT),
		Unread: s.Unread, Unsent: s.Unsent, UDP: s.UDP, UDPDrops: s.UDPDrops,
	}
}

// summary is what status shows of the servers that are hosted here; nothing when
// it cannot be had at once.
func (t *traffic) summary(ctx context.Context, c netquorum.Config, filer string) map[string]api.ServerTraffic {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	out := map[string]api.ServerTraffic{}
	for key, f := range t.local(ctx, c, filer, "") {
		if f.Hosts && f.Traffic != nil {
			s := api.ServerTraffic{In: f.Traffic.IP.In, Out: f.Traffic.IP.Out}
			if f.Sockets != nil {
				s.Connections = f.Sockets.TCP["established"]
			}
			out[key] = s
		}
	}
	return out
}

// localStatistics answers other filers.
func (m *member) localStatistics(ctx context.Context, r statisticsRequest) (localStatistics, error) {
	config, _ := m.newest()
	if m.agent.traffic == nil {
		return nil, errNotCounted
	}
	return m.agent.traffic.local(ctx, config, m.name, r.Server), nil
}

var errNotCounted = api.Refuse(api.ErrUnsupported, "this daemon counts nothing", nil)

// Statistics implements api.Backend.
func (b backend) Statistics(ctx context.Context, server string) (api.Statistics, error) {
	m, err := b.running()
	if err != nil {
		// What the kernel has counted is known without a cluster too.
		g, ok := b.bootConfig()
		if !ok || b.traffic == nil {
			return api.Statistics{}, err
		}
		if err := hasServer(g.config, server); err != nil {
			return api.Statistics{}, err
		}
		own := map[string]localStatistics{g.filer: b.traffic.local(ctx, g.config, g.filer, server)}
		return gatherStatistics(g.config, server, own, nil), nil
	}
	config, _ := m.newest()
	if err := hasServer(config, server); err != nil {
		return api.Statistics{}, err
	}
	answers, failed := ask(ctx, members(config), func(ctx context.Context, id netquorum.FilerID) (localStatistics, error) {
		ctx, cancel := context.WithTimeout(ctx, peerPatience)
		defer cancel()
		r := statisticsRequest{server}
		if id == m.id {
			return m.localStatistics(ctx, r)
		}
		var out localStatistics
		return out, call(ctx, m.client, id, pathStatistics, r, &out)
	})
	return gatherStatistics(config, server, answers, failed), nil
}

// gatherStatistics joins what the filers said, in the order of the servers.
func gatherStatistics(c netquorum.Config, server string, answers map[string]localStatistics, failed map[string]error) api.Statistics {
	var out api.Statistics
	for h := range c.Hosted() {
		if server != "" && !sameName(server, h.Key.Name) {
			continue
		}
		s := api.ServerStatistics{Kind: h.Key.Kind, Name: h.Key.Name}
		if p, ok := c.Placement(h.Key.Name); ok {
			s.Host = p.Filer
		}
		for d := range c.All(netquorum.KindFiler) {
			if err := failed[d.Name]; err != nil {
				s.Filers = append(s.Filers, api.FilerStatistics{Filer: d.Name, Unknown: fmt.Sprintf("%s does not answer: %v", d.Name, err)})
			} else if f, ok := answers[d.Name][h.Key.Fold().String()]; ok {
				f.Filer = d.Name
				s.Filers = append(s.Filers, f)
				if f.Traffic != nil {
					s.Total = s.Total.Plus(*f.Traffic)
				}
			}
		}
		out.Servers = append(out.Servers, s)
	}
	return out
}

// hasServer refuses the name of a server that does not exist; the empty name
// means all.
func hasServer(c netquorum.Config, server string) error {
	if server == "" {
		return nil
	}
	_, err := findServer(c, server)
	return err
}

func findServer(c netquorum.Config, name string) (netquorum.Key, error) {
	for h := range c.Hosted() {
		if sameName(name, h.Key.Name) {
			return h.Key, nil
		}
	}
	return netquorum.Key{}, api.Refuse(api.ErrNotFound, fmt.Sprintf("there is no virtual server or service %s", name), nil)
}
