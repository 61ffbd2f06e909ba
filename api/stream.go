package api

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// A stream is a connection of its own to the daemon's socket, upgraded to
// streamProtocol. From then on each direction is a sequence of chunks:
//
//	4 bytes   length of the chunk, most significant first
//	...       the chunk
//
// A chunk of length 0 ends the direction; a length of 0xffffffff ends the whole
// stream, and what follows until the connection ends says why. A connection that
// ends otherwise was cut: unlike on a bare connection, nobody takes half of
// something for all of it.
const (
	pathStreams    = "/v1/partners/{name}/streams/"
	pathAccept     = "/v1/streams/accept"
	streamProtocol = "netquorum-stream/1"
	partnerHeader  = "Netquorum-Partner"

	chunkHead  = 4
	maxChunk   = 1 << 20
	chunkAbort = 0xffffffff
	maxReason  = 1 << 10
)

// ErrCut is what reading a stream ends with that was cut: not all has arrived.
var ErrCut = fmt.Errorf("the stream was cut: %w", io.ErrUnexpectedEOF)

func (s *Server) postStream(w http.ResponseWriter, r *http.Request) error {
	return s.stream(w, r, func(ctx context.Context) (Stream, string, error) {
		st, err := s.backend.OpenStream(ctx, r.PathValue("name"), r.PathValue("service"))
		return st, r.PathValue("name"), err
	})
}

func (s *Server) postAccept(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	if q.Get("service") == "" {
		return usage("service is missing: the name under which streams are accepted")
	}
	return s.stream(w, r, func(ctx context.Context) (Stream, string, error) {
		return s.backend.AcceptStream(ctx, q.Get("service"), q.Get("partner"))
	})
}

// stream answers with the upgrade once there is a stream, and then carries it.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, open func(context.Context) (Stream, string, error)) error {
	if r.Header.Get("Upgrade") != streamProtocol {
		return usage("%s is for streams: ask with Upgrade: %s", r.URL.Path, streamProtocol)
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	if text := r.URL.Query().Get("within"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return usage("within=%s is no time above zero, like 30s", text)
		}
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	st, partner, err := open(ctx)
	if err != nil {
		return err
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		st.Abort(errors.New("the process that wanted the stream is not there"))
		return usage("this connection carries many requests already; streams need one of their own")
	}
	s.upgraded.Add(1)
	defer s.upgraded.Done()
	local := newChunked(conn, buffered.Reader)
	stop := context.AfterFunc(s.closing, func() { st.Abort(errors.New("the daemon is stopping")) })
	defer stop()
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %s\r\n\r\n", streamProtocol, partnerHeader, partner); err != nil {
		local.Abort(err)
		st.Abort(err)
		return nil
	}
	join(local, st)
	return nil
}

// join copies both directions until both have ended. One that is cut ends the
// whole.
func join(a, b Stream) {
	var both sync.WaitGroup
	pump := func(to, from Stream) {
		_, err := io.Copy(to, from) // streams between clusters do that without a copy of their own
		if err == nil {
			err = to.CloseWrite()
		}
		if err != nil {
			a.Abort(err)
			b.Abort(err)
		}
	}
	both.Go(func() { pump(a, b) })
	pump(b, a)
	both.Wait()
	a.Close()
	b.Close()
}

// A chunked is a Stream over a connection to or from the daemon's socket.
type chunked struct {
	net.Conn
	r *bufio.Reader

	left   int // of the chunk being read
	ending error

	mu    sync.Mutex // one chunk is written at a time
	ended bool
}

func newChunked(c net.Conn, r *bufio.Reader) *chunked { return &chunked{Conn: c, r: r} }

// Read reads what the other side has written.
func (c *chunked) Read(p []byte) (int, error) {
	for c.left == 0 && c.ending == nil {
		c.ending = c.next()
	}
	if c.left == 0 {
		return 0, c.ending
	}
	n, err := c.r.Read(p[:min(len(p), c.left)])
	c.left -= n
	if err == io.EOF {
		err = ErrCut
	}
	return n, err
}

// next reads the head of the next chunk.
func (c *chunked) next() error {
	var head [chunkHead]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return ErrCut
		}
		return err
	}
	switch n := binary.BigEndian.Uint32(head[:]); {
	case n == 0:
		return io.EOF
	case n == chunkAbort:
		why, _ := io.ReadAll(io.LimitReader(c.r, maxReason))
		return fmt.Errorf("%w: %s", ErrCut, why)
	case n > maxChunk:
		return fmt.Errorf("%w: a chunk of %d bytes, %d are the most", ErrCut, n, maxChunk)
	default:
		c.left = int(n)
	}
	return nil
}

// Write writes p in one or more chunks.
func (c *chunked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, net.ErrClosed
	}
	written := 0
	for len(p) > 0 {
		n := min(len(p), maxChunk)
		head := binary.BigEndian.AppendUint32(make([]byte, 0, chunkHead), uint32(n))
		out := net.Buffers{head, p[:n]}
		m, err := out.WriteTo(c.Conn)
		written += max(int(m)-chunkHead, 0)
		if err != nil {
			c.ended = true // within a chunk: nothing that follows would make sense
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// CloseWrite ends this side's writing.
func (c *chunked) CloseWrite() error { return c.end(make([]byte, chunkHead)) }

func (c *chunked) end(last []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil
	}
	c.ended = true
	_, err := c.Conn.Write(last)
	return err
}

// Close ends both directions. Writing that has not been ended is ended.
func (c *chunked) Close() error {
	err := c.CloseWrite()
	if closeErr := c.Conn.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Abort ends both directions at once.
func (c *chunked) Abort(cause error) {
	text := cause.Error()
	// A reader that has stopped must not hold this up.
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_ = c.end(append(binary.BigEndian.AppendUint32(nil, chunkAbort), text[:min(len(text), maxReason)]...))
	_ = c.Conn.Close()
}

// OpenStream opens a stream of a service at a partner. It waits, until ctx ends,
// for the partner to be within reach and for a process there to accept the
// service. The stream outlives ctx.
func (c *Client) OpenStream(ctx context.Context, partner, service string) (Stream, error) {
	st, _, err := c.openStream(ctx, "/v1/partners/"+url.PathEscape(partner)+"/streams/"+url.PathEscape(service), nil)
	return st, err
}

// AcceptStream waits, until ctx ends, for a stream of the service: from the
// partner or, if that is empty, from any.
func (c *Client) AcceptStream(ctx context.Context, service, partner string) (st Stream, from string, err error) {
	q := url.Values{"service": {service}}
	if partner != "" {
		q.Set("partner", partner)
	}
	return c.openStream(ctx, pathAccept, q)
}

func (c *Client) openStream(ctx context.Context, path string, q url.Values) (Stream, string, error) {
	if left, ok := timeLeft(ctx); ok {
		if q == nil {
			q = url.Values{}
		}
		q.Set("within", left.String())
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return nil, "", c.failure(ctx, http.MethodGet, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	st, from, err := c.askStream(conn, withQuery(path, q))
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		var refused *Error
		if errors.As(err, &refused) {
			return nil, "", refused
		}
		return nil, "", c.failure(ctx, http.MethodGet, err)
	}
	return st, from, nil
}

func (c *Client) askStream(conn net.Conn, target string) (Stream, string, error) {
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: netquorum\r\nConnection: Upgrade\r\nUpgrade: %s\r\nContent-Length: 0\r\n\r\n", target, streamProtocol); err != nil {
		return nil, "", err
	}
	r := bufio.NewReaderSize(conn, 256<<10)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, "", err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxApply))
		if err != nil {
			return nil, "", err
		}
		return nil, "", c.refused(resp.Status, body)
	}
	return newChunked(conn, r), resp.Header.Get(partnerHeader), nil
}

// A StreamListener accepts streams of a service as a net.Listener.
type StreamListener struct {
	client  *Client
	service string
	ctx     context.Context
	cancel  context.CancelFunc
}

// ListenStreams returns a listener of streams of the service, from all partners.
func (c *Client) ListenStreams(service string) *StreamListener {
	ctx, cancel := context.WithCancel(context.Background())
	return &StreamListener{c, service, ctx, cancel}
}

// Accept waits for the next stream.
func (l *StreamListener) Accept() (net.Conn, error) {
	st, _, err := l.client.AcceptStream(l.ctx, l.service, "")
	if l.ctx.Err() != nil {
		return nil, net.ErrClosed
	}
	return st, err
}

// Close ends Accept. Streams that were accepted go on.
func (l *StreamListener) Close() error {
	l.cancel()
	return nil
}

// Addr names the service.
func (l *StreamListener) Addr() net.Addr { return streamAddr(l.service) }

type streamAddr string

func (streamAddr) Network() string  { return "netquorum-stream" }
func (a streamAddr) String() string { return string(a) }
