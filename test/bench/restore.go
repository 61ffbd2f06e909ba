package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// measureRestore restores 32 MB, of records of one kilobyte and of sixteen, and
// waits until all three filers have them.
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
	var rows []row
	for _, size := range []int{1 << 10, 16 << 10} {
		docs := slices.Clone(list.Documents)
		for i := range 32 << 20 / size {
			docs = append(docs, record(fmt.Sprintf("restore/%d", i), size-24))
		}
		var took []time.Duration
		for range 3 {
			d, err := restoreEverywhere(ctx, fs, docs)
			if err != nil {
				return rows, err
			}
			took = append(took, d)
		}
		m := median(took)
		rows = append(rows, valueRow(fmt.Sprintf("restore of 32 MB in documents of %d KB, on three filers, median of 3", size>>10),
			fmt.Sprintf("%d ms", m.Milliseconds()), "<= 1 s", m <= time.Second))
	}
	return rows, nil
}

// restoreEverywhere takes the time until every filer has the restored state.
func restoreEverywhere(ctx context.Context, fs filers, docs []netquorum.Document) (time.Duration, error) {
	start := time.Now()
	result, err := fs[0].client.Restore(ctx, docs)
	if err != nil {
		return 0, err
	}
	for _, f := range fs {
		err := eventually(ctx, f.name+" has the restored state", func() error {
			d, err := f.client.Get(ctx, netquorum.KindRecord, "restore/0", api.Stale)
			if err == nil && d.Revision < result.Revision {
				err = fmt.Errorf("it has revision %d", d.Revision)
			}
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}
