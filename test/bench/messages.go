package main

import (
	"context"
	"fmt"
)

// measureMessages runs package messages' benchmarks: sending with 64 senders beside
// transactions of bolt alone that are grouped the same way, and the way from Send to
// the completion.
func measureMessages(ctx context.Context, o options) ([]row, error) {
	m, err := goBenchmark(ctx, o, "messages", "BenchmarkDurable")
	if err != nil {
		return nil, err
	}
	return []row{ratioRow("messages sent durably, 64 senders, against bolt with the same grouping",
		fmt.Sprintf("%.0f/s", m["sent/s"]), fmt.Sprintf("%.0f/s", m["bolt/s"]), m["ratio"], 0.8, false)}, nil
}
