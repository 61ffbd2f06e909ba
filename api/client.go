package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/calls"
	"github.com/netquorum/netquorum/trace"
)

// A Client talks to a daemon over its local socket. It is safe for concurrent
// use and keeps its connections; Close drops them.
//
// The deadline of a call's context is handed to the daemon, a little earlier,
// so that the answer can still say what it was that took too long.
type Client struct {
	socket string
	calls  *calls.Client
	http   *http.Client // for streams and bodies of any size
}

// NewClient returns a client of the daemon at the socket; DefaultSocket when
// it is empty.
func NewClient(socket string) *Client {
	if socket == "" {
		socket = DefaultSocket
	}
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		IdleConnTimeout:     time.Minute,
		MaxIdleConnsPerHost: 64, // handlers of messages complete them side by side
		DisableCompression:  true,
	}
	return &Client{
		socket: socket,
		calls:  &calls.Client{PeerOf: func(net.Conn) string { return "the daemon" }, Dial: func(ctx context.Context) (net.Conn, error) { return dialCalls(ctx, socket) }},
		http:   &http.Client{Transport: t},
	}
}

// Close drops idle connections.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
	c.calls.CloseIdleConnections()
}

// Version asks what the daemon is.
func (c *Client) Version(ctx context.Context) (v Version, err error) {
	return v, c.get(ctx, "/v1/version", nil, &v)
}

// Status asks how the cluster is.
func (c *Client) Status(ctx context.Context) (st Status, err error) {
	return st, c.get(ctx, "/v1/status", nil, &st)
}

// Init forms a cluster of the daemon's filer alone.
func (c *Client) Init(ctx context.Context, r InitRequest) (m MemberResult, err error) {
	return m, c.send(ctx, "POST", "/v1/init", nil, r, &m)
}

// Join makes the daemon's filer a member of a cluster.
func (c *Client) Join(ctx context.Context, r JoinRequest) (m MemberResult, err error) {
	return m, c.send(ctx, "POST", "/v1/join", nil, r, &m)
}

// CreateToken makes a one-time token.
func (c *Client) CreateToken(ctx context.Context, r TokenRequest) (t Token, err error) {
	return t, c.send(ctx, "POST", "/v1/tokens", nil, r, &t)
}

// Tokens lists the tokens, without their secrets.
func (c *Client) Tokens(ctx context.Context) (ts []Token, err error) {
	return ts, c.get(ctx, "/v1/tokens", nil, &ts)
}

// RevokeToken makes a token useless.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.send(ctx, "DELETE", "/v1/tokens/"+url.PathEscape(id), nil, nil, nil)
}

// Apply commits one transaction. A request id is made when r has none; after
// ErrUnknownOutcome it is in the error's message.
func (c *Client) Apply(ctx context.Context, r ApplyRequest) (res ApplyResult, err error) {
	if r.RequestID == "" {
		r.RequestID = newRequestID()
	}
	err = c.send(ctx, "POST", "/v1/transactions", nil, r, &res)
	if errors.Is(err, ErrUnknownOutcome) {
		err = fmt.Errorf("%w; send it again with request id %s to learn", err, r.RequestID)
	}
	return res, err
}

// Get reads one document.
func (c *Client) Get(ctx context.Context, kind netquorum.Kind, name string, cons Consistency) (d netquorum.Document, err error) {
	return d, c.get(ctx, "/v1/documents/"+url.PathEscape(string(kind))+"/"+url.PathEscape(name), consistency(cons), &d)
}

// List reads the documents of the kinds, or all that users write.
func (c *Client) List(ctx context.Context, cons Consistency, kinds ...netquorum.Kind) (l DocumentList, err error) {
	q := consistency(cons)
	for _, k := range kinds {
		q.Add("kind", string(k))
	}
	return l, c.get(ctx, "/v1/documents", q, &l)
}

// A DumpFormat is the form of a dump.
type DumpFormat string

const (
	DumpYAML  DumpFormat = typeYAML
	DumpLines DumpFormat = typeLines // one JSON document a line: the fastest to restore
)

// Dump writes the whole configuration as text.
func (c *Client) Dump(ctx context.Context, w io.Writer, f DumpFormat, cons Consistency) error {
	resp, err := c.do(ctx, "GET", "/v1/dump", consistency(cons), nil, "", string(f))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("dump: %w", c.failure(ctx, "GET", err))
	}
	return nil
}

// Restore replaces the whole configuration.
func (c *Client) Restore(ctx context.Context, docs []netquorum.Document) (res RestoreResult, err error) {
	body := newLineWriter(docs)
	resp, err := c.do(ctx, "POST", "/v1/restore", nil, body, typeLines, "")
	if err != nil {
		return res, cmp.Or(body.failure(), err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return res, c.failure(ctx, "POST", err)
	}
	return res, c.decode(answer, &res)
}

// History reads past changes, with their diffs.
func (c *Client) History(ctx context.Context, r HistoryRequest) ([]Change, error) {
	q := url.Values{"diff": {"true"}}
	set := func(name string, v uint64) {
		if v != 0 {
			q.Set(name, strconv.FormatUint(v, 10))
		}
	}
	set("from", uint64(r.From))
	set("to", uint64(r.To))
	set("limit", uint64(max(r.Limit, 0)))
	var h History
	err := c.get(ctx, "/v1/history", q, &h)
	return h.Changes, err
}

func consistency(cons Consistency) url.Values {
	q := url.Values{}
	if cons != "" && cons != Linearizable {
		q.Set("consistency", string(cons))
	}
	return q
}

func (c *Client) get(ctx context.Context, path string, q url.Values, into any) error {
	return c.send(ctx, "GET", path, q, nil, into)
}

// send sends one request with a JSON body, in, if it is not nil, and decodes the
// answer into out, if that is not nil.
func (c *Client) send(ctx context.Context, method, path string, q url.Values, in, out any) error {
	var body []byte
	kind := ""
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
		if kind = typeJSON; len(body) > maxApply {
			return tooLarge(maxApply)
		}
	}
	r := calls.Request{Program: program, Method: method, Target: withQuery(path, q), ContentType: kind, Body: body}
	r.Timeout, _ = timeLeft(ctx)
	a, err := c.calls.Call(ctx, r)
	if err != nil && method == http.MethodGet && ctx.Err() == nil && !errors.Is(err, calls.ErrNotSent) {
		// The connection may have been that of a daemon that was restarted.
		a, err = c.calls.Call(ctx, r)
	}
	if err != nil {
		return c.failure(ctx, method, err)
	}
	if a.Status >= 300 {
		return c.refused(fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status)), a.Body)
	}
	return c.decode(a.Body, out)
}

func (c *Client) decode(body []byte, out any) error {
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return Refuse(ErrInternal, fmt.Sprintf("the daemon at %s answered what this client cannot read: %v; are their versions the same?", c.socket, err), nil)
	}
	return nil
}

// do sends one request over HTTP and returns an answer that is no error; the
// caller closes its body.
func (c *Client) do(ctx context.Context, method, path string, q url.Values, body io.Reader, contentType, accept string) (*http.Response, error) {
	if left, ok := timeLeft(ctx); ok {
		if q == nil {
			q = url.Values{}
		}
		q.Set("timeout", left.String())
	}
	return c.stream(ctx, method, path, q, body, -1, contentType, accept)
}

// stream is do without a timeout, with a body of a size, or of -1 when that is not
// known.
func (c *Client) stream(ctx context.Context, method, path string, q url.Values, body io.Reader, size int64, contentType, accept string) (*http.Response, error) {
	if size == 0 {
		body = http.NoBody
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://netquorum"+withQuery(path, q), body)
	if err != nil {
		return nil, err
	}
	if size > 0 {
		req.ContentLength = size
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	if id := trace.From(ctx); id != 0 {
		req.Header.Set(trace.Header, id.String())
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.failure(ctx, method, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxApply))
	if err != nil {
		return nil, c.failure(ctx, method, err)
	}
	return nil, c.refused(resp.Status, data)
}

// refused is the error that the daemon answered.
func (c *Client) refused(status string, body []byte) error {
	e := new(Error)
	err := json.Unmarshal(body, e)
	if _, known := kinds[e.Code]; err != nil || !known {
		return c.stranger(status)
	}
	return e
}

func (c *Client) stranger(status string) error {
	return Refuse(ErrInternal, fmt.Sprintf("the daemon at %s answered %s; is it a netquorum daemon of this version?", c.socket, status), nil)
}

func withQuery(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// timeLeft is what to tell the daemon of the context's deadline.
func timeLeft(ctx context.Context) (time.Duration, bool) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0, false
	}
	left := time.Until(deadline)
	left -= min(left/10, 500*time.Millisecond)
	return max(left, time.Millisecond).Round(time.Millisecond), true
}

// failure says what a broken exchange means to the caller.
func (c *Client) failure(ctx context.Context, method string, err error) error {
	var dial *net.OpError
	var other *notUpgradedError
	switch {
	case errors.As(err, &other):
		return c.stranger(other.status)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Refuse(ErrTimeout, "timed out waiting for the daemon at "+c.socket, nil)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrNotExist):
		return Refuse(ErrUnreachable, "no daemon listens at "+c.socket+": start `netquorum serve`, or name its socket with --socket or NETQUORUM_SOCKET", nil)
	case errors.Is(err, fs.ErrPermission):
		return Refuse(ErrUnreachable, "no permission to open "+c.socket+": run this as the daemon's user", nil)
	case errors.As(err, &dial) && dial.Op == "dial":
		return Refuse(ErrUnreachable, fmt.Sprintf("the daemon at %s does not answer: %v", c.socket, dial.Err), nil)
	case method != http.MethodGet && !errors.Is(err, calls.ErrNotSent):
		return Refuse(ErrUnknownOutcome, fmt.Sprintf("the connection to the daemon at %s broke before its answer: %v", c.socket, err), nil)
	}
	return Refuse(ErrUnreachable, fmt.Sprintf("the connection to the daemon at %s broke: %v", c.socket, err), nil)
}
