package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// measureSize takes the memory of an idle leader with the acceptance example,
// and the size of the binary. The example's filers have interfaces that this
// namespace lacks; the daemon goes on trying, which is no less work.
func measureSize(ctx context.Context, o options) ([]row, error) {
	info, err := os.Stat(filepath.Join(o.bin, "netquorum"))
	if err != nil {
		return nil, err
	}
	mb := float64(info.Size()) / 1e6
	rows := []row{valueRow("static binary", fmt.Sprintf("%.1f MB", mb), "<= 30 MB", mb <= 30)}
	data, err := os.ReadFile(filepath.Join("examples", "two-filers.yaml"))
	if err != nil {
		return rows, err
	}
	docs, err := netquorum.ParseDocuments("two-filers.yaml", data)
	if err != nil {
		return rows, err
	}
	fs, err := startFilers(ctx, o, "memory")
	defer fs.stop()
	if err != nil {
		return rows, err
	}
	var put []api.Put
	for _, d := range docs {
		switch s := d.Spec.(type) {
		case *netquorum.Cluster:
			continue
		case *netquorum.Routes:
			s.VRF = false // this kernel may have none
		}
		put = append(put, api.Put{Document: d})
	}
	if _, err := fs[0].client.Apply(ctx, api.ApplyRequest{Puts: put}); err != nil {
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
	return append(rows, valueRow("resident memory, idle, acceptance example", fmt.Sprintf("%.1f MB", rss), "<= 45 MB", rss <= 45)), nil
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
