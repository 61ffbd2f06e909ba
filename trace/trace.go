// Package trace follows one request through filers. An id is made where the
// request enters the cluster and travels in contexts, with the requests that
// filers send each other, in the entries of the log and in log lines; each filer
// remembers in a Ring what it has lately done under which id.
package trace

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
)

// An ID names what one request led to. Zero is none.
type ID uint64

// Header carries an id in HTTP.
const Header = "Netquorum-Trace"

// New returns an id that nobody else has, in all likelihood. It need not be hard
// to guess: knowing one gives no rights.
func New() ID {
	for {
		if id := ID(rand.Uint64()); id != 0 {
			return id
		}
	}
}

// Read takes an id from a source of randomness, for those who must be able to
// make the same ones again.
func Read(random io.Reader) (ID, error) {
	var b [8]byte
	for {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return 0, fmt.Errorf("making a trace id: %w", err)
		}
		if id := ID(binary.BigEndian.Uint64(b[:])); id != 0 {
			return id, nil
		}
	}
}

// Parse reads what String writes. Leading zeros may be missing.
func Parse(s string) (ID, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || n == 0 || len(s) > 16 {
		return 0, fmt.Errorf("%q is no trace id: one has 16 hexadecimal digits, like 00c0ffee12345678", s)
	}
	return ID(n), nil
}

// String returns 16 hexadecimal digits.
func (id ID) String() string {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := range b {
		b[i] = digits[id>>(60-4*i)&15]
	}
	return string(b[:])
}

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = Parse(string(b))
	return err
}

type key struct{}

// IsKey reports whether a key of contexts is that of ids, for contexts that carry
// one in their own way.
func IsKey(k any) bool { return k == key{} }

// With returns a context that carries an id; the context itself for none.
func With(ctx context.Context, id ID) context.Context {
	if id == 0 {
		return ctx
	}
	return context.WithValue(ctx, key{}, id)
}

// From returns the id that a context carries; zero for none.
func From(ctx context.Context) ID {
	id, _ := ctx.Value(key{}).(ID)
	return id
}
