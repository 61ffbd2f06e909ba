package main

import (
	"context"
	"fmt"
)

// measureTransport runs the benchmarks of what filers talk with, which were
// compiled beforehand. Each compares itself with TLS in turns in its own run.
func measureTransport(ctx context.Context, o options) ([]row, error) {
	request, err := goBenchmark(ctx, o, "calls", "BenchmarkRoundTrip")
	if err != nil {
		return nil, err
	}
	bulk, err := goBenchmark(ctx, o, "transport/link", "BenchmarkBulk")
	if err != nil {
		return nil, err
	}
	setup, err := goBenchmark(ctx, o, "transport", "BenchmarkSetup")
	if err != nil {
		return nil, err
	}
	us := func(m map[string]float64, unit string) string { return fmt.Sprintf("%.1f us", m[unit]) }
	return []row{
		ratioRow("a request and its answer over a link, p50, against an echo over TLS alone",
			us(request, "link-p50-us"), us(request, "bare-p50-us"), request["link/bare"], 1.5, true),
		ratioRow("the same over TLS without a link",
			us(request, "tls-p50-us"), us(request, "bare-p50-us"), request["tls/bare"], 1.5, true),
		ratioRow("a stream's throughput over one TCP connection, by io.Copy, against TLS alone",
			fmt.Sprintf("%.0f MiB/s", bulk["copy-MiB/s"]), fmt.Sprintf("%.0f MiB/s", bulk["bare-MiB/s"]), bulk["copy/bare"], 0.9, false),
		ratioRow("the same by Write and Read",
			fmt.Sprintf("%.0f MiB/s", bulk["link-MiB/s"]), fmt.Sprintf("%.0f MiB/s", bulk["bare-MiB/s"]), bulk["link/bare"], 0.9, false),
		valueRow("a link to a filer and a first stream, from nothing, on loopback", fmt.Sprintf("%.2f ms", setup["setup-ms"]), "<= 3 ms", setup["setup-ms"] <= 3),
	}, nil
}
