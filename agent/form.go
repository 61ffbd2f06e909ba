package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/store"
	"github.com/netquorum/netquorum/store/bootcache"
	"github.com/netquorum/netquorum/transport"
)

func sameName(a, b string) bool { return strings.EqualFold(a, b) }

// Init implements api.Backend: it forms a cluster of this filer alone. Nothing
// is written before the first configuration is known to be valid.
func (b backend) Init(ctx context.Context, r api.InitRequest) (api.MemberResult, error) {
	done, err := b.beginConfiguring()
	if err != nil {
		return api.MemberResult{}, err
	}
	defer done()
	id := netquorum.FilerID(uuid.NewString())
	first, cluster, err := firstTransaction(r, id, b.cfg)
	if err != nil {
		return api.MemberResult{}, err
	}
	after, result := fsm.DryRun(fsm.NewState(), first)
	if result.Refusal != nil {
		return api.MemberResult{}, refusal(result.Refusal)
	}
	if err := lacking(after, map[string][]api.Feature{r.Filer: features(b.cfg.Features)}); err != nil {
		return api.MemberResult{}, err
	}
	authority, err := transport.NewAuthority(cluster)
	if err != nil {
		return api.MemberResult{}, err
	}
	first.Puts = append(first.Puts, firstAuthority(authority, b.cfg.Now()))
	identity, err := authority.Issue(id, r.Filer)
	if err != nil {
		return api.MemberResult{}, err
	}
	ring, err := transport.NewKeyring(authority, nil, identity)
	if err != nil {
		return api.MemberResult{}, err
	}
	m, err := b.enter(ring, bootcache.Boot{})
	if err != nil {
		return api.MemberResult{}, err
	}
	if err := m.store.Bootstrap(ctx, []fsm.Transaction{first}); err != nil {
		return api.MemberResult{}, errors.Join(apiError(err), m.Close(), b.forget(m))
	}
	b.start(m)
	return api.MemberResult{Cluster: cluster, Filer: r.Filer, ID: id, Revision: m.store.State().Revision()}, nil
}

// firstTransaction makes the cluster's first: the documents given, what is
// missing of cluster and filer, and this filer as a member.
func firstTransaction(r api.InitRequest, id netquorum.FilerID, cfg Config) (fsm.Transaction, string, error) {
	t := fsm.Transaction{ID: newRequestID(), Actor: r.Actor, System: true}
	cluster, filer := "", r.Filer
	for _, d := range r.Documents {
		if d.Kind.Machine() {
			return t, "", fmt.Errorf("%w: %s is written by the cluster itself; leave it out", api.ErrMachineKind, d.Key())
		}
		switch {
		case d.Kind == netquorum.KindCluster:
			cluster = d.Name
		case d.Kind == netquorum.KindFiler && sameName(d.Name, filer):
			filer = ""
		}
		t.Puts = append(t.Puts, fsm.Put{Document: d, MustNotExist: true})
	}
	put := func(k netquorum.Kind, name string, s netquorum.Spec) {
		t.Puts = append(t.Puts, fsm.Put{Document: netquorum.Document{Kind: k, Name: name, Spec: s}, MustNotExist: true})
	}
	switch {
	case cluster != "" && r.Cluster != "" && cluster != r.Cluster:
		return t, "", fmt.Errorf("%w: the cluster is called %s in the documents and %s in the request", api.ErrUsage, cluster, r.Cluster)
	case cluster == "" && (r.Cluster == "" || r.MAC == nil):
		return t, "", fmt.Errorf("%w: a new cluster needs a name and a cluster MAC, given directly or in a Cluster document", api.ErrUsage)
	case cluster == "":
		cluster = r.Cluster
		put(netquorum.KindCluster, cluster, &netquorum.Cluster{MAC: *r.MAC})
	}
	if filer != "" {
		put(netquorum.KindFiler, filer, &netquorum.Filer{})
	}
	advertise := cfg.Advertise
	if len(advertise) == 0 {
		var err error
		if advertise, err = machineAddresses(cfg.port()); err != nil {
			return t, "", err
		}
	}
	put(netquorum.KindMember, r.Filer, &netquorum.Member{ID: id, Endpoints: advertise})
	return t, cluster, nil
}

// Join implements api.Backend.
func (b backend) Join(ctx context.Context, r api.JoinRequest) (api.MemberResult, error) {
	token, err := transport.ParseToken(r.Token)
	if err != nil {
		return api.MemberResult{}, fmt.Errorf("%w: %w", api.ErrUsage, err)
	}
	done, err := b.beginConfiguring()
	if err != nil {
		return api.MemberResult{}, err
	}
	defer done()
	if err := b.bringUp(ctx, r); err != nil {
		return api.MemberResult{}, err
	}
	id, err := b.joiningID()
	if err != nil {
		return api.MemberResult{}, err
	}
	reply, err := b.askToJoin(ctx, r, token, id)
	if err != nil {
		return api.MemberResult{}, joinError(err)
	}
	ring, err := reply.Open()
	if err != nil {
		return api.MemberResult{}, err
	}
	identity := ring.Identity
	boot := bootcache.Boot{Cluster: reply.Cluster, Filer: id, Name: identity.Name}
	if err := json.Unmarshal(reply.Payload, &boot.Documents); err != nil {
		return api.MemberResult{}, fmt.Errorf("the configuration in the reply: %w", err)
	}
	for _, d := range boot.Documents {
		boot.Revision = max(boot.Revision, d.Revision)
	}
	// From the cache on, a power cut leaves a filer that finds its cluster.
	if err := b.cache.Save(boot); err != nil {
		return api.MemberResult{}, err
	}
	m, err := b.enter(ring, boot)
	if err != nil {
		return api.MemberResult{}, err
	}
	b.start(m)
	if err := b.untilMember(ctx, m); err != nil {
		return api.MemberResult{}, err
	}
	return api.MemberResult{Cluster: reply.Cluster, Filer: identity.Name, ID: id, Revision: m.store.State().Revision()}, nil
}

// bringUp lets the kernel follow the documents that a joiner brought, so that
// it has an address from which the peer can be reached.
func (b backend) bringUp(ctx context.Context, r api.JoinRequest) error {
	if len(r.Documents) == 0 {
		return nil
	}
	config, problems := netquorum.Config{}.Change(r.Documents, nil)
	if len(problems) > 0 {
		return api.Refuse(api.ErrInvalid, "the documents are no valid configuration: "+problems.Error(), problems)
	}
	if _, ok := config.Filer(r.Filer); !ok {
		return api.Refuse(api.ErrNotFound, fmt.Sprintf("the documents have no Filer %q, whose interfaces were to be brought up", r.Filer), nil)
	}
	_, passed := b.follower.Outcome()
	b.mu.Lock()
	b.provisional = &goal{config: config, filer: r.Filer, hosts: nothing, network: provisionalRevision}
	b.mu.Unlock()
	b.follower.Wake()
	select {
	case <-passed:
		return nil // what failed is logged; the peer may be within reach all the same
	case <-ctx.Done():
		return ctx.Err()
	}
}

// provisionalRevision tells the goal of a joiner from that of a filer with
// nothing: both have no revision.
const provisionalRevision = ^netquorum.Revision(0)

// joiningID returns the id that this filer joins with. It is kept in a file
// until the join is done, so that a join whose answer was lost can be repeated
// with the same token.
func (a *Agent) joiningID() (netquorum.FilerID, error) {
	path := filepath.Join(a.cfg.DataDir, "joining-id")
	if data, err := os.ReadFile(path); err == nil {
		if id, err := uuid.Parse(strings.TrimSpace(string(data))); err == nil {
			return netquorum.FilerID(id.String()), nil
		}
	}
	id := uuid.NewString()
	if err := os.WriteFile(path, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keeping the id to join with: %w", err)
	}
	return netquorum.FilerID(id), nil
}

// askToJoin repeats the request while the peer is not within reach: links take
// their time to come up, LACP several seconds.
func (b backend) askToJoin(ctx context.Context, r api.JoinRequest, token transport.Token, id netquorum.FilerID) (transport.JoinReply, error) {
	req := transport.JoinRequest{Filer: id, Name: r.Filer, Version: b.cfg.Version, Level: fsm.Level, Endpoints: b.cfg.Advertise}
	for {
		if len(b.cfg.Advertise) == 0 {
			list, err := machineAddresses(b.cfg.port())
			if err != nil {
				return transport.JoinReply{}, err
			}
			req.Endpoints = list
		}
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		reply, err := transport.Join(attempt, r.Peer, token, req)
		cancel()
		if err == nil || !worthRepeating(err) {
			return reply, err
		}
		b.log.Info("the peer cannot be joined yet; trying again", "peer", r.Peer, "error", err)
		select {
		case <-ctx.Done():
			return transport.JoinReply{}, err
		case <-time.After(time.Second):
		}
	}
}

// worthRepeating reports whether a join failed for want of a network or a
// quorum.
func worthRepeating(err error) bool {
	var refused *transport.Refusal
	if errors.As(err, &refused) {
		return refused.Code == transport.RefusedUnavailable
	}
	var network net.Error
	return errors.As(err, &network)
}

// joinError turns a failed join into the API's words.
func joinError(err error) error {
	var refused *transport.Refusal
	if errors.As(err, &refused) {
		switch refused.Code {
		case transport.RefusedUnavailable:
			return fmt.Errorf("%w: %w", api.ErrNoQuorum, err)
		case transport.RefusedNotInCluster, transport.RefusedVersion, transport.RefusedBusy:
			return fmt.Errorf("%w: %w", api.ErrRefused, err)
		case transport.RefusedNameTaken:
			return fmt.Errorf("%w: %w", api.ErrExists, err)
		case transport.RefusedInvalid:
			return fmt.Errorf("%w: %w", api.ErrInvalid, err)
		}
		return fmt.Errorf("%w: %w", api.ErrToken, err)
	}
	if errors.Is(err, transport.ErrImpostor) {
		return fmt.Errorf("%w: %w", api.ErrToken, err)
	}
	return fmt.Errorf("%w: %w", api.ErrUnreachable, err)
}

// untilMember waits until the leader has made this filer a voter and it has
// caught up with what was committed then.
func (b backend) untilMember(ctx context.Context, m *member) error {
	for {
		changed := m.store.Changed()
		s := m.store.Status()
		for _, server := range s.Members {
			if server.ID == m.id && server.Voter && m.store.State().Revision() >= m.boot.Revision {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: this filer was admitted, but did not become a voter in time; it goes on trying, see `netquorum status`", api.ErrTimeout)
		case <-changed:
		case <-time.After(m.cfg.Heartbeat): // becoming a voter changes no document
		}
	}
}

// beginConfiguring lets one init or join at a time through, on a filer that is
// in no cluster.
func (a *Agent) beginConfiguring() (done func(), err error) {
	if !a.configuring.TryLock() {
		return nil, fmt.Errorf("%w: another init or join is under way", api.ErrConfigured)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.member != nil || a.state == api.StateBooting {
		a.configuring.Unlock()
		return nil, api.ErrConfigured
	}
	if a.state == api.StateFailed {
		a.configuring.Unlock()
		return nil, fmt.Errorf("%w: %s", api.ErrDamaged, a.message)
	}
	a.state = api.StateJoining
	return func() {
		a.mu.Lock()
		if a.state == api.StateJoining && a.member == nil {
			a.state = api.StateUnconfigured
		}
		a.mu.Unlock()
		a.configuring.Unlock()
	}, nil
}

// enter makes this filer a member on disk and opens its store.
func (a *Agent) enter(ring *transport.Keyring, boot bootcache.Boot) (*member, error) {
	if err := ring.Save(a.cfg.identityDir()); err != nil {
		return nil, err
	}
	return a.openMember(ring, boot, nothing)
}

// start hands the member to live, which runs it. The identity is shown to
// others from here on.
func (a *Agent) start(m *member) {
	a.become(m, api.StateRunning, "")
	os.Remove(filepath.Join(a.cfg.DataDir, "joining-id"))
	a.joined <- m
}

// forget sets aside what a member left on disk, so that the filer is in no
// cluster after the next boot either. The log is renamed, not removed.
func (a *Agent) forget(m *member) error {
	aside := a.cfg.storeDir() + ".removed-" + string(m.id)
	err := errors.Join(os.RemoveAll(a.cfg.identityDir()), os.RemoveAll(a.cfg.cacheDir()))
	cache, openErr := bootcache.Open(a.cfg.cacheDir())
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	a.cache = cache
	for dir, aside := range map[string]string{a.cfg.storeDir(): aside, a.cfg.messagesDir(): a.cfg.messagesDir() + ".removed-" + string(m.id)} {
		if renameErr := os.Rename(dir, aside); renameErr != nil && !errors.Is(renameErr, os.ErrNotExist) {
			err = errors.Join(err, renameErr)
		}
	}
	return err
}

var _ transport.Joining = (*member)(nil)
var _ store.Network = network{}
