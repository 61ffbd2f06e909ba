package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// The layout of a segment; numbers are little-endian. It begins with a header:
//
//	magic    8 bytes, the last is the version
//	serial   8 bytes, counts up from segment to segment
//	size     8 bytes, of the file
//	sum      4 bytes, CRC-32C of the above
//	zero     4 bytes
//
// and goes on with records, each at a multiple of 8 bytes, up to the first
// length of zero:
//
//	length   4 bytes, of the body
//	check    4 bytes, CRC-32C of serial, offset and length
//	sum      4 bytes, CRC-32C of check, batch and body
//	batch    4 bytes, where in the segment the append begins that it is part of
//	body     kind 1 byte, then for an entry: index 8, term 8, type 1,
//	         time of appending 8 (nanoseconds since 1970, 0 for none),
//	         length of extensions 4, extensions, data
//
// Serial and offset are in the sums so that a record that turns up in another
// place is not taken for one that belongs there. The length has a check of its
// own, in the same sector, so that it can be trusted when the body is broken.
const (
	magic        = "nqwal\x00\x00\x01"
	headerSize   = 32
	recordHeader = 16
	align        = 8
	entryFixed   = 1 + 8 + 8 + 1 + 8 + 4
	sector       = 512 // the smallest unit that a disk writes whole

	kindEntry = 1
	kindReset = 2 // everything before is void

	// maxBody bounds one record. Raft's entries are far smaller.
	maxBody = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errEntry: the record is sound and what it holds is not.
var errEntry = errors.New("not an entry of this version")

func header(serial uint64, size int64) []byte {
	b := append(make([]byte, 0, headerSize), magic...)
	b = binary.LittleEndian.AppendUint64(b, serial)
	b = binary.LittleEndian.AppendUint64(b, uint64(size))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return b[:headerSize]
}

// checkHeader checks the beginning of a segment, of which the file has size bytes.
func checkHeader(b []byte, serial uint64, size int64) error {
	le := binary.LittleEndian
	switch {
	case len(b) < headerSize:
		return errors.New("it is shorter than its header")
	case le.Uint32(b[24:]) != crc32.Checksum(b[:24], castagnoli):
		return errors.New("its header is damaged")
	case string(b[:7]) != magic[:7]:
		return errors.New("it is no segment of a log")
	case b[7] != magic[7]:
		return fmt.Errorf("it has version %d and this program knows version %d", b[7], magic[7])
	case le.Uint64(b[8:]) != serial:
		return fmt.Errorf("it is number %d by its header and %d by its name", le.Uint64(b[8:]), serial)
	case le.Uint64(b[16:]) != uint64(size):
		return fmt.Errorf("it has %d bytes and had %d when it was made", size, le.Uint64(b[16:]))
	}
	return nil
}

// padded is the space of a record with a body of n bytes.
func padded(n int) int { return (recordHeader + n + align - 1) &^ (align - 1) }

// bodySize is the length of an entry's body.
func bodySize(l *raft.Log) int { return entryFixed + len(l.Extensions) + len(l.Data) }

// appendEntry appends a record, without its sums and batch, to b.
func appendEntry(b []byte, l *raft.Log) []byte {
	le := binary.LittleEndian
	at := len(b)
	body := bodySize(l)
	b = slices.Grow(b, padded(body))
	b = le.AppendUint32(b, uint32(body))
	b = append(b, make([]byte, recordHeader-4)...)
	b = append(b, kindEntry)
	b = le.AppendUint64(b, l.Index)
	b = le.AppendUint64(b, l.Term)
	b = append(b, byte(l.Type))
	nanos := int64(0)
	if !l.AppendedAt.IsZero() {
		nanos = l.AppendedAt.UnixNano()
	}
	b = le.AppendUint64(b, uint64(nanos))
	b = le.AppendUint32(b, uint32(len(l.Extensions)))
	b = append(b, l.Extensions...)
	b = append(b, l.Data...)
	return append(b, make([]byte, at+padded(body)-len(b))...)
}

// appendReset appends the mark that everything before is void.
func appendReset(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = append(b, make([]byte, recordHeader-4)...)
	return append(b, kindReset, 0, 0, 0, 0, 0, 0, 0)
}

// seal completes the records in b, which go to the offset, as a part of the append
// that begins at batch.
func seal(b []byte, serial uint64, offset, batch int64) {
	le := binary.LittleEndian
	for at := 0; at < len(b); {
		n := int(le.Uint32(b[at:]))
		le.PutUint32(b[at+4:], lengthCheck(b[at:], serial, offset+int64(at)))
		le.PutUint32(b[at+12:], uint32(batch))
		le.PutUint32(b[at+8:], sum(b[at:at+recordHeader+n]))
		at += padded(n)
	}
}

// lengthCheck is the check of a record's length at the offset.
func lengthCheck(record []byte, serial uint64, offset int64) uint32 {
	var b [20]byte
	binary.LittleEndian.PutUint64(b[:], serial)
	binary.LittleEndian.PutUint64(b[8:], uint64(offset))
	copy(b[16:], record[:4])
	return crc32.Checksum(b[:], castagnoli)
}

func sum(record []byte) uint32 {
	return crc32.Update(crc32.Checksum(record[4:8], castagnoli), castagnoli, record[12:])
}

// A record is one that was read and found sound. Its body is the reader's.
type record struct {
	size  int64 // with its padding
	batch int64
	body  []byte
}

// errTornBody is a record whose length is sound and whose body is not, for which
// size says how far it reaches.
type errTornBody struct{ size int64 }

func (errTornBody) Error() string { return "its checksum differs" }

// parse reads the record at the beginning of b, which is at the offset of its
// segment. There is none where the length is zero.
func parse(b []byte, serial uint64, offset int64) (record, bool, error) {
	if len(b) < recordHeader || binary.LittleEndian.Uint64(b) == 0 {
		return record{}, false, nil
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n == 0 || n > maxBody || binary.LittleEndian.Uint32(b[4:]) != lengthCheck(b, serial, offset) {
		return record{}, false, errors.New("its length is damaged")
	}
	size := int64(padded(int(n)))
	if size > int64(len(b)) {
		return record{}, false, errors.New("it is longer than the file")
	}
	whole := b[:recordHeader+n]
	if binary.LittleEndian.Uint32(b[8:]) != sum(whole) {
		return record{}, false, errTornBody{size}
	}
	return record{size, int64(binary.LittleEndian.Uint32(b[12:])), whole[recordHeader:]}, true, nil
}

// decodeEntry fills l from the body of an entry. What l refers to is a copy.
func decodeEntry(body []byte, l *raft.Log) error {
	le := binary.LittleEndian
	if len(body) < entryFixed || body[0] != kindEntry {
		return errEntry
	}
	extensions := int64(le.Uint32(body[26:]))
	if extensions > int64(len(body)-entryFixed) {
		return errEntry
	}
	*l = raft.Log{Index: le.Uint64(body[1:]), Term: le.Uint64(body[9:]), Type: raft.LogType(body[17])}
	if nanos := int64(le.Uint64(body[18:])); nanos != 0 {
		l.AppendedAt = time.Unix(0, nanos)
	}
	rest := append([]byte(nil), body[entryFixed:]...)
	if extensions > 0 {
		l.Extensions = rest[:extensions:extensions]
	}
	if data := rest[extensions:]; len(data) > 0 {
		l.Data = data
	}
	return nil
}
