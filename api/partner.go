package api

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/netquorum/netquorum"
)

// A PartnerBackend keeps the secrets shared with other clusters, and opens and
// accepts streams.
type PartnerBackend interface {
	// Partners tells of all partners, and how this filer's links to them do.
	Partners(ctx context.Context) (PartnerList, error)
	// AddSecret makes a secret, or takes one that the partner has made.
	AddSecret(ctx context.Context, r SecretRequest) (Secret, error)
	// UseSecret makes a secret the one with which the partner is called.
	UseSecret(ctx context.Context, actor, partner, id string) (Secret, error)
	// RemoveSecret makes a secret useless, and cuts what was proved by it.
	RemoveSecret(ctx context.Context, actor, partner, id string) error

	// OpenStream opens a stream of a service at a partner; it waits until both
	// are there or ctx ends. AcceptStream waits for a stream of the service, from
	// the partner or, if that is empty, from any, and says from whom it is.
	OpenStream(ctx context.Context, partner, service string) (Stream, error)
	AcceptStream(ctx context.Context, service, partner string) (s Stream, from string, err error)
}

// A Stream is an ordered stream of bytes. Read ends with io.EOF only when the
// other side has ended its writing; a stream that was cut ends otherwise.
type Stream interface {
	net.Conn
	// CloseWrite ends this side's writing.
	CloseWrite() error
	// Abort ends both directions at once, and the other side learns that.
	Abort(cause error)
}

// A PartnerList tells of all partners.
type PartnerList struct {
	// Cluster and ClusterID are this cluster's own: what a partner may ask for.
	Cluster   string    `json:"cluster"`
	ClusterID string    `json:"clusterID"`
	Partners  []Partner `json:"partners"`
}

// A Partner is another cluster.
type Partner struct {
	Name      string   `json:"name"`
	Endpoints []string `json:"endpoints,omitempty"`
	ClusterID string   `json:"clusterID,omitempty"` // that it must have
	Secrets   []Secret `json:"secrets,omitempty"`
	// Links are this filer's; Problems what is wrong with endpoints that it calls.
	Links    []PartnerLink    `json:"links,omitempty"`
	Problems []PartnerProblem `json:"problems,omitempty"`
}

// A PartnerProblem is what was wrong when an endpoint was called last.
type PartnerProblem struct {
	Endpoint string `json:"endpoint"`
	Message  string `json:"message"`
}

// A Secret is one that is shared with a partner. Its secret half is told once, to
// who had it made.
type Secret struct {
	ID      string                `json:"id"`
	Partner string                `json:"partner"`
	State   netquorum.SecretState `json:"state"`
	Made    *time.Time            `json:"made,omitempty"`
	Secret  string                `json:"secret,omitempty"`
}

// A SecretRequest makes a secret.
type SecretRequest struct {
	Partner string `json:"-"`
	// Secret is one that the partner has made; empty to make one.
	Secret string `json:"secret,omitempty"`
	// Use makes it the one with which the partner is called. The first secret of
	// a partner is that anyway.
	Use   bool   `json:"use,omitempty"`
	Actor string `json:"-"`
}

// A PartnerLink is this filer's link to one filer of a partner.
type PartnerLink struct {
	Filer    netquorum.FilerID `json:"filer"`
	Streams  int               `json:"streams"`
	Switches uint64            `json:"switches"`
	Paths    []PartnerPath     `json:"paths"`
}

// A PartnerPath is one connection of a link.
type PartnerPath struct {
	Local  netip.AddrPort `json:"local"`
	Remote netip.AddrPort `json:"remote"`
	State  string         `json:"state"` // up, suspect, down
	RTT    Duration       `json:"rtt"`
}

// partnerRoutes are part of routes.
var partnerRoutes = []route{
	{method: "GET", path: "/v1/partners", summary: "Other clusters, and how this filer's links to them do", reply: PartnerList{}, handle: (*Server).getPartners},
	{method: "POST", path: "/v1/partners/{name}/secrets", summary: "Make a secret to share with a partner, or take the partner's", body: SecretRequest{}, reply: Secret{},
		detail: "A secret that is made here is in the answer and nowhere else.", handle: (*Server).postSecret},
	{method: "POST", path: "/v1/partners/{name}/secrets/{id}/use", summary: "Call the partner with this secret from now on", reply: Secret{}, handle: (*Server).useSecret},
	{method: "DELETE", path: "/v1/partners/{name}/secrets/{id}", summary: "Make a secret useless", handle: (*Server).deleteSecret},
	{method: "POST", path: pathStreams + "{service}", summary: "Open a stream to a partner", stream: true,
		detail: "Ask with Upgrade: netquorum-stream/1; docs/partners.md says what the connection carries then. Waits until the partner accepts the service.",
		query:  []query{queryWithin}, handle: (*Server).postStream},
	{method: "POST", path: pathAccept, summary: "Accept the next stream of a service", stream: true,
		detail: "Ask with Upgrade: netquorum-stream/1. Answers when a stream is there; the header Netquorum-Partner says from whom.",
		query:  []query{{name: "service", kind: "string", text: "The name of the service."}, {name: "partner", kind: "string", text: "Only from this partner."}, queryWithin},
		handle: (*Server).postAccept},
}

var queryWithin = query{name: "within", kind: "string", text: "How long to wait, like 30s; without it, as long as the connection lives."}

func (s *Server) getPartners(w http.ResponseWriter, r *http.Request) error {
	l, err := s.backend.Partners(r.Context())
	if err != nil {
		return err
	}
	return answer(w, l)
}

func (s *Server) postSecret(w http.ResponseWriter, r *http.Request) error {
	var req SecretRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	req.Partner, req.Actor = r.PathValue("name"), actorOf(r)
	made, err := s.backend.AddSecret(r.Context(), req)
	if err != nil {
		return err
	}
	return answer(w, made)
}

func (s *Server) useSecret(w http.ResponseWriter, r *http.Request) error {
	used, err := s.backend.UseSecret(r.Context(), actorOf(r), r.PathValue("name"), r.PathValue("id"))
	if err != nil {
		return err
	}
	return answer(w, used)
}

func (s *Server) deleteSecret(w http.ResponseWriter, r *http.Request) error {
	if err := s.backend.RemoveSecret(r.Context(), actorOf(r), r.PathValue("name"), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Partners asks for all partners.
func (c *Client) Partners(ctx context.Context) (l PartnerList, err error) {
	return l, c.get(ctx, "/v1/partners", nil, &l)
}

// AddSecret makes a secret to share with a partner, or takes the partner's.
func (c *Client) AddSecret(ctx context.Context, r SecretRequest) (s Secret, err error) {
	return s, c.send(ctx, "POST", "/v1/partners/"+url.PathEscape(r.Partner)+"/secrets", nil, r, &s)
}

// UseSecret calls the partner with this secret from now on.
func (c *Client) UseSecret(ctx context.Context, partner, id string) (s Secret, err error) {
	return s, c.send(ctx, "POST", "/v1/partners/"+url.PathEscape(partner)+"/secrets/"+url.PathEscape(id)+"/use", nil, nil, &s)
}

// RemoveSecret makes a secret useless.
func (c *Client) RemoveSecret(ctx context.Context, partner, id string) error {
	return c.send(ctx, "DELETE", "/v1/partners/"+url.PathEscape(partner)+"/secrets/"+url.PathEscape(id), nil, nil, nil)
}
