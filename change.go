package netquorum

import (
	"crypto/sha256"
	"encoding/json"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

type claim struct {
	Owner Key
	Field string
}

// Change returns the configuration with documents put and deleted, or every
// rule that it would break. The receiver is unchanged either way.
func (c Config) Change(puts []Document, deletes []Key) (Config, Problems) {
	docs := c.docs
	if docs == nil {
		docs = iradix.New[Document]()
	}
	txn := docs.Txn()
	for _, k := range deletes {
		txn.Delete(docPath(k))
	}
	for _, d := range puts {
		txn.Insert(docPath(d.Key()), d)
	}
	return Config{docs: txn.Commit()}, nil
}

// Hash is the same for two configurations exactly when their documents are the
// same, revisions included.
func (c Config) Hash() [32]byte {
	h := sha256.New()
	for d := range c.Documents() {
		b, _ := json.Marshal(d)
		h.Write(b)
	}
	return [32]byte(h.Sum(nil))
}

func (*Cluster) check(*checker)       {}
func (*Filer) check(*checker)         {}
func (*FilerGroup) check(*checker)    {}
func (*VirtualServer) check(*checker) {}
func (*Service) check(*checker)       {}
func (*Routes) check(*checker)        {}
func (*Record) check(*checker)        {}
func (*Member) check(*checker)        {}
func (*Placement) check(*checker)     {}
func (*Token) check(*checker)         {}

// A Finding is something an operator should know about a valid configuration.
type Finding struct {
	Document Key    `json:"document"`
	Code     string `json:"code"` // stable, like cannot-fail-over
	Message  string `json:"message"`
}

// Findings lists what is allowed but probably not wanted.
func (c Config) Findings() []Finding { return nil }
