package main

import (
	"context"
	"fmt"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// measureRestore restores 32 MB of one-kilobyte records and waits until all
// three filers have them.
func measureRestore(ctx context.Context, o options) ([]row, error) {
	fs, err := startFilers(ctx, o, "restore")
	defer fs.stop()
	if err != nil {
		return nil, err
	}
	list, err := fs[0].client.List(ctx, api.Linearizable)
	if err != nil {
		return nil, err
	}
	docs := list.Documents
	for i := range 32 << 10 {
		docs = append(docs, record(fmt.Sprintf("restore/%d", i), 1000))
	}
	var took []time.Duration
	for range 3 {
		start := time.Now()
		result, err := fs[0].client.Restore(ctx, docs)
		if err != nil {
			return nil, err
		}
		for _, f := range fs {
			err := eventually(ctx, "every filer has the restored state", func() error {
				l, err := f.client.Get(ctx, netquorum.KindRecord, "restore/0", api.Stale)
				if err == nil && l.Revision < result.Revision {
					err = fmt.Errorf("%s has revision %d", f.name, l.Revision)
				}
				return err
			})
			if err != nil {
				return nil, err
			}
		}
		took = append(took, time.Since(start))
	}
	m := median(took)
	return []row{valueRow("restore of a 32 MB dump, on three filers, median of 3", fmt.Sprintf("%d ms", m.Milliseconds()), "<= 1 s", m <= time.Second)}, nil
}
