package api

import (
	"context"
	"net/http"
	"time"

	"github.com/netquorum/netquorum"
)

// A LinkReport is how one filer reaches the others.
type LinkReport struct {
	Filer string `json:"filer"`
	Links []Link `json:"links"`
}

// A LinkState is the state of a link: up, degraded (a path of it does not work)
// or down.
type LinkState string

// The states of links.
const (
	LinkUp       LinkState = "up"
	LinkDegraded LinkState = "degraded"
	LinkDown     LinkState = "down"
)

// A Link is what the daemons of two filers share: whatever they say to each other
// goes over it, by any of its paths.
type Link struct {
	Filer string            `json:"filer"` // at the other end
	ID    netquorum.FilerID `json:"id,omitempty"`
	State LinkState         `json:"state"`
	// Kind is what carries it: tcp or sctp; Reason why not the latter.
	Kind   string `json:"kind,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Since is when it was made; both daemons run at least as long.
	Since *time.Time `json:"since,omitempty"`
	Paths []LinkPath `json:"paths"`
	// Switches counts how often data went on by another path.
	Switches uint64 `json:"switches"`
	Streams  int    `json:"streams"`
	// Bytes since the link was made. Resent went out again after a path fell
	// silent; Duplicates came in again and were dropped.
	Sent       uint64 `json:"sentBytes"`
	Received   uint64 `json:"receivedBytes"`
	Resent     uint64 `json:"resentBytes"`
	Duplicates uint64 `json:"duplicateBytes"`
}

// A LinkPath is one way to the other filer.
type LinkPath struct {
	Kind   string `json:"kind"`
	Local  string `json:"local,omitempty"` // empty when the kernel is to choose and has not
	Remote string `json:"remote"`
	// State is up, suspect (it owes an answer), down, or dialling (it has no
	// connection, and one is tried again and again).
	State string     `json:"state"`
	Since *time.Time `json:"since,omitempty"`
	// RoundTrip is in microseconds; zero until it was measured.
	RoundTrip int64 `json:"roundTripMicroseconds,omitempty"`
	// Uses are the classes of data that this filer sends on it now.
	Uses     []string `json:"uses,omitempty"`
	Sent     uint64   `json:"sentBytes"`
	Received uint64   `json:"receivedBytes"`
	// Failure is why there is no connection.
	Failure string `json:"failure,omitempty"`
}

// A LinksBackend is the part of a Backend that tells of links. It answers without
// a quorum; an empty filer is the one that is asked.
type LinksBackend interface {
	Links(ctx context.Context, filer string) (LinkReport, error)
}

func (s *Server) getLinks(w http.ResponseWriter, r *http.Request) error {
	report, err := s.backend.Links(r.Context(), param(r, "filer"))
	if err != nil {
		return err
	}
	report.Links = list(report.Links)
	return answer(w, report)
}

// Links asks how a filer reaches the others; an empty name asks for this filer.
func (c *Client) Links(ctx context.Context, filer string) (r LinkReport, err error) {
	return r, c.get(ctx, "/v1/links", filerQuery(filer), &r)
}
