package apitest

import (
	"context"
	"net"
	"strings"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// partners are a fake's secrets, and the streams that somebody waits to accept.
// A stream that is opened to a partner is accepted on the same filer.
type partners struct {
	secrets []api.Secret
	waiting map[string]chan api.Stream
}

// A tcpStream is a stream on the loopback.
type tcpStream struct{ *net.TCPConn }

func (s tcpStream) Abort(error) {
	_ = s.SetLinger(0) // a reset, which the other side reads as an error
	_ = s.Close()
}

func streamPair() (a, b api.Stream, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	x, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	y, err := l.Accept()
	if err != nil {
		x.Close()
		return nil, nil, err
	}
	return tcpStream{x.(*net.TCPConn)}, tcpStream{y.(*net.TCPConn)}, nil
}

// Partners implements api.Backend.
func (b *Backend) Partners(context.Context) (api.PartnerList, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.ready(false); err != nil {
		return api.PartnerList{}, err
	}
	out := api.PartnerList{Cluster: "test", ClusterID: "0e9ed6ae-9c6f-4b5c-9a3b-0d9a4f3f6f10"}
	for d := range b.state.Config().All(netquorum.KindPartner) {
		spec := d.Spec.(*netquorum.Partner)
		p := api.Partner{Name: d.Name, Endpoints: spec.Endpoints, ClusterID: spec.ClusterID}
		for _, s := range b.partners.secrets {
			if strings.EqualFold(s.Partner, d.Name) {
				s.Secret = ""
				p.Secrets = append(p.Secrets, s)
			}
		}
		out.Partners = append(out.Partners, p)
	}
	return out, nil
}

// AddSecret implements api.Backend.
func (b *Backend) AddSecret(_ context.Context, r api.SecretRequest) (api.Secret, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.ready(true); err != nil {
		return api.Secret{}, err
	}
	if _, ok := b.state.Config().Get(netquorum.KindPartner, r.Partner); !ok {
		return api.Secret{}, api.Refuse(api.ErrNotFound, "there is no partner "+r.Partner, nil)
	}
	s := api.Secret{ID: "secret" + string(rune('1'+len(b.partners.secrets))), Partner: r.Partner, State: netquorum.SecretAccept}
	if r.Use || len(b.partners.secrets) == 0 {
		s.State = netquorum.SecretUse
	}
	b.partners.secrets = append(b.partners.secrets, s)
	if r.Secret == "" {
		s.Secret = "nqs-" + s.ID + "-hidden"
	}
	return s, nil
}

// UseSecret implements api.Backend.
func (b *Backend) UseSecret(_ context.Context, _, partner, id string) (api.Secret, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var used *api.Secret
	for i := range b.partners.secrets {
		if s := &b.partners.secrets[i]; s.ID == id {
			used = s
		}
	}
	if used == nil {
		return api.Secret{}, api.Refuse(api.ErrNotFound, "there is no secret "+id, nil)
	}
	for i := range b.partners.secrets {
		b.partners.secrets[i].State = netquorum.SecretAccept
	}
	used.State = netquorum.SecretUse
	return *used, nil
}

// RemoveSecret implements api.Backend.
func (b *Backend) RemoveSecret(_ context.Context, _, partner, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, s := range b.partners.secrets {
		if s.ID == id && strings.EqualFold(s.Partner, partner) {
			b.partners.secrets = append(b.partners.secrets[:i:i], b.partners.secrets[i+1:]...)
			return nil
		}
	}
	return api.Refuse(api.ErrNotFound, "there is no secret "+id, nil)
}

func (b *Backend) meeting(service string) chan api.Stream {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.partners.waiting == nil {
		b.partners.waiting = map[string]chan api.Stream{}
	}
	c := b.partners.waiting[service]
	if c == nil {
		c = make(chan api.Stream)
		b.partners.waiting[service] = c
	}
	return c
}

// OpenStream implements api.Backend.
func (b *Backend) OpenStream(ctx context.Context, _, service string) (api.Stream, error) {
	near, far, err := streamPair()
	if err != nil {
		return nil, err
	}
	select {
	case b.meeting(service) <- far:
		return near, nil
	case <-ctx.Done():
		near.Close()
		far.Close()
		return nil, ctx.Err()
	}
}

// AcceptStream implements api.Backend.
func (b *Backend) AcceptStream(ctx context.Context, service, partner string) (api.Stream, string, error) {
	select {
	case s := <-b.meeting(service):
		return s, partner, nil
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
}
