package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/netquorum/netquorum"
)

// A Client talks to a daemon over its local socket. It is safe for concurrent
// use and keeps its connections; Close drops them.
//
// The deadline of a call's context is handed to the daemon, a little earlier,
// so that the answer can still say what it was that took too long.
type Client struct {
	socket string
	http   *http.Client
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
		// One connection for each of many concurrent callers: the default of
		// two would open and close them all the time.
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
	}
	return &Client{socket: socket, http: &http.Client{Transport: t}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

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
	body, err := netquorum.FormatJSONLines(slices.Values(docs))
	if err != nil {
		return res, err
	}
	resp, err := c.do(ctx, "POST", "/v1/restore", nil, bytes.NewReader(body), typeLines, "")
	if err != nil {
		return res, err
	}
	return res, c.decode(ctx, "POST", resp, &res)
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

func (c *Client) send(ctx context.Context, method, path string, q url.Values, in, out any) error {
	var body io.Reader
	kind := ""
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body, kind = bytes.NewReader(data), typeJSON
	}
	resp, err := c.do(ctx, method, path, q, body, kind, "")
	if err != nil {
		return err
	}
	return c.decode(ctx, method, resp, out)
}

func (c *Client) decode(ctx context.Context, method string, resp *http.Response, out any) error {
	defer resp.Body.Close()
	if out == nil {
		io.Copy(io.Discard, resp.Body)
		return nil
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return c.failure(ctx, method, err)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return Refuse(ErrInternal, fmt.Sprintf("the daemon at %s answered what this client cannot read: %v; are their versions the same?", c.socket, err), nil)
	}
	return nil
}

// do sends one request and returns an answer that is no error; the caller
// closes its body.
func (c *Client) do(ctx context.Context, method, path string, q url.Values, body io.Reader, contentType, accept string) (*http.Response, error) {
	if left, ok := timeLeft(ctx); ok && path != "/v1/watch" {
		if q == nil {
			q = url.Values{}
		}
		q.Set("timeout", left.String())
	}
	target := "http://netquorum" + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.failure(ctx, method, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	e := new(Error)
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxApply))
	if err == nil {
		err = json.Unmarshal(data, e)
	}
	if _, known := kinds[e.Code]; err != nil || !known {
		return nil, Refuse(ErrInternal, fmt.Sprintf("the daemon at %s answered %s; is it a netquorum daemon of this version?", c.socket, resp.Status), nil)
	}
	return nil, e
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
	switch {
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
	case method != http.MethodGet:
		return Refuse(ErrUnknownOutcome, fmt.Sprintf("the connection to the daemon at %s broke before its answer: %v", c.socket, err), nil)
	}
	return Refuse(ErrUnreachable, fmt.Sprintf("the connection to the daemon at %s broke: %v", c.socket, err), nil)
}
