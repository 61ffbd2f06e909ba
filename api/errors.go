package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/netquorum/netquorum"
)

// A Code is the stable name of a way to fail, the same in Go, on the wire and
// in scripts. Codes are errors, so that `errors.Is(err, api.ErrNoQuorum)` works
// on both sides of the socket and a Backend may wrap one with %w.
type Code string

func (c Code) Error() string { return kinds[c].title }

// Refusals: the request was understood and would break a rule. Nothing changed.
const (
	// ErrRefused is matched by every other refusal.
	ErrRefused       Code = "refused"
	ErrInvalid       Code = "invalid"        // the configuration would break rules; see Problems
	ErrStaleRevision Code = "stale-revision" // ifRevision did not hold
	ErrExists        Code = "exists"         // mustNotExist did not hold
	ErrNotFound      Code = "not-found"      // no such document, token or revision
	ErrMachineKind   Code = "machine-kind"   // a kind that only the cluster writes
	ErrTooLarge      Code = "too-large"
	ErrFeatureLevel  Code = "feature-level" // some member cannot apply it yet
	ErrUnsupported   Code = "unsupported"   // some filer's kernel lacks what it needs
	ErrConfigured    Code = "configured"    // init or join of a filer that is in a cluster
	ErrUnconfigured  Code = "unconfigured"  // the filer is in no cluster yet
	ErrToken         Code = "token"         // unknown, used, expired or for another filer
	ErrCompacted     Code = "compacted"     // the revision is older than what is kept
	ErrDenied        Code = "denied"
	ErrRolloutOpen   Code = "rollout-open" // it would come in the way of the rollout that is open
	ErrUnsafe        Code = "unsafe"       // it could leave the cluster without a quorum, and was not forced
	ErrElsewhere     Code = "elsewhere"    // another filer hosts the server; the message says which
	ErrServed        Code = "served"       // a program inside of the daemon handles the service's messages
)

// The rest are failures of the request or of the machinery.
const (
	ErrUsage       Code = "usage"       // the request makes no sense; send another
	ErrUnreachable Code = "unreachable" // no daemon, or no peer, answers
	ErrNoQuorum    Code = "no-quorum"
	ErrTimeout     Code = "timeout"
	// ErrUnknownOutcome: the write may or may not have been committed. Sending
	// it again with the same request id tells.
	ErrUnknownOutcome Code = "unknown-outcome"
	ErrDamaged        Code = "damaged"   // a file of the filer is damaged; the message says which
	ErrDiskFull       Code = "disk-full" // the filer cannot write
	ErrRollout        Code = "rollout"   // the change is committed, and its rollout was stopped or reverted
	ErrFull           Code = "full"      // the outbox had no room in time; nothing was sent
	ErrFailed         Code = "failed"    // a message was not handled as its sender wanted
	ErrInternal       Code = "internal"
)

// Exit codes of the command line tool.
const (
	ExitDone        = 0
	ExitRefused     = 1
	ExitUsage       = 2
	ExitUnreachable = 3
	ExitTimeout     = 4
)

// kinds is the one place where a code gets its HTTP status and its exit code.
var kinds = map[Code]struct {
	status int
	exit   int
	title  string
}{
	ErrRefused:        {http.StatusConflict, ExitRefused, "refused"},
	ErrInvalid:        {http.StatusUnprocessableEntity, ExitRefused, "the configuration would break rules"},
	ErrStaleRevision:  {http.StatusPreconditionFailed, ExitRefused, "changed by someone else since"},
	ErrExists:         {http.StatusConflict, ExitRefused, "exists already"},
	ErrNotFound:       {http.StatusNotFound, ExitRefused, "not found"},
	ErrMachineKind:    {http.StatusForbidden, ExitRefused, "written by the cluster itself"},
	ErrTooLarge:       {http.StatusRequestEntityTooLarge, ExitRefused, "too large"},
	ErrFeatureLevel:   {http.StatusConflict, ExitRefused, "not supported by every filer's version"},
	ErrUnsupported:    {http.StatusConflict, ExitRefused, "not supported by every filer's kernel"},
	ErrConfigured:     {http.StatusConflict, ExitRefused, "this filer is in a cluster already"},
	ErrUnconfigured:   {http.StatusConflict, ExitRefused, "this filer is in no cluster yet"},
	ErrToken:          {http.StatusForbidden, ExitRefused, "the token is not good for this"},
	ErrCompacted:      {http.StatusGone, ExitRefused, "the revision is older than the history that is kept"},
	ErrDenied:         {http.StatusForbidden, ExitRefused, "not allowed"},
	ErrElsewhere:      {http.StatusMisdirectedRequest, ExitRefused, "not on this filer"},
	ErrUsage:          {http.StatusBadRequest, ExitUsage, "bad request"},
	ErrUnreachable:    {http.StatusBadGateway, ExitUnreachable, "unreachable"},
	ErrNoQuorum:       {http.StatusServiceUnavailable, ExitUnreachable, "no quorum"},
	ErrTimeout:        {http.StatusGatewayTimeout, ExitTimeout, "timed out"},
	ErrUnknownOutcome: {http.StatusGatewayTimeout, ExitTimeout, "outcome unknown"},
	ErrDamaged:        {http.StatusInternalServerError, ExitUnreachable, "the filer's store is damaged"},
	ErrDiskFull:       {http.StatusInsufficientStorage, ExitUnreachable, "the filer's disk is full"},
	ErrRolloutOpen:    {http.StatusConflict, ExitRefused, "a rollout is open"},
	ErrUnsafe:         {http.StatusConflict, ExitRefused, "the cluster could be left without a quorum"},
	ErrRollout:        {http.StatusConflict, ExitTimeout, "the rollout did not complete"},
	ErrServed:         {http.StatusConflict, ExitRefused, "served by another program"},
	ErrFull:           {http.StatusTooManyRequests, ExitTimeout, "the outbox is full"},
	ErrFailed:         {http.StatusConflict, ExitRefused, "the message failed"},
	ErrInternal:       {http.StatusInternalServerError, ExitRefused, "internal error"},
}

// An Error is a failed request, on the wire a problem document in the form of
// RFC 9457.
type Error struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Message is a sentence for an operator: what happened and what to do.
	Message string `json:"detail,omitempty"`
	Code    Code   `json:"code"`
	// Problems are the rules that the configuration would break.
	Problems netquorum.Problems `json:"problems,omitempty"`
	// Revision is that of a transaction which did commit although the request
	// failed, when waiting for other filers timed out.
	Revision netquorum.Revision `json:"revision,omitempty"`
}

// Refuse makes the error of a refused request.
func Refuse(code Code, message string, problems netquorum.Problems) *Error {
	return &Error{Code: code, Message: message, Problems: problems}
}

func (e *Error) Error() string {
	switch {
	case len(e.Problems) > 0:
		return e.Problems.Error()
	case e.Message != "":
		return e.Message
	}
	return e.Code.Error()
}

// Is matches an Error with its code, and every refusal with ErrRefused.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && (code == e.Code || code == ErrRefused && e.Code.Refusal())
}

// Refusal reports whether the code is a refusal.
func (c Code) Refusal() bool {
	return kinds[c].exit == ExitRefused && c != ErrInternal && c != ErrRollout && c != ErrFailed
}

// ErrorOf returns err as an *Error, whatever it is: an *Error or a Code that
// err wraps decides the code, an ended context means a timeout.
func ErrorOf(err error) *Error {
	if err == nil {
		return nil
	}
	out := &Error{Code: ErrInternal}
	var inner *Error
	var code Code
	var problems netquorum.Problems
	switch {
	case errors.As(err, &inner):
		*out = *inner
	case errors.As(err, &code):
		out.Code = code
	case errors.As(err, &problems):
		out.Code, out.Problems = ErrInvalid, problems
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		out.Code = ErrTimeout
	}
	if _, known := kinds[out.Code]; !known {
		out.Code = ErrInternal
	}
	if out.Message == "" || error(inner) != err {
		out.Message = err.Error()
	}
	out.Status, out.Title = kinds[out.Code].status, kinds[out.Code].title
	return out
}

// ExitCode is the exit code of a command that ended with err.
func ExitCode(err error) int {
	if err == nil {
		return ExitDone
	}
	return kinds[ErrorOf(err).Code].exit
}
