package monitor

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/netquorum/netquorum"
)

// A PortState is the state octet of a port in LACP (IEEE 802.1AX, 6.4.2.3).
type PortState uint8

// The bits of a PortState.
const (
	PortActive       PortState = 1 << iota // speaks without being spoken to
	PortFast                               // wants a message a second, not one in thirty
	PortAggregatable                       // may be one of several
	PortInSync                             // is in the right aggregator
	PortCollecting                         // takes frames
	PortDistributing                       // sends frames
	PortDefaulted                          // never heard a partner
	PortExpired                            // has not heard the partner lately
)

var portWords = []string{"active", "fast", "aggregatable", "in-sync", "collecting", "distributing", "defaulted", "expired"}

// Has reports whether all of the bits are set.
func (s PortState) Has(bits PortState) bool { return s&bits == bits }

// Words are the names of the bits that are set.
func (s PortState) Words() []string {
	out := []string{}
	for i, w := range portWords {
		if s&(1<<i) != 0 {
			out = append(out, w)
		}
	}
	return out
}

func (s PortState) String() string { return strings.Join(s.Words(), "+") }

// MarshalJSON writes the words: nobody should have to know the bits.
func (s PortState) MarshalJSON() ([]byte, error) { return json.Marshal(s.Words()) }

// UnmarshalJSON reads the words.
func (s *PortState) UnmarshalJSON(data []byte) error {
	var words []string
	if err := json.Unmarshal(data, &words); err != nil {
		return err
	}
	*s = 0
next:
	for _, word := range words {
		for i, w := range portWords {
			if w == word {
				*s |= 1 << i
				continue next
			}
		}
		return fmt.Errorf("%q is no bit of a port's state in LACP", word)
	}
	return nil
}

// A Detail is what the kernel tells of a bond in /proc/net/bonding only, by
// member.
type Detail map[string]PortDetail

// A PortDetail is what is told there of one member.
type PortDetail struct {
	Speed   int    // in Mbit/s; 0 when unknown
	Duplex  string // full, half, or empty when unknown
	Partner netquorum.MAC
	// PartnerKey is the number of the aggregate on the partner's side.
	PartnerKey   uint16
	ActorChurn   Churn
	PartnerChurn Churn
}

// A Churn is the state of the machine that notices a port which does not get
// into sync (IEEE 802.1AX, 6.4.17): none, monitoring or churned.
type Churn string

// The states of the churn machine; empty when unknown.
const (
	ChurnNone       Churn = "none"
	ChurnMonitoring Churn = "monitoring"
	Churned         Churn = "churned"
)
