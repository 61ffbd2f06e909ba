package transport

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// What can be wrong with a file of keys, for errors.Is.
var (
	ErrMissing    = errors.New("missing")
	ErrDamaged    = errors.New("damaged")
	ErrMismatched = errors.New("mismatched")
)

// maxSecretFile bounds what is read: a real file has about 2 KiB.
const maxSecretFile = 64 << 10

// A FileError says which file of keys cannot be used and why. It is
// ErrMissing, ErrDamaged, ErrMismatched or neither (it could not be read).
type FileError struct {
	Path string
	Err  error
}

func (e *FileError) Error() string {
	switch {
	case errors.Is(e.Err, ErrMissing):
		return fmt.Sprintf("%s does not exist: the filer is in no cluster; run init or join", e.Path)
	case errors.Is(e.Err, ErrDamaged), errors.Is(e.Err, ErrMismatched):
		return fmt.Sprintf("%s: %v; restore the file from a backup, or remove this filer from the cluster and join it again", e.Path, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Path, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

func mismatched(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMismatched, fmt.Sprintf(format, args...))
}

func loadSecret[T any](path string, parse func([]byte) (T, error)) (T, error) {
	var none T
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return none, &FileError{path, fmt.Errorf("%w: %w", ErrMissing, err)}
	}
	if err != nil {
		return none, &FileError{path, err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return none, &FileError{path, err}
	}
	if len(data) > maxSecretFile {
		return none, &FileError{path, damaged("it has more than %d bytes", maxSecretFile)}
	}
	v, err := parse(data)
	if err != nil {
		return none, &FileError{path, err}
	}
	return v, nil
}

// writeSecret replaces the file in one step: after a power cut there is the old
// one or the new one, never half of either.
func writeSecret(path string, data []byte) (err error) {
	defer func() {
		if err != nil {
			err = &FileError{path, err}
		}
	}()
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	beside := path + ".new"
	if err := os.Remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// O_EXCL after the removal: the mode holds, whatever lay there before.
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	if err := os.Rename(beside, path); err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	return syncDir(dir)
}

// syncDir makes a rename in the directory survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
