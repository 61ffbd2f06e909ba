package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A segment is one file of the log.
type segment struct {
	serial uint64
	path   string
	file   *os.File
	size   int64 // allocated
	end    int64 // where the next append goes
}

const suffix = ".log"

func segmentPath(dir string, serial uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", serial, suffix))
}

// createSegment makes a segment of the size. It has its name only when it is
// complete, so that a power cut leaves a whole one or none.
func createSegment(dir string, serial uint64, size int64) (_ *segment, err error) {
	s := &segment{serial: serial, path: segmentPath(dir, serial), size: size, end: headerSize}
	tmp := s.path + ".new"
	if s.file, err = os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.file.Close(), os.Remove(tmp))
		}
	}()
	// Without its space the file would grow at every append, and each sync would
	// write the file's metadata too.
	if err := unix.Fallocate(int(s.file.Fd()), 0, 0, size); errors.Is(err, unix.EOPNOTSUPP) {
		if err := s.file.Truncate(size); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, &os.PathError{Op: "allocate", Path: tmp, Err: err}
	}
	if _, err := s.file.WriteAt(header(serial, size), 0); err != nil {
		return nil, err
	}
	if err := s.file.Sync(); err != nil {
		return nil, err
	}
	if err := os.Rename(tmp, s.path); err != nil {
		return nil, err
	}
	return s, syncDir(dir)
}

func openSegment(dir string, serial uint64) (*segment, error) {
	s := &segment{serial: serial, path: segmentPath(dir, serial), end: headerSize}
	var err error
	if s.file, err = os.OpenFile(s.path, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	info, err := s.file.Stat()
	if err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	s.size = info.Size()
	return s, nil
}

// room is how many bytes can still be appended.
func (s *segment) room() int64 { return s.size - s.end }

func (s *segment) write(b []byte, at int64) error {
	_, err := s.file.WriteAt(b, at)
	return err
}

// sync brings what was written to disk and makes end the end of the segment.
func (s *segment) sync(end int64) error {
	if err := fdatasync(s.file); err != nil {
		return &os.PathError{Op: "sync", Path: s.path, Err: err}
	}
	s.end = end
	return nil
}

// fdatasync is enough: the size of the file does not change.
func fdatasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}

func (s *segment) remove() error {
	return errors.Join(s.file.Close(), os.Remove(s.path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
