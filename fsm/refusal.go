package fsm

import (
	"fmt"

	"github.com/netquorum/netquorum"
)

// A RefusalCode is the stable name of a reason, for scripts and tests.
type RefusalCode string

// The codes are stored with the results of transactions. Never rename one.
const (
	RefusedInvalid       RefusalCode = "invalid"        // the resulting state would break rules
	RefusedStaleRevision RefusalCode = "stale-revision" // a document has changed since it was read
	RefusedExists        RefusalCode = "exists"         // a document that must not exist does
	RefusedNotFound      RefusalCode = "not-found"      // a document to delete does not exist
	RefusedMachineKind   RefusalCode = "machine-kind"   // only the cluster itself writes the kind
	RefusedTooLarge      RefusalCode = "too-large"      // the transaction does not fit a log entry
	RefusedFeatureLevel  RefusalCode = "feature-level"  // the transaction needs a newer version
	RefusedRollout       RefusalCode = "rollout-open"   // it would come in the way of the open rollout
	RefusedGuarded       RefusalCode = "guarded"        // it needs a rollout and brings none
)

// A Refusal is the answer to a transaction that broke a rule or a precondition.
// It is an ordinary result, stored and identical everywhere, and serves as an
// error towards the user.
type Refusal struct {
	Code    RefusalCode `json:"code"`
	Message string      `json:"message"`
	// Problems has every broken rule or precondition, document by document.
	Problems netquorum.Problems `json:"problems,omitempty"`
}

func (r *Refusal) Error() string {
	switch len(r.Problems) {
	case 0:
		return r.Message
	case 1:
		return r.Problems[0].Error()
	}
	return r.Message + ":\n" + r.Problems.Error()
}

// refuse makes a refusal that concerns the transaction as a whole.
func refuse(code RefusalCode, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}

// refuseFor makes a refusal from problems, of which there is at least one.
func refuseFor(code RefusalCode, problems netquorum.Problems) *Refusal {
	if len(problems) == 1 {
		return &Refusal{code, problems[0].Error(), problems}
	}
	return &Refusal{code, fmt.Sprintf("%d problems", len(problems)), problems}
}

// maxStoredProblems bounds what the request table keeps of one refusal, so that
// a client that repeats a hopeless transaction cannot fill the memory of every
// filer.
const maxStoredProblems = 16

// stored returns the refusal as the request table keeps it.
func (r *Refusal) stored() *Refusal {
	if r == nil || len(r.Problems) <= maxStoredProblems {
		return r
	}
	short := *r
	short.Message = fmt.Sprintf("%s, of which the first %d are on record", r.Message, maxStoredProblems)
	short.Problems = r.Problems[:maxStoredProblems:maxStoredProblems]
	return &short
}
