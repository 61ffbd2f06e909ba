package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
)

// measureSize takes the memory of an idle leader with the richest example that
// this kernel allows, and the size of the binary. The filers of the example have
// interfaces that this namespace lacks; the daemon goes on trying, which is no
// less work. (The acceptance example's own figure is taken by test/e2e.)
func measureSize(ctx context.Context, o options) ([]row, error) {
	info, err := os.Stat(filepath.Join(o.bin, "netquorum"))
	if err != nil {
		return nil, err
	}
	mb := float64(info.Size()) / 1e6
	rows := []row{valueRow("static binary", fmt.Sprintf("%.1f MB", mb), "<= 30 MB", mb <= 30)}
	example := richestExample(ctx)
	data, err := os.ReadFile(filepath.Join("examples", example))
	if err != nil {
		return rows, err
	}
	docs, err := netquorum.ParseDocuments(example, data)
	if err != nil {
		return rows, err
	}
	fs, err := startFilers(ctx, o, "memory", docs...)
	defer fs.stop()
	if err != nil {
		return rows, err
	}
	leader, err := fs.leader(ctx)
	if err != nil {
		return rows, err
	}
	rss, err := residentMemory(leader.cmd.Process.Pid)
	if err != nil {
		return rows, err
	}
	return append(rows, valueRow("resident memory, idle leader, "+example, fmt.Sprintf("%.1f MB", rss), "<= 45 MB", rss <= 45)), nil
}

// richestExample returns the acceptance example if this kernel can have it.
func richestExample(ctx context.Context) string {
	for _, f := range netapply.Features(ctx) {
		switch f.Name {
		case netapply.FeatureBond, netapply.FeatureVLAN, netapply.FeatureVRF:
			if !f.Present {
				return "single-nic.yaml"
			}
		}
	}
	return "two-filers.yaml"
}

// residentMemory returns a process's resident memory in MB.
func residentMemory(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			return float64(kb) / 1000, err
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", pid)
}
