package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// measureKernel runs package netapply's benchmarks, which were compiled
// beforehand: a whole configuration applied to a fresh kernel beside a bare
// loop over one netlink handle, and a pass that finds nothing to do.
func measureKernel(ctx context.Context, o options) ([]row, error) {
	apply, err := goBenchmark(ctx, o, "netapply", "BenchmarkApply")
	if err != nil {
		return nil, err
	}
	replan, err := goBenchmark(ctx, o, "netapply", "BenchmarkReplan")
	if err != nil {
		return nil, err
	}
	ms := replan["ns/op"] / 1e6
	return []row{
		ratioRow("100 aliases, 1,000 addresses, 1,000 routes in 10 tables, against a bare loop",
			fmt.Sprintf("%.1f ms", apply["own-ms"]), fmt.Sprintf("%.1f ms", apply["bare-ms"]), apply["ratio"], 1.5, true),
		valueRow("re-plan with nothing to do, same size", fmt.Sprintf("%.1f ms", ms), "<= 20 ms", ms <= 20),
	}, nil
}

// goBenchmark runs one compiled benchmark and returns its metrics by unit.
func goBenchmark(ctx context.Context, o options, pkg, name string) (map[string]float64, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(o.bin, pkg+".test"), "-test.run", "^$", "-test.bench", "^"+name+"$")
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
	if m["ns/op"] == 0 {
		return nil, fmt.Errorf("%s measured nothing:\n%s", name, out)
	}
	return m, nil
}
