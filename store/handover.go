package store

import (
	"context"
	"fmt"
)

// HandOver gives leadership to another member that is up to date, so that this
// filer may take its own links down without leaving the others leaderless for an
// election. It does nothing on a filer that does not lead.
func (s *Store) HandOver(ctx context.Context) error {
	if err := s.leading(); err != nil {
		return nil
	}
	if err := s.handOver(ctx, s.node.Load()); err != nil {
		return fmt.Errorf("hand over leadership: %w", err)
	}
	return nil
}
