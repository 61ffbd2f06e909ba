package netquorum

import (
	"bytes"
	"iter"
	"slices"
	"strings"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// A Config is a whole configuration in which no rule is broken. It is
// immutable: Change returns another one that shares what did not change, so
// holding an old one costs nothing and reading needs no lock. The zero Config
// is empty and ready to use.
//
// The rules that span documents are kept as two indexes. A claim says that a
// document owns a thing which may have one owner only (an address, a client
// identifier). A use says that a document refers to another. Changing one
// document therefore costs the same among ten documents as among ten thousand.
type Config struct {
	docs   *iradix.Tree[*entry]
	claims *iradix.Tree[claim]
	uses   *iradix.Tree[user] // key: used thing, zero byte, path of the user
	sum    sum                // of all documents, for Hash
}

// Get returns the document with the key, whatever the case of its name.
func (c Config) Get(kind Kind, name string) (Document, bool) {
	if c.docs == nil {
		return Document{}, false
	}
	return getIn(c.docs.Root(), kind, name)
}

func getIn(docs *iradix.Node[*entry], kind Kind, name string) (Document, bool) {
	var room [64]byte // for most paths
	e, ok := docs.Get(appendPath(room[:0], Key{kind, name}))
	if !ok {
		return Document{}, false
	}
	return e.doc, true
}

// Len returns how many documents there are.
func (c Config) Len() int {
	if c.docs == nil {
		return 0
	}
	return c.docs.Len()
}

// All yields the documents of one kind in the order of their names.
func (c Config) All(kind Kind) iter.Seq[Document] {
	return func(yield func(Document) bool) {
		if c.docs == nil {
			return
		}
		it := c.from(kind)
		for _, e, ok := it.Next(); ok && yield(e.doc); _, e, ok = it.Next() {
		}
	}
}

// Documents yields every document, by kind in the order of Kinds, then by name.
func (c Config) Documents() iter.Seq[Document] {
	return func(yield func(Document) bool) {
		for _, k := range Kinds {
			for d := range c.All(k) {
				if !yield(d) {
					return
				}
			}
		}
	}
}

// Beside yields every document of either configuration with the one of the same
// key in the other, in the order of Documents. A side without it has the zero
// Document.
func (c Config) Beside(other Config) iter.Seq2[Document, Document] {
	return func(yield func(mine, its Document) bool) {
		for _, k := range Kinds {
			a, b := c.orEmpty().from(k), other.orEmpty().from(k)
			path, mine, more := a.Next()
			itsPath, its, also := b.Next()
			for more || also {
				order := bytes.Compare(path, itsPath)
				if !also {
					order = -1
				} else if !more {
					order = 1
				}
				var left, right Document
				if order <= 0 {
					left = mine.doc
					path, mine, more = a.Next()
				}
				if order >= 0 {
					right = its.doc
					itsPath, its, also = b.Next()
				}
				if !yield(left, right) {
					return
				}
			}
		}
	}
}

// from iterates over the documents of one kind.
func (c Config) from(kind Kind) *iradix.Iterator[*entry] {
	it := c.docs.Root().Iterator()
	it.SeekPrefix([]byte{kindByte(kind), '/'})
	return it
}

// docPath is the document's place in the tree: kind, then folded name.
func docPath(k Key) []byte { return appendPath(make([]byte, 0, 2+len(k.Name)), k) }

func appendPath(b []byte, k Key) []byte {
	return append(append(b, kindByte(k.Kind), '/'), strings.ToLower(k.Name)...)
}

func kindByte(k Kind) byte { return byte('a' + slices.Index(Kinds, k)) }

// find returns the spec of one document, or nil.
func find[S Spec](c Config, kind Kind, name string) (S, bool) {
	d, ok := c.Get(kind, name)
	if !ok {
		var none S
		return none, false
	}
	s, ok := d.Spec.(S)
	return s, ok
}

// Cluster returns the cluster's own document.
func (c Config) Cluster() (name string, spec *Cluster, ok bool) {
	if c.docs == nil {
		return "", nil, false
	}
	// Its kind is the first, and an iterator takes memory.
	_, first, ok := c.docs.Root().Minimum()
	if !ok || first.doc.Kind != KindCluster {
		return "", nil, false
	}
	return first.doc.Name, first.doc.Spec.(*Cluster), true
}

// Filer returns the filer's document.
func (c Config) Filer(name string) (*Filer, bool) { return find[*Filer](c, KindFiler, name) }

// VirtualServer returns the virtual server's document.
func (c Config) VirtualServer(name string) (*VirtualServer, bool) {
	return find[*VirtualServer](c, KindVirtualServer, name)
}

// Placement returns where the virtual server or service of the name is hosted.
func (c Config) Placement(name string) (*Placement, bool) {
	return find[*Placement](c, KindPlacement, name)
}

// Routes returns the named policy.
func (c Config) Routes(name string) (*Routes, bool) { return find[*Routes](c, KindRoutes, name) }

// Interfaces returns the interfaces that a filer has: its own, and those of its
// group that it does not replace, lower layers before what is built on them.
func (c Config) Interfaces(filer string) []Interface {
	f, ok := c.Filer(filer)
	if !ok {
		return nil
	}
	return c.effective(f)
}
