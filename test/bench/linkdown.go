package main

import (
	"context"
	"fmt"
)

// measureLinkDown runs package monitor's benchmark: from the loss of a card's
// signal to the published state of the group on it, 200 times.
func measureLinkDown(ctx context.Context, o options) ([]row, error) {
	m, err := goBenchmark(ctx, o, "monitor", "BenchmarkLinkDown")
	if err != nil {
		return nil, err
	}
	return []row{valueRow("link down -> group state published, p99 of 200",
		fmt.Sprintf("%.2f ms (median %.2f ms)", m["p99-ms"], m["median-ms"]), "<= 20 ms", m["p99-ms"] <= 20)}, nil
}
