package rollout

import (
	"encoding/json"
	"fmt"

	"github.com/netquorum/netquorum"
)

// sides are the two configurations between which a rollout leads: the one that
// filers leave and the one they get to.
type sides struct {
	from, to netquorum.Config
}

// sidesOf takes the rollout's documents as they were, or are to be, and all
// others as they are. The problems are those of a configuration that cannot be
// led between the two any more; the state machine refuses to make one.
func sidesOf(c netquorum.Config, r *netquorum.Rollout) (sides, netquorum.Problems) {
	before, after := documents(r.Before), documents(r.After)
	b, problems := substitute(c, before, after)
	if len(problems) > 0 {
		return sides{}, problems
	}
	a, problems := substitute(c, after, before)
	if len(problems) > 0 {
		return sides{}, problems
	}
	if r.Reverting {
		return sides{from: a, to: b}, nil
	}
	return sides{from: b, to: a}, nil
}

// substitute puts one side's documents in the place of the other's.
func substitute(c netquorum.Config, want, instead []netquorum.Document) (netquorum.Config, netquorum.Problems) {
	has := map[netquorum.Key]bool{}
	var puts []netquorum.Document
	for _, d := range want {
		has[d.Key().Fold()] = true
		if old, ok := c.Get(d.Kind, d.Name); !ok || !old.Equal(d) {
			puts = append(puts, d)
		}
	}
	var deletes []netquorum.Key
	for _, d := range instead {
		if _, there := c.Get(d.Kind, d.Name); there && !has[d.Key().Fold()] {
			deletes = append(deletes, d.Key())
		}
	}
	if len(puts)+len(deletes) == 0 {
		return c, nil
	}
	return c.Change(puts, deletes)
}

// documents decodes one side. A rollout that holds what cannot be decoded breaks
// a rule and is in no configuration.
func documents(list []json.RawMessage) []netquorum.Document {
	out := make([]netquorum.Document, len(list))
	for i, text := range list {
		if err := out[i].UnmarshalJSON(text); err != nil {
			panic(fmt.Sprintf("rollout: a document that passed its rules: %v", err))
		}
	}
	return out
}

func encode(docs []netquorum.Document) ([]json.RawMessage, error) {
	var out []json.RawMessage
	for _, d := range docs {
		text, err := d.MarshalJSON()
		if err == nil {
			text, err = netquorum.CanonicalJSON(text)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.Key(), err)
		}
		out = append(out, text)
	}
	return out, nil
}

// Holds returns the keys of the documents that a rollout leads from one form to
// another. Nobody else may write them meanwhile.
func Holds(r *netquorum.Rollout) map[netquorum.Key]bool {
	out := map[netquorum.Key]bool{}
	for _, list := range [][]json.RawMessage{r.Before, r.After} {
		for _, d := range documents(list) {
			out[d.Key().Fold()] = true
		}
	}
	return out
}
