package partner

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport"
)

var (
	// ErrUnproven means that the other side does not know the secret, or that
	// someone sits in between.
	ErrUnproven = transport.ErrUnproven
	// ErrRefused means that the called does not accept the secret: it was removed
	// there or never added.
	ErrRefused = errors.New("the partner does not accept the secret; add it there, or use one that both have")
	// ErrOtherCluster means that a cluster which knows the secret has not the id
	// that the Partner document asks for.
	ErrOtherCluster = transport.ErrOtherCluster
	// ErrItself means that a cluster has called itself.
	ErrItself = fmt.Errorf("the endpoint is one of this cluster's own: %w", ErrOtherCluster)
	// ErrNotExpected is what the caller learns of ErrOtherCluster at the called.
	ErrNotExpected = errors.New("the partner knows the secret and expects another cluster: the clusterID of its Partner document is not this cluster's id")
)

// What is said on a new connection, all of fixed size until both sides are
// proven:
//
//	caller  secret id, caller's cluster id, proof 1
//	called  1, called's cluster id, proof 2; or why not and zeros
//	caller  proof 3
//	both    a greeting: who the process is
//
// A proof is HMAC-SHA-256 with the secret's key over the role, the connection's
// exporter, the secret's id and both clusters' ids (the called's is not known yet
// to proof 1). Only the two ends of one TLS connection have its exporter (RFC 5705,
// RFC 8446 section 7.5; the idea of RFC 9266), so a proof that is relayed,
// replayed or sent back is worth nothing.
const (
	exporterLabel = "EXPORTER-netquorum-partner-1"

	secretIDSize  = 10
	clusterIDSize = 16
	proofSize     = sha256.Size
	openingSize   = secretIDSize + clusterIDSize + proofSize
	replySize     = 1 + clusterIDSize + proofSize

	maxGreeting = 16 + 64
)

// What the called says first. Who has not proved to know the secret learns nothing
// but that.
const (
	replyRefused = iota
	replyProven
	replyOther
	replyItself
)

// The roles are of equal length, and no proof of one passes for another's.
const (
	roleOpening = "netquorum partner 1 caller"
	roleReply   = "netquorum partner 2 called"
	roleClosing = "netquorum partner 3 caller"
)

type (
	secretID  [secretIDSize]byte
	clusterID [clusterIDSize]byte
)

// A channel makes the proofs of one TLS connection.
type channel struct {
	export []byte
	key    []byte
	secret secretID
	caller clusterID
}

func (c channel) proof(role string, called clusterID) []byte {
	m := hmac.New(sha256.New, c.key)
	m.Write([]byte(role))
	m.Write(c.export)
	m.Write(c.secret[:])
	m.Write(c.caller[:])
	m.Write(called[:])
	return m.Sum(nil)
}

// A Shared is a secret as one side has it.
type Shared struct {
	ID      string // the public half
	Key     []byte
	Partner string // the name of the cluster it is shared with
	Cluster string // the id that that cluster must have; empty for any
}

// An offer is who this side says it is.
type offer struct {
	cluster     string // this cluster's id
	filer       netquorum.FilerID
	incarnation [16]byte // of this process
}

// A peer is who the other side has proved to be.
type peer struct {
	secret      Shared
	cluster     string
	filer       netquorum.FilerID
	incarnation [16]byte
}

// A stream of TLS with its exporter; *tls.Conn is one.
type secure interface {
	io.ReadWriter
	ConnectionState() tls.ConnectionState
}

func export(conn secure) ([]byte, error) {
	cs := conn.ConnectionState()
	if cs.Version != tls.VersionTLS13 || cs.NegotiatedProtocol != string(transport.ServicePartner) {
		return nil, fmt.Errorf("%w: the connection is not one of %s over TLS 1.3", ErrUnproven, transport.ServicePartner)
	}
	return cs.ExportKeyingMaterial(exporterLabel, nil, sha256.Size)
}

// call is the caller's side: it proves that it knows the secret and believes
// nothing of a called that does not.
func call(conn secure, own offer, s Shared) (peer, error) {
	x, err := export(conn)
	if err != nil {
		return peer{}, err
	}
	c := channel{export: x, key: s.Key}
	if c.secret, err = parseSecretID(s.ID); err != nil {
		return peer{}, err
	}
	if c.caller, err = parseClusterID(own.cluster); err != nil {
		return peer{}, err
	}
	opening := append(append(c.secret[:], c.caller[:]...), c.proof(roleOpening, clusterID{})...)
	if _, err := conn.Write(opening); err != nil {
		return peer{}, err
	}
	var reply [replySize]byte
	if _, err := io.ReadFull(conn, reply[:]); err != nil {
		return peer{}, err
	}
	switch reply[0] {
	case replyRefused:
		return peer{}, fmt.Errorf("secret %s: %w", s.ID, ErrRefused)
	case replyOther:
		return peer{}, ErrNotExpected
	case replyItself:
		return peer{}, ErrItself
	}
	called := clusterID(reply[1:])
	if !hmac.Equal(reply[1+clusterIDSize:], c.proof(roleReply, called)) {
		return peer{}, ErrUnproven
	}
	if err := agree(c.caller, called, s); err != nil {
		return peer{}, err
	}
	if _, err := conn.Write(append(c.proof(roleClosing, called), greet(own)...)); err != nil {
		return peer{}, err
	}
	p := peer{secret: s, cluster: called.String()}
	return p, p.readGreeting(conn)
}

// answer is the called's side. lookup finds a secret by its id.
func answer(conn secure, own offer, lookup func(id string) (Shared, bool)) (peer, error) {
	x, err := export(conn)
	if err != nil {
		return peer{}, err
	}
	var opening [openingSize]byte
	if _, err := io.ReadFull(conn, opening[:]); err != nil {
		return peer{}, err
	}
	c := channel{export: x, secret: secretID(opening[:]), caller: clusterID(opening[secretIDSize:])}
	s, known := lookup(c.secret.String())
	c.key = s.Key
	if !known || len(s.Key) == 0 {
		c.key, known = make([]byte, proofSize), false // the same work for an unknown secret as for a known one
	}
	if !hmac.Equal(opening[secretIDSize+clusterIDSize:], c.proof(roleOpening, clusterID{})) || !known {
		decline(conn, replyRefused)
		if known {
			return peer{}, fmt.Errorf("%w: it offered %s and has not its other half", ErrUnproven, c.secret)
		}
		return peer{}, fmt.Errorf("%w: it offered %s, which is not accepted here", ErrUnproven, c.secret)
	}
	called, err := parseClusterID(own.cluster)
	if err != nil {
		return peer{}, err
	}
	if err := agree(called, c.caller, s); err != nil {
		if errors.Is(err, ErrItself) {
			decline(conn, replyItself)
		} else {
			decline(conn, replyOther)
		}
		return peer{}, err
	}
	reply := append(append([]byte{replyProven}, called[:]...), c.proof(roleReply, called)...)
	if _, err := conn.Write(reply); err != nil {
		return peer{}, err
	}
	var closing [proofSize]byte
	if _, err := io.ReadFull(conn, closing[:]); err != nil {
		return peer{}, err
	}
	if !hmac.Equal(closing[:], c.proof(roleClosing, called)) {
		return peer{}, ErrUnproven
	}
	p := peer{secret: s, cluster: c.caller.String()}
	if err := p.readGreeting(conn); err != nil {
		return peer{}, err
	}
	_, err = conn.Write(greet(own))
	return p, err
}

// decline tells the caller why it is not heard. It may have gone.
func decline(conn io.Writer, why byte) {
	reply := make([]byte, replySize)
	reply[0] = why
	_, _ = conn.Write(reply)
}

// agree checks who the proven other side is.
func agree(own, other clusterID, s Shared) error {
	switch {
	case own == other:
		return ErrItself
	case s.Cluster != "" && s.Cluster != other.String():
		return fmt.Errorf("%w: it is %s, %s was expected", ErrOtherCluster, other, s.Cluster)
	}
	return nil
}

// greet says who the process is: two bytes of length, its incarnation, its filer.
func greet(o offer) []byte {
	n := len(o.incarnation) + len(o.filer)
	return append(append(binary.BigEndian.AppendUint16(nil, uint16(n)), o.incarnation[:]...), o.filer...)
}

func (p *peer) readGreeting(r io.Reader) error {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n <= len(p.incarnation) || n > maxGreeting {
		return fmt.Errorf("a greeting of %d bytes; it has %d to %d", n, len(p.incarnation)+1, maxGreeting)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	copy(p.incarnation[:], body)
	name := body[len(p.incarnation):]
	for _, b := range name {
		if b != '-' && (b < 'a' || b > 'z') && (b < '0' || b > '9') {
			return errors.New("a greeting with a filer id that is none")
		}
	}
	p.filer = netquorum.FilerID(name)
	return nil
}

// The ids of secrets are written like those of tokens.
var lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func (id secretID) String() string { return lower.EncodeToString(id[:]) }

func parseSecretID(s string) (secretID, error) {
	b, err := lower.DecodeString(s)
	if err != nil || len(b) != secretIDSize {
		return secretID{}, fmt.Errorf("%q is no id of a secret", s)
	}
	return secretID(b), nil
}

// String is the usual form of a UUID.
func (id clusterID) String() string {
	h := hex.EncodeToString(id[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

func parseClusterID(s string) (clusterID, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != clusterIDSize {
		return clusterID{}, fmt.Errorf("%q is no id of a cluster", s)
	}
	return clusterID(b), nil
}
