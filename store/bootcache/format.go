package bootcache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/netquorum/netquorum"
)

// A copy is a magic, a format version, the length of its body, the SHA-256 of
// all that and the body, and the body, which is JSON. The magic and the place of
// the version never change, so that every version can say of a copy that it is
// of a newer one.
const (
	magic      = "NQBOOT\r\n" // the line end shows a transfer that changed them
	format     = 1
	headerSize = len(magic) + 4 + 4 + sha256.Size
	// maxBody is far above what a network configuration takes: a length beyond it
	// is damage, found before memory is asked for.
	maxBody = 64 << 20
)

// A Boot is what a filer boots from.
type Boot struct {
	// Revision is that of the state that the documents were taken from.
	Revision netquorum.Revision `json:"revision"`
	Cluster  string             `json:"cluster"`
	Filer    netquorum.FilerID  `json:"filer"`
	Name     string             `json:"name"` // the filer's
	// Documents are those of the network kinds, in listing order.
	Documents []netquorum.Document `json:"documents"`
}

// Reasons why a copy cannot be used.
var (
	errDamaged = errors.New("damaged")
	errNewer   = errors.New("written by a newer version of netquorum")
)

// encode makes the content of a copy.
func encode(b Boot) ([]byte, error) {
	body, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("the configuration takes %d bytes, at most %d can be cached", len(body), maxBody)
	}
	out := make([]byte, 0, headerSize+len(body))
	out = append(out, magic...)
	out = binary.BigEndian.AppendUint32(out, format)
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
	sum := checksum(out, body)
	return append(append(out, sum[:]...), body...), nil
}

func checksum(head, body []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(head)
	h.Write(body)
	return [sha256.Size]byte(h.Sum(nil))
}

// decode checks and reads the content of a copy. Nothing of the body is looked
// into before its checksum has been found right.
func decode(data []byte) (Boot, error) {
	var b Boot
	if len(data) < headerSize {
		return b, fmt.Errorf("%w: it has %d bytes, a copy has at least %d", errDamaged, len(data), headerSize)
	}
	if !bytes.HasPrefix(data, []byte(magic)) {
		return b, fmt.Errorf("%w: it does not begin like a boot cache", errDamaged)
	}
	head, rest := data[:len(magic)+8], data[len(magic)+8:]
	sum, body := rest[:sha256.Size], rest[sha256.Size:]
	version := binary.BigEndian.Uint32(head[len(magic):])
	length := binary.BigEndian.Uint32(head[len(magic)+4:])
	switch want := checksum(head, body); {
	case version > format:
		// Its layout may differ, so its checksum may be elsewhere.
		return b, fmt.Errorf("%w: format %d, this version reads %d", errNewer, version, format)
	case version != format:
		return b, fmt.Errorf("%w: format %d", errDamaged, version)
	case uint64(length) != uint64(len(body)):
		return b, fmt.Errorf("%w: %d bytes follow the header, %d were written", errDamaged, len(body), length)
	case !bytes.Equal(sum, want[:]):
		return b, fmt.Errorf("%w: its checksum does not match", errDamaged)
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return Boot{}, fmt.Errorf("%w: %v", errDamaged, err)
	}
	return b, nil
}
