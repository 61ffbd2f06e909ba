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

// A goFigure is a row that a Go benchmark of some package measures. The
// benchmark reports ours, peer (milliseconds) and ratio as metrics of its own.
type goFigure struct {
	pkg, bench string
	figure     string
	bar        float64
	ratio      bool // the bar is for the ratio, else for ours in milliseconds
}

var goFigures = []goFigure{
	{"netapply", "BenchmarkFigureApply", "100 aliases, 1,000 addresses, 1,000 routes in 10 tables, against a bare loop", 1.5, true},
	{"netapply", "BenchmarkFigureReplan", "re-plan with nothing to do, same size", 20, false},
	{"netapply", "BenchmarkFigureBoot", "boot cache to configured kernel, acceptance example, own time", 50, false},
	{"fsm", "BenchmarkFigureDocuments", "one-document transaction among 10,000 documents, against 10", 1.5, true},
}

// measureGo runs the benchmarks that were compiled beforehand.
func measureGo(ctx context.Context, o options) ([]row, error) {
	var rows []row
	for _, f := range goFigures {
		cmd := exec.CommandContext(ctx, filepath.Join(o.bin, f.pkg+".test"), "-test.run", "^$", "-test.bench", "^"+f.bench+"$")
		cmd.Stderr = os.Stderr
		cmd.Dir = f.pkg
		out, err := cmd.Output()
		if err != nil {
			return rows, fmt.Errorf("%s: %w\n%s", f.bench, err, out)
		}
		m := metrics(string(out))
		if m["ours-ms"] == 0 {
			return rows, fmt.Errorf("%s reported nothing:\n%s", f.bench, out)
		}
		ours := fmt.Sprintf("%.3g ms", m["ours-ms"])
		if f.ratio {
			ratio := m["ours-ms"] / m["peer-ms"]
			rows = append(rows, ratioRow(f.figure, ours, fmt.Sprintf("%.3g ms", m["peer-ms"]), ratio, f.bar, true))
		} else {
			rows = append(rows, valueRow(f.figure, ours, fmt.Sprintf("<= %g ms", f.bar), m["ours-ms"] <= f.bar))
		}
	}
	return rows, nil
}

// metrics reads the last benchmark line's value and unit pairs.
func metrics(out string) map[string]float64 {
	m := map[string]float64{}
	for s := bufio.NewScanner(strings.NewReader(out)); s.Scan(); {
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
	return m
}
