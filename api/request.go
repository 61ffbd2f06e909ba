package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
)

func usage(format string, args ...any) error {
	return Refuse(ErrUsage, fmt.Sprintf(format, args...), nil)
}

// readBody reads a whole body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if here, ok := r.Body.(interface{ Rest() []byte }); ok {
		body := here.Rest()
		if int64(len(body)) > limit {
			return nil, tooLarge(limit)
		}
		return body, nil
	}
	var buf bytes.Buffer
	if n := r.ContentLength; n > 0 && n <= limit {
		buf.Grow(int(n) + bytes.MinRead)
	}
	body := &limited{http.MaxBytesReader(w, r.Body, limit), limit, nil}
	if _, err := buf.ReadFrom(body); err != nil {
		return nil, body.err
	}
	return buf.Bytes(), nil
}

// limited is a body that may be too large, and then says so in words.
type limited struct {
	io.Reader
	limit int64
	err   error // what ended it early, as a refusal
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err != nil && err != io.EOF {
		var large *http.MaxBytesError
		if l.err = usage("reading the request: %v", err); errors.As(err, &large) {
			l.err = tooLarge(l.limit)
		}
	}
	return n, err
}

func tooLarge(limit int64) error {
	return Refuse(ErrTooLarge, fmt.Sprintf("the request is larger than %d MiB; split it, or use restore for a whole configuration", limit>>20), nil)
}

// readJSON reads a JSON body strictly.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	body, err := jsonBody(w, r)
	if err != nil {
		return err
	}
	return decodeJSON(body, into)
}

func jsonBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if t := contentType(r); t != typeJSON && t != "" {
		return nil, usage("the body of %s %s is %s; send application/json", r.Method, r.URL.Path, t)
	}
	return readBody(w, r, maxApply)
}

// decodeJSON decodes one JSON value strictly.
func decodeJSON(body []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return bodyError(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return usage("the request's body has something after its JSON value")
	}
	return nil
}

// bodyError tells a body that is no request from one with a bad document in it:
// the second is the configuration's fault and refused as such.
func bodyError(err error) error {
	var syntax *json.SyntaxError
	switch {
	case err == io.EOF:
		return usage("the request's body is empty")
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF):
		return usage("the request's body is no JSON: %v", err)
	}
	return Refuse(ErrInvalid, err.Error(), nil)
}

// readDocuments reads a body of documents, as YAML or JSON.
func readDocuments(w http.ResponseWriter, r *http.Request, limit int64) ([]netquorum.Document, error) {
	var docs []netquorum.Document
	var err error
	switch t := contentType(r); t {
	case typeLines:
		body := &limited{http.MaxBytesReader(w, r.Body, limit), limit, nil}
		if docs, err = readLines(body); body.err != nil {
			return nil, body.err
		}
	case typeJSON, typeYAML, "application/x-yaml", "text/yaml", "":
		body, failed := readBody(w, r, limit)
		if failed != nil {
			return nil, failed
		}
		docs, err = netquorum.ParseDocuments("request", body)
	default:
		return nil, usage("documents come as %s or %s, not %s", typeYAML, typeJSON, t)
	}
	if err != nil {
		return nil, invalid(err)
	}
	if len(docs) == 0 {
		return nil, Refuse(ErrInvalid, "the request holds no documents", nil)
	}
	return docs, nil
}

// invalid is the refusal of documents that cannot be read.
func invalid(err error) error {
	var problems netquorum.Problems
	errors.As(err, &problems)
	return Refuse(ErrInvalid, err.Error(), problems)
}

func contentType(r *http.Request) string {
	h := r.Header.Get("Content-Type")
	if h == "" || h == typeJSON {
		return h
	}
	t, _, err := mime.ParseMediaType(h)
	if err != nil {
		return h
	}
	if t == "application/x-www-form-urlencoded" {
		return "" // what curl -d says of any body
	}
	return t
}

func timeoutOf(r *http.Request) (time.Duration, error) {
	text := param(r, "timeout")
	if text == "" {
		return defaultTimeout, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, usage("timeout %q is no time span like 30s", text)
	}
	return d, nil
}

// param returns a query parameter. Most requests have no query at all, which
// costs nothing.
func param(r *http.Request, name string) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	return r.URL.Query().Get(name)
}

func boolParam(r *http.Request, name string) (bool, error) {
	text := param(r, name)
	if text == "" {
		return false, nil
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		return false, usage("%s=%s is neither true nor false", name, text)
	}
	return v, nil
}

func revisionParam(r *http.Request, name string) (netquorum.Revision, error) {
	text := param(r, name)
	if text == "" {
		return 0, nil
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, usage("%s=%s is no revision; a revision is a whole number", name, text)
	}
	return netquorum.Revision(v), nil
}

// optionalRevision tells zero, which means "does not exist", from absent.
func optionalRevision(r *http.Request, name string) (*netquorum.Revision, error) {
	if param(r, name) == "" {
		return nil, nil
	}
	v, err := revisionParam(r, name)
	if err != nil {
		return nil, err
	}
	return &v, nil
}

func consistencyOf(r *http.Request) (Consistency, error) {
	switch c := Consistency(param(r, "consistency")); c {
	case "", Linearizable:
		return Linearizable, nil
	case Stale:
		return c, nil
	default:
		return "", usage("consistency=%s is neither linearizable nor stale", c)
	}
}

func waitOf(w Wait) (Wait, error) {
	switch w {
	case "":
		return WaitCommitted, nil
	case WaitCommitted, WaitCached, WaitApplied:
		return w, nil
	}
	return "", usage("wait=%s is none of committed, cached, applied", w)
}

// ParseKind finds a kind by its name in any case, in the plural too, or by what
// operators call it.
func ParseKind(s string) (netquorum.Kind, error) {
	folded := strings.ToLower(s)
	for _, k := range netquorum.Kinds {
		name := strings.ToLower(string(k))
		if folded == name || folded == name+"s" || folded == name+"es" {
			return k, nil
		}
	}
	switch strings.TrimSuffix(folded, "s") {
	case "vserver":
		return netquorum.KindVirtualServer, nil
	case "group":
		return netquorum.KindFilerGroup, nil
	case "route":
		return netquorum.KindRoutes, nil
	case "app":
		return netquorum.KindApplication, nil
	}
	return "", Refuse(ErrUsage, (&netquorum.UnknownKindError{Kind: netquorum.Kind(s)}).Error(), nil)
}
