package api

import (
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/netquorum/netquorum"
)

// Headers of answers that are not a JSON object of ours.
const (
	headerRevision    = "Netquorum-Revision"
	headerConsistency = "Netquorum-Consistency"
)

func (s *Server) getVersion(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, s.version)
}

func (s *Server) getStatus(w http.ResponseWriter, r *http.Request) error {
	st, err := s.backend.Status(r.Context())
	if err != nil {
		return err
	}
	// Lists are never null: who reads them need not ask.
	st.Filers, st.Servers, st.Findings = list(st.Filers), list(st.Servers), list(st.Findings)
	return answer(w, st)
}

func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// read reads the configuration as the request asks and marks the answer.
func (s *Server) read(w http.ResponseWriter, r *http.Request) (Snapshot, Consistency, error) {
	c, err := consistencyOf(r)
	if err != nil {
		return Snapshot{}, c, err
	}
	snap, err := s.backend.Read(r.Context(), c)
	if err != nil {
		return Snapshot{}, c, err
	}
	w.Header().Set(headerRevision, strconv.FormatUint(uint64(snap.Revision), 10))
	w.Header().Set(headerConsistency, string(c))
	return snap, c, nil
}

func (s *Server) getDocument(w http.ResponseWriter, r *http.Request) error {
	key, err := keyOf(r)
	if err != nil {
		return err
	}
	snap, _, err := s.read(w, r)
	if err != nil {
		return err
	}
	d, ok := snap.Config.Get(key.Kind, key.Name)
	if !ok {
		return Refuse(ErrNotFound, fmt.Sprintf("there is no %s at revision %d", key, snap.Revision), nil)
	}
	switch whole, err := boolParam(r, "effective"); {
	case err != nil:
		return err
	case whole:
		return effective(w, snap, d)
	}
	return answer(w, d.Public())
}

func (s *Server) getKind(w http.ResponseWriter, r *http.Request) error {
	kind, err := ParseKind(r.PathValue("kind"))
	if err != nil {
		return err
	}
	return s.answerList(w, r, []netquorum.Kind{kind})
}

func (s *Server) getDocuments(w http.ResponseWriter, r *http.Request) error {
	var kinds []netquorum.Kind
	for _, name := range r.URL.Query()["kind"] {
		k, err := ParseKind(name)
		if err != nil {
			return err
		}
		kinds = append(kinds, k)
	}
	if kinds == nil {
		kinds = userKinds
	}
	return s.answerList(w, r, kinds)
}

var userKinds = func() (kinds []netquorum.Kind) {
	for _, k := range netquorum.Kinds {
		if !k.Machine() {
			kinds = append(kinds, k)
		}
	}
	return kinds
}()

func (s *Server) answerList(w http.ResponseWriter, r *http.Request, kinds []netquorum.Kind) error {
	snap, c, err := s.read(w, r)
	if err != nil {
		return err
	}
	out := DocumentList{Revision: snap.Revision, Stale: c == Stale, Documents: []netquorum.Document{}}
	for d := range documentsOf(snap.Config, kinds) {
		out.Documents = append(out.Documents, d.Public())
	}
	return answer(w, out)
}

func documentsOf(c netquorum.Config, kinds []netquorum.Kind) iter.Seq[netquorum.Document] {
	return func(yield func(netquorum.Document) bool) {
		for _, k := range kinds {
			for d := range c.All(k) {
				if !yield(d) {
					return
				}
			}
		}
	}
}

func (s *Server) getDump(w http.ResponseWriter, r *http.Request) error {
	snap, _, err := s.read(w, r)
	if err != nil {
		return err
	}
	docs := documentsOf(snap.Config, userKinds)
	kind, format := typeYAML, netquorum.FormatYAML
	if strings.Contains(r.Header.Get("Accept"), typeLines) {
		kind, format = typeLines, netquorum.FormatJSONLines
	}
	text, err := format(docs)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", kind)
	w.Write(text)
	return nil
}

func (s *Server) getHistory(w http.ResponseWriter, r *http.Request) error {
	var req HistoryRequest
	var err error
	if req.From, err = revisionParam(r, "from"); err != nil {
		return err
	}
	if req.To, err = revisionParam(r, "to"); err != nil {
		return err
	}
	if text := param(r, "limit"); text != "" {
		if req.Limit, err = strconv.Atoi(text); err != nil || req.Limit < 1 {
			return usage("limit=%s is no number above zero", text)
		}
	}
	if req.To != 0 && req.From > req.To {
		return usage("from=%d is after to=%d", req.From, req.To)
	}
	diff, err := boolParam(r, "diff")
	if err != nil {
		return err
	}
	changes, err := s.backend.History(r.Context(), req)
	if err != nil {
		return err
	}
	out := History{Changes: make([]Change, len(changes))}
	for i, c := range changes {
		out.Changes[i] = publishChange(c, diff)
	}
	return answer(w, out)
}
