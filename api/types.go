package api

import (
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/trace"
)

// An InitRequest forms a cluster of one filer.
type InitRequest struct {
	// Cluster and MAC may be left out when Documents has a Cluster document.
	Cluster string         `json:"cluster,omitempty"`
	MAC     *netquorum.MAC `json:"mac,omitempty"`
	// Filer is this filer's name in the cluster.
	Filer string `json:"filer"`
	// Documents are the first configuration, committed with the cluster.
	Documents []netquorum.Document `json:"documents,omitempty"`
	Actor     string               `json:"-"`
}

// A JoinRequest makes this filer a member of a cluster.
type JoinRequest struct {
	Filer string `json:"filer"`
	// Token is what `netquorum token create` printed on a member.
	Token string `json:"token"`
	// Peer is the host or host:port of any member.
	Peer string `json:"peer"`
	// Documents hold this filer's interfaces when no address reaches the peer
	// yet: they are brought up before it is dialled and replaced by the
	// cluster's configuration afterwards.
	Documents []netquorum.Document `json:"documents,omitempty"`
	Actor     string               `json:"-"`
}

// A MemberResult tells what became of an init or a join.
type MemberResult struct {
	Cluster  string             `json:"cluster"`
	Filer    string             `json:"filer"`
	ID       netquorum.FilerID  `json:"id"`
	Revision netquorum.Revision `json:"revision"`
}

// A TokenRequest asks for a one-time token.
type TokenRequest struct {
	// Filer, when set, is the only filer name that the token is good for.
	Filer string `json:"filer,omitempty"`
	// TTL is how long the token is good for, like "15m"; an hour when empty.
	TTL   Duration `json:"ttl,omitempty"`
	Actor string   `json:"-"`
}

// A Token lets one filer join once.
type Token struct {
	ID string `json:"id"`
	// Token is the whole token with its secret; only in the answer to its
	// creation.
	Token   string    `json:"token,omitempty"`
	Filer   string    `json:"filer,omitempty"`
	Expires time.Time `json:"expires"`
}

// Wait says when a transaction counts as done.
type Wait string

const (
	// WaitCommitted: a majority of filers has it on disk. The default.
	WaitCommitted Wait = "committed"
	// WaitCached: every filer has it in its boot cache.
	WaitCached Wait = "cached"
	// WaitApplied: every filer's kernel follows it.
	WaitApplied Wait = "applied"
)

// An ApplyRequest is one transaction: it commits whole or not at all.
type ApplyRequest struct {
	Puts    []Put    `json:"puts,omitempty"`
	Deletes []Delete `json:"deletes,omitempty"`
	// RequestID makes repeating the request safe: a transaction with an id
	// that was seen before is answered with the first one's result. The
	// server makes one when it is empty.
	RequestID string `json:"requestID,omitempty"`
	// Trace is kept with the change and shown in its history; the request's own
	// when there is none.
	Trace trace.ID `json:"trace,omitzero"`
	// DryRun tells what would change and what each filer would do. Without puts
	// and deletes, it tells what each filer would do now.
	DryRun bool `json:"dryRun,omitempty"`
	Wait   Wait `json:"wait,omitempty"`
	// Changes asks for the changed documents in the answer.
	Changes bool `json:"changes,omitempty"`
	// Rollout is how the change is rolled out, if it needs to be.
	Rollout RolloutOptions `json:"rollout,omitzero"`
	Actor   string         `json:"-"` // who is on the other end of the socket
}

// A Put creates a document or replaces it whole.
type Put struct {
	Document netquorum.Document `json:"document"`
	// IfRevision refuses the transaction unless the document was last written
	// by the transaction of this revision.
	IfRevision   *netquorum.Revision `json:"ifRevision,omitempty"`
	MustNotExist bool                `json:"mustNotExist,omitempty"`
}

// A Delete removes a document.
type Delete struct {
	Kind       netquorum.Kind      `json:"kind"`
	Name       string              `json:"name"`
	IfRevision *netquorum.Revision `json:"ifRevision,omitempty"`
}

// Key returns the key of the document to remove.
func (d Delete) Key() netquorum.Key { return netquorum.Key{Kind: d.Kind, Name: d.Name} }

// An ApplyResult tells what a transaction did, or in a dry run would do.
type ApplyResult struct {
	// Revision of the transaction; of the configuration as it is when nothing
	// changed or in a dry run.
	Revision netquorum.Revision `json:"revision"`
	// Changed is how many documents differ from before.
	Changed int `json:"changed"`
	// Rollout is the name of the rollout that the transaction began; in a dry
	// run, Guarded is why it would need one.
	Rollout string `json:"rollout,omitempty"`
	Guarded string `json:"guarded,omitempty"`
	// Unsafe is, in a dry run, why the rollout would have to be forced; Grounded
	// are the servers that would go down with their filer's links, because no
	// other can host them.
	Unsafe   []string `json:"unsafe,omitempty"`
	Grounded []string `json:"grounded,omitempty"`
	// Changes are the changed documents. A Backend fills them in a dry run
	// only; otherwise the server takes them from the history when asked.
	Changes []DocumentChange `json:"changes,omitempty"`
	// Plans has, in a dry run, what each filer would do, by filer name.
	Plans map[string]Plan `json:"plans,omitempty"`
	// Stranded are, in a dry run, the servers that would lose their last
	// eligible filer.
	Stranded []StrandedServer `json:"stranded,omitempty"`
}

// A RestoreRequest replaces all user documents.
type RestoreRequest struct {
	Documents []netquorum.Document `json:"documents"`
	RequestID string               `json:"requestID,omitempty"`
	Actor     string               `json:"-"`
}

// A RestoreResult tells the revision of a restore.
type RestoreResult struct {
	Revision  netquorum.Revision `json:"revision"`
	Documents int                `json:"documents"`
}

// A HistoryRequest selects changes: From and To are the first and last
// revision, both included; zero leaves that end open. With a Limit and no From,
// the newest changes are meant.
type HistoryRequest struct {
	From, To netquorum.Revision
	Limit    int
}

// A Change is one committed transaction that changed something.
type Change struct {
	Revision  netquorum.Revision `json:"revision"`
	Time      time.Time          `json:"time"`
	Actor     string             `json:"actor,omitempty"`
	Trace     trace.ID           `json:"trace,omitzero"`
	RequestID string             `json:"requestID,omitempty"`
	// Restore is set when the change replaced the whole configuration.
	Restore bool `json:"restore,omitempty"`
	// Abridged is set when the change was too large to keep: the documents
	// then have no content.
	Abridged  bool             `json:"abridged,omitempty"`
	Documents []DocumentChange `json:"documents"`
}

// A DocumentChange is one document before and after: Before is missing when it
// was created, After when it was deleted.
type DocumentChange struct {
	Kind   netquorum.Kind      `json:"kind"`
	Name   string              `json:"name"`
	Before *netquorum.Document `json:"before,omitempty"`
	After  *netquorum.Document `json:"after,omitempty"`
	// Diff is the change as lines of YAML. A Backend leaves it empty; the
	// server fills it in when asked.
	Diff string `json:"diff,omitempty"`
}

// Key returns the key of the changed document.
func (c DocumentChange) Key() netquorum.Key { return netquorum.Key{Kind: c.Kind, Name: c.Name} }

// Verb tells what happened to the document: created, changed or deleted.
func (c DocumentChange) Verb() string {
	switch {
	case c.Before == nil:
		return "created"
	case c.After == nil:
		return "deleted"
	}
	return "changed"
}

// A DocumentList is the answer to a request for several documents.
type DocumentList struct {
	Revision  netquorum.Revision   `json:"revision"`
	Stale     bool                 `json:"stale,omitempty"`
	Documents []netquorum.Document `json:"documents"`
}

// A History is the answer to a request for past changes.
type History struct {
	Changes []Change `json:"changes"`
}

// Version tells what the daemon is.
type Version struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	API     string `json:"api"`
}

// A Duration is a time span written like 1m30s.
type Duration time.Duration

// MarshalText writes the duration like 1m30s.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a duration like 1m30s.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}
