package api

import (
	"context"
	"iter"

	"github.com/netquorum/netquorum"
)

// A Backend does what the API promises. Its methods are called concurrently.
//
// Errors are answered as their Code says (see Error): a refusal is an *Error
// with one of the refusal codes, the absence of a quorum wraps ErrNoQuorum, an
// ended context wraps its cause. Any other error is answered as internal.
type Backend interface {
	StatisticsBackend
	PresenceBackend
	TraceBackend
	SecurityBackend
	PartnerBackend
	// Init forms a cluster of this filer alone. ErrConfigured when the filer
	// is in a cluster already.
	Init(ctx context.Context, r InitRequest) (MemberResult, error)
	// Join makes this filer a member of the cluster that a peer belongs to and
	// returns once the filer is a voter.
	Join(ctx context.Context, r JoinRequest) (MemberResult, error)

	// CreateToken makes a one-time token. Its secret is in the answer and
	// nowhere else.
	CreateToken(ctx context.Context, r TokenRequest) (Token, error)
	// Tokens lists the tokens that are neither used nor revoked, without
	// their secrets.
	Tokens(ctx context.Context) ([]Token, error)
	// RevokeToken makes a token useless. ErrNotFound when there is none.
	RevokeToken(ctx context.Context, actor, id string) error

	// Apply commits one transaction and waits as far as r.Wait says, or, in a
	// dry run, tells what it would do and commits nothing. When waiting for
	// other filers ends without success after the commit, the result carries
	// the revision beside an error that wraps ErrTimeout and names the filers.
	Apply(ctx context.Context, r ApplyRequest) (ApplyResult, error)
	// Restore replaces all user documents in one transaction.
	Restore(ctx context.Context, r RestoreRequest) (RestoreResult, error)

	// Read returns the configuration at this filer's revision; a linearizable
	// read is at least as new as every write acknowledged before it began.
	Read(ctx context.Context, c Consistency) (Snapshot, error)
	// History returns changes in rising order of revision. ErrCompacted when
	// r.From is older than what is kept.
	History(ctx context.Context, r HistoryRequest) ([]Change, error)
	// Watch yields every change with a revision above from, for as long as ctx
	// lives. It ends with ErrCompacted when from is older than what is kept.
	Watch(ctx context.Context, from netquorum.Revision) iter.Seq2[Change, error]

	MonitorBackend
	LinksBackend

	// Rollout tells of the rollout that is open or was the last. ErrNotFound
	// when there was none.
	Rollout(ctx context.Context) (Rollout, error)
	// SteerRollout confirms, reverts or resumes the open rollout.
	SteerRollout(ctx context.Context, r RolloutRequest) (Rollout, error)

	// Status tells how the cluster is. It answers without a quorum too, with
	// what this filer knows, and within two seconds: a filer that does not
	// report in that time is reported as unreachable.
	Status(ctx context.Context) (Status, error)
}

// Consistency says how old the answer to a read may be.
type Consistency string

const (
	// Linearizable reads see every write acknowledged before they began. They
	// need a quorum.
	Linearizable Consistency = "linearizable"
	// Stale reads answer with what this filer has. They always work.
	Stale Consistency = "stale"
)

// A Snapshot is the configuration at one revision.
type Snapshot struct {
	Config   netquorum.Config
	Revision netquorum.Revision
}
