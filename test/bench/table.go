package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// A row is one line of the table. A bar is either for the ratio of ours to the
// peer's, or, without a peer, for ours.
type row struct {
	figure, ours, peer string
	ratio              float64 // 0: none
	bar                string
	met                bool
}

// ratioRow compares two numbers; atMost says whether the bar is an upper one.
func ratioRow(figure, ours, peer string, ratio, bar float64, atMost bool) row {
	sign, met := ">=", ratio >= bar
	if atMost {
		sign, met = "<=", ratio <= bar
	}
	return row{figure, ours, peer, ratio, fmt.Sprintf("%s %.1f x", sign, bar), met}
}

// valueRow compares a number with a fixed bar.
func valueRow(figure, ours, bar string, met bool) row {
	return row{figure: figure, ours: ours, bar: bar, met: met}
}

func print(w io.Writer, rows []row) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tOURS\tPEER\tRATIO\tBAR\t")
	for _, r := range rows {
		ratio, peer, met := "", r.peer, "met"
		if r.ratio != 0 {
			ratio = fmt.Sprintf("%.2f", r.ratio)
		}
		if !r.met {
			met = "MISSED"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.figure, r.ours, peer, ratio, r.bar, met)
	}
	t.Flush()
}

// machine names the machine: figures of another one are other figures.
func machine(dir string) string {
	cpu := "unknown processor"
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				cpu = strings.Trim(name, " \t:\n")
				break
			}
		}
	}
	var u syscall.Utsname
	release := []byte{}
	if syscall.Uname(&u) == nil {
		for _, c := range u.Release {
			if c == 0 {
				break
			}
			release = append(release, byte(c))
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("%s, %d cores, Linux %s, %s, 4 KiB append and fdatasync %v (median), load before %s",
		cpu, runtime.NumCPU(), release, runtime.Version(), syncTime(dir).Round(time.Microsecond), strings.Fields(string(load) + " ?")[0])
}

// syncTime is what the disk takes for the smallest durable write: the floor
// under every commit.
func syncTime(dir string) time.Duration {
	f, err := os.CreateTemp(dir, "sync")
	if err != nil {
		return 0
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	var took []time.Duration
	for range 200 {
		start := time.Now()
		f.Write(block)
		syscall.Fdatasync(int(f.Fd()))
		took = append(took, time.Since(start))
	}
	return median(took)
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}
