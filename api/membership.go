package api

import (
	"net/http"
	"strings"
	"time"
)

// defaultTokenTTL is how long a token is good for when nobody says.
const defaultTokenTTL = Duration(time.Hour)

func (s *Server) postInit(w http.ResponseWriter, r *http.Request) error {
	var req InitRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	if req.Filer == "" {
		return usage("filer is missing: the name that this filer gets in the cluster")
	}
	req.Actor = actorOf(r)
	res, err := s.backend.Init(r.Context(), req)
	if err != nil {
		return err
	}
	return answer(w, res)
}

func (s *Server) postJoin(w http.ResponseWriter, r *http.Request) error {
	var req JoinRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	switch {
	case req.Filer == "":
		return usage("filer is missing: the name that this filer gets in the cluster")
	case strings.TrimSpace(req.Token) == "":
		return usage("token is missing: `netquorum token create` on a member prints one")
	case req.Peer == "":
		return usage("peer is missing: the host or host:port of a member")
	}
	req.Token = strings.TrimSpace(req.Token)
	req.Actor = actorOf(r)
	res, err := s.backend.Join(r.Context(), req)
	if err != nil {
		return err
	}
	return answer(w, res)
}

func (s *Server) postToken(w http.ResponseWriter, r *http.Request) error {
	var req TokenRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	if req.TTL == 0 {
		req.TTL = defaultTokenTTL
	}
	if req.TTL < 0 {
		return usage("ttl %s is in the past", time.Duration(req.TTL))
	}
	req.Actor = actorOf(r)
	t, err := s.backend.CreateToken(r.Context(), req)
	if err != nil {
		return err
	}
	return answer(w, t)
}

func (s *Server) getTokens(w http.ResponseWriter, r *http.Request) error {
	tokens, err := s.backend.Tokens(r.Context())
	if err != nil {
		return err
	}
	out := make([]Token, len(tokens))
	for i, t := range tokens {
		t.Token = ""
		out[i] = t
	}
	return answer(w, out)
}

func (s *Server) deleteToken(w http.ResponseWriter, r *http.Request) error {
	if err := s.backend.RevokeToken(r.Context(), actorOf(r), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
