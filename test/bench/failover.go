package main

import (
	"context"
	"fmt"
	"time"
)

// measureFailover kills the leader ten times and takes the time until a write
// through another filer is acknowledged.
func measureFailover(ctx context.Context, o options) ([]row, error) {
	fs, err := startFilers(ctx, o, "failover")
	defer fs.stop()
	if err != nil {
		return nil, err
	}
	var gaps []time.Duration
	for round := range 10 {
		leader, err := fs.leader(ctx)
		if err != nil {
			return nil, err
		}
		other := fs[0]
		if other == leader {
			other = fs[1]
		}
		// Everybody takes part again before the next one is killed.
		for i := range 20 {
			if err := write(ctx, other, fmt.Sprintf("failover/%d", i), round); err != nil {
				return nil, err
			}
		}
		killed := time.Now()
		leader.kill()
		if err := write(ctx, other, "failover/after", round); err != nil {
			return nil, err
		}
		gaps = append(gaps, time.Since(killed))
		if err := leader.start(); err != nil {
			return nil, err
		}
		err = eventually(ctx, "the killed filer takes part again", func() error {
			mine, err := leader.client.Status(ctx)
			if err != nil {
				return err
			}
			theirs, err := other.client.Status(ctx)
			if err != nil {
				return err
			}
			if !mine.Quorum || mine.Commit < theirs.Commit {
				return fmt.Errorf("at revision %d of %d", mine.Commit, theirs.Commit)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	m := median(gaps)
	return []row{valueRow("leader killed -> next acknowledged write, median of 10",
		fmt.Sprintf("%d ms (worst %d ms)", m.Milliseconds(), gaps[len(gaps)-1].Milliseconds()), "<= 500 ms", m <= 500*time.Millisecond)}, nil
}
