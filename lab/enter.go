package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Command makes a command to be run in a node with Start or Run. Its name is
// looked up there, with the node's own binaries first.
func Command(ctx context.Context, name string, arg ...string) *exec.Cmd {
	// env looks the name up in the node; here it might not exist.
	cmd := exec.CommandContext(ctx, "/usr/bin/env", append([]string{name}, arg...)...)
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PATH=") }),
		"PATH="+binDir+":"+path+":/usr/sbin:/sbin")
	return cmd
}

// Start starts a command in a node. The caller has to Wait for it.
func (l *Lab) Start(node string, cmd *exec.Cmd) error {
	s, err := l.load()
	if err != nil {
		return err
	}
	n, err := s.node(node)
	if err != nil {
		return err
	}
	fd, err := n.Init.open()
	if err != nil {
		return fmt.Errorf("%s is switched off; netquorum-lab start %s switches it on", node, node)
	}
	defer unix.Close(fd)
	return inside(fd, cmd.Start)
}

// Run runs a command in a node.
func (l *Lab) Run(node string, cmd *exec.Cmd) error {
	if err := l.Start(node, cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// Exec runs a command in a node and returns what it wrote to its standard
// output. The error of a command that fails has what it wrote to the other.
func (l *Lab) Exec(ctx context.Context, node, name string, arg ...string) (string, error) {
	cmd := Command(ctx, name, arg...)
	var out, msg strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &msg
	if err := l.Run(node, cmd); err != nil {
		return out.String(), fmt.Errorf("%s: %s %s: %w: %s", node, name, strings.Join(arg, " "), err, strings.TrimSpace(msg.String()))
	}
	return out.String(), nil
}

// inside calls do on a thread in all namespaces of the process behind the
// descriptor. Processes that do starts are in them too.
func inside(pidfd int, do func() error) error {
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with this goroutine, since there is
		// no way back into the namespaces that it left.
		runtime.LockOSThread()
		done <- func() error {
			// A thread may change its mount namespace once it shares its
			// working directory with no other.
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("unshare: %w", err)
			}
			const all = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS
			if err := unix.Setns(pidfd, all); err != nil {
				return fmt.Errorf("enter the node: %w", err)
			}
			return do()
		}()
	}()
	return <-done
}

// WriteFile writes a file as a node sees it, so that /run and /var/lib are the
// node's own.
func (l *Lab) WriteFile(node, path string, data []byte) error {
	s, err := l.load()
	if err != nil {
		return err
	}
	n, err := s.node(node)
	if err != nil {
		return err
	}
	fd, err := n.Init.open()
	if err != nil {
		return fmt.Errorf("%s is switched off", node)
	}
	defer unix.Close(fd)
	return inside(fd, func() error { return os.WriteFile(path, data, 0o600) })
}
