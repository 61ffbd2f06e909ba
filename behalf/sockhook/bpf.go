package sockhook

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loadAttr and attachAttr are the parts of union bpf_attr that are used.
type loadAttr struct {
	kind, count        uint32
	code, license      uint64
	logLevel, logSize  uint32
	log                uint64
	kernel, flags      uint32
	name               [16]byte
	ifindex, attachFor uint32
}

type attachAttr struct {
	target, program, attach, flags, replace uint32
}

// licence of the programs. None of the helpers they call asks for GPL.
var licence = []byte("Apache-2.0\x00")

// maxLog is how much the verifier may say about a program that it refuses.
const maxLog = 64 << 10

func bpf(command uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(attr), size)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// load gives a program to the kernel and returns its file descriptor.
func load(p program) (int, error) {
	attr := loadAttr{
		kind: p.kind, count: uint32(len(p.code) / 8), attachFor: p.attach,
		code:    uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p.code)))),
		license: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(licence)))),
	}
	copy(attr.name[:15], "nq_"+p.name)
	fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSYS) {
		log := make([]byte, maxLog)
		attr.logLevel, attr.logSize, attr.log = 1, maxLog, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(log))))
		if fd, err = bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
			text, _, _ := bytes.Cut(log, []byte{0})
			err = fmt.Errorf("%w: %s", err, lastLine(text))
		}
		runtime.KeepAlive(log)
	}
	runtime.KeepAlive(p.code)
	switch {
	case errors.Is(err, unix.ENOSYS):
		return -1, errors.New("the kernel has no BPF (CONFIG_BPF_SYSCALL)")
	case errors.Is(err, unix.EPERM):
		return -1, fmt.Errorf("loading a BPF program: %w; this needs root, or CAP_BPF and CAP_NET_ADMIN", err)
	case err != nil:
		return -1, fmt.Errorf("the kernel does not take the BPF program for %s: %w", p.name, err)
	}
	return fd, nil
}

func lastLine(text []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return lines[max(0, len(lines)-2)]
}

// attach lets a control group's sockets go through a program, beside those that
// others have attached there.
func attach(group int, p program) error {
	fd, err := load(p)
	if err != nil {
		return err
	}
	defer unix.Close(fd) // the group keeps the program
	attr := attachAttr{target: uint32(group), program: uint32(fd), attach: p.attach, flags: unix.BPF_F_ALLOW_MULTI}
	if _, err := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		if errors.Is(err, unix.EINVAL) {
			err = errors.New("the kernel has no BPF for control groups (CONFIG_CGROUP_BPF)")
		}
		return fmt.Errorf("attaching the BPF program for %s: %w", p.name, err)
	}
	return nil
}
