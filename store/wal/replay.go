package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// replay opens every segment and rebuilds the index of entries.
func (l *Log) replay() error {
	serials, err := list(l.dir)
	if err != nil {
		return err
	}
	for i, serial := range serials {
		s, err := openSegment(l.dir, serial)
		if err != nil {
			return err
		}
		l.segments = append(l.segments, s)
		if i > 0 && serial != serials[i-1]+1 {
			return &DamagedError{l.dir, fmt.Sprintf("segment %d is followed by %d: what was between is missing", serials[i-1], serial)}
		}
		if err := l.read(s, i == len(serials)-1); err != nil {
			return err
		}
	}
	return nil
}

// list returns the serials of the segments in a directory, in their order.
func list(dir string) ([]uint64, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var serials []uint64
	for _, f := range files {
		name, is := strings.CutSuffix(f.Name(), suffix)
		serial, err := strconv.ParseUint(name, 16, 64)
		if is && err == nil && segmentPath(dir, serial) == filepath.Join(dir, f.Name()) {
			serials = append(serials, serial)
		}
	}
	slices.Sort(serials)
	return serials, nil
}

// removeUnfinished removes what a power cut left of a segment that was being
// made.
func (l *Log) removeUnfinished() error {
	unfinished, err := filepath.Glob(filepath.Join(l.dir, "*"+suffix+".new"))
	for _, path := range unfinished {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// read replays one segment. Only in the newest may the last append be torn.
func (l *Log) read(s *segment, newest bool) error {
	b := make([]byte, s.size)
	if _, err := s.file.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := checkHeader(b, s.serial, s.size); err != nil {
		return &DamagedError{s.path, err.Error()}
	}
	batch := int64(headerSize) // where the append begins that is being read
	for {
		r, more, err := parse(b[s.end:], s.serial, s.end)
		if err != nil {
			return l.broken(s, b, newest, err)
		}
		if !more {
			break
		}
		if r.batch != s.end && r.batch != batch {
			return &DamagedError{s.path, fmt.Sprintf("at byte %d: a part of the append at %d among that at %d", s.end, r.batch, batch)}
		}
		batch = r.batch
		if err := l.note(s, r); err != nil {
			return &DamagedError{s.path, fmt.Sprintf("at byte %d: %v", s.end, err)}
		}
		s.end += r.size
	}
	if used(b) > s.end {
		return l.broken(s, b, newest, errNoLength)
	}
	return nil
}

var errNoLength = errors.New("its length is missing")

// used is where the part of a segment ends that is not zero.
func used(b []byte) int64 { return int64(len(bytes.TrimRight(b, "\x00"))) }

// broken decides what is wrong with a segment that cannot be read beyond its
// end. If a power cut tore the last append, what is left of it is cleared: it was
// never acknowledged. Otherwise it is damage.
func (l *Log) broken(s *segment, b []byte, newest bool, cause error) error {
	last := used(b)
	if !newest || !torn(b, s.end, cause) || laterAppend(b[:last], s) {
		return &DamagedError{s.path, fmt.Sprintf("at byte %d: %v", s.end, cause)}
	}
	l.dropped = last - s.end
	if _, err := s.file.WriteAt(make([]byte, last-s.end), s.end); err != nil {
		return err
	}
	return fdatasync(s.file)
}

// torn reports whether a part of the record at the offset was never written: a
// sector of it reads as zeros.
func torn(b []byte, at int64, cause error) bool {
	size := sector - at%sector // a record without a length: the sector of its length
	var body errTornBody
	if errors.As(cause, &body) {
		size = body.size
	} else if !errors.Is(cause, errNoLength) {
		return false
	}
	for end := min(at+size, int64(len(b))); at < end; at += sector - at%sector {
		if used(b[at:min(at+sector-at%sector, end)]) == 0 {
			return true
		}
	}
	return false
}

// laterAppend reports whether a sound record of a later append follows, which
// means that the broken one was complete once.
func laterAppend(b []byte, s *segment) bool {
	for at := s.end + align; at < int64(len(b)); at += align {
		if r, ok, err := parse(b[at:], s.serial, at); ok && err == nil && r.batch > s.end {
			return true
		}
	}
	return false
}

// note takes a record into the index.
func (l *Log) note(s *segment, r record) error {
	switch {
	case r.body[0] == kindReset:
		l.entries = nil
		return nil
	case r.body[0] != kindEntry:
		return fmt.Errorf("%w: kind %d", errEntry, r.body[0])
	case len(r.body) < entryFixed:
		return errEntry
	}
	index := binary.LittleEndian.Uint64(r.body[1:])
	return l.place(index, position{s, s.end, uint32(len(r.body))})
}

// place makes pos the place of an entry. One that exists already is replaced and
// what followed it is void.
func (l *Log) place(index uint64, pos position) error {
	next := l.first + uint64(len(l.entries))
	switch {
	case len(l.entries) == 0 || index < l.first:
		l.first, l.entries = index, append(l.entries[:0], pos)
	case index > next:
		return fmt.Errorf("%w: entry %d follows entry %d", ErrGap, index, next-1)
	default:
		l.entries = append(l.entries[:index-l.first], pos)
	}
	return nil
}
