package lab

import (
	"context"
	"errors"
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

// Start starts a command in a node. The function that it returns waits for the
// command's end and tells how it ended, any number of times.
//
// The command is reaped as soon as it ends, whether anybody waits or not: a
// node without power would otherwise wait for that. So give it an io.Pipe
// rather than read from its StdoutPipe, which ends with it.
func (l *Lab) Start(node string, cmd *exec.Cmd) (wait func() error, err error) {
	if err := l.enter(node, cmd.Start); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	var how error
	go func() {
		how = cmd.Wait()
		close(ended)
	}()
	return func() error { <-ended; return how }, nil
}

// Run runs a command in a node.
func (l *Lab) Run(node string, cmd *exec.Cmd) error {
	wait, err := l.Start(node, cmd)
	if err != nil {
		return err
	}
	return wait()
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

// enter calls do on a thread in all namespaces of the node. Processes that do
// starts are in them too.
func (n *node) enter(do func() error) error {
	pidfd, err := n.Init.open()
	if err != nil {
		return errors.New("it is switched off")
	}
	defer unix.Close(pidfd)
	// The node's root need not be the root of its mount namespace: this machine
	// may itself live in a chroot.
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", n.Init.PID), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("its root directory: %w", err)
	}
	defer unix.Close(root)
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
				return fmt.Errorf("enter its namespaces: %w", err)
			}
			if err := unix.Fchdir(root); err != nil {
				return fmt.Errorf("enter its root directory: %w", err)
			}
			if err := unix.Chroot("."); err != nil {
				return fmt.Errorf("enter its root directory: %w", err)
			}
			return do()
		}()
	}()
	return <-done
}

// enter calls do on a thread in all namespaces of the named node.
func (l *Lab) enter(node string, do func() error) error {
	s, err := l.load()
	if err != nil {
		return err
	}
	n, err := s.node(node)
	if err != nil {
		return err
	}
	if !n.Init.alive() {
		return fmt.Errorf("%s is switched off; netquorum-lab start %s switches it on", node, node)
	}
	return n.enter(do)
}

// WriteFile writes a file as a node sees it, so that /run and /var/lib are the
// node's own.
func (l *Lab) WriteFile(node, path string, data []byte) error {
	return l.enter(node, func() error { return os.WriteFile(path, data, 0o600) })
}
