package store

import (
	"context"
	"fmt"
	"iter"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/fsm"
)

// Watch yields every change from a revision on, the past ones first, as this
// filer comes to know them, until the context ends. From 0 means from the next
// change on. It ends with ErrCompacted when a change that was asked for is no
// longer known; the watcher then has to read everything and start over.
func (s *Store) Watch(ctx context.Context, from netquorum.Revision) iter.Seq2[fsm.Change, error] {
	return func(yield func(fsm.Change, error) bool) {
		v := s.views.load()
		if from == 0 {
			from = v.state.Revision() + 1
		}
		for {
			if oldest := v.state.Oldest(); from < oldest {
				yield(fsm.Change{}, fmt.Errorf("watch from revision %d: %w, which begins at %d", from, ErrCompacted, oldest))
				return
			}
			for change := range v.state.History(from, 0) {
				if !yield(change, nil) {
					return
				}
				from = change.Revision + 1
			}
			select {
			case <-v.next:
				v = s.views.load()
			case <-ctx.Done():
				yield(fsm.Change{}, ctx.Err())
				return
			case <-s.life.Done():
				yield(fsm.Change{}, ErrClosed)
				return
			}
		}
	}
}
