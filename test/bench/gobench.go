package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// measureKernel runs package netapply's benchmarks, which were compiled
// beforehand: a whole configuration applied to a fresh kernel beside a raw
// netlink socket and a loop over a handle of the library, a pass that finds
// nothing to do, and a thousand addresses that arrive.
func measureKernel(ctx context.Context, o options) ([]row, error) {
	apply, err := goBenchmark(ctx, o, "netapply", "BenchmarkApply")
	if err != nil {
		return nil, err
	}
	replan, err := goBenchmark(ctx, o, "netapply", "BenchmarkReplan")
	if err != nil {
		return nil, err
	}
	takeover, err := goBenchmark(ctx, o, "netapply", "BenchmarkTakeover")
	if err != nil {
		return nil, err
	}
	ms := replan["ns/op"] / 1e6
	const what = "100 macvlans, 1,000 addresses, 1,000 routes, 100 rules: plan and execute"
	return []row{
		ratioRow(what+", against a raw socket with batched sends",
			fmt.Sprintf("%.1f ms", apply["own-ms"]), fmt.Sprintf("%.1f ms", apply["raw-ms"]), apply["ratio"], 1.5, true),
		ratioRow(what+", against a loop over one handle",
			fmt.Sprintf("%.1f ms", apply["own-ms"]), fmt.Sprintf("%.1f ms", apply["loop-ms"]), apply["own-ms"]/apply["loop-ms"], 1.0, true),
		valueRow("re-plan with nothing to do, same size", fmt.Sprintf("%.1f ms", ms), "<= 5 ms", ms <= 5),
		valueRow("1,000 addresses of virtual servers taken over, added and announced", fmt.Sprintf("%.0f ms", takeover["takeover-ms"]), "<= 250 ms", takeover["takeover-ms"] <= 250),
	}, nil
}

// goBenchmark runs one compiled benchmark and returns its metrics by unit.
func goBenchmark(ctx context.Context, o options, pkg, name string) (map[string]float64, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(o.bin, path.Base(pkg)+".test"), "-test.run", "^$", "-test.bench", "^"+name+"$")
	cmd.Stderr = os.Stderr
	cmd.Dir = pkg
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	m := map[string]float64{}
	for s := bufio.NewScanner(strings.NewReader(string(out))); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 2 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				m[fields[i+1]] = v
			}
		}
	}
	if len(m) == 0 {
		return nil, fmt.Errorf("%s measured nothing:\n%s", name, out)
	}
	return m, nil
}
