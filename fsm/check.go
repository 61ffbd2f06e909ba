package fsm

import (
	"fmt"

	"github.com/netquorum/netquorum"
)

// check returns why the transaction is refused before the rules of the
// resulting configuration are looked at: its size, its form, what its actor may
// write, and its preconditions, of which every broken one is reported.
func (w *work) check(t *Transaction, size int) *Refusal {
	if size > MaxTransaction {
		return refuse(RefusedTooLarge, "the transaction has %d bytes, at most %d fit; split it, or use restore for a whole configuration",
			size, MaxTransaction)
	}
	var c conditions
	keys := make(map[netquorum.Key]bool, len(t.Puts)+len(t.Deletes))
	for i := range t.Puts {
		p := &t.Puts[i]
		c.key = p.Document.Key()
		c.form(keys, t.System)
		old, exists := w.draft.Get(c.key.Kind, c.key.Name)
		if p.MustNotExist && exists {
			c.broken(RefusedExists, "exists already, at revision %d", old.Revision)
		}
		c.revision(p.IfRevision, old, exists)
	}
	for i := range t.Deletes {
		d := &t.Deletes[i]
		c.key = d.Key
		c.form(keys, t.System)
		old, exists := w.draft.Get(c.key.Kind, c.key.Name)
		if !exists && (d.IfRevision == nil || *d.IfRevision == 0) {
			c.broken(RefusedNotFound, "does not exist")
			continue
		}
		c.revision(d.IfRevision, old, exists)
	}
	if len(c.problems) == 0 {
		return nil
	}
	return refuseFor(c.code, c.problems)
}

// conditions collects the broken ones. The first decides the refusal's code.
type conditions struct {
	key      netquorum.Key
	code     RefusalCode
	problems netquorum.Problems
}

func (c *conditions) broken(code RefusalCode, format string, args ...any) {
	if c.code == "" {
		c.code = code
	}
	c.problems = append(c.problems, netquorum.Problem{
		Document: c.key, Rule: netquorum.Rule(code), Message: fmt.Sprintf(format, args...),
	})
}

// form checks that the document is named once and may be written.
func (c *conditions) form(keys map[netquorum.Key]bool, system bool) {
	if folded := c.key.Fold(); keys[folded] {
		c.broken(RefusedInvalid, "stands in the transaction more than once")
	} else {
		keys[folded] = true
	}
	if c.key.Kind.Machine() && !system {
		c.machine()
	}
}

func (c *conditions) machine() {
	c.broken(RefusedMachineKind, "documents of kind %s are written by the cluster itself", c.key.Kind)
}

// revision checks ifRevision. A document that does not exist is at revision 0.
func (c *conditions) revision(want *netquorum.Revision, old netquorum.Document, exists bool) {
	switch {
	case want == nil || *want == old.Revision:
	case !exists:
		c.broken(RefusedStaleRevision, "does not exist (any more), and was expected at revision %d", *want)
	case *want == 0:
		c.broken(RefusedStaleRevision, "exists at revision %d, and was expected not to", old.Revision)
	default:
		c.broken(RefusedStaleRevision, "is at revision %d, not %d: read it again and repeat the change", old.Revision, *want)
	}
}
