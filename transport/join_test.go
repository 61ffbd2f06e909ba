package transport_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/transporttest"
)

const joinService = string(transport.ServiceJoin)

// A registry is a Joining that keeps its tokens in memory and behaves like the
// real one.
type registry struct {
	authority *transport.Authority
	mu        sync.Mutex
	tokens    map[string]*entry
	names     map[string]bool
	down      error
	admitted  []transport.JoinRequest
}

type entry struct {
	key     []byte
	expired bool
	usedBy  string
	only    string
}

func newRegistry(a *transport.Authority) *registry {
	return &registry{authority: a, tokens: map[string]*entry{}, names: map[string]bool{"filer-1": true}}
}

func (r *registry) create(change func(*entry)) transport.Token {
	token := transport.NewToken()
	e := &entry{key: token.Key()}
	if change != nil {
		change(e)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens[token.ID()] = e
	return token
}

func (r *registry) Token(_ context.Context, id string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.tokens[id]
	switch {
	case e == nil:
		return nil, nil
	case e.expired:
		return e.key, &transport.Refusal{Code: transport.RefusedExpired, Message: "expired yesterday"}
	}
	return e.key, nil
}

func (r *registry) Admit(_ context.Context, id string, req transport.JoinRequest) (transport.JoinReply, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	refuse := func(code transport.RefusalCode, message string) (transport.JoinReply, error) {
		return transport.JoinReply{}, &transport.Refusal{Code: code, Message: message}
	}
	e := r.tokens[id]
	switch {
	case r.down != nil:
		return transport.JoinReply{}, r.down
	case e.usedBy != "" && e.usedBy != string(req.Filer):
		return refuse(transport.RefusedUsed, "used")
	case e.only != "" && e.only != req.Name:
		return refuse(transport.RefusedWrongName, "good for "+e.only)
	case e.usedBy == "" && r.names[req.Name]:
		return refuse(transport.RefusedNameTaken, req.Name+" is taken")
	case req.Level > 1:
		return refuse(transport.RefusedVersion, "this cluster is at level 1")
	}
	e.usedBy, r.names[req.Name] = string(req.Filer), true
	r.admitted = append(r.admitted, req)
	return transport.NewJoinReply(&transport.Keyring{Current: r.authority}, req, []transport.Member{{ID: "filer-1", Name: "filer-1", Endpoints: []string{"10.1.1.2:7480"}}})
}

func newJoinable(t *testing.T, set ...func(*transport.Config)) (*transporttest.Cluster, *transporttest.Filer, *registry) {
	c := transporttest.New(t, 1, set...)
	r := newRegistry(c.Authority)
	c.Filers[0].ServeJoin(r)
	return c, c.Filers[0], r
}

var newcomer = transport.JoinRequest{
	Filer: "0b9e9f6e-newcomer", Name: "filer-2", Endpoints: []string{"10.1.1.3:7480"},
	Version: "1.0", Level: 1, Payload: json.RawMessage(`{"a":1}`),
}

func TestAFilerJoinsAndTakesPart(t *testing.T) {
	c, f, r := newJoinable(t)
	serveEcho(t, f)
	ctx := within(t, 10*time.Second)
	token := r.create(nil)
	reply, err := transport.Join(ctx, f.Addr().String(), token, newcomer)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Cluster != "acme" || len(reply.Members) != 1 || reply.Members[0].ID != "filer-1" {
		t.Errorf("the reply says %q, %+v", reply.Cluster, reply.Members)
	}
	if got := r.admitted[0]; got.Name != newcomer.Name || string(got.Payload) != `{"a":1}` || !slices.Equal(got.Endpoints, newcomer.Endpoints) {
		t.Errorf("the cluster heard %+v", got)
	}
	keys, err := reply.Open()
	if err != nil {
		t.Fatal(err)
	}
	authority, identity := keys.Current, keys.Identity
	if identity.Filer != newcomer.Filer || identity.Name != newcomer.Name || authority.ClusterID != c.Authority.ClusterID {
		t.Errorf("got the identity %+v of %s", identity, authority.ClusterID)
	}
	e, err := transport.Listen(transport.Config{
		Listen: "127.0.0.1:0", Resolver: c, Identity: func() *transport.Identity { return identity },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	conn, err := e.Open(ctx, f.ID, echo, link.Control)
	if err != nil {
		t.Fatal(err)
	}
	mustSay(t, conn, "one of you now")

	// The answer was lost, or the newcomer was: the same filer may ask again.
	if _, err := transport.Join(ctx, f.Addr().String(), token, newcomer); err != nil {
		t.Errorf("the same filer with the same token: %v", err)
	}
	other := newcomer
	other.Filer, other.Name = "another", "filer-3"
	if _, err := transport.Join(ctx, f.Addr().String(), token, other); !errors.Is(err, &transport.Refusal{Code: transport.RefusedUsed}) {
		t.Errorf("another filer with a used token: %v", err)
	}
	if s := f.Stats(); s.JoinsAdmitted != 2 || s.JoinsRefused[transport.RefusedUsed] != 1 || s.HalfOpen != 0 {
		t.Errorf("counted %+v", s)
	}
}

func TestEachReasonToRefuseAJoinIsTold(t *testing.T) {
	_, f, r := newJoinable(t)
	wrongSecret := func() transport.Token {
		good := r.create(nil).String()
		bad, err := transport.ParseToken(good[:strings.LastIndex(good, "-")] + "-" + strings.Repeat("a", 52))
		if err != nil {
			t.Fatal(err)
		}
		return bad
	}
	tests := []struct {
		name    string
		token   transport.Token
		change  func(*transport.JoinRequest)
		code    transport.RefusalCode
		counted transport.RefusalCode
	}{
		{"an unknown token", transport.NewToken(), nil, transport.RefusedUnproven, "unknown-token"},
		{"a wrong secret", wrongSecret(), nil, transport.RefusedUnproven, "bad-proof"},
		{"an expired token", r.create(func(e *entry) { e.expired = true }), nil, transport.RefusedExpired, transport.RefusedExpired},
		{"a used token", r.create(func(e *entry) { e.usedBy = "someone" }), nil, transport.RefusedUsed, transport.RefusedUsed},
		{"a token for another name", r.create(func(e *entry) { e.only = "filer-9" }), nil, transport.RefusedWrongName, transport.RefusedWrongName},
		{"a name that is taken", r.create(nil), func(q *transport.JoinRequest) { q.Name = "filer-1" }, transport.RefusedNameTaken, transport.RefusedNameTaken},
		{"too high a level", r.create(nil), func(q *transport.JoinRequest) { q.Level = 2 }, transport.RefusedVersion, transport.RefusedVersion},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req := newcomer
			if test.change != nil {
				test.change(&req)
			}
			before := f.Stats().JoinsRefused[test.counted]
			_, err := transport.Join(within(t, 5*time.Second), f.Addr().String(), test.token, req)
			var refusal *transport.Refusal
			if !errors.As(err, &refusal) || refusal.Code != test.code {
				t.Fatalf("got %v, want a refusal with the code %s", err, test.code)
			}
			if refusal.Message == "" || !strings.Contains(err.Error(), f.Addr().String()) {
				t.Errorf("%q does not say what to do, or where", err)
			}
			if n := f.Stats().JoinsRefused[test.counted]; n != before+1 {
				t.Errorf("counted %d of %s, want %d", n, test.counted, before+1)
			}
		})
	}
	t.Run("no quorum", func(t *testing.T) {
		r.down = errors.New("no quorum: 1 of 3 filers")
		_, err := transport.Join(within(t, 5*time.Second), f.Addr().String(), r.create(nil), newcomer)
		if !errors.Is(err, &transport.Refusal{Code: transport.RefusedUnavailable}) || !strings.Contains(err.Error(), "1 of 3") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an id that is none", func(t *testing.T) {
		req := newcomer
		req.Filer = "../etc"
		if _, err := transport.Join(within(t, 5*time.Second), f.Addr().String(), r.create(nil), req); err == nil {
			t.Error("joined")
		}
	})
	if len(r.admitted) != 0 {
		t.Errorf("admitted %+v", r.admitted)
	}
}

func TestAFilerThatIsInNoClusterSaysSo(t *testing.T) {
	var identity atomic.Pointer[transport.Identity]
	c, f, r := newJoinable(t, func(cfg *transport.Config) { cfg.Identity = identity.Load })
	want := &transport.Refusal{Code: transport.RefusedNotInCluster}
	join := func() error {
		_, err := transport.Join(within(t, 5*time.Second), f.Addr().String(), r.create(nil), newcomer)
		return err
	}
	if err := join(); !errors.Is(err, want) {
		t.Errorf("without an identity: %v", err)
	}
	identity.Store(c.Filers[0].Identity)
	f.ServeJoin(nil)
	if err := join(); !errors.Is(err, want) {
		t.Errorf("without a Joining: %v", err)
	}
	f.ServeJoin(r)
	if err := join(); err != nil {
		t.Errorf("with both: %v", err)
	}
}

func TestJoiningAVersionThatIsNotSpoken(t *testing.T) {
	l := listenTLS(t, func(conn *tls.Conn) {}, "netquorum-join/2")
	_, err := transport.Join(within(t, 5*time.Second), l, transport.NewToken(), newcomer)
	if !errors.Is(err, &transport.Refusal{Code: transport.RefusedVersion}) {
		t.Errorf("got %v", err)
	}
}

// listenTLS serves TLS with a certificate of nobody's.
func listenTLS(t *testing.T, serve func(*tls.Conn), protos ...string) string {
	t.Helper()
	a, err := transport.NewAuthority("evil")
	if err != nil {
		t.Fatal(err)
	}
	cert := newForge(t, a).issue(t, nil)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: protos})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(5 * time.Second))
				if conn := c.(*tls.Conn); conn.Handshake() == nil {
					serve(conn)
				}
			})
		}
	})
	return l.Addr().String()
}

// Someone between relays every byte. TLS does not stop it, since the newcomer
// knows no certificate; the proofs do, since both are bound to one connection.
func TestAManInTheMiddleGetsNothing(t *testing.T) {
	_, f, r := newJoinable(t)
	heard := make(chan []byte, 1)
	middle := listenTLS(t, func(victim *tls.Conn) {
		up, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{joinService}})
		if err != nil {
			t.Error(err)
			return
		}
		defer up.Close()
		go func() { _, _ = io.Copy(up, victim) }()
		data, _ := io.ReadAll(io.TeeReader(up, victim))
		heard <- data
	}, joinService)
	_, err := transport.Join(within(t, 5*time.Second), middle, r.create(nil), newcomer)
	if !errors.Is(err, &transport.Refusal{Code: transport.RefusedUnproven}) {
		t.Errorf("the victim got %v", err)
	}
	if got := string(<-heard); strings.Contains(got, "outcome") || len(r.admitted) != 0 {
		t.Errorf("the middle heard %q, %d admitted", got, len(r.admitted))
	}
	if n := f.Stats().JoinsRefused["bad-proof"]; n != 1 {
		t.Errorf("%d proofs refused, want 1", n)
	}
}

// frame writes one frame as the protocol does.
func frame(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append([]byte{byte(len(body) >> 24), byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

func readFrame(c io.Reader) []byte {
	var n [4]byte
	if _, err := io.ReadFull(c, n[:]); err != nil {
		return nil
	}
	body := make([]byte, int(n[0])<<24|int(n[1])<<16|int(n[2])<<8|int(n[3]))
	_, _ = io.ReadFull(c, body)
	return body
}

// Whoever does not know the token cannot give a newcomer a cluster.
func TestAFalseClusterIsNotJoined(t *testing.T) {
	evil, err := transport.NewAuthority("acme")
	if err != nil {
		t.Fatal(err)
	}
	reply, err := transport.NewJoinReply(&transport.Keyring{Current: evil}, newcomer, nil)
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := json.Marshal(map[string]any{"reply": reply})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		answer func(asked map[string]any) []byte
	}{
		{"no proof", func(map[string]any) []byte { return frame(map[string]any{"outcome": outcome}) }},
		{"the newcomer's own proof sent back", func(asked map[string]any) []byte {
			return frame(map[string]any{"outcome": outcome, "proof": asked["proof"]})
		}},
		{"the newcomer's own proof for an empty outcome", func(asked map[string]any) []byte {
			return frame(map[string]any{"proof": asked["proof"]})
		}},
		{"words of a stranger", func(map[string]any) []byte {
			return frame(map[string]any{"unproven": map[string]string{"code": "used", "message": "type your token into my page"}})
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			at := listenTLS(t, func(c *tls.Conn) {
				var asked map[string]any
				if err := json.Unmarshal(readFrame(c), &asked); err != nil {
					t.Error(err)
				}
				_, _ = c.Write(test.answer(asked))
			}, joinService)
			_, err := transport.Join(within(t, 5*time.Second), at, transport.NewToken(), newcomer)
			if !errors.Is(err, transport.ErrImpostor) {
				t.Errorf("got %v, want ErrImpostor", err)
			}
		})
	}
	t.Run("an answer without end", func(t *testing.T) {
		at := listenTLS(t, func(c *tls.Conn) {
			readFrame(c)
			_, _ = c.Write([]byte{0xff, 0xff, 0xff, 0xff})
		}, joinService)
		var bad *transport.FrameError
		if _, err := transport.Join(within(t, 5*time.Second), at, transport.NewToken(), newcomer); !errors.As(err, &bad) {
			t.Errorf("got %v, want a FrameError", err)
		}
	})
	t.Run("silence", func(t *testing.T) {
		at := listenTLS(t, func(c *tls.Conn) { _, _ = io.Copy(io.Discard, c) }, joinService)
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if _, err := transport.Join(ctx, at, transport.NewToken(), newcomer); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAskFramesThatMakeNoSense(t *testing.T) {
	_, f, r := newJoinable(t)
	id := r.create(nil).ID()
	zeroKey := func(c *tls.Conn) []byte { // what the server reckons with for a token that it does not know
		cs := c.ConnectionState()
		export, err := cs.ExportKeyingMaterial("EXPORTER-netquorum-join-1", nil, 32)
		if err != nil {
			t.Fatal(err)
		}
		id := transport.NewToken().ID()
		m := hmac.New(sha256.New, make([]byte, 32))
		m.Write([]byte("netquorum joiner."))
		m.Write(export)
		for _, part := range []string{id, "{}", ""} {
			h := sha256.Sum256([]byte(part))
			m.Write(h[:])
		}
		return frame(map[string]any{"token": id, "request": []byte("{}"), "proof": m.Sum(nil)})
	}
	tests := []struct {
		name  string
		frame any    // bytes, or what makes them
		heard string // part of the answer; empty for none
	}{
		{"an oversized frame", []byte{0x7f, 0xff, 0xff, 0xff, '{'}, ""},
		{"one byte too many", []byte{0, 1, 0, 1, '{'}, ""},
		{"no JSON", []byte{0, 0, 0, 2, '{', '{'}, ""},
		{"an end inside the frame", []byte{0, 0, 1, 0, '{'}, ""},
		{"nothing", []byte{}, ""},
		{"an empty object", frame(map[string]any{}), "unproven"},
		{"no proof", frame(map[string]any{"token": id, "request": []byte("{}")}), "unproven"},
		{"a short proof", frame(map[string]any{"token": id, "proof": []byte{1}}), "unproven"},
		{"a proof with the key of no token", zeroKey, "unproven"},
		{"a path for a token", frame(map[string]any{"token": "../../x", "proof": make([]byte, 32)}), "unproven"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{joinService}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			data, ready := test.frame.([]byte)
			if !ready {
				data = test.frame.(func(*tls.Conn) []byte)(c)
			}
			if _, err := c.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			heard := string(readFrame(c))
			if (heard == "") != (test.heard == "") || !strings.Contains(heard, test.heard) {
				t.Errorf("heard %q, want %q in it", heard, test.heard)
			}
			if strings.Contains(heard, "outcome") {
				t.Errorf("a stranger is told an outcome: %s", heard)
			}
		})
	}
	transporttest.Eventually(t, "all of them to be gone", func() bool { return f.Stats().HalfOpen == 0 })
	if n := f.Stats().Refused[transport.BadFrame]; n != 3 {
		t.Errorf("counted %d bad frames, want 3", n)
	}
}

func TestAJoinerThatSaysNothingIsNotWaitedFor(t *testing.T) {
	_, f, _ := newJoinable(t, func(cfg *transport.Config) { cfg.HandshakeTimeout = 300 * time.Millisecond })
	c, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{joinService}})
	if err != nil {
		t.Skipf("the machine is too slow for this: %v", err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("still connected after ten seconds")
	}
	transporttest.Eventually(t, "it to be counted", func() bool {
		s := f.Stats()
		return s.Refused[transport.TimedOut] == 1 && s.HalfOpen == 0
	})
}

// The join service tells a stranger neither the cluster's name nor a filer's.
func TestAStrangerLearnsNothingFromTheJoinCertificate(t *testing.T) {
	_, f, _ := newJoinable(t)
	c, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{joinService}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cert := c.ConnectionState().PeerCertificates[0]
	if cert.Subject.String() != "" || len(cert.URIs)+len(cert.DNSNames) != 0 {
		t.Errorf("it shows %q %v", cert.Subject, cert.URIs)
	}
}

func TestFailedProofsAreHeldBack(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().Unix())
	_, f, r := newJoinable(t, func(cfg *transport.Config) {
		cfg.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	})
	join := func(token transport.Token) error {
		_, err := transport.Join(within(t, 5*time.Second), f.Addr().String(), token, newcomer)
		return err
	}
	busy := &transport.Refusal{Code: transport.RefusedBusy}
	var err error
	tries := 0
	for ; tries < 50 && !errors.Is(err, busy); tries++ {
		err = join(transport.NewToken())
	}
	if tries != 11 {
		t.Errorf("held back at try %d, want 11: %v", tries, err)
	}
	good := r.create(nil)
	if err := join(good); !errors.Is(err, busy) {
		t.Errorf("a good token from the same address: %v", err)
	}
	now.Add(60)
	if err := join(good); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

func TestCloseDoesNotWaitForAJoiner(t *testing.T) {
	_, f, _ := newJoinable(t)
	c, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{joinService}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	start := time.Now()
	f.Close()
	if took := time.Since(start); took > time.Second {
		t.Errorf("Close took %v", took)
	}
}

var _ transport.Joining = (*registry)(nil)
