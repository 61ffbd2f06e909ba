package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/netquorum/netquorum"
)

// A State is everything that the log has built up: the configuration, the
// history that led to it, and the results on record. It is immutable. Apply
// returns another one that shares what did not change, so whoever holds an old
// one, be it to write a snapshot or to answer a reader, is in nobody's way.
type State struct {
	config   netquorum.Config
	revision netquorum.Revision
	index    uint64
	history  history
	requests requests
}

// NewState returns the state before the first entry.
func NewState() *State { return &State{} }

// Config returns the configuration.
func (s *State) Config() netquorum.Config { return s.config }

// Revision returns the revision of the last transaction that changed something.
func (s *State) Revision() netquorum.Revision { return s.revision }

// Index returns the raft index of the last entry applied.
func (s *State) Index() uint64 { return s.index }

// Hash identifies everything that later entries can depend on: documents,
// history and results on record. Two filers that applied the same entries have
// the same hash. It costs the same however large the state is.
func (s *State) Hash() [32]byte { return s.digest(s.history.sum.plus(s.requests.sum())) }

// DocumentsHash identifies the revision and the documents alone. Two states of
// one cluster with the same revision have the same, whatever was refused since.
func (s *State) DocumentsHash() [32]byte { return s.digest(sum{}) }

func (s *State) digest(more sum) [32]byte {
	var b [72]byte
	config := s.config.Hash()
	d := binary.BigEndian.AppendUint64(b[:0], uint64(s.revision))
	return sha256.Sum256(more.append(append(d, config[:]...)))
}

// Result returns the result on record for a request id.
func (s *State) Result(id string) (Result, bool) {
	r, ok := s.requests.get(id)
	r.Duplicate = ok
	return r, ok
}

// A Summary is the size and identity of a state, for status and logs.
type Summary struct {
	Revision      netquorum.Revision     `json:"revision"`
	Index         uint64                 `json:"index"`
	Hash          string                 `json:"hash"`          // State.Hash in hex
	DocumentsHash string                 `json:"documentsHash"` // State.DocumentsHash in hex
	Oldest        netquorum.Revision     `json:"oldest"`        // oldest revision of the history
	Documents     map[netquorum.Kind]int `json:"documents"`     // how many of each kind
	Requests      int                    `json:"requests"`      // results on record
}

// Summary returns the state's summary. It walks the documents to count them.
func (s *State) Summary() Summary {
	hash, documents := s.Hash(), s.DocumentsHash()
	sm := Summary{
		Revision: s.revision, Index: s.index, Oldest: s.Oldest(),
		Hash: hex.EncodeToString(hash[:]), DocumentsHash: hex.EncodeToString(documents[:]),
		Documents: map[netquorum.Kind]int{},
		Requests:  s.requests.young.n + s.requests.old.n,
	}
	for d := range s.config.Documents() {
		sm.Documents[d.Kind]++
	}
	return sm
}
