package messages

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
)

// A spool keeps bodies as files. A file means nothing until a record names it.
type spool struct {
	dir     string
	out, in atomic.Int64 // bytes in use
}

func (s *spool) path(name string) string { return filepath.Join(s.dir, name) }

func (s *spool) newName() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails; see crypto/rand
	return hex.EncodeToString(b[:])
}

// reserve takes bytes of a limit, if they are there.
func reserve(used *atomic.Int64, n, limit int64) bool {
	if used.Add(n) > limit {
		used.Add(-n)
		return false
	}
	return true
}

// keep removes every file that is not named.
func (s *spool) keep(named map[string]bool) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !named[e.Name()] {
			if err := os.Remove(s.path(e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *spool) remove(name string) {
	if name != "" {
		_ = os.Remove(s.path(name)) // what stays goes at the next start
	}
}

// write copies a body into a new file, on disk when it returns.
func (s *spool) write(r io.Reader, size, limit int64) (name string, written int64, sum [32]byte, err error) {
	name = s.newName()
	f, err := os.OpenFile(s.path(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", 0, sum, fmt.Errorf("spooling a body: %w", err)
	}
	h := sha256.New()
	written, err = io.CopyBuffer(io.MultiWriter(f, h), io.LimitReader(r, limit+1), make([]byte, chunkSize))
	switch {
	case err != nil:
		err = fmt.Errorf("spooling a body: %w", err)
	case written > limit:
		err = fmt.Errorf("a body of more than %d bytes: %w", limit, ErrTooLarge)
	case size >= 0 && written != size:
		err = fmt.Errorf("a body of %d bytes ended after %d: %w", size, written, io.ErrUnexpectedEOF)
	default:
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		s.remove(name)
		return "", 0, sum, err
	}
	h.Sum(sum[:0])
	return name, written, sum, nil
}

// An upload is a body that is arriving. One goroutine at a time uses it.
type upload struct {
	file *os.File
	sum  hash.Hash
	got  int64
}

// resume opens a file at the end of what has arrived already. What a power cut
// made of it shows when the sum is compared.
func (s *spool) resume(name string, size int64) (*upload, error) {
	f, err := os.OpenFile(s.path(name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	u := &upload{file: f, sum: sha256.New()}
	u.got, err = io.CopyBuffer(struct{ io.Writer }{u.sum}, struct{ io.Reader }{f}, make([]byte, chunkSize))
	if err == nil && u.got > size {
		err = u.restart()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return u, nil
}

func (u *upload) restart() error {
	u.got = 0
	u.sum.Reset()
	if err := u.file.Truncate(0); err != nil {
		return err
	}
	_, err := u.file.Seek(0, io.SeekStart)
	return err
}

func (u *upload) write(p []byte) error {
	n, err := u.file.Write(p)
	u.sum.Write(p[:n])
	u.got += int64(n)
	return err
}

// seal syncs a body that is complete and reports whether it is the one that was
// announced.
func (u *upload) seal(want [32]byte, dir string) (ok bool, err error) {
	if [32]byte(u.sum.Sum(nil)) != want {
		return false, u.restart()
	}
	return true, errors.Join(u.file.Sync(), u.file.Close(), syncDir(dir))
}
