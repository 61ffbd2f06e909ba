package agent

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/store"
	"github.com/netquorum/netquorum/store/bootcache"
)

// Status implements api.Backend.
func (b backend) Status(ctx context.Context) (api.Status, error) {
	b.mu.Lock()
	m, state, message := b.member, b.state, b.message
	b.mu.Unlock()
	if m == nil {
		return b.lonelyStatus(ctx, state, message), nil
	}
	return m.status(ctx), nil
}

// lonelyStatus is that of a filer without a membership: what its kernel has,
// and why it is alone.
func (b backend) lonelyStatus(ctx context.Context, state api.LifeState, message string) api.Status {
	out := api.Status{State: state, Message: message}
	g, ok := b.provisionalGoal()
	if !ok {
		return out
	}
	out.Filer, out.Commit = g.filer, g.revision
	if name, _, ok := g.config.Cluster(); ok {
		out.Cluster = name
	}
	o, _ := b.follower.Outcome()
	self := api.FilerStatus{
		Name: g.filer, Role: api.RoleAbsent, State: state, Version: b.cfg.Version,
		Applied: appliedOf(o), Features: features(b.cfg.Features), Errors: objectErrors(o), Drifts: o.drifts(),
		BootCache: bootCopies(b.copies), Links: links(ctx, b.cfg.Kernel, g.config, g.filer),
	}
	for _, c := range self.BootCache {
		self.Cached = max(self.Cached, c.Revision)
	}
	describe(&self, b.monitored())
	out.Filers = []api.FilerStatus{self}
	return out
}

func appliedOf(o outcome) netquorum.Revision {
	if o.settled == provisionalRevision {
		return 0
	}
	return o.settled
}

// A selfAnswer is what a filer says of itself, and when it last heard of others:
// the leader is the one that hears of all.
type selfAnswer struct {
	api.FilerStatus
	Heard map[string]time.Time `json:"heard,omitempty"`
	// Waiting is what the open rollout waits for, as the leader knows.
	Waiting string `json:"waiting,omitempty"`
	// Holds is what it holds of the cluster's authorities.
	Holds holding `json:"holds,omitzero"`
	// Traffic is that of the servers it hosts, by their folded keys.
	Traffic map[string]api.ServerTraffic `json:"traffic,omitempty"`
}

// sightings are when filers were last heard of. The zero value is ready to use.
type sightings struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (s *sightings) note(filer string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[string]time.Time{}
	}
	if at.After(s.at[filer]) {
		s.at[filer] = at.UTC()
	}
}

func (s *sightings) all() map[string]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.at)
}

// self is what this filer reports of itself.
func (m *member) self(ctx context.Context) selfAnswer {
	s, raft := m.store.State(), m.store.Status()
	o, _ := m.follower.Outcome()
	cache := m.keeper.Status()
	hash := s.Hash()
	now := m.cfg.Now()
	until, held := m.lease.Held(now, s.Revision())
	out := api.FilerStatus{
		Name: m.name, ID: m.id, Role: role(raft, m.id), State: api.StateRunning, Version: m.cfg.Version,
		Committed: s.Revision(), Applied: o.settled, Cached: cache.Revision, StateHash: hex.EncodeToString(hash[:]),
		BootCache: bootCopies(cache.Copies), Features: m.features,
		Lease:  &api.Lease{Held: held, Expires: until.UTC()},
		Errors: objectErrors(o), Drifts: o.drifts(),
	}
	if raft.Failure != "" {
		out.State = api.StateFailed
		out.Errors = append(out.Errors, api.ObjectError{Object: "store", Message: raft.Failure, Since: now.UTC()})
	} else if s.Revision() == 0 || s.Revision() < m.boot.Revision {
		out.State = api.StateBooting
	}
	if cache.Error != "" {
		out.Errors = append(out.Errors, api.ObjectError{Object: "boot cache", Message: cache.Error, Since: now.UTC()})
	}
	config, _, _ := m.following()
	out.Links = links(ctx, m.kernel, config, m.name)
	out.Peers = m.links().Links
	describe(&out, m.agent.monitored())
	return selfAnswer{out, m.seen.all(), m.lead.Waiting(), holdingOf(m.keys.Ring()), m.agent.traffic.summary(ctx, config, m.name)}
}

func role(s store.Status, id netquorum.FilerID) api.Role {
	switch s.Role {
	case store.RoleLeader:
		return api.RoleLeader
	case store.RoleCandidate:
		return api.RoleCandidate
	case store.RoleFollower:
		i := slices.IndexFunc(s.Members, func(m store.Member) bool { return m.ID == id })
		if i >= 0 && !s.Members[i].Voter {
			return api.RoleLearner
		}
		return api.RoleFollower
	}
	return api.RoleAbsent
}

// status gathers what every member says of itself.
func (m *member) status(ctx context.Context) api.Status {
	ctx, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	config, revision := m.newest()
	raft := m.store.Status()
	out := api.Status{
		Filer: m.name, State: api.StateRunning, Leader: memberName(config, raft.Leader), Term: raft.Term,
		Commit: revision, Findings: config.Findings(),
	}
	if out.Cluster, _, _ = config.Cluster(); out.Cluster == "" {
		out.Cluster = m.keys.Identity().Cluster
	}
	peers := members(config)
	peers[m.name] = m.id // also while nothing is known of the cluster
	quorum := make(chan bool, 1)
	go func() { // ends with ctx at the latest
		_, err := m.store.Read(ctx, store.Linearizable)
		quorum <- err == nil
	}()
	answers, failed := ask(ctx, peers, func(ctx context.Context, id netquorum.FilerID) (selfAnswer, error) {
		if id == m.id {
			return m.self(ctx), nil
		}
		var s selfAnswer
		return s, call(ctx, m.client, id, pathSelf, struct{}{}, &s)
	})
	out.Quorum = <-quorum
	now := m.cfg.Now().UTC()
	out.Rollout = rolloutStatus(config, answers[out.Leader].Waiting)
	out.Authority = m.openAuthority(config, answers)
	for name, s := range answers {
		m.seen.note(name, now)
		for other, at := range s.Heard {
			m.seen.note(other, at)
		}
		s.Name, s.Seen = name, &now
		out.Filers = append(out.Filers, s.FilerStatus)
	}
	seen := m.seen.all()
	for name := range failed {
		f := api.FilerStatus{Name: name, ID: memberID(config, name), Role: api.RoleUnreachable}
		if at, ok := seen[name]; ok {
			f.Seen = &at
		}
		out.Filers = append(out.Filers, f)
	}
	for d := range config.All(netquorum.KindFiler) {
		if memberID(config, d.Name) == "" {
			out.Filers = append(out.Filers, api.FilerStatus{Name: d.Name, Role: api.RoleAbsent})
		}
	}
	slices.SortFunc(out.Filers, func(a, b api.FilerStatus) int { return cmp.Compare(a.Name, b.Name) })
	if self, ok := answers[m.name]; ok {
		out.State = self.State
		if self.State == api.StateBooting {
			out.Message = "configured from the boot cache; waiting for the cluster"
			if revision == 0 {
				out.Message = "neither copy of the boot cache can be used, so the interfaces are as the kernel has them; " +
					"waiting for the cluster, which reaches this filer as soon as it has one of its mgmt addresses"
			}
		}
		if !out.Quorum && m.leftBehind() {
			out.Message = fmt.Sprintf("the authority of %s was changed without this filer, and the others refuse it: join it again. On another filer run "+
				"`netquorum token create --filer %s`; here stop the daemon, move %s away, start the daemon, and run "+
				"`netquorum join --filer %[2]s --peer ANOTHER-FILER --token-file FILE`", out.Cluster, m.name, m.cfg.storeDir())
		}
		if raft.Failure != "" {
			out.Message = raft.Failure
		}
	}
	for h := range config.Hosted() {
		out.Servers = append(out.Servers, serverStatus(config, h, answers))
	}
	return out
}

// leftBehind reports whether no other filer is reached, and more than half of them
// show certificates of an authority of this cluster that this filer does not know.
func (m *member) leftBehind() bool {
	all := m.endpoint.Links()
	n := 0
	for _, l := range all {
		if l.Up {
			return false
		}
		if l.Estranged {
			n++
		}
	}
	return 2*n > len(all)
}

// serverStatus tells where a server is, as its host reports it.
func serverStatus(c netquorum.Config, h netquorum.Hosted, filers map[string]selfAnswer) api.ServerStatus {
	out := api.ServerStatus{Kind: h.Key.Kind, Name: h.Key.Name, Group: h.Group, State: "unplaced", Candidates: c.Candidates(h)}
	for _, a := range h.Addresses {
		out.Addresses = append(out.Addresses, a.Prefix)
	}
	p, ok := c.Placement(h.Key.Name)
	if !ok {
		return out
	}
	out.Host, out.Epoch = p.Filer, p.Epoch
	switch {
	case p.Filer != "":
		out.State = "moving"
		if f, ok := filers[p.Filer]; ok && serves(f.FilerStatus, h) {
			out.State = "serving"
		}
		if t, ok := filers[p.Filer].Traffic[h.Key.Fold().String()]; ok {
			out.Traffic = &t
		}
	case p.Leaving != "":
		out.State = "moving"
	}
	return out
}

// serves reports whether a filer has every address of a server.
func serves(f api.FilerStatus, h netquorum.Hosted) bool {
	for _, a := range h.Addresses {
		if !slices.ContainsFunc(f.Links, func(l api.InterfaceStatus) bool {
			return sameName(l.Server, h.Key.Name) && slices.Contains(l.Addresses, a.Prefix)
		}) {
			return false
		}
	}
	return true
}

// links describes the links of the kernel that the configuration speaks of.
func links(ctx context.Context, kernel netapply.Kernel, c netquorum.Config, filer string) []api.InterfaceStatus {
	have, err := kernel.Observe(ctx)
	if err != nil {
		return nil
	}
	configured := map[string]netquorum.Interface{}
	for _, i := range c.Interfaces(filer) {
		configured[string(i.Name)] = i
	}
	var out []api.InterfaceStatus
	for _, l := range have.Links {
		i, known := configured[l.Name]
		if !known && !l.Ours() {
			continue
		}
		s := api.InterfaceStatus{
			Name: l.Name, Layer: i.Name.Layer(), MTU: l.MTU, MAC: l.MAC.String(), Parent: l.Parent,
		}
		if owner, ok := l.PortOf(); ok {
			s.Server = owner.Name
		}
		switch {
		case !l.Up:
			s.State = "down"
		case !l.Carrier:
			s.State = "no-carrier"
		default:
			s.State = "up"
		}
		for _, member := range have.Links {
			if member.Master == l.Name && l.Kind == netapply.Bond {
				s.Members = append(s.Members, member.Name)
			}
		}
		for _, a := range have.Addresses {
			if a.Link == l.Name && !linkLocal(a.Prefix) {
				s.Addresses = append(s.Addresses, a.Prefix)
			}
		}
		delete(configured, l.Name)
		out = append(out, s)
	}
	for name, i := range configured {
		out = append(out, api.InterfaceStatus{Name: name, Layer: i.Name.Layer(), State: "missing"})
	}
	slices.SortFunc(out, func(a, b api.InterfaceStatus) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func linkLocal(p netip.Prefix) bool { return p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() }

func objectErrors(o outcome) []api.ObjectError {
	var out []api.ObjectError
	if o.err != nil {
		out = append(out, api.ObjectError{Object: wholeConfiguration, Message: o.err.Error(), Since: o.failing[wholeConfiguration]})
	}
	for _, f := range o.report.Failures {
		message := strings.TrimPrefix(f.Error(), f.Object+": ")
		out = append(out, api.ObjectError{Object: f.Object, Message: message, Since: o.failing[f.Object]})
	}
	return out
}

// bootStates are the API's words for the states of a copy.
var bootStates = map[bootcache.State]string{
	bootcache.OK: "valid", bootcache.Missing: "missing", bootcache.Damaged: "damaged", bootcache.Newer: "newer-version",
}

func bootCopies(list []bootcache.CopyStatus) []api.BootCopy {
	var out []api.BootCopy
	for _, c := range list {
		out = append(out, api.BootCopy{File: c.File, State: bootStates[c.State], Revision: c.Revision, Detail: c.Reason})
	}
	return out
}
