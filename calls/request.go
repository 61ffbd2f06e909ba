package calls

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
)

// An exchange is what a handler gets of a request, in one piece of memory.
type exchange struct {
	ctx    callContext
	req    http.Request
	target url.URL
	body   body
}

func newExchange(q *sent) (*exchange, error) {
	x := &exchange{}
	if err := parseTarget(&x.target, q.Target); err != nil {
		return nil, err
	}
	r := x.req.WithContext(&x.ctx)
	r.Method, r.URL, r.RequestURI, r.Host = q.Method, &x.target, q.Target, "netquorum"
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	r.Body, r.ContentLength = http.NoBody, int64(len(q.Body))
	if q.ContentType != "" || q.Accept != "" {
		r.Header = http.Header{}
	}
	if q.ContentType != "" {
		r.Header["Content-Type"] = []string{q.ContentType}
	}
	if q.Accept != "" {
		r.Header["Accept"] = []string{q.Accept}
	}
	if len(q.Body) > 0 {
		x.body.all = q.Body
		x.body.Reset(q.Body)
		r.Body = &x.body
	}
	x.req = *r
	return x, nil
}

// parseTarget spares targets that are plain paths, as nearly all are, the general
// parser.
func parseTarget(u *url.URL, s string) error {
	plain := len(s) > 0 && s[0] == '/' && (len(s) == 1 || s[1] != '/')
	for i := 0; plain && i < len(s); i++ {
		c := s[i]
		plain = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '/' || c == '-' || c == '_' || c == '.'
	}
	if plain {
		u.Path = s
		return nil
	}
	parsed, err := url.ParseRequestURI(s)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFrame, err)
	}
	*u = *parsed
	return nil
}

// A body is a request's, which is in memory.
type body struct {
	bytes.Reader
	all []byte
}

// Rest returns what is yet to be read, for handlers that would read it all into
// memory of their own.
func (b *body) Rest() []byte { return b.all[len(b.all)-b.Len():] }

// Close implements io.Closer.
func (*body) Close() error { return nil }
