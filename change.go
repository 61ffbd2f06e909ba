package netquorum

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// Change returns the configuration with documents deleted and put, in this
// order, or every rule that it would break, in the order of the documents. The
// receiver is unchanged either way. Deleting what is not there is no problem.
//
// The receiver breaks no rule. So it is enough to look at what changes, and at
// the documents whose correctness depends on what changes.
func (c Config) Change(puts []Document, deletes []Key) (Config, Problems) {
	e := &edit{was: c.orEmpty()}
	e.stage(puts, deletes)
	e.index()
	for _, t := range e.touched {
		e.checkAlone(t)
		e.checkUsers(t)
		e.affect(t)
	}
	e.checkAffected()
	e.checkCluster()
	if len(e.problems) > 0 {
		return c, e.sorted()
	}
	return e.next, nil
}

// An edit is a change under examination.
type edit struct {
	was, next Config
	touched   []*touch
	affected  map[string]Key // by docPath: documents to check against all others; nil while there are none
	problems  Problems
	alone     checker // of the last document, whose memory is used again
}

// A touch is a document that the change writes or deletes. The side that does
// not exist has no spec.
type touch struct {
	key  Key
	path []byte // the key in the tree of documents
	old  *entry
	new  *entry
	made []claim // by the new side
}

func (t *touch) deleted() bool { return t.new.doc.Spec == nil }

// indexed reports whether either side may have claims or uses.
func (t *touch) indexed() bool {
	_, was := t.old.doc.Spec.(related)
	_, is := t.new.doc.Spec.(related)
	return was || is
}

// noEntry is the side of a touch that does not exist.
var noEntry = &entry{}

func (e *edit) add(p Problem) { e.problems = append(e.problems, p) }

// stage writes the documents into the next configuration.
func (e *edit) stage(puts []Document, deletes []Key) {
	e.next = e.was
	txn := e.was.docs.Txn()
	n := len(puts) + len(deletes)
	const few = 8 // up to here looking at all is faster than a map
	var seen map[string]*touch
	if n > few {
		seen = make(map[string]*touch, n)
	}
	room := make([]touch, n) // a restore has tens of thousands
	e.touched = make([]*touch, 0, n)
	touched := func(k Key) *touch {
		path := docPath(k)
		if n > few {
			if t := seen[string(path)]; t != nil {
				return t
			}
		} else if i := slices.IndexFunc(e.touched, func(t *touch) bool { return bytes.Equal(t.path, path) }); i >= 0 {
			return e.touched[i]
		}
		t := &room[len(e.touched)]
		*t = touch{key: k, path: path, old: noEntry, new: noEntry}
		if old, ok := e.was.docs.Get(path); ok {
			t.old = old
		}
		if n > few {
			seen[string(path)] = t
		}
		e.touched = append(e.touched, t)
		return t
	}
	for _, k := range deletes {
		txn.Delete(touched(k).path)
	}
	for _, d := range puts {
		if p, ok := wellFormed(d); !ok {
			e.add(p)
			continue
		}
		t := touched(d.Key())
		if !t.deleted() {
			e.add(Problem{Document: d.Key(), Rule: RuleDocumentOnce, Message: "this change puts the document twice; leave one out"})
			continue
		}
		t.key = d.Key()
		var p *Problem
		if t.new, p = newEntry(d); p != nil {
			e.add(*p)
		}
		txn.Insert(t.path, t.new)
	}
	e.touched = slices.DeleteFunc(e.touched, func(t *touch) bool { return t.deleted() && t.old.doc.Spec == nil })
	slices.SortFunc(e.touched, func(a, b *touch) int { return bytes.Compare(a.path, b.path) })
	e.next.docs = txn.Commit()
	for _, t := range e.touched {
		e.next.sum = e.next.sum.minus(t.old.sum).plus(t.new.sum)
	}
}

// wellFormed reports whether the document can be looked at at all.
func wellFormed(d Document) (Problem, bool) {
	p := Problem{Document: d.Key(), Field: "kind", Rule: RuleDocumentKind}
	switch {
	case newSpec[d.Kind] == nil:
		p.Message = (&UnknownKindError{Kind: d.Kind}).Error()
	case d.Spec == nil || d.Spec.Kind() != d.Kind:
		p.Field, p.Message = "spec", "is not the spec of a "+string(d.Kind)
	default:
		return p, true
	}
	return p, false
}

// index brings claims and uses up to date, and finds the things that two
// documents claim.
func (e *edit) index() {
	if !slices.ContainsFunc(e.touched, (*touch).indexed) {
		return
	}
	claims, uses := e.was.claims.Txn(), e.was.uses.Txn()
	for _, t := range e.touched {
		if t.old.doc.Spec == nil {
			continue
		}
		for _, c := range claimsOf(t.old.doc) {
			if has, ok := claims.Get([]byte(c.thing)); ok && has.owner == c.owner {
				claims.Delete([]byte(c.thing))
			}
		}
		for _, u := range usesOf(t.old.doc) {
			uses.Delete(usePath(u.thing, t.path))
		}
	}
	for _, t := range e.touched {
		if t.deleted() {
			continue
		}
		t.made = claimsOf(t.new.doc)
		for _, c := range t.made {
			if first, taken := claims.Get([]byte(c.thing)); taken {
				e.add(c.conflict(first))
				continue
			}
			claims.Insert([]byte(c.thing), c)
		}
		for _, u := range usesOf(t.new.doc) {
			uses.Insert(usePath(u.thing, t.path), user{t.key, u.field})
		}
	}
	e.next.claims, e.next.uses = claims.Commit(), uses.Commit()
}

// checkAlone checks what a new document says by itself.
func (e *edit) checkAlone(t *touch) {
	if t.deleted() {
		return
	}
	e.problems = append(e.problems, e.alone.document(t.new.doc)...)
}

// checkUsers refuses to delete what others use. A user that the same change
// writes is told so itself.
func (e *edit) checkUsers(t *touch) {
	if !t.deleted() {
		return
	}
	for u := range e.next.usersOf(string(t.path)) {
		if !e.touches(u.key) {
			e.add(Problem{
				Document: t.key, Rule: RuleInUse, Owner: &u.key,
				Message: u.key.String() + " uses it (" + u.field + "); change that first, or in the same transaction",
			})
		}
	}
}

func (e *edit) touches(k Key) bool {
	_, found := slices.BinarySearchFunc(e.touched, docPath(k), func(t *touch, path []byte) int { return bytes.Compare(t.path, path) })
	return found
}

func (e *edit) check(k Key) {
	if e.affected == nil {
		e.affected = map[string]Key{}
	}
	e.affected[string(docPath(k))] = k
}

// affect notes which documents have to be checked against the others because
// of what the change does to one.
func (e *edit) affect(t *touch) {
	if _, ok := t.new.doc.Spec.(related); ok {
		e.check(t.key)
		for _, c := range t.made {
			if c.isAddress() { // a policy's gateway must not be one of ours
				for u := range e.next.usersOf(c.thing) {
					e.check(u.key)
				}
			}
		}
	}
	switch t.key.Kind {
	case KindRoutes:
		for u := range e.next.usersOf(string(t.path)) {
			e.check(u.key)
			if d, ok := e.next.Get(u.key.Kind, u.key.Name); ok {
				e.affectHeirs(Document{Kind: d.Kind}, d)
			}
		}
	case KindCluster:
		e.affectHeirs(t.old.doc, t.new.doc)
	case KindFilerGroup:
		e.affectHeirs(t.old.doc, t.new.doc)
		e.affectFilers(t.key.Name)
		for d := range e.next.groupFilers(t.key.Name) {
			e.affectHosted(d.Name)
		}
	case KindFiler:
		e.affectHosted(t.key.Name)
		for _, side := range []*entry{t.old, t.new} {
			if f, ok := side.doc.Spec.(*Filer); ok && f.Group != "" {
				e.check(Key{KindFilerGroup, f.Group})
			}
		}
	}
}

func (e *edit) affectFilers(group string) {
	for d := range e.next.groupFilers(group) {
		e.check(d.Key())
	}
}

// affectHeirs notes who may inherit other routes than before from a group or
// the cluster. Most changes of these say nothing about routes.
func (e *edit) affectHeirs(old, new Document) {
	was, wasServers := inheritable(old)
	now, nowServers := inheritable(new)
	if new.Spec == nil || was == now && wasServers == nowServers {
		return
	}
	for _, kind := range []Kind{KindFiler, KindVirtualServer, KindService} {
		if kind == KindFiler && was == now || kind != KindFiler && wasServers == nowServers {
			continue
		}
		if new.Kind == KindFilerGroup {
			for u := range e.next.usersOfKind(string(docPath(new.Key())), kind) {
				e.check(u.key)
			}
			continue
		}
		for d := range e.next.All(kind) {
			e.check(d.Key())
		}
	}
}

// inheritable returns the routes that a document gives to filers and to servers.
func inheritable(d Document) (filers, servers string) {
	switch s := d.Spec.(type) {
	case *Cluster:
		return s.Routes, s.Servers.Routes
	case *FilerGroup:
		return s.Routes, s.Servers.Routes
	}
	return "", ""
}

// affectHosted notes the virtual servers and services that may have lost a
// filer to be hosted on. Most changes of a filer take nothing away, and then
// it does not matter how many servers there are.
func (e *edit) affectHosted(filer string) {
	was, old := e.was.offers(filer)
	now, new := e.next.offers(filer)
	if was != "" && was != now {
		e.affectUsersOf(was, func(InterfaceName) bool { return true })
	}
	if now == "" {
		return
	}
	if was != now && e.was.groupSize(now) == 0 {
		// Without filers a group may hold anything. Now it has one to be
		// measured against.
		e.affectUsersOf(now, func(InterfaceName) bool { return true })
		return
	}
	if was != now {
		old = nil
	}
	worse := map[InterfaceName]bool{}
	for alias, o := range old {
		if n, ok := new[alias]; !ok || o.ipv6 && !n.ipv6 {
			worse[alias] = true
		}
	}
	for alias, n := range new {
		if _, ok := old[alias]; !ok && !n.ipv6 {
			worse[alias] = true
		}
	}
	if len(worse) > 0 {
		e.affectUsersOf(now, func(a InterfaceName) bool { return worse[a] })
	}
}

// affectUsersOf notes the virtual servers and services of a group that use an
// alias which matters.
func (e *edit) affectUsersOf(group string, matters func(InterfaceName) bool) {
	for _, kind := range []Kind{KindVirtualServer, KindService} {
		for u := range e.next.usersOfKind(string(docPath(Key{KindFilerGroup, group})), kind) {
			d, _ := e.next.Get(u.key.Kind, u.key.Name)
			if slices.ContainsFunc(hosted(d).Addresses, func(a HostedAddress) bool { return matters(a.Alias) }) {
				e.check(u.key)
			}
		}
	}
}

// checkAffected checks documents against all others.
func (e *edit) checkAffected() {
	for _, k := range e.affected {
		if d, ok := e.next.Get(k.Kind, k.Name); ok {
			c := &checker{doc: d.Key()}
			d.Spec.(related).checkAmong(e.next, c)
			if !e.touches(k) {
				// It lost what it uses to a deletion, which checkUsers refuses.
				c.problems = slices.DeleteFunc(c.problems, func(p Problem) bool { return p.Rule == RuleReference })
			}
			e.problems = append(e.problems, c.problems...)
		}
	}
}

// checkCluster asks for the Cluster document. Nothing at all is a
// configuration too: the one that a cluster begins with.
func (e *edit) checkCluster() {
	if _, _, ok := e.next.Cluster(); ok {
		return
	}
	if name, _, had := e.was.Cluster(); had {
		e.add(Problem{Document: Key{KindCluster, name}, Rule: RuleClusterOne, Message: "the Cluster document cannot be deleted; put another in the same transaction to replace it"})
	} else if e.next.Len() > 0 {
		e.add(Problem{Document: Key{KindCluster, ""}, Rule: RuleClusterOne, Message: "there is no Cluster document; add one with the cluster's name and mac"})
	}
}

// sorted returns the problems in the order of the documents, then of their
// fields, each once.
func (e *edit) sorted() Problems {
	slices.SortStableFunc(e.problems, func(a, b Problem) int {
		return cmp.Or(
			bytes.Compare(docPath(a.Document), docPath(b.Document)),
			compareFields(a.Field, b.Field),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(e.problems, func(a, b Problem) bool {
		return a.Document == b.Document && a.Field == b.Field && a.Rule == b.Rule && a.Message == b.Message
	})
}

// compareFields compares paths as people read them: [2] before [10].
func compareFields(a, b string) int {
	for len(a) > 0 && len(b) > 0 {
		na, nb := len(a)-len(strings.TrimLeft(a, "0123456789")), len(b)-len(strings.TrimLeft(b, "0123456789"))
		if na > 0 && nb > 0 {
			if o := cmp.Or(cmp.Compare(na, nb), cmp.Compare(a[:na], b[:nb])); o != 0 {
				return o
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// orEmpty makes the zero Config one with trees.
func (c Config) orEmpty() Config {
	if c.docs == nil {
		c.docs, c.claims, c.uses = iradix.New[*entry](), iradix.New[claim](), iradix.New[user]()
	}
	return c
}
