package transport

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/netquorum/netquorum"
)

const (
	maxAsk    = 64 << 10 // read from someone who has proved nothing
	maxAnswer = 4 << 20
)

// A JoinRequest is what a filer says of itself when it asks to be admitted.
type JoinRequest struct {
	Filer     netquorum.FilerID `json:"filer"` // made by the filer itself, kept over retries
	Name      string            `json:"name"`
	Endpoints []string          `json:"endpoints,omitempty"` // where it listens
	Version   string            `json:"version,omitempty"`   // of the software, for people
	Level     int               `json:"level,omitempty"`     // the feature level that it has
	Payload   json.RawMessage   `json:"payload,omitempty"`
}

// A Member is a filer of the cluster and where it may be reached.
type Member struct {
	ID        netquorum.FilerID `json:"id"`
	Name      string            `json:"name"`
	Endpoints []string          `json:"endpoints,omitempty"`
}

// A JoinReply is all that an admitted filer needs to take part. It holds the
// cluster's secrets.
type JoinReply struct {
	Cluster   string `json:"cluster"`
	Authority []byte `json:"authority"` // as Authority.PEM wrote it
	// NextAuthority is there while the cluster changes its authority.
	NextAuthority []byte          `json:"nextAuthority,omitempty"`
	Identity      []byte          `json:"identity"` // as Identity.PEM wrote it
	Members       []Member        `json:"members"`
	Payload       json.RawMessage `json:"payload,omitempty"`
}

// NewJoinReply issues the newcomer's identity and encodes it with the
// authorities of the keyring.
func NewJoinReply(k *Keyring, req JoinRequest, members []Member) (JoinReply, error) {
	id, err := k.Issuer().Issue(req.Filer, req.Name)
	if err != nil {
		return JoinReply{}, err
	}
	r := JoinReply{Cluster: k.Current.Cluster, Members: members}
	if r.Authority, err = k.Current.PEM(); err != nil {
		return JoinReply{}, err
	}
	if k.Next != nil {
		if r.NextAuthority, err = k.Next.PEM(); err != nil {
			return JoinReply{}, err
		}
	}
	r.Identity, err = id.PEM()
	return r, err
}

// Open decodes what the newcomer is to hold and checks that it belongs together.
func (r JoinReply) Open() (*Keyring, error) {
	current, err := ParseAuthority(r.Authority)
	if err != nil {
		return nil, fmt.Errorf("the authority in the reply: %w", err)
	}
	var next *Authority
	if len(r.NextAuthority) > 0 {
		if next, err = ParseAuthority(r.NextAuthority); err != nil {
			return nil, fmt.Errorf("the next authority in the reply: %w", err)
		}
	}
	i, err := ParseIdentity(r.Identity)
	if err != nil {
		return nil, fmt.Errorf("the identity in the reply: %w", err)
	}
	k, err := NewKeyring(current, next, i)
	if err != nil {
		return nil, fmt.Errorf("the reply: %w", err)
	}
	return k, nil
}

// A RefusalCode says why a join was turned away.
type RefusalCode string

const (
	// Told to anyone.
	RefusedUnproven     RefusalCode = "unproven"       // no such token, or the secret is wrong: not told which
	RefusedVersion      RefusalCode = "version"        // the peer speaks another version of joining, or needs newer software
	RefusedNotInCluster RefusalCode = "not-in-cluster" // the peer itself is in no cluster
	RefusedBusy         RefusalCode = "busy"           // too many failures from the same address

	// Told only to one who proved to know the token.
	RefusedUsed        RefusalCode = "used"
	RefusedExpired     RefusalCode = "expired"
	RefusedWrongName   RefusalCode = "wrong-name"  // the token is good for a filer of another name
	RefusedNameTaken   RefusalCode = "name-taken"  // the cluster has another filer of the name
	RefusedInvalid     RefusalCode = "invalid"     // the request makes no sense
	RefusedUnavailable RefusalCode = "unavailable" // no quorum, or too slow: try again

	// Counted, but told as RefusedUnproven.
	refusedUnknownToken RefusalCode = "unknown-token"
	refusedBadProof     RefusalCode = "bad-proof"
)

// refusalTexts are for codes that may come from someone who has proved nothing:
// their words are not repeated.
var refusalTexts = map[RefusalCode]string{
	RefusedUnproven:     "the token is not known there or its secret is wrong: make a new one with `netquorum token create` on a filer of the cluster",
	RefusedVersion:      "the peer does not join filers the way this version does: run the same version of netquorum on both",
	RefusedNotInCluster: "the peer is in no cluster itself: name a filer that is",
	RefusedBusy:         "too many failed attempts from this address: wait a minute",
}

// A Refusal is a join that was turned away.
type Refusal struct {
	Code    RefusalCode `json:"code"`
	Message string      `json:"message,omitempty"`
}

func (r *Refusal) Error() string {
	if r.Message == "" {
		return "join refused: " + string(r.Code)
	}
	return fmt.Sprintf("join refused: %s [%s]", r.Message, r.Code)
}

// Is compares by code, so that errors.Is(err, &Refusal{Code: RefusedUsed}) works.
func (r *Refusal) Is(target error) bool {
	t, ok := target.(*Refusal)
	return ok && t.Code == r.Code
}

// ErrImpostor means that whoever answered a join does not know the token: it is
// another cluster's filer, or someone sits between. Nothing it said was used.
var ErrImpostor = errors.New("the peer does not know the token: wrong peer, or someone is in between")

// ask is the joiner's one frame.
type ask struct {
	Token   string `json:"token"`   // the id
	Request []byte `json:"request"` // a JoinRequest; bytes, because the proof is over bytes
	Proof   []byte `json:"proof"`
}

// answer is the cluster's one frame: a proven outcome, or a refusal by someone
// who cannot or will not prove anything.
type answer struct {
	Outcome  []byte   `json:"outcome,omitempty"`
	Proof    []byte   `json:"proof,omitempty"`
	Unproven *Refusal `json:"unproven,omitempty"`
}

type outcomeBody struct {
	Reply   *JoinReply `json:"reply,omitempty"`
	Refusal *Refusal   `json:"refusal,omitempty"`
}

// exporterLabel separates our keying material from any other use of the channel.
const exporterLabel = "EXPORTER-netquorum-join-1"

// A joinChannel makes the proofs of one TLS connection. Both sides of one
// connection export the same bytes, which depend on everything in its
// handshake; someone who relays between two connections has two exports, so a
// proof made for one is worthless on the other.
type joinChannel struct{ export []byte }

func newJoinChannel(cs tls.ConnectionState) (joinChannel, error) {
	export, err := cs.ExportKeyingMaterial(exporterLabel, nil, sha256.Size)
	return joinChannel{export}, err
}

// The roles are labels of equal length, so that no proof of one side can be
// reflected as a proof of the other.
const (
	roleJoiner  = "netquorum joiner."
	roleCluster = "netquorum cluster"
)

// proof covers everything that was said on the connection so far.
func (c joinChannel) proof(key []byte, role, token string, request, outcome []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(role))
	m.Write(c.export)
	for _, part := range [][]byte{[]byte(token), request, outcome} {
		h := sha256.Sum256(part)
		m.Write(h[:])
	}
	return m.Sum(nil)
}

// Join asks a filer at the address (the default port may be left out) to be
// admitted with a token. The peer needs no certificate that we could verify:
// both sides prove that they know the token, on this very connection, and the
// secrets of the cluster come only after that. Errors: *Refusal, ErrImpostor,
// or of the network. A join that failed otherwise may be tried again with the
// same token and the same JoinRequest.Filer.
func Join(ctx context.Context, peer string, token Token, req JoinRequest) (JoinReply, error) {
	reply, err := join(ctx, WithPort(peer), token, req)
	if err != nil {
		return JoinReply{}, fmt.Errorf("joining through %s: %w", peer, err)
	}
	return reply, nil
}

func join(ctx context.Context, peer string, token Token, req JoinRequest) (JoinReply, error) {
	if err := checkFilerID(req.Filer); err != nil {
		return JoinReply{}, err
	}
	request, err := json.Marshal(req)
	if err != nil {
		return JoinReply{}, fmt.Errorf("encoding the request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	raw, err := (&net.Dialer{KeepAliveConfig: keepAlive, Control: tune}).DialContext(ctx, "tcp", peer)
	if err != nil {
		return JoinReply{}, err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()

	answered, ch, err := exchange(raw, token, request)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx) // rather than "use of closed connection"
		}
		return JoinReply{}, err
	}
	return judge(answered, ch, token, req, request)
}

// exchange sends the ask and reads the answer.
func exchange(raw net.Conn, token Token, request []byte) (answer, joinChannel, error) {
	conn := tls.Client(raw, &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{string(ServiceJoin)},
		// We have no authority yet. The answer's proof takes its place: it is
		// bound to this connection, certificate included, by the exporter.
		InsecureSkipVerify: true,
	})
	if err := conn.HandshakeContext(context.Background()); err != nil { // raw is closed when the time is up
		if errors.Is(explain(err), ErrNotServed) {
			return answer{}, joinChannel{}, &Refusal{RefusedVersion, refusalTexts[RefusedVersion]}
		}
		return answer{}, joinChannel{}, err
	}
	if conn.ConnectionState().NegotiatedProtocol != string(ServiceJoin) {
		return answer{}, joinChannel{}, errors.New("this is not a netquorum filer")
	}
	ch, err := newJoinChannel(conn.ConnectionState())
	if err != nil {
		return answer{}, joinChannel{}, err
	}
	proof := ch.proof(token.Key(), roleJoiner, token.ID(), request, nil)
	if err := writeFrame(conn, maxAsk, ask{token.ID(), request, proof}); err != nil {
		return answer{}, joinChannel{}, err
	}
	var a answer
	err = readFrame(conn, maxAnswer, &a)
	return a, ch, err
}

// judge believes nothing in an answer whose proof is wrong.
func judge(a answer, ch joinChannel, token Token, req JoinRequest, request []byte) (JoinReply, error) {
	if a.Unproven != nil {
		text, known := refusalTexts[a.Unproven.Code]
		if !known {
			return JoinReply{}, ErrImpostor
		}
		return JoinReply{}, &Refusal{a.Unproven.Code, text}
	}
	want := ch.proof(token.Key(), roleCluster, token.ID(), request, a.Outcome)
	if !hmac.Equal(want, a.Proof) {
		return JoinReply{}, ErrImpostor
	}
	var o outcomeBody
	if err := json.Unmarshal(a.Outcome, &o); err != nil {
		return JoinReply{}, &FrameError{"the outcome cannot be read"}
	}
	if o.Refusal != nil {
		return JoinReply{}, o.Refusal
	}
	if o.Reply == nil {
		return JoinReply{}, &FrameError{"the outcome is empty"}
	}
	keys, err := o.Reply.Open()
	if err != nil {
		return JoinReply{}, err
	}
	if id := keys.Identity.Filer; id != req.Filer {
		return JoinReply{}, mismatched("the reply is for filer %s, this is %s", id, req.Filer)
	}
	return *o.Reply, nil
}
