package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/netquorum/netquorum/calls"
)

// A client that asks often turns its connection into one of package calls, which
// carries many requests at once. The API on it is the same, but for streams.
const (
	pathCalls     = "/v1/calls"
	callsProtocol = "netquorum-calls/1"
)

// program is what the API is called among the programs of package calls.
const program = "api"

// calls is the API for connections of many requests.
func (s *Server) calls() *calls.Server {
	return &calls.Server{Programs: []calls.Program{{Name: program, Handler: s.mux}}, Log: s.log}
}

// upgrade answers GET /v1/calls by giving the connection over to package calls.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != callsProtocol {
		s.fail(w, r, usage("%s is for connections of many requests: ask with Upgrade: %s", pathCalls, callsProtocol))
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.fail(w, r, usage("this connection carries many requests already"))
		return
	}
	s.upgraded.Add(1)
	defer s.upgraded.Done()
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", callsProtocol)
	if err == nil {
		err = s.calls().Serve(s.closing, r.Context(), conn, buffered.Reader)
	}
	if err != nil {
		s.log.Debug("a connection of many requests broke", "actor", actorOf(r), "error", err)
	}
}

// dialCalls opens a connection and has it upgraded.
func dialCalls(ctx context.Context, socket string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	upgraded, err := upgradeConn(conn)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, ignoreNetClosed(conn.Close()))
	}
	return upgraded, nil
}

// upgradeConn asks for the upgrade.
func upgradeConn(conn net.Conn) (net.Conn, error) {
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: netquorum\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", pathCalls, callsProtocol); err != nil {
		return nil, err
	}
	buffered := bufio.NewReader(conn)
	resp, err := http.ReadResponse(buffered, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		resp.Body.Close()
		return nil, &notUpgradedError{resp.Status}
	}
	return &upgradedConn{conn, buffered}, nil
}

// An upgradedConn reads first what arrived together with the answer to the
// upgrade: the server speaks first.
type upgradedConn struct {
	net.Conn
	buffered *bufio.Reader
}

func (c *upgradedConn) Read(p []byte) (int, error) {
	if c.buffered.Buffered() > 0 {
		return c.buffered.Read(p)
	}
	return c.Conn.Read(p)
}

// notUpgradedError is the answer of something that is no daemon of this version.
type notUpgradedError struct{ status string }

func (e *notUpgradedError) Error() string { return "the answer to an upgrade was " + e.status }

func ignoreNetClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
