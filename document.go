package netquorum

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// A Kind says what a document configures.
type Kind string

// The kinds, in the order in which documents are listed and dumped: what others
// refer to comes first, so that a dump reads from the general to the special.
const (
	KindCluster       Kind = "Cluster"
	KindRoutes        Kind = "Routes"
	KindApplication   Kind = "Application"
	KindAccess        Kind = "Access"
	KindFilerGroup    Kind = "FilerGroup"
	KindFiler         Kind = "Filer"
	KindVirtualServer Kind = "VirtualServer"
	KindService       Kind = "Service"
	KindPartner       Kind = "Partner"
	KindRecord        Kind = "Record"

	// The rest is written by the cluster itself and refused from users.
	KindMember    Kind = "Member"
	KindPlacement Kind = "Placement"
	KindToken     Kind = "Token"
	KindRollout   Kind = "Rollout"
	KindAuthority Kind = "Authority"
	KindSecret    Kind = "Secret"
)

// Kinds lists every kind in listing order.
var Kinds = []Kind{
	KindCluster, KindRoutes, KindApplication, KindAccess, KindFilerGroup, KindFiler, KindVirtualServer, KindService, KindPartner, KindRecord,
	KindMember, KindPlacement, KindToken, KindRollout, KindAuthority, KindSecret,
}

// Machine reports whether documents of the kind are written by the cluster
// itself. They are left out of dumps and refused in a user's transaction.
func (k Kind) Machine() bool {
	return k == KindMember || k == KindPlacement || k == KindToken || k == KindRollout || k == KindAuthority || k == KindSecret
}

// Network reports whether documents of the kind concern the network: kernels
// follow them and boot caches hold them. Records mean nothing here, tokens are of
// no use without a quorum, and partners are not needed to boot.
func (k Kind) Network() bool {
	return k != KindRecord && k != KindToken && k != KindPartner && k != KindSecret
}

// A Revision is the raft index of a committed transaction. Zero means none.
type Revision uint64

// A Key names one document. Names are compared without regard to case, as the
// source documents ask for interface names and as DNS does for host names.
type Key struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
}

// Fold returns the key in the form used for comparing: its name in lower case.
func (k Key) Fold() Key { return Key{k.Kind, strings.ToLower(k.Name)} }

func (k Key) String() string { return string(k.Kind) + "/" + k.Name }

// A Spec is the content of a document: one of *Cluster, *Filer, *FilerGroup,
// *VirtualServer, *Service, *Routes, *Application, *Access, *Partner,
// *Record, *Member, *Placement, *Token, *Rollout, *Authority, *Secret.
// A spec inside a Document or a Config is never changed in place.
type Spec interface {
	Kind() Kind
	// check reports every rule that the spec breaks by itself.
	check(c *checker)
}

// A related spec stands in relation to other documents.
type related interface {
	Spec
	// claims returns the things that no other document may have, uses what the
	// spec refers to, checkAmong the rules that it breaks among the others.
	claims(owner Key) []claim
	uses() []use
	checkAmong(cfg Config, c *checker)
}

// A Document is one configuration object, the unit of the store, of YAML files
// and of the API.
type Document struct {
	Kind     Kind
	Name     string
	Revision Revision // of the transaction that last wrote it; 0 in a user's file
	Spec     Spec
}

// Key returns the document's key.
func (d Document) Key() Key { return Key{d.Kind, d.Name} }

// newSpec maps each kind to an empty spec of its type.
var newSpec = map[Kind]func() Spec{
	KindCluster:       func() Spec { return new(Cluster) },
	KindRoutes:        func() Spec { return new(Routes) },
	KindApplication:   func() Spec { return new(Application) },
	KindAccess:        func() Spec { return new(Access) },
	KindFilerGroup:    func() Spec { return new(FilerGroup) },
	KindFiler:         func() Spec { return new(Filer) },
	KindVirtualServer: func() Spec { return new(VirtualServer) },
	KindService:       func() Spec { return new(Service) },
	KindPartner:       func() Spec { return new(Partner) },
	KindRecord:        func() Spec { return new(Record) },
	KindMember:        func() Spec { return new(Member) },
	KindPlacement:     func() Spec { return new(Placement) },
	KindToken:         func() Spec { return new(Token) },
	KindRollout:       func() Spec { return new(Rollout) },
	KindAuthority:     func() Spec { return new(Authority) },
	KindSecret:        func() Spec { return new(Secret) },
}

// wireDocument is the JSON form of a Document: its fields, in their order.
type wireDocument struct {
	Kind     Kind            `json:"kind"`
	Name     string          `json:"name"`
	Revision Revision        `json:"revision,omitempty"`
	Spec     json.RawMessage `json:"spec"`
}

// UnknownKindError reports a document whose kind this version does not have.
type UnknownKindError struct{ Kind Kind }

func (e *UnknownKindError) Error() string {
	names := []string{}
	for _, k := range Kinds {
		if !k.Machine() {
			names = append(names, string(k))
		}
	}
	return fmt.Sprintf("unknown kind %q; this version has %s", e.Kind, strings.Join(names, ", "))
}

// Equal reports whether two documents say the same, whatever their revisions.
func (d Document) Equal(o Document) bool {
	if d.Key() != o.Key() || d.Spec == nil || o.Spec == nil {
		return d.Key() == o.Key() && d.Spec == o.Spec
	}
	if r, ok := d.Spec.(*Record); ok {
		q, ok := o.Spec.(*Record)
		return ok && r.Type == q.Type && bytes.Equal(r.Data, q.Data)
	}
	if reflect.DeepEqual(d.Spec, o.Spec) {
		return true
	}
	// An empty list says the same as none.
	a, errA := appendSpec(nil, d.Spec)
	b, errB := appendSpec(nil, o.Spec)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}
