package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A process is remembered by its pid and the moment of its start: a pid alone
// may belong to another process by the time somebody asks.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, from /proc/PID/stat
}

// identify returns the running process of the pid.
func identify(pid int) (process, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	// The second field, the command in parentheses, may hold anything; fields
	// are counted from the last parenthesis.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return process{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return process{}, os.ErrProcessDone
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return process{pid, start}, err
}

// open returns a file descriptor of the process, or os.ErrProcessDone.
func (p process) open() (int, error) {
	if p.PID == 0 {
		return -1, os.ErrProcessDone
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return -1, os.ErrProcessDone
	}
	// With the descriptor open, the pid cannot be given to another process:
	// now its identity can be checked without a race.
	if now, err := identify(p.PID); err != nil || now != p {
		unix.Close(fd)
		return -1, os.ErrProcessDone
	}
	return fd, nil
}

// alive reports whether the process still runs.
func (p process) alive() bool {
	fd, err := p.open()
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// end sends a signal and waits until the process is gone. One that is gone
// already is no error.
func (p process) end(ctx context.Context, sig unix.Signal) error {
	fd, err := p.open()
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		if errors.Is(err, unix.ESRCH) {
			return nil
		}
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return awaitExit(ctx, fd, p.PID)
}

// awaitExit waits until the process behind the descriptor is gone.
func awaitExit(ctx context.Context, fd, pid int) error {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", pid, err)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("process %d did not end: %w", pid, context.Cause(ctx))
		}
	}
}

// endTimeout bounds how long the death of a killed process may take.
const endTimeout = 15 * time.Second
