package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/trace"
)

func (s *Server) postTransaction(w http.ResponseWriter, r *http.Request) error {
	var req ApplyRequest
	body, err := jsonBody(w, r)
	if err != nil {
		return err
	}
	if !req.decode(body) {
		req = ApplyRequest{}
		if err := decodeJSON(body, &req); err != nil {
			return err
		}
	}
	return s.apply(w, r, req)
}

func (s *Server) postApply(w http.ResponseWriter, r *http.Request) error {
	req, ifRevision, err := applyParams(r)
	if err != nil {
		return err
	}
	docs, err := readDocuments(w, r, maxApply)
	if err != nil {
		return err
	}
	if ifRevision != nil && len(docs) != 1 {
		return usage("ifRevision is about one document and the request has %d; use /v1/transactions", len(docs))
	}
	for _, d := range docs {
		req.Puts = append(req.Puts, Put{Document: d, IfRevision: ifRevision})
	}
	return s.apply(w, r, req)
}

func (s *Server) putDocument(w http.ResponseWriter, r *http.Request) error {
	req, ifRevision, err := applyParams(r)
	if err != nil {
		return err
	}
	key, err := keyOf(r)
	if err != nil {
		return err
	}
	mustNotExist, err := boolParam(r, "mustNotExist")
	if err != nil {
		return err
	}
	docs, err := readDocuments(w, r, maxApply)
	if err != nil {
		return err
	}
	if len(docs) != 1 || docs[0].Key().Fold() != key.Fold() {
		return usage("the body of PUT %s must be the one document %s", r.URL.Path, key)
	}
	req.Puts = []Put{{Document: docs[0], IfRevision: ifRevision, MustNotExist: mustNotExist}}
	return s.apply(w, r, req)
}

func (s *Server) deleteDocument(w http.ResponseWriter, r *http.Request) error {
	req, ifRevision, err := applyParams(r)
	if err != nil {
		return err
	}
	key, err := keyOf(r)
	if err != nil {
		return err
	}
	req.Deletes = []Delete{{Kind: key.Kind, Name: key.Name, IfRevision: ifRevision}}
	return s.apply(w, r, req)
}

// applyParams reads what the query says of a transaction.
func applyParams(r *http.Request) (req ApplyRequest, ifRevision *netquorum.Revision, err error) {
	if r.URL.RawQuery == "" {
		return req, nil, nil
	}
	req.Wait, req.RequestID = Wait(param(r, "wait")), param(r, "requestID")
	if req.DryRun, err = boolParam(r, "dryRun"); err != nil {
		return req, nil, err
	}
	if req.Changes, err = boolParam(r, "changes"); err != nil {
		return req, nil, err
	}
	if req.Rollout, err = rolloutParams(r); err != nil {
		return req, nil, err
	}
	ifRevision, err = optionalRevision(r, "ifRevision")
	return req, ifRevision, err
}

// apply is where every write of documents ends.
func (s *Server) apply(w http.ResponseWriter, r *http.Request, req ApplyRequest) error {
	var err error
	if req.Wait, err = waitOf(req.Wait); err != nil {
		return err
	}
	if err := wellFormed(req); err != nil {
		return err
	}
	if req.RequestID == "" {
		req.RequestID = newRequestID()
	}
	req.Actor = actorOf(r)
	if req.Trace == 0 {
		req.Trace = trace.From(r.Context())
	}
	res, err := s.backend.Apply(r.Context(), req)
	if err != nil {
		e := *ErrorOf(err)
		if !e.Code.Refusal() { // committed, and what came after failed
			e.Revision = max(e.Revision, res.Revision)
		}
		return &e
	}
	if req.Changes && !req.DryRun && res.Changed > 0 {
		changes, err := s.backend.History(r.Context(), HistoryRequest{From: res.Revision, To: res.Revision})
		if err == nil && len(changes) == 1 { // without them the write is still done
			res.Changes = publishChange(changes[0], true).Documents
		}
	}
	if req.DryRun {
		res.Changes = publish(res.Changes, true)
	}
	if body, ok := res.appendPlain(make([]byte, 0, 64)); ok {
		answerJSON(w, body)
		return nil
	}
	return answer(w, res)
}

// appendPlain encodes a result as package json does, for a fraction of the time, if
// it is like nearly all: without anything but numbers.
func (r *ApplyResult) appendPlain(b []byte) (_ []byte, ok bool) {
	if r.Rollout != "" || r.Guarded != "" || len(r.Unsafe)+len(r.Grounded)+len(r.Changes)+len(r.Plans)+len(r.Stranded) > 0 {
		return b, false
	}
	b = strconv.AppendUint(append(b, `{"revision":`...), uint64(r.Revision), 10)
	b = strconv.AppendInt(append(b, `,"changed":`...), int64(r.Changed), 10)
	return append(b, '}'), true
}

// wellFormed finds the transactions that say nothing. All that is about
// documents is for the state machine to decide.
func wellFormed(req ApplyRequest) error {
	if len(req.Puts)+len(req.Deletes) == 0 && !req.DryRun {
		return usage("the transaction has neither puts nor deletes")
	}
	if err := req.Rollout.check(); err != nil {
		return err
	}
	for i, p := range req.Puts {
		if p.Document.Spec == nil {
			return usage("puts[%d] has no document", i)
		}
	}
	for i, d := range req.Deletes {
		if !slices.Contains(netquorum.Kinds, d.Kind) || d.Name == "" {
			return usage("deletes[%d] names no document: %q is its kind and %q its name", i, d.Kind, d.Name)
		}
	}
	return nil
}

func (s *Server) postRestore(w http.ResponseWriter, r *http.Request) error {
	docs, err := readDocuments(w, r, maxRestore)
	if err != nil {
		return err
	}
	req := RestoreRequest{Documents: docs, RequestID: param(r, "requestID"), Actor: actorOf(r)}
	if req.RequestID == "" {
		req.RequestID = newRequestID()
	}
	res, err := s.backend.Restore(r.Context(), req)
	if err != nil {
		return err
	}
	return answer(w, res)
}

// keyOf reads the document's key from the path.
func keyOf(r *http.Request) (netquorum.Key, error) {
	kind, err := ParseKind(r.PathValue("kind"))
	if err != nil {
		return netquorum.Key{}, err
	}
	name := r.PathValue("name")
	if strings.TrimSpace(name) == "" {
		return netquorum.Key{}, usage("the document's name is empty")
	}
	return netquorum.Key{Kind: kind, Name: name}, nil
}
