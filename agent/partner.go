package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/partner"
	"github.com/netquorum/netquorum/store"
	"github.com/netquorum/netquorum/transport"
)

// A partnerBook shows the partners in the newest state that this filer has: they
// are needed without a quorum too.
type partnerBook struct{ m *member }

func (b partnerBook) Partner(name string) (partner.Known, bool) {
	config := b.m.store.State().Config()
	doc, ok := config.Get(netquorum.KindPartner, name)
	if !ok {
		return partner.Known{}, false
	}
	spec := doc.Spec.(*netquorum.Partner)
	known := partner.Known{Name: doc.Name, Endpoints: spec.Endpoints}
	for d := range config.All(netquorum.KindSecret) {
		s := d.Spec.(*netquorum.Secret)
		if s.State == netquorum.SecretUse && sameName(s.Partner, name) {
			known.Use = partner.Shared{ID: d.Name, Key: s.Key, Partner: doc.Name, Cluster: spec.ClusterID}
		}
	}
	return known, true
}

// Secret finds a secret by its id. One whose partner was deleted is good for
// nothing.
func (b partnerBook) Secret(id string) (partner.Shared, bool) {
	config := b.m.store.State().Config()
	doc, ok := config.Get(netquorum.KindSecret, id)
	if !ok {
		return partner.Shared{}, false
	}
	s := doc.Spec.(*netquorum.Secret)
	of, ok := config.Get(netquorum.KindPartner, s.Partner)
	if !ok {
		return partner.Shared{}, false
	}
	return partner.Shared{ID: doc.Name, Key: s.Key, Partner: of.Name, Cluster: of.Spec.(*netquorum.Partner).ClusterID}, true
}

// newPartners makes the manager of this filer's links to other clusters.
func (m *member) newPartners(identity *transport.Identity) *partner.Manager {
	return partner.NewManager(partner.Config{
		Cluster: identity.ClusterID, Filer: m.id, Book: partnerBook{m}, Log: m.log.With("part", "partner"),
		Dial: m.endpoint.DialPartner,
	})
}

// bookPatience is how long a daemon that starts waits for a quorum before it
// answers other clusters by what it had before.
const bookPatience = 5 * time.Second

// tendPartners answers other clusters, and follows what is said of them. A daemon
// that starts does not refuse secrets because it has not read its log yet.
func (m *member) tendPartners(ctx context.Context) error {
	defer m.partners.Close()
	book, cancel := context.WithTimeout(ctx, bookPatience)
	_, err := m.store.Read(book, store.Linearizable)
	cancel()
	if err != nil {
		m.log.Debug("other clusters are answered without a quorum", "error", err)
	}
	m.endpoint.ServeStrangers(transport.ServicePartner, m.partners.Answer)
	defer m.endpoint.ServeStrangers(transport.ServicePartner, nil)
	var seen partnersSeen
	for {
		changed := m.store.Changed()
		config := m.store.State().Config()
		if now := seePartners(config); now != seen {
			seen = now
			m.partners.Recheck()
		}
		m.sweepSecrets(ctx, config)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// partnersSeen tells two states of the partners and their secrets apart.
type partnersSeen struct {
	documents int
	newest    netquorum.Revision
}

func seePartners(c netquorum.Config) partnersSeen {
	var out partnersSeen
	for _, kind := range []netquorum.Kind{netquorum.KindPartner, netquorum.KindSecret} {
		for d := range c.All(kind) {
			out.documents++
			out.newest = max(out.newest, d.Revision)
		}
	}
	return out
}

// sweepSecrets removes, where this filer leads, the secrets of partners that are
// no more: another partner that gets the name one day must not find them.
func (m *member) sweepSecrets(ctx context.Context, c netquorum.Config) {
	t := fsm.Transaction{ID: newRequestID(), Actor: "cluster", System: true}
	for d := range c.All(netquorum.KindSecret) {
		if _, ok := c.Get(netquorum.KindPartner, d.Spec.(*netquorum.Secret).Partner); !ok {
			t.Deletes = append(t.Deletes, fsm.Delete{Key: d.Key(), IfRevision: &d.Revision})
		}
	}
	if len(t.Deletes) == 0 || m.lead.book() == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, m.lead.term)
	defer cancel()
	if err := m.commit(ctx, t); err != nil {
		m.log.Warn("secrets of deleted partners could not be removed; trying again at the next change", "error", err)
	}
}

// Partners implements api.Backend.
func (b backend) Partners(context.Context) (api.PartnerList, error) {
	m, err := b.running()
	if err != nil {
		return api.PartnerList{}, err
	}
	own, config := m.keys.Identity(), m.store.State().Config()
	out := api.PartnerList{Cluster: own.Cluster, ClusterID: own.ClusterID, Partners: []api.Partner{}}
	links := m.partners.Links()
	for d := range config.All(netquorum.KindPartner) {
		spec := d.Spec.(*netquorum.Partner)
		p := api.Partner{Name: d.Name, Endpoints: spec.Endpoints, ClusterID: spec.ClusterID}
		for s := range config.All(netquorum.KindSecret) {
			if of := s.Spec.(*netquorum.Secret); sameName(of.Partner, d.Name) {
				p.Secrets = append(p.Secrets, shownSecret(s))
			}
		}
		for _, l := range links {
			if sameName(l.Partner, d.Name) {
				p.Links = append(p.Links, partnerLink(l))
			}
		}
		for _, w := range m.partners.Problems(d.Name) {
			p.Problems = append(p.Problems, api.PartnerProblem{Endpoint: w.Endpoint, Message: w.Err.Error()})
		}
		out.Partners = append(out.Partners, p)
	}
	return out, nil
}

func shownSecret(d netquorum.Document) api.Secret {
	s := d.Spec.(*netquorum.Secret)
	return api.Secret{ID: d.Name, Partner: s.Partner, State: s.State, Made: since1970(s.Made)}
}

func partnerLink(l partner.LinkStatus) api.PartnerLink {
	out := api.PartnerLink{Filer: l.Filer, Streams: l.Streams, Switches: l.Switches, Paths: []api.PartnerPath{}}
	for _, c := range l.Carriers {
		out.Paths = append(out.Paths, api.PartnerPath{Local: c.Path.Local, Remote: c.Path.Remote, State: string(c.State), RTT: api.Duration(c.RTT.Round(10 * time.Microsecond))})
	}
	return out
}

// partnerSecrets returns the partner of the name, its secrets, and what becomes
// of the one in use when another is.
func partnerSecrets(c netquorum.Config, name string) (of netquorum.Document, secrets []netquorum.Document, err error) {
	of, ok := c.Get(netquorum.KindPartner, name)
	if !ok {
		return of, nil, api.Refuse(api.ErrNotFound, fmt.Sprintf("there is no partner %s; apply a Partner document first", name), nil)
	}
	for d := range c.All(netquorum.KindSecret) {
		if sameName(d.Spec.(*netquorum.Secret).Partner, name) {
			secrets = append(secrets, d)
		}
	}
	return of, secrets, nil
}

// demoted are the puts by which no secret is in use any more.
func demoted(secrets []netquorum.Document) []fsm.Put {
	var out []fsm.Put
	for _, d := range secrets {
		if s := *d.Spec.(*netquorum.Secret); s.State == netquorum.SecretUse {
			at := d.Revision
			s.State = netquorum.SecretAccept
			out = append(out, fsm.Put{IfRevision: &at, Document: netquorum.Document{Kind: netquorum.KindSecret, Name: d.Name, Spec: &s}})
		}
	}
	return out
}

// AddSecret implements api.Backend.
func (b backend) AddSecret(ctx context.Context, r api.SecretRequest) (api.Secret, error) {
	m, err := b.running()
	if err != nil {
		return api.Secret{}, err
	}
	state, err := m.read(ctx)
	if err != nil {
		return api.Secret{}, err
	}
	of, secrets, err := partnerSecrets(state.Config(), r.Partner)
	if err != nil {
		return api.Secret{}, err
	}
	secret := transport.NewPartnerSecret()
	if r.Secret != "" {
		if secret, err = transport.ParsePartnerSecret(r.Secret); err != nil {
			return api.Secret{}, fmt.Errorf("%w: %w", api.ErrUsage, err)
		}
	}
	spec := &netquorum.Secret{Partner: of.Name, State: netquorum.SecretAccept, Key: secret.Key(), Made: b.cfg.Now().UnixMilli()}
	t := fsm.Transaction{ID: newRequestID(), Actor: r.Actor, System: true}
	if inUse := demoted(secrets); r.Use || len(inUse) == 0 {
		spec.State = netquorum.SecretUse
		t.Puts = inUse
	}
	doc := netquorum.Document{Kind: netquorum.KindSecret, Name: secret.ID(), Spec: spec}
	t.Puts = append(t.Puts, fsm.Put{MustNotExist: true, Document: doc})
	if err := m.commit(ctx, t); err != nil {
		return api.Secret{}, err
	}
	out := shownSecret(doc)
	if r.Secret == "" {
		out.Secret = secret.String()
	}
	return out, nil
}

// UseSecret implements api.Backend.
func (b backend) UseSecret(ctx context.Context, actor, name, id string) (api.Secret, error) {
	m, err := b.running()
	if err != nil {
		return api.Secret{}, err
	}
	state, err := m.read(ctx)
	if err != nil {
		return api.Secret{}, err
	}
	_, secrets, err := partnerSecrets(state.Config(), name)
	if err != nil {
		return api.Secret{}, err
	}
	doc, err := secretOf(secrets, name, id)
	if err != nil {
		return api.Secret{}, err
	}
	used := *doc.Spec.(*netquorum.Secret)
	if used.State == netquorum.SecretUse {
		return shownSecret(doc), nil
	}
	used.State = netquorum.SecretUse
	at := doc.Revision
	doc.Spec = &used
	err = m.commit(ctx, fsm.Transaction{ID: newRequestID(), Actor: actor, System: true, Puts: append(demoted(secrets), fsm.Put{IfRevision: &at, Document: doc})})
	return shownSecret(doc), err
}

// RemoveSecret implements api.Backend.
func (b backend) RemoveSecret(ctx context.Context, actor, name, id string) error {
	m, err := b.running()
	if err != nil {
		return err
	}
	state, err := m.read(ctx)
	if err != nil {
		return err
	}
	_, secrets, err := partnerSecrets(state.Config(), name)
	if err != nil {
		return err
	}
	doc, err := secretOf(secrets, name, id)
	if err != nil {
		return err
	}
	if doc.Spec.(*netquorum.Secret).State == netquorum.SecretUse && len(secrets) > 1 {
		return api.Refuse(api.ErrRefused, fmt.Sprintf("the secret %s is in use with %s; use another one first", id, name), nil)
	}
	return m.commit(ctx, fsm.Transaction{ID: newRequestID(), Actor: actor, System: true, Deletes: []fsm.Delete{{Key: doc.Key(), IfRevision: &doc.Revision}}})
}

func secretOf(secrets []netquorum.Document, name, id string) (netquorum.Document, error) {
	for _, d := range secrets {
		if strings.EqualFold(d.Name, id) {
			return d, nil
		}
	}
	return netquorum.Document{}, api.Refuse(api.ErrNotFound, fmt.Sprintf("no secret %s is shared with %s", id, name), nil)
}

// OpenStream implements api.Backend.
func (b backend) OpenStream(ctx context.Context, name, service string) (api.Stream, error) {
	m, err := b.running()
	if err != nil {
		return nil, err
	}
	if err := m.knowsPartner(ctx, name); err != nil {
		return nil, err
	}
	s, err := m.partners.Open(ctx, name, service)
	if err != nil {
		return nil, partnerError(err)
	}
	return s, nil
}

// knowsPartner refuses a name that no partner has. Before it does, it asks for the
// newest state: the daemon may have started just now.
func (m *member) knowsPartner(ctx context.Context, name string) error {
	if _, ok := m.store.State().Config().Get(netquorum.KindPartner, name); ok {
		return nil
	}
	state, err := m.read(ctx)
	if err != nil {
		return err
	}
	if _, ok := state.Config().Get(netquorum.KindPartner, name); !ok {
		return api.Refuse(api.ErrNotFound, fmt.Sprintf("there is no partner %s; apply a Partner document first", name), nil)
	}
	return nil
}

// AcceptStream implements api.Backend.
func (b backend) AcceptStream(ctx context.Context, service, from string) (api.Stream, string, error) {
	m, err := b.running()
	if err != nil {
		return nil, "", err
	}
	if from != "" {
		if err := m.knowsPartner(ctx, from); err != nil {
			return nil, "", err
		}
	}
	s, err := m.partners.Accept(ctx, service, from)
	if err != nil {
		return nil, "", err
	}
	return s, s.Partner, nil
}

// partnerError puts a failed opening into the API's words.
func partnerError(err error) error {
	switch {
	case errors.Is(err, partner.ErrUnknown):
		return fmt.Errorf("%w: %w", api.ErrNotFound, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: %w", api.ErrTimeout, err)
	}
	return fmt.Errorf("%w: %w", api.ErrUnreachable, err)
}
