package transport

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

const (
	tokenIDLen = 10 // bytes: not worth guessing, short enough for `token list`
	secretLen  = 32
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// A Token lets one filer join a cluster, once. Its ID may be shown; its secret
// is printed when it is made and typed where it is used, and neither sent nor
// stored. The store keeps Key, from which the secret cannot be found.
type Token struct {
	id     string
	secret [secretLen]byte
	use    *tokenUse // nil for a join
}

// A tokenUse is what a token is for. Texts and keys of one use are worthless for
// another.
type tokenUse struct{ prefix, info, hint string }

var (
	forJoin    = &tokenUse{"nqt", "netquorum join token v1", "this is not a token: want nqt-<id>-<secret> as `netquorum token create` printed it"}
	forPartner = &tokenUse{"nqs", "netquorum partner secret v1", "this is not a secret: want nqs-<id>-<secret> as `netquorum partner secret add` printed it"}
)

// NewToken makes a token with a 256-bit secret.
func NewToken() Token { return newToken(forJoin) }

// NewPartnerSecret makes a secret to share with another cluster, of the form of a
// token.
func NewPartnerSecret() Token { return newToken(forPartner) }

func newToken(use *tokenUse) Token {
	var id [tokenIDLen]byte
	t := Token{use: use}
	_, _ = rand.Read(id[:]) // crypto/rand does not fail
	_, _ = rand.Read(t.secret[:])
	t.id = base32Lower.EncodeToString(id[:])
	return t
}

// ParseToken reads what String wrote, in either case, with space around it.
func ParseToken(s string) (Token, error) { return parseToken(s, forJoin) }

// ParsePartnerSecret reads a secret that NewPartnerSecret made.
func ParsePartnerSecret(s string) (Token, error) { return parseToken(s, forPartner) }

// parseToken quotes nothing in its error: what was mistyped may be most of a
// secret.
func parseToken(s string, use *tokenUse) (Token, error) {
	parts := strings.Split(strings.ToLower(strings.TrimSpace(s)), "-")
	if len(parts) != 3 || parts[0] != use.prefix || !validTokenID(parts[1]) {
		return Token{}, errors.New(use.hint)
	}
	secret, err := base32Lower.DecodeString(parts[2])
	// Comparing with the canonical form refuses stray bits after the last byte:
	// one token has one spelling.
	if err != nil || len(secret) != secretLen || base32Lower.EncodeToString(secret) != parts[2] {
		return Token{}, errors.New(use.hint)
	}
	return Token{parts[1], [secretLen]byte(secret), use}, nil
}

func validTokenID(id string) bool {
	b, err := base32Lower.DecodeString(id)
	return err == nil && len(b) == tokenIDLen && base32Lower.EncodeToString(b) == id
}

func (t Token) of() *tokenUse {
	if t.use == nil {
		return forJoin
	}
	return t.use
}

// ID is the token's public half.
func (t Token) ID() string { return t.id }

// Key is what both sides prove to know. It is derived one way from the secret.
func (t Token) Key() []byte {
	key, err := hkdf.Key(sha256.New, t.secret[:], []byte(t.id), t.of().info, sha256.Size)
	if err != nil { // only when asked for far more than a hash's length
		panic("transport: deriving a key: " + err.Error())
	}
	return key
}

// String returns the whole token, secret included, to be printed once. It must
// be called by name: formatting a Token with package fmt or slog shows its id.
func (t Token) String() string {
	return t.of().prefix + "-" + t.id + "-" + base32Lower.EncodeToString(t.secret[:])
}

// Format keeps the secret out of whatever is printed with any verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.redacted()) }

// LogValue keeps the secret out of logs.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.redacted()) }

// MarshalText keeps the secret out of documents.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.redacted()), nil }

func (t Token) redacted() string { return t.of().prefix + "-" + t.id + "-REDACTED" }
