package api

import (
	"bytes"
	"slices"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/netquorum/netquorum"
)

// withoutSecrets is the document as it may leave the store: the key of a join
// token is worth as much as the token.
func withoutSecrets(d netquorum.Document) netquorum.Document {
	if t, ok := d.Spec.(*netquorum.Token); ok {
		public := *t
		public.Key = nil
		d.Spec = &public
	}
	return d
}

// publishChange returns a change as it may be shown. There are no diffs of a
// change of which only the keys were kept.
func publishChange(c Change, withDiff bool) Change {
	c.Documents = publish(c.Documents, withDiff && !c.Abridged)
	return c
}

// publish does the same for documents. What it is given is shared with the
// store and stays as it is.
func publish(changes []DocumentChange, withDiff bool) []DocumentChange {
	out := make([]DocumentChange, len(changes))
	for i, c := range changes {
		c.Before, c.After = publicPointer(c.Before), publicPointer(c.After)
		if withDiff {
			c.Diff = Diff(c.Before, c.After)
		}
		out[i] = c
	}
	return out
}

func publicPointer(d *netquorum.Document) *netquorum.Document {
	if d == nil || d.Kind != netquorum.KindToken {
		return d
	}
	public := withoutSecrets(*d)
	return &public
}

// Diff returns the difference between two states of a document as a unified
// diff of their YAML, empty when there is none. Nil stands for a document that
// does not exist.
func Diff(before, after *netquorum.Document) string {
	text := func(d *netquorum.Document) []byte {
		if d == nil {
			return nil
		}
		text, err := netquorum.FormatYAML(slices.Values([]netquorum.Document{*d}))
		if err != nil { // a diff is for reading; say there what is wrong
			return []byte("# " + err.Error() + "\n")
		}
		return text
	}
	name := func(d *netquorum.Document) string {
		if d == nil {
			return "/dev/null"
		}
		return d.Key().String()
	}
	out := diff.Diff(name(before), text(before), name(after), text(after))
	_, out, _ = bytes.Cut(out, []byte("\n")) // "diff A B" says nothing that the next two lines do not
	return string(out)
}
