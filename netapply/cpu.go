package netapply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	netquorum "github.com/netquorum/netquorum"
	"golang.org/x/sys/unix"
)

// Settings in files below /sys and /proc. Like /proc/sys, /sys/class/net shows
// one network namespace: that of whoever mounted it.

var (
	deviceFiles = []string{"threaded", "napi_defer_hard_irqs", "gro_flush_timeout"}
	rxFiles     = []string{"rps_cpus", "rps_flow_cnt"}
	txFiles     = []string{"xps_cpus"}
)

var errOtherNamespace = errors.New("/sys shows another network namespace than the daemon's; mount sysfs anew in the daemon's mount namespace")

// checkSysfs reports whether /sys shows the link that we mean.
func checkSysfs(link string, index int) error {
	text, err := os.ReadFile("/sys/class/net/" + link + "/ifindex")
	if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(text)) != strconv.Itoa(index) {
		return errOtherNamespace
	}
	return err
}

// readFiles returns the settings of one set that stand in files.
func readFiles(link string, index int, set string) (Tuning, error) {
	if err := checkSysfs(link, index); err != nil {
		return nil, err
	}
	var names []string
	switch set {
	case setDevice:
		for _, f := range deviceFiles {
			names = append(names, setDevice+"/"+f)
		}
	case setQueues:
		names = append(queueSettings(link), flowTable)
	case setIRQ:
		for _, n := range interrupts(link) {
			names = append(names, fmt.Sprintf("%s/%d/smp_affinity_list", setIRQ, n))
		}
	}
	t := Tuning{}
	for _, name := range names {
		text, err := os.ReadFile(tuningPath(link, name))
		if err != nil {
			continue // what a link does not have it does not show
		}
		v, err := fileValue(name, string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tuningPath(link, name), err)
		}
		t[name] = v
	}
	return t, nil
}

// fileValue reads what the kernel shows in a file.
func fileValue(setting, text string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case inMask(setting):
		list, err := parseCPUMask(text)
		return string(list), err
	case strings.HasSuffix(setting, "/smp_affinity_list"):
		list, err := netquorum.ParseCPUList(text)
		return string(list), err
	}
	return text, nil
}

// queueSettings lists the files of the link's queues.
func queueSettings(link string) []string {
	queues, err := os.ReadDir("/sys/class/net/" + link + "/queues")
	if err != nil {
		return nil
	}
	var list []string
	for _, q := range queues {
		files := rxFiles
		if strings.HasPrefix(q.Name(), "tx-") {
			files = txFiles
		}
		for _, f := range files {
			list = append(list, setQueues+"/"+q.Name()+"/"+f)
		}
	}
	return list
}

// interrupts lists the numbers of the interrupts of a link's device. A virtio
// interface is a device on a PCI device, and that has the interrupts.
func interrupts(link string) []int {
	device, err := filepath.EvalSymlinks("/sys/class/net/" + link + "/device")
	if err != nil {
		return nil
	}
	for _, d := range []string{device, filepath.Dir(device)} {
		var list []int
		entries, _ := os.ReadDir(d + "/msi_irqs")
		for _, e := range entries {
			if n, err := strconv.Atoi(e.Name()); err == nil && hasAffinity(n) {
				list = append(list, n)
			}
		}
		if text, err := os.ReadFile(d + "/irq"); err == nil && len(list) == 0 {
			if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && n > 0 && hasAffinity(n) {
				list = append(list, n)
			}
		}
		if len(list) > 0 {
			return list
		}
	}
	return nil
}

// hasAffinity reports whether an interrupt is in use.
func hasAffinity(n int) bool {
	entries, err := os.ReadDir("/proc/irq/" + strconv.Itoa(n))
	if err != nil {
		return false
	}
	for _, e := range entries {
		if e.IsDir() { // the directory of its handler
			return true
		}
	}
	return false
}

// writeFiles writes settings that stand in files.
func writeFiles(link string, index int, values Tuning) error {
	if err := checkSysfs(link, index); err != nil {
		return err
	}
	for _, name := range values.names() {
		path := tuningPath(link, name)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString(fileText(name, values[name]))
		if err = errors.Join(err, f.Close()); err != nil {
			return fileError(name, err)
		}
	}
	return nil
}

// fileError adds what the kernel's number means here.
func fileError(setting string, err error) error {
	switch set, _ := setOf(setting); {
	case set == setIRQ && errors.Is(err, unix.EIO):
		return fmt.Errorf("%w: the driver manages the processors of this interrupt itself", err)
	case (set == setIRQ || inMask(setting)) && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOVERFLOW) || errors.Is(err, unix.ERANGE)):
		return fmt.Errorf("%w: the machine has no such processor, or it is offline", err)
	}
	return err
}

// tuningFeatures are the features of the kernel that a setting needs.
func tuningFeatures(setting string) []string {
	switch set, _ := setOf(setting); {
	case setting == wantRPS, setting == wantFlows:
		return []string{FeatureRPS}
	case setting == wantXPS:
		return []string{FeatureXPS}
	case set == setOffload || ethtoolFlags[set] != "":
		return []string{FeatureEthtool}
	}
	return nil
}

func probeEthtool(context.Context) error {
	var e ethtool
	e.mu.Lock()
	err := e.open()
	e.mu.Unlock()
	return errors.Join(err, e.close())
}

// probeFile looks for what the kernel shows only when it was built with it.
func probeFile(path, what string) func(context.Context) error {
	return func(context.Context) error {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("the kernel has no %s: %w", what, err)
		}
		return nil
	}
}
