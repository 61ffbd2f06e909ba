package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/netquorum/netquorum"
)

// A SecurityBackend keeps the cluster's authority, and removes filers.
type SecurityBackend interface {
	// Authority tells by which authority filers know each other, and how far a
	// change of it is. It answers without a quorum too.
	Authority(ctx context.Context) (Authority, error)
	// RotateAuthority begins a change of the authority, or lets one that is
	// under way go on without filers that are away. It does not wait for its
	// end.
	RotateAuthority(ctx context.Context, r RotateRequest) (Authority, error)
	// RemoveFiler takes a filer out of the cluster. ErrUnsafe when that could
	// leave it without a quorum and is not forced.
	RemoveFiler(ctx context.Context, r RemoveRequest) (RemoveResult, error)
}

// An Authority tells by which certificate authority the filers of a cluster know
// each other. Authorities are named by the SHA-256 of their certificates.
type Authority struct {
	Cluster     string                   `json:"cluster"`
	ClusterID   string                   `json:"clusterID"`
	Fingerprint string                   `json:"fingerprint"`
	Made        *time.Time               `json:"made,omitempty"` // absent when it is not known
	Phase       netquorum.AuthorityPhase `json:"phase"`
	// Next takes over, since Begun; Awaited are the filers that the change waits
	// for, Without those that it does not.
	Next    string     `json:"next,omitempty"`
	Begun   *time.Time `json:"begun,omitempty"`
	Actor   string     `json:"actor,omitempty"`
	Awaited []string   `json:"awaited,omitempty"`
	Without []string   `json:"without,omitempty"`
	// Filers are what each filer holds, by name.
	Filers []AuthorityFiler `json:"filers"`
	// Revoked are filers that were cut off, until the authority is changed.
	Revoked []Revoked `json:"revoked,omitempty"`
}

// Open reports whether the authority is being changed.
func (a Authority) Open() bool { return a.Phase != netquorum.AuthoritySettled && a.Phase != "" }

// An AuthorityFiler is what one filer holds of the cluster's authorities.
type AuthorityFiler struct {
	Name string `json:"name"`
	// Shows is the authority that issued the filer's certificate, Trusts are
	// those whose certificates it accepts. Both are empty when the filer does
	// not answer.
	Shows   string     `json:"shows,omitempty"`
	Trusts  []string   `json:"trusts,omitempty"`
	Expires *time.Time `json:"expires,omitempty"` // the certificate; it is renewed in time
	Awaited bool       `json:"awaited,omitempty"`
}

// A Revoked is a filer that was cut off.
type Revoked struct {
	Name string            `json:"name"`
	ID   netquorum.FilerID `json:"id"`
	At   time.Time         `json:"at"`
}

// A RotateRequest begins a change of the authority.
type RotateRequest struct {
	// Without are filers that are not waited for. One that has not taken part
	// by the end has to join again.
	Without []string `json:"without,omitempty"`
	Actor   string   `json:"-"`
}

// A RemoveRequest takes a filer out of the cluster.
type RemoveRequest struct {
	Filer string `json:"-"`
	// Revoke cuts the filer's links at once, and for good, instead of telling it
	// that it was removed.
	Revoke bool   `json:"revoke,omitempty"`
	Force  bool   `json:"force,omitempty"`
	Actor  string `json:"-"`
}

// A RemoveResult tells what was removed.
type RemoveResult struct {
	Filer    string             `json:"filer"`
	ID       netquorum.FilerID  `json:"id"`
	Revision netquorum.Revision `json:"revision"`
}

// securityRoutes are part of routes.
var securityRoutes = []route{
	{method: "GET", path: "/v1/authority", summary: "The cluster's certificate authority", reply: Authority{},
		detail: "Fingerprints, and which filer shows and trusts which. Answers without a quorum too.", handle: (*Server).getAuthority},
	{method: "POST", path: "/v1/authority/rotate", summary: "Change the cluster's certificate authority", body: RotateRequest{}, reply: Authority{},
		detail: "Begins the change, or lets one that is under way go on without filers that are away.", handle: (*Server).postRotate},
	{method: "POST", path: "/v1/filers/{name}/remove", summary: "Take a filer out of the cluster", body: RemoveRequest{}, reply: RemoveResult{}, handle: (*Server).postRemove},
}

func (s *Server) getAuthority(w http.ResponseWriter, r *http.Request) error {
	a, err := s.backend.Authority(r.Context())
	if err != nil {
		return err
	}
	return answer(w, a)
}

func (s *Server) postRotate(w http.ResponseWriter, r *http.Request) error {
	var req RotateRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	req.Actor = actorOf(r)
	a, err := s.backend.RotateAuthority(r.Context(), req)
	if err != nil {
		return err
	}
	return answer(w, a)
}

func (s *Server) postRemove(w http.ResponseWriter, r *http.Request) error {
	var req RemoveRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	req.Filer, req.Actor = r.PathValue("name"), actorOf(r)
	res, err := s.backend.RemoveFiler(r.Context(), req)
	if err != nil {
		return err
	}
	return answer(w, res)
}

// Authority asks by which authority filers know each other.
func (c *Client) Authority(ctx context.Context) (a Authority, err error) {
	return a, c.get(ctx, "/v1/authority", nil, &a)
}

// RotateAuthority begins a change of the authority.
func (c *Client) RotateAuthority(ctx context.Context, r RotateRequest) (a Authority, err error) {
	return a, c.send(ctx, "POST", "/v1/authority/rotate", nil, r, &a)
}

// RemoveFiler takes a filer out of the cluster.
func (c *Client) RemoveFiler(ctx context.Context, r RemoveRequest) (res RemoveResult, err error) {
	return res, c.send(ctx, "POST", "/v1/filers/"+url.PathEscape(r.Filer)+"/remove", nil, r, &res)
}
