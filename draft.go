package netquorum

import iradix "github.com/hashicorp/go-immutable-radix/v2"

// A Draft is a configuration under one change after another, of which only the
// outcome is kept: what an earlier change has copied of the tree, a later one writes
// to in place.
type Draft struct {
	config Config
	docs   *iradix.Txn[*entry] // config's and what was put since; nil while that is nothing
	alone  checker
}

// Draft returns a draft that begins as the configuration, which is not changed.
func (c Config) Draft() *Draft { return &Draft{config: c} }

// Config returns the configuration that the draft has come to.
func (d *Draft) Config() Config {
	if d.docs != nil {
		d.config.docs, d.docs = d.docs.Commit(), nil
	}
	return d.config
}

// Set goes on from a configuration, which came of the draft's by Change.
func (d *Draft) Set(c Config) { d.config, d.docs = c, nil }

// Get is Config.Get.
func (d *Draft) Get(kind Kind, name string) (Document, bool) {
	if d.docs == nil {
		return d.config.Get(kind, name)
	}
	return getIn(d.docs.Root(), kind, name)
}

// Cluster is Config.Cluster.
func (d *Draft) Cluster() (name string, spec *Cluster, ok bool) {
	return d.config.Cluster() // Put puts none
}

// Put is a Change that puts one document which stands in no relation to others and
// breaks no rule. If it is anything else nothing is changed, and it is for Change to
// say what becomes of it.
func (d *Draft) Put(doc Document) bool {
	if _, ok := wellFormed(doc); !ok {
		return false
	}
	if _, ok := doc.Spec.(related); ok {
		return false
	}
	if _, _, ok := d.Cluster(); !ok {
		return false
	}
	if len(d.alone.document(doc)) > 0 {
		return false
	}
	put, problem := newEntry(doc)
	if problem != nil {
		return false
	}
	if d.docs == nil {
		d.docs = d.config.docs.Txn()
	}
	if old, ok := d.docs.Insert(docPath(doc.Key()), put); ok {
		d.config.sum = d.config.sum.minus(old.sum)
	}
	d.config.sum = d.config.sum.plus(put.sum)
	return true
}
