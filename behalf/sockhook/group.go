package sockhook

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// groupPrefix begins the names of our control groups. Then comes the process
// that made one, which stays that process when it becomes another program, and
// something that no other has: in another namespace there is another process of
// that number.
const groupPrefix = "netquorum-exec-"

func groupName(pid int) string { return groupPrefix + strconv.Itoa(pid) + "-" + rand.Text()[:8] }

// processOf reads which process made a group; false for the groups of others.
func processOf(group string) (int, bool) {
	rest, ours := strings.CutPrefix(group, groupPrefix)
	number, _, both := strings.Cut(rest, "-")
	pid, err := strconv.Atoi(number)
	return pid, ours && both && err == nil && pid > 0
}

// Enter moves this process into a control group of its own, where the rules hold
// for every socket that it makes from then on, and every program that it becomes
// or starts. There is no way back. Groups of processes that have ended are
// removed.
func Enter(r Rules) error {
	if len(r.Sources) > MaxSources {
		return fmt.Errorf("%d sources are more than the %d that a hook has room for", len(r.Sources), MaxSources)
	}
	root, err := mountGroups()
	if err != nil {
		return err
	}
	defer unix.Close(root)
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	parent, err := parentGroup(text)
	if err != nil {
		return err
	}
	sweep(root, parent)
	name := path.Join(parent, groupName(os.Getpid()))
	if err := unix.Mkdirat(root, name, 0o755); err != nil {
		return fmt.Errorf("making control group /%s: %w", name, err)
	}
	if err := enter(root, name, r.programs()); err != nil {
		_ = unix.Unlinkat(root, name, unix.AT_REMOVEDIR)
		return err
	}
	return nil
}

func enter(root int, name string, programs []program) error {
	group, err := unix.Openat(root, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening control group /%s: %w", name, err)
	}
	defer unix.Close(group)
	for _, p := range programs {
		if err := attach(group, p); err != nil {
			return err
		}
	}
	processes, err := unix.Openat(group, "cgroup.procs", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("entering control group /%s: %w", name, err)
	}
	defer unix.Close(processes)
	if _, err := unix.Write(processes, []byte("0")); err != nil { // all threads of this process
		return fmt.Errorf("entering control group /%s: %w", name, err)
	}
	return nil
}

// mountGroups mounts the tree of control groups where nobody sees it: it need
// not be mounted anywhere else, and a mount namespace may hide it.
func mountGroups() (int, error) {
	missing := func(err error) (int, error) {
		switch {
		case errors.Is(err, unix.ENODEV):
			err = errors.New("the kernel has no control groups of version 2")
		case errors.Is(err, unix.EPERM):
			err = fmt.Errorf("%w; this needs root (CAP_SYS_ADMIN)", err)
		}
		return -1, fmt.Errorf("mounting the control groups: %w", err)
	}
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return missing(err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return missing(err)
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return missing(err)
	}
	return root, nil
}

// parentGroup reads in /proc/self/cgroup where a new group belongs: below our
// own, so that whoever limits or ends that one includes it, but beside a group of
// this package's, whose rules would hold as well.
func parentGroup(text []byte) (string, error) {
	for line := range bytes.Lines(text) {
		own, ok := bytes.CutPrefix(bytes.TrimRight(line, "\n"), []byte("0::/"))
		if !ok {
			continue
		}
		parts := strings.Split(string(own), "/")
		for i, p := range parts {
			if p == ".." {
				return "", errors.New("this process's control group is outside of its control group namespace")
			}
			if strings.HasPrefix(p, groupPrefix) {
				parts = parts[:i]
				break
			}
		}
		return path.Join(append([]string{"."}, parts...)...), nil
	}
	return "", errors.New("this process is in no control group of version 2")
}

// sweep removes the groups of processes that have ended. One that still has
// processes, started by one that has ended, cannot be removed and stays.
func sweep(root int, parent string) {
	fd, err := unix.Openat(root, parent, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	dir := os.NewFile(uintptr(fd), parent)
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if pid, ours := processOf(name); !ours || unix.Kill(pid, 0) == nil {
			continue
		}
		_ = unix.Unlinkat(fd, name, unix.AT_REMOVEDIR)
	}
}
