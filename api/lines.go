package api

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/netquorum/netquorum"
)

// A configuration of tens of megabytes travels as one JSON document a line. The
// client makes the text while it goes out, and the daemon decodes it while it comes
// in, on every processor, so that neither ever holds all of it: touching fresh
// memory costs more than what is done there.

// linesAtOnce is about how much text is made or decoded at a time.
const linesAtOnce = 256 << 10

// A lineWriter is a body of documents that is written as it is read.
type lineWriter struct {
	docs   []netquorum.Document // still to be written
	room   []byte
	text   []byte     // of room, still to be read
	failed chan error // a document has no text: HTTP may go on reading after the answer, so it is told aside
}

func newLineWriter(docs []netquorum.Document) *lineWriter {
	return &lineWriter{docs: docs, failed: make(chan error, 1)}
}

func (l *lineWriter) Read(p []byte) (int, error) {
	if len(l.text) == 0 {
		if err := l.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.text)
	l.text = l.text[n:]
	return n, nil
}

func (l *lineWriter) fill() (err error) {
	if len(l.docs) == 0 {
		return io.EOF
	}
	l.text = l.room[:0]
	for len(l.docs) > 0 && len(l.text) < linesAtOnce {
		if l.text, err = netquorum.AppendJSONLine(l.text, l.docs[0]); err != nil {
			l.docs, l.text = nil, nil
			l.failed <- err
			return err
		}
		l.docs = l.docs[1:]
	}
	l.room = l.text
	return nil
}

// failure is why a document could not be written, if that is what went wrong.
func (l *lineWriter) failure() error {
	select {
	case err := <-l.failed:
		return err
	default:
		return nil
	}
}

// readLines reads a body of documents. A body that cannot be read is the
// reader's error; of documents that cannot be, the first in the body is told.
func readLines(body io.Reader) ([]netquorum.Document, error) {
	var (
		workers errgroup.Group
		room    = sync.Pool{New: func() any { return new([]byte) }}
		shares  []*share
		rest    []byte // of a line that goes on in the next share
	)
	workers.SetLimit(runtime.GOMAXPROCS(0))
	for line, end := 1, false; !end; {
		buf := room.Get().(*[]byte)
		text := append((*buf)[:0], rest...)
		text, err := fill(body, text, linesAtOnce+2*len(rest))
		*buf = text
		end = err == io.EOF
		if err != nil && !end {
			_ = workers.Wait() // which are told nothing of it
			return nil, err
		}
		if !end {
			whole := bytes.LastIndexByte(text, '\n') + 1
			rest = append(rest[:0], text[whole:]...)
			text = text[:whole]
		}
		s := &share{text: text, line: line}
		line += bytes.Count(text, []byte("\n"))
		shares = append(shares, s)
		workers.Go(func() error {
			s.decode()
			s.text = nil
			room.Put(buf)
			return nil
		})
	}
	_ = workers.Wait()
	var docs []netquorum.Document
	for _, s := range shares {
		if s.err != nil {
			return nil, s.err
		}
		docs = append(docs, s.docs...)
	}
	return docs, nil
}

// fill reads until there are n bytes. It returns io.EOF with the last of them.
func fill(r io.Reader, b []byte, n int) ([]byte, error) {
	if cap(b) < n {
		b = append(make([]byte, 0, n), b...)
	}
	for len(b) < n {
		m, err := r.Read(b[len(b):n])
		if b = b[:len(b)+m]; err != nil {
			return b, err
		}
	}
	return b, nil
}

// A share is the lines that one processor decodes.
type share struct {
	text []byte
	line int // of its first
	docs []netquorum.Document
	err  error
}

func (s *share) decode() {
	s.docs = make([]netquorum.Document, 0, bytes.Count(s.text, []byte("\n"))+1)
	n := s.line - 1
	for line := range bytes.Lines(s.text) {
		n++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var d netquorum.Document
		if err := d.UnmarshalJSON(line); err != nil {
			s.err = fmt.Errorf("line %d: %w", n, err)
			return
		}
		s.docs = append(s.docs, d)
	}
}
