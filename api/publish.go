package api

import "github.com/netquorum/netquorum"

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
			c.Diff = netquorum.FormatDiff(c.Before, c.After)
		}
		out[i] = c
	}
	return out
}

func publicPointer(d *netquorum.Document) *netquorum.Document {
	if d == nil {
		return d
	}
	public := d.Public()
	if public.Spec == d.Spec {
		return d
	}
	return &public
}
