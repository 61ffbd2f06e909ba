package messages

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/netquorum/netquorum"
)

// What is in the file, by bucket. Every value begins with recordVersion.
var (
	bucketMeta    = []byte("meta")
	bucketClients = []byte("clients") // name -> incarnation, first number not reserved, next position
	bucketOut     = []byte("out")     // idKey -> outRecord
	bucketDone    = []byte("done")    // client 0 position -> doneRecord
	bucketIn      = []byte("in")      // idKey -> inRecord
	bucketPeers   = []byte("peers")   // filer -> its newest session, as in a hello
	bucketApps    = []byte("apps")    // one bucket for each service
	bucketKeys    = []byte("keys")    // client 0 key -> number of the message, when

	keyIncarnation = []byte("incarnation")
	keySession     = []byte("session")
	keySelf        = []byte("self")
)

var buckets = [][]byte{bucketMeta, bucketClients, bucketOut, bucketDone, bucketIn, bucketPeers, bucketApps, bucketKeys}

const recordVersion = 1

// rising returns a bucket whose new keys mostly follow all others of their client.
// bolt leaves half of each page free for keys that come in between; here the pages
// are filled, and half as many are written.
func rising(tx *bbolt.Tx, name []byte) *bbolt.Bucket {
	b := tx.Bucket(name)
	b.FillPercent = 1
	return b
}

func (d *decoder) version() {
	if v := d.u8(); d.err == nil && v != recordVersion {
		d.fail("a record of version %d; this program knows %d", v, recordVersion)
	}
}

// idKey sorts messages of one incarnation of one client by number.
func idKey(id ID) []byte {
	b := make([]byte, 0, len(id.Filer)+len(id.Client)+18)
	b = append(append(b, id.Filer...), 0)
	b = append(append(b, id.Client...), 0)
	b = append(b, id.Incarnation[:]...)
	return binary.BigEndian.AppendUint64(b, id.Seq)
}

func parseIDKey(k []byte) (id ID, err error) {
	filer, rest, ok := bytes.Cut(k, []byte{0})
	client, rest, ok2 := bytes.Cut(rest, []byte{0})
	if !ok || !ok2 || len(rest) != 16 {
		return id, fmt.Errorf("%w: key %x", errFormat, k)
	}
	id.Filer, id.Client = netquorum.FilerID(filer), string(client)
	copy(id.Incarnation[:], rest)
	id.Seq = binary.BigEndian.Uint64(rest[8:])
	return id, nil
}

func doneKey(client string, position uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(client), 0), position)
}

// A clientRecord is where a client's numbers go on.
type clientRecord struct {
	incarnation Incarnation
	reserved    uint64 // numbers below it may have been used
	position    uint64 // positions up to it have been used, when the box is empty
}

func (r clientRecord) encode() []byte {
	b := append([]byte{recordVersion}, r.incarnation[:]...)
	b = binary.BigEndian.AppendUint64(b, r.reserved)
	return binary.BigEndian.AppendUint64(b, r.position)
}

func parseClient(b []byte) (r clientRecord, err error) {
	d := decoder{b: b}
	d.version()
	copy(r.incarnation[:], d.take(len(r.incarnation)))
	r.reserved, r.position = d.u64(), d.u64()
	return r, d.end()
}

// An outRecord is a message in the outbox: where it has been sent, the file of
// its body, or the body itself.
type outRecord struct {
	env    envelope
	at     netquorum.FilerID
	file   string
	inline []byte
}

func (r *outRecord) encode() []byte {
	b := make([]byte, 0, 8+len(r.at)+len(r.file)+r.env.room()+len(r.inline))
	b = append(b, recordVersion)
	b = appendString(b, string(r.at))
	b = appendString(b, r.file)
	b = appendEnvelope(b, &r.env)
	return append(b, r.inline...)
}

func parseOut(b []byte, self netquorum.FilerID) (r outRecord, err error) {
	d := decoder{b: b}
	d.version()
	r.at, r.file = netquorum.FilerID(d.name("filer", true)), d.string(MaxName)
	r.env = d.envelope(self)
	r.inline = d.b
	return r, d.err
}

// A doneRecord is a completion in a client's box.
type doneRecord struct {
	id ID
	by netquorum.FilerID
	at time.Time
	verdict
}

func (r *doneRecord) encode() []byte {
	b := make([]byte, 0, 128+len(r.result))
	b = appendRef(append(b, recordVersion), r.id)
	b = appendString(b, string(r.by))
	b = appendTime(b, r.at)
	return appendVerdict(b, &r.verdict)
}

func parseDone(b []byte, self netquorum.FilerID) (r doneRecord, err error) {
	d := decoder{b: b}
	d.version()
	r.id = d.ref(self)
	r.by, r.at = netquorum.FilerID(d.name("filer", true)), d.time()
	r.verdict = d.verdict()
	return r, d.end()
}

// An inState is how far a message is at its receiver.
type inState uint8

const (
	inPartial   inState = iota + 1 // its body is not whole
	inPending                      // whole, and not handled
	inRefused                      // not hosted here
	inCompleted                    // handled
	inCollected                    // handled, the result dropped
)

// An inRecord is a message at its receiver. While it is pending, rest is its
// body; after that nothing is left of it but how it ended.
type inRecord struct {
	env    envelope
	state  inState
	file   string
	at     time.Time // of the state
	place  Place     // of a refusal
	inline []byte    // of a pending message
	verdict
}

func (r *inRecord) encode() []byte {
	b := make([]byte, 0, 48+len(r.file)+r.env.room()+len(r.inline)+len(r.place.Filer)+len(r.reason)+len(r.result))
	b = append(b, recordVersion, byte(r.state))
	b = appendTime(b, r.at)
	b = appendString(b, r.file)
	b = appendEnvelope(b, &r.env)
	switch r.state {
	case inPending:
		return append(b, r.inline...)
	case inRefused:
		return binary.BigEndian.AppendUint64(appendString(b, string(r.place.Filer)), r.place.Epoch)
	case inCompleted, inCollected:
		return appendVerdict(b, &r.verdict)
	}
	return b
}

func parseIn(b []byte, filer netquorum.FilerID) (r inRecord, err error) {
	d := decoder{b: b}
	d.version()
	r.state = inState(d.u8())
	r.at = d.time()
	r.file = d.string(MaxName)
	r.env = d.envelope(filer)
	switch r.state {
	case inPartial:
	case inPending:
		r.inline, d.b = d.b, nil
	case inRefused:
		r.place = Place{Filer: netquorum.FilerID(d.name("filer", true)), Epoch: d.u64()}
	case inCompleted, inCollected:
		r.verdict = d.verdict()
	default:
		d.fail("state %d", r.state)
	}
	return r, d.end()
}
