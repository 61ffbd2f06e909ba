package raftwire

//lint:file-ignore SA1019 Deprecated fields are sent as well: raft still fills them in.

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/raft"
)

// Encode appends a request or response of raft, given as a pointer.
func Encode(b []byte, message any) ([]byte, error) {
	c := coder{b: b}
	c.message(message)
	return c.b, c.err
}

// Decode is the reverse: it fills in the message that it is given a pointer to. The
// bytes in it are those of b, which the caller leaves alone from then on.
func Decode(b []byte, message any) error {
	c := coder{b: b, decoding: true}
	c.message(message)
	if c.err == nil && len(c.b) > 0 {
		c.fail("%d bytes follow %T", len(c.b), message)
	}
	return c.err
}

// A coder passes over the fields of a message, and either appends each to b or
// takes it from the front of b. That the two cannot differ is worth a comparison
// for each field. Encoding does not write to the message: raft sends one request
// to several filers at once.
type coder struct {
	b        []byte
	decoding bool
	err      error
}

func (c *coder) message(message any) {
	switch m := message.(type) {
	case *raft.AppendEntriesRequest:
		c.header(&m.RPCHeader)
		c.uint64(&m.Term)
		c.bytes(&m.Leader)
		c.uint64(&m.PrevLogEntry)
		c.uint64(&m.PrevLogTerm)
		c.entries(&m.Entries)
		c.uint64(&m.LeaderCommitIndex)
	case *raft.AppendEntriesResponse:
		c.header(&m.RPCHeader)
		c.uint64(&m.Term)
		c.uint64(&m.LastLog)
		c.bool(&m.Success)
		c.bool(&m.NoRetryBackoff)
	case *raft.RequestVoteRequest:
		c.header(&m.RPCHeader)
		c.uint64(&m.Term)
		c.bytes(&m.Candidate)
		c.uint64(&m.LastLogIndex)
		c.uint64(&m.LastLogTerm)
		c.bool(&m.LeadershipTransfer)
	case *raft.RequestVoteResponse:
		c.header(&m.RPCHeader)
		c.uint64(&m.Term)
		c.bytes(&m.Peers)
		c.bool(&m.Granted)
	case *raft.RequestPreVoteRequest:
		c.header(&m.RPCHeader)
		c.uint64(&m.Term)
		c.uint64(&m.LastLogIndex)
		c.uint64(&m.LastLogTerm)
	case *raft.RequestPreVoteResponse:
		c.header(&m.RPCHeader)
		c.uint64(&m.Term)
		c.bool(&m.Granted)
	case *raft.InstallSnapshotRequest:
		c.header(&m.RPCHeader)
		number(c, &m.SnapshotVersion)
		c.uint64(&m.Term)
		c.bytes(&m.Leader)
		c.uint64(&m.LastLogIndex)
		c.uint64(&m.LastLogTerm)
		c.bytes(&m.Peers)
		c.bytes(&m.Configuration)
		c.uint64(&m.ConfigurationIndex)
		number(c, &m.Size)
	case *raft.InstallSnapshotResponse:
		c.header(&m.RPCHeader)
		c.uint64(&m.Term)
		c.bool(&m.Success)
	case *raft.TimeoutNowRequest:
		c.header(&m.RPCHeader)
	case *raft.TimeoutNowResponse:
		c.header(&m.RPCHeader)
	default:
		c.fail("%T is no message of raft", message)
	}
}

func (c *coder) header(h *raft.RPCHeader) {
	number(c, &h.ProtocolVersion)
	c.bytes(&h.ID)
	c.bytes(&h.Addr)
}

// minEntry is the length of the shortest entry.
const minEntry = 7

func (c *coder) entries(entries *[]*raft.Log) {
	n := uint64(len(*entries))
	c.uint64(&n)
	if c.decoding {
		if c.err != nil || n > uint64(len(c.b)/minEntry) {
			c.fail("%d entries in %d bytes", n, len(c.b))
			return
		}
		if *entries = nil; n == 0 {
			return
		}
		all := make([]raft.Log, n)
		*entries = make([]*raft.Log, n)
		for i := range all {
			(*entries)[i] = &all[i]
		}
	}
	for _, e := range *entries {
		c.uint64(&e.Index)
		c.uint64(&e.Term)
		c.byte((*byte)(&e.Type))
		c.bytes(&e.Data)
		c.bytes(&e.Extensions)
		c.time(&e.AppendedAt)
	}
}

func (c *coder) uint64(v *uint64) {
	if !c.decoding {
		c.b = binary.AppendUvarint(c.b, *v)
		return
	}
	n := 0
	if *v, n = binary.Uvarint(c.b); n <= 0 {
		c.fail("a number is missing")
		return
	}
	c.b = c.b[n:]
}

// number codes a signed number that is never negative.
func number[T ~int | ~int64](c *coder, v *T) {
	u := uint64(*v)
	if c.decoding {
		c.uint64(&u)
		*v = T(u)
	}
	if *v < 0 || uint64(*v) != u {
		c.fail("%T %d is out of range", *v, *v)
	} else if !c.decoding {
		c.uint64(&u)
	}
}

func (c *coder) byte(v *byte) {
	switch {
	case !c.decoding:
		c.b = append(c.b, *v)
	case len(c.b) == 0:
		c.fail("a byte is missing")
	default:
		*v, c.b = c.b[0], c.b[1:]
	}
}

func (c *coder) bool(v *bool) {
	var b byte
	if *v {
		b = 1
	}
	c.byte(&b)
	if b > 1 {
		c.fail("%d is neither true nor false", b)
	}
	if c.decoding {
		*v = b == 1
	}
}

// bytes are nil when there are none.
func (c *coder) bytes(v *[]byte) {
	n := uint64(len(*v))
	c.uint64(&n)
	switch {
	case !c.decoding:
		c.b = append(c.b, *v...)
	case n > uint64(len(c.b)):
		c.fail("%d bytes are promised and %d left", n, len(c.b))
	case n == 0:
		*v = nil
	default:
		*v, c.b = c.b[:n:n], c.b[n:]
	}
}

func (c *coder) time(v *time.Time) {
	if !c.decoding {
		c.b = binary.AppendVarint(c.b, v.Unix())
		c.b = binary.AppendUvarint(c.b, uint64(v.Nanosecond()))
		return
	}
	seconds, n := binary.Varint(c.b)
	if n <= 0 {
		c.fail("a time is missing")
		return
	}
	c.b = c.b[n:]
	nanoseconds := uint64(0)
	if c.uint64(&nanoseconds); nanoseconds >= uint64(time.Second) || seconds > math.MaxInt64/2 || seconds < math.MinInt64/2 {
		c.fail("%d seconds and %d nanoseconds are no time", seconds, nanoseconds)
		return
	}
	*v = time.Unix(seconds, int64(nanoseconds)).UTC()
}

// fail notes the first error, and leaves nothing to go on with.
func (c *coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
	c.b = nil
}
