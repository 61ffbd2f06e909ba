package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// locked reports whether another process has the bolt file open for writing.
func locked(f *os.File) bool {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return true
	}
	return unix.Flock(int(f.Fd()), unix.LOCK_UN) != nil
}
