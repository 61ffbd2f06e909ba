package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Joining decides who may join. Its errors reach the newcomer: a *Refusal as it
// is, any other as RefusedUnavailable with its text.
type Joining interface {
	// Token returns the key of the token with the id; a nil key when there is
	// no such token. For a token that is used or expired it returns the key
	// and a *Refusal, which is told only to one who proves to know the token.
	Token(ctx context.Context, id string) (key []byte, err error)
	// Admit takes the filer into the cluster and uses the token up. It is
	// called after the proof. The answer may be lost on the way, so the same
	// filer with the same token should be given another, not "used".
	Admit(ctx context.Context, tokenID string, req JoinRequest) (JoinReply, error)
}

// ServeJoin begins to admit filers by tokens. Until then, and after nil, a
// newcomer is told that this filer is in no cluster.
func (e *Endpoint) ServeJoin(j Joining) {
	if j == nil {
		e.joins.joining.Store(nil)
		return
	}
	e.joins.joining.Store(&j)
}

type joinServer struct {
	endpoint  *Endpoint
	joining   atomic.Pointer[Joining]
	failures  failures
	tlsConfig func() (*tls.Config, error)
}

func newJoinServer(e *Endpoint) *joinServer {
	s := &joinServer{endpoint: e, failures: failures{now: e.cfg.Now}}
	s.tlsConfig = sync.OnceValues(joinTLS)
	return s
}

// joinTLS uses a certificate of its own that says nothing: a stranger learns
// neither the cluster's name nor the filer's.
func joinTLS() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{NotBefore: notBefore, NotAfter: authorityNotAfter}
	cert, err := sign(template, template, key, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}},
		NextProtos:             []string{string(ServiceJoin)},
		SessionTicketsDisabled: true,
	}, nil
}

// serve answers one newcomer. Until its proof is verified the connection stays
// half-open: it is among those that are pushed out by a flood, and the deadline
// of the handshake covers it.
func (s *joinServer) serve(conn *tls.Conn, a *applicant) {
	defer conn.Close()
	e := s.endpoint
	var question ask
	if err := readFrame(conn, maxAsk, &question); err != nil {
		reason := (&handshake{}).why(err)
		if a.evicted.Load() {
			reason = Crowded
		}
		e.count.refused.add(reason)
		e.log.Debug("join abandoned", "from", conn.RemoteAddr(), "reason", string(reason), "err", err)
		return
	}
	ch, err := newJoinChannel(conn.ConnectionState())
	if err != nil {
		e.log.Warn("join impossible", "err", err)
		return
	}
	key, refusal, why := s.authenticate(conn, ch, question)
	if key == nil {
		s.refused(conn, question, why)
		s.send(conn, answer{Unproven: refusal})
		return
	}
	if !e.halfOpen.leave(a) {
		e.count.refused.add(Crowded)
		return
	}
	o := s.decide(conn, question, refusal)
	if o.Refusal != nil {
		s.refused(conn, question, o.Refusal.Code)
	} else {
		e.count.admitted.Add(1)
	}
	outcome, err := json.Marshal(o)
	if err != nil {
		e.log.Error("join: the answer cannot be encoded", "err", err)
		return
	}
	s.send(conn, answer{
		Outcome: outcome,
		Proof:   ch.proof(key, roleCluster, question.Token, question.Request, outcome),
	})
}

// authenticate returns the token's key once the newcomer has proved to know it;
// with it may come a refusal that only then may be told. Without a key the
// refusal is all that a stranger gets, and why is for our own log.
func (s *joinServer) authenticate(conn net.Conn, ch joinChannel, q ask) (key []byte, r *Refusal, why RefusalCode) {
	e := s.endpoint
	joining := s.joining.Load()
	from := source(conn.RemoteAddr())
	switch {
	case joining == nil || e.cfg.Identity() == nil:
		return nil, &Refusal{Code: RefusedNotInCluster}, RefusedNotInCluster
	case !s.failures.mayTry(from):
		return nil, &Refusal{Code: RefusedBusy}, RefusedBusy
	}
	ctx, cancel := context.WithTimeout(e.ctx, e.cfg.HandshakeTimeout)
	defer cancel()
	why = refusedBadProof
	var err error
	if validTokenID(q.Token) {
		key, err = (*joining).Token(ctx, q.Token)
	}
	known := len(key) > 0
	if !known {
		if err != nil && !errors.As(err, &r) { // the store failed; the token may be good
			e.log.Warn("join: cannot look the token up", "token", q.Token, "err", err)
		}
		// The same work for an unknown token as for a known one.
		key, why = make([]byte, 32), refusedUnknownToken
	}
	want := ch.proof(key, roleJoiner, q.Token, q.Request, nil)
	if !hmac.Equal(want, q.Proof) || !known {
		s.failures.note(from)
		return nil, &Refusal{Code: RefusedUnproven}, why
	}
	if err != nil && !errors.As(err, &r) {
		r = &Refusal{RefusedUnavailable, err.Error()}
	}
	return key, r, ""
}

// decide answers a newcomer who knows the token.
func (s *joinServer) decide(conn net.Conn, q ask, refusal *Refusal) outcomeBody {
	e := s.endpoint
	if refusal != nil {
		return outcomeBody{Refusal: refusal}
	}
	var req JoinRequest
	if err := json.Unmarshal(q.Request, &req); err != nil {
		return outcomeBody{Refusal: &Refusal{RefusedInvalid, "the request cannot be read: " + err.Error()}}
	}
	if err := checkFilerID(req.Filer); err != nil {
		return outcomeBody{Refusal: &Refusal{RefusedInvalid, err.Error()}}
	}
	joining := s.joining.Load()
	if joining == nil {
		return outcomeBody{Refusal: &Refusal{RefusedUnavailable, "this filer is leaving its cluster"}}
	}
	_ = conn.SetDeadline(time.Time{}) // Admit has a context; send sets the next one
	ctx, cancel := context.WithTimeout(e.ctx, e.cfg.JoinTimeout)
	defer cancel()
	reply, err := (*joining).Admit(ctx, q.Token, req)
	if err != nil {
		var r *Refusal
		if !errors.As(err, &r) {
			r = &Refusal{RefusedUnavailable, err.Error()}
		}
		return outcomeBody{Refusal: r}
	}
	e.log.Info("filer admitted", "filer", req.Name, "id", req.Filer, "token", q.Token, "from", conn.RemoteAddr())
	return outcomeBody{Reply: &reply}
}

func (s *joinServer) refused(conn net.Conn, q ask, code RefusalCode) {
	s.endpoint.count.joinsRefused.add(code)
	token := q.Token
	if !validTokenID(token) { // a stranger's bytes do not get into the log
		token = "malformed"
	}
	s.endpoint.log.Warn("join refused", "from", conn.RemoteAddr(), "token", token, "code", string(code))
}

func (s *joinServer) send(conn net.Conn, a answer) {
	_ = conn.SetDeadline(time.Now().Add(s.endpoint.cfg.HandshakeTimeout))
	if err := writeFrame(conn, maxAnswer, a); err != nil {
		s.endpoint.log.Warn("join: the answer did not reach the newcomer", "to", conn.RemoteAddr(), "err", err)
	}
}

// failures holds back those who fail to prove themselves again and again. A
// 256-bit secret is not guessed; this keeps the log and the store quiet.
type failures struct {
	now func() time.Time
	mu  sync.Mutex
	by  map[netip.Prefix]failure
}

// A failure is a count that shrinks by one each forgiveness.
type failure struct {
	count int
	since time.Time
}

const (
	failuresAllowed = 10
	forgiveness     = 5 * time.Second
	sourcesKept     = 1024
)

func (f *failures) mayTry(from netip.Prefix) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left(from).count < failuresAllowed
}

func (f *failures) note(from netip.Prefix) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = map[netip.Prefix]failure{}
	}
	if _, known := f.by[from]; !known && len(f.by) >= sourcesKept {
		f.prune()
	}
	left := f.left(from)
	left.count++
	f.by[from] = left
}

// left returns the count after what time has forgiven.
func (f *failures) left(from netip.Prefix) failure {
	old, now := f.by[from], f.now()
	if old.count == 0 || now.Before(old.since) { // nothing yet, or the clock was set back
		return failure{count: old.count, since: now}
	}
	n := int(now.Sub(old.since) / forgiveness)
	if n >= old.count {
		return failure{since: now}
	}
	return failure{old.count - n, old.since.Add(time.Duration(n) * forgiveness)}
}

// prune forgets whoever is forgiven, and everyone if that is nobody: the table
// must not grow with the number of addresses that an attacker has.
func (f *failures) prune() {
	for from := range f.by {
		if f.left(from).count == 0 {
			delete(f.by, from)
		}
	}
	if len(f.by) >= sourcesKept {
		clear(f.by)
	}
}

// source is the network that failures are counted for: an IPv6 host has a whole
// /64 to call from.
func source(a net.Addr) netip.Prefix {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
