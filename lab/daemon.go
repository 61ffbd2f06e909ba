package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// LogFile is where a filer's daemon writes.
func (l *Lab) LogFile(filer string) string { return filepath.Join(l.nodeDir(filer), "log") }

// Disk is the directory that a node sees as /var/lib. It outlives the node's
// power.
func (l *Lab) Disk(node string) string { return filepath.Join(l.nodeDir(node), "disk") }

// startDaemon runs the daemon of a filer, which outlives this process.
func (l *Lab) startDaemon(n *node, name string) error {
	log, err := os.OpenFile(l.LogFile(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := Command(context.Background(), l.options.Command[0], l.options.Command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := n.enter(cmd.Start); err != nil {
		return fmt.Errorf("%s: start the daemon: %w", name, err)
	}
	go cmd.Wait() // reaps it; how it ended is in its log
	p, err := identify(cmd.Process.Pid)
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: the daemon ended at once; see netquorum-lab logs %s", name, name)
	}
	n.Daemon = p
	return err
}

// HasDaemon reports whether the lab's filers run a daemon.
func (l *Lab) HasDaemon() bool { return l.options.Binary != "" }

// StartDaemon starts the daemon of a filer that has power. One that runs
// already is left alone.
func (l *Lab) StartDaemon(filer string) error {
	return l.locked(func(s *state) error {
		if err := l.filer(s, filer); err != nil {
			return err
		}
		if !l.HasDaemon() {
			return errors.New("this lab was brought up without a daemon; use up --binary")
		}
		if s.Nodes[filer].Daemon.alive() {
			return nil
		}
		return l.startDaemon(s.Nodes[filer], filer)
	})
}

// KillDaemon ends a filer's daemon at once, and nothing else: its kernel stays
// as it is.
func (l *Lab) KillDaemon(filer string) error { return l.endDaemon(filer, unix.SIGKILL) }

// StopDaemon asks a filer's daemon to end and waits until it has.
func (l *Lab) StopDaemon(filer string) error { return l.endDaemon(filer, unix.SIGTERM) }

func (l *Lab) endDaemon(filer string, sig unix.Signal) error {
	return l.locked(func(s *state) error {
		if err := l.filer(s, filer); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		if err := s.Nodes[filer].Daemon.end(ctx, sig); err != nil {
			return fmt.Errorf("daemon of %s: %w", filer, err)
		}
		s.Nodes[filer].Daemon = process{}
		return nil
	})
}

// SignalDaemon sends a signal, such as SIGSTOP, to a filer's daemon.
func (l *Lab) SignalDaemon(filer string, sig unix.Signal) error {
	s, err := l.load()
	if err != nil {
		return err
	}
	if err := l.filer(s, filer); err != nil {
		return err
	}
	fd, err := s.Nodes[filer].Daemon.open()
	if err != nil {
		return fmt.Errorf("%s runs no daemon", filer)
	}
	defer unix.Close(fd)
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

func (l *Lab) filer(s *state, name string) error {
	if _, filer, ok := l.topology.machine(name); !ok || !filer {
		return fmt.Errorf("there is no filer %q in this lab", name)
	}
	return nil
}
