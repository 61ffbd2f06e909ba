package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/netquorum/netquorum"
)

// Entries and snapshots that cannot be decoded wrap one of these.
var (
	// ErrCorrupt: the bytes are not what any version wrote.
	ErrCorrupt = errors.New("damaged")
	// ErrUnsupported: the bytes were written by a newer version.
	ErrUnsupported = errors.New("written by a newer version of netquorum; upgrade this filer")
)

// Kinds of documents as they stand in log entries and snapshots. Add at the
// end. Never renumber and never reuse: an old filer may still replay a log that
// holds them.
var kindNumbers = map[netquorum.Kind]byte{
	netquorum.KindCluster:       1,
	netquorum.KindRoutes:        2,
	netquorum.KindFilerGroup:    3,
	netquorum.KindFiler:         4,
	netquorum.KindVirtualServer: 5,
	netquorum.KindService:       6,
	netquorum.KindRecord:        7,
	netquorum.KindMember:        8,
	netquorum.KindPlacement:     9,
	netquorum.KindToken:         10,
	netquorum.KindRollout:       11,
	netquorum.KindApplication:   12,
	netquorum.KindAccess:        13,
	netquorum.KindAuthority:     14,
	netquorum.KindPartner:       15,
	netquorum.KindSecret:        16,
}

// kindNames is kindNumbers the other way round.
var kindNames = func() (names [256]netquorum.Kind) {
	for k, n := range kindNumbers {
		names[n] = k
	}
	return names
}()

func appendString[S ~string | ~[]byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendKey encodes a key. A kind without a number becomes 0, which does not
// decode; encodeDocument refuses it before it comes to that.
func appendKey(b []byte, k netquorum.Key) []byte {
	return appendString(append(b, kindNumbers[k.Kind]), k.Name)
}

// flags packs booleans, the first into the lowest bit.
func flags(set ...bool) byte {
	var f byte
	for i, on := range set {
		if on {
			f |= 1 << i
		}
	}
	return f
}

// A reader takes an encoding apart. After the first failure it keeps the error
// and returns zero values, so that callers check once.
type reader struct {
	data []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.data = nil
}

func (r *reader) byte() byte {
	if len(r.data) == 0 {
		r.fail("%w: ends too early", ErrCorrupt)
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

// flags reads flags of which n are known. One that is not known may change what
// the rest means.
func (r *reader) flags(n int) byte {
	f := r.byte()
	if f>>n != 0 {
		r.fail("%w: flags %#x", ErrUnsupported, f)
	}
	return f
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.fail("%w: bad number", ErrCorrupt)
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.data)
	if n <= 0 {
		r.fail("%w: bad number", ErrCorrupt)
		return 0
	}
	r.data = r.data[n:]
	return v
}

// bytes returns the next length-prefixed bytes. They are part of what is read:
// who keeps them makes a copy.
func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.data)) {
		r.fail("%w: %d bytes announced, %d left", ErrCorrupt, n, len(r.data))
		return nil
	}
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) string() string { return string(r.bytes()) }

// count reads how many things follow, each of at least one byte. It never
// exceeds what is left, so it is safe to make room for that many.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.data)) {
		r.fail("%w: %d items announced, %d bytes left", ErrCorrupt, n, len(r.data))
		return 0
	}
	return int(n)
}

func (r *reader) revision() netquorum.Revision { return netquorum.Revision(r.uvarint()) }

func (r *reader) kind() netquorum.Kind {
	n := r.byte()
	k := kindNames[n]
	if k == "" && r.err == nil {
		if n == 0 {
			r.fail("%w: document kind 0", ErrCorrupt)
		} else {
			r.fail("%w: document kind %d", ErrUnsupported, n)
		}
	}
	return k
}

func (r *reader) key() netquorum.Key {
	k := r.kind()
	return netquorum.Key{Kind: k, Name: r.string()}
}

// end returns the error, or one when something is left over.
func (r *reader) end() error {
	if r.err == nil && len(r.data) > 0 {
		r.fail("%w: %d bytes too many", ErrCorrupt, len(r.data))
	}
	return r.err
}
