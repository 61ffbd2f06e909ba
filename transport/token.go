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
	tokenPrefix = "nqt"
	tokenIDLen  = 10 // bytes: not worth guessing, short enough for `token list`
	secretLen   = 32
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// A Token lets one filer join a cluster, once. Its ID may be shown; its secret
// is printed when it is made and typed where it is used, and neither sent nor
// stored. The store keeps Key, from which the secret cannot be found.
type Token struct {
	id     string
	secret [secretLen]byte
}

// NewToken makes a token with a 256-bit secret.
func NewToken() Token {
	var id [tokenIDLen]byte
	var t Token
	_, _ = rand.Read(id[:]) // crypto/rand does not fail
	_, _ = rand.Read(t.secret[:])
	t.id = base32Lower.EncodeToString(id[:])
	return t
}

// errToken quotes nothing: what was mistyped may be most of a secret.
var errToken = errors.New("this is not a token: want nqt-<id>-<secret> as `netquorum token create` printed it")

// ParseToken reads what String wrote, in either case, with space around it.
func ParseToken(s string) (Token, error) {
	parts := strings.Split(strings.ToLower(strings.TrimSpace(s)), "-")
	if len(parts) != 3 || parts[0] != tokenPrefix || !validTokenID(parts[1]) {
		return Token{}, errToken
	}
	secret, err := base32Lower.DecodeString(parts[2])
	// Comparing with the canonical form refuses stray bits after the last byte:
	// one token has one spelling.
	if err != nil || len(secret) != secretLen || base32Lower.EncodeToString(secret) != parts[2] {
		return Token{}, errToken
	}
	return Token{parts[1], [secretLen]byte(secret)}, nil
}

func validTokenID(id string) bool {
	b, err := base32Lower.DecodeString(id)
	return err == nil && len(b) == tokenIDLen && base32Lower.EncodeToString(b) == id
}

// ID is the token's public half.
func (t Token) ID() string { return t.id }

// Key is what both sides prove to know. It is derived one way from the secret.
func (t Token) Key() []byte {
	key, err := hkdf.Key(sha256.New, t.secret[:], []byte(t.id), "netquorum join token v1", sha256.Size)
	if err != nil { // only when asked for far more than a hash's length
		panic("transport: deriving a join key: " + err.Error())
	}
	return key
}

// String returns the whole token, secret included, to be printed once. It must
// be called by name: formatting a Token with package fmt or slog shows its id.
func (t Token) String() string {
	return tokenPrefix + "-" + t.id + "-" + base32Lower.EncodeToString(t.secret[:])
}

// Format keeps the secret out of whatever is printed with any verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.redacted()) }

// LogValue keeps the secret out of logs.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.redacted()) }

// MarshalText keeps the secret out of documents.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.redacted()), nil }

func (t Token) redacted() string { return tokenPrefix + "-" + t.id + "-REDACTED" }
