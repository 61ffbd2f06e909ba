package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// initName is argv[0] of the process that is a node's init, by which Down finds
// it even when nothing else is left of a lab.
const initName = "netquorum-lab-node"

// readyFD is where a node's init tells that the node is up, or why not.
const readyFD = 3

// binDir is where a node has the daemon's binary, whatever else is mounted.
const binDir = "/run/netquorum-lab/bin"

// A program that imports this package becomes the init process of a node when
// it is started under initName. It has to happen here: a process can enter
// mount and process namespaces of its own only at its start.
func init() {
	if len(os.Args) == 4 && os.Args[0] == initName {
		os.Exit(runMachine(os.Args[1], os.Args[2], os.Args[3]))
	}
}

// boot makes a network namespace, a file under nsDir that keeps it, and the
// init process of a node in it.
func boot(nsFile, nodeDir, hostname, binary string) (process, error) {
	type result struct {
		p   process
		err error
	}
	done := make(chan result)
	go func() {
		// The thread enters the new namespace and is never given back: it ends
		// with this goroutine.
		runtime.LockOSThread()
		p, err := bootHere(nsFile, nodeDir, hostname, binary)
		done <- result{p, err}
	}()
	r := <-done
	return r.p, r.err
}

func bootHere(nsFile, nodeDir, hostname, binary string) (p process, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return process{}, fmt.Errorf("new network namespace: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(nsFile), 0o755); err != nil {
		return process{}, err
	}
	f, err := os.OpenFile(nsFile, os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return process{}, err
	}
	f.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, removeNamespace(nsFile))
		}
	}()
	if err := unix.Mount("/proc/thread-self/ns/net", nsFile, "", unix.MS_BIND, ""); err != nil {
		return process{}, fmt.Errorf("keep the network namespace as %s: %w", nsFile, err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return process{}, err
	}
	defer r.Close()
	cmd := exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        []string{initName, nodeDir, hostname, binary},
		Env:         os.Environ(),
		ExtraFiles:  []*os.File{w},
		SysProcAttr: &unix.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS},
	}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return process{}, fmt.Errorf("start the init process of %s: %w", hostname, err)
	}
	go cmd.Wait() // reaps it when the node loses power
	answer := make([]byte, 4096)
	n, _ := r.Read(answer)
	if got := string(answer[:n]); got != "ready" {
		return process{}, fmt.Errorf("node %s does not come up: %s", hostname, strings.TrimSpace(got))
	}
	return identify(cmd.Process.Pid)
}

// runMachine is the life of a node's init process.
func runMachine(nodeDir, hostname, binary string) int {
	ready := os.NewFile(readyFD, "ready")
	unix.CloseOnExec(readyFD)
	// Orphans of the node become children of this process.
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	if err := mountMachine(nodeDir, hostname, binary); err != nil {
		fmt.Fprint(ready, err)
		return 1
	}
	fmt.Fprint(ready, "ready")
	ready.Close()
	for range children {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || pid <= 0 {
				break
			}
		}
	}
	return 0
}

// mountMachine gives the node what a machine of its own has: an empty /run, its
// disk at /var/lib, and /sys and /proc that show its own devices and processes.
func mountMachine(nodeDir, hostname, binary string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := forgetNamespaces(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	// Everything below is relative to the node's directory: the mounts may
	// cover the path that leads there.
	if err := os.Chdir(nodeDir); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount the node's /run: %w", err)
	}
	if err := os.MkdirAll("run/netquorum-lab/bin", 0o755); err != nil {
		return err
	}
	if binary != "" {
		target := "run/netquorum-lab/bin/netquorum"
		if err := os.WriteFile(target, nil, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(binary, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("put %s into the node: %w", binary, err)
		}
	}
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"run", "/run", "", unix.MS_MOVE},
		{"disk", "/var/lib", "", unix.MS_BIND},
		{"sysfs", "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount the node's %s: %w", m.target, err)
		}
	}
	return os.Chdir("/")
}

// forgetNamespaces drops the copies of the files that keep other nodes' network
// namespaces. They would keep those alive after their own node is gone.
func forgetNamespaces() error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		mount, kind, _ := strings.Cut(line, " - ")
		fields := strings.Fields(mount)
		if len(fields) > 4 && strings.HasPrefix(kind, "nsfs ") {
			// Another lab may have gone since the list was read.
			err := unix.Unmount(fields[4], unix.MNT_DETACH)
			if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("drop %s: %w", fields[4], err)
			}
		}
	}
	return nil
}
