package bootcache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/netquorum/netquorum"
)

// ErrNone: no copy can be used.
var ErrNone = errors.New("no usable boot cache")

// A State says whether a copy can be used.
type State string

// The states of a copy.
const (
	OK      State = "ok"
	Missing State = "missing"
	Damaged State = "damaged"
	Newer   State = "newer-format"
)

// A CopyStatus describes one copy.
type CopyStatus struct {
	File     string             `json:"file"`
	State    State              `json:"state"`
	Reason   string             `json:"reason,omitempty"`
	Revision netquorum.Revision `json:"revision,omitempty"`
}

// A Cache is the pair of copies in a directory.
type Cache struct {
	dir  string
	disk disk
	mu   sync.Mutex // held by every use of the files
}

// names of the copies. When both are equally new the first is read.
var names = [2]string{"boot-a", "boot-b"}

// Open returns the cache in a directory, which is created if it is not there.
func Open(dir string) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("boot cache: %w", err)
	}
	return &Cache{dir: dir, disk: osDisk{}}, nil
}

// found is one copy as it was read.
type found struct {
	boot   Boot
	status CopyStatus
}

// Load returns the newest content that is sound, and the status of each copy. It
// changes nothing. The error is ErrNone if there is no sound copy.
func (c *Cache) Load() (Boot, []CopyStatus, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	copies := c.read()
	status := []CopyStatus{copies[0].status, copies[1].status}
	i := newest(copies)
	if i < 0 {
		return Boot{}, status, fmt.Errorf("%w: %s is %s, %s is %s", ErrNone, names[0], status[0].describe(), names[1], status[1].describe())
	}
	return copies[i].boot, status, nil
}

func (s CopyStatus) describe() string {
	if s.Reason == "" {
		return string(s.State)
	}
	return s.Reason
}

func (c *Cache) read() (copies [2]found) {
	for i, name := range names {
		path := filepath.Join(c.dir, name)
		f := &copies[i]
		f.status.File = path
		data, err := c.disk.read(path)
		if err == nil {
			f.boot, err = decode(data)
		}
		switch {
		case err == nil:
			f.status.State, f.status.Revision = OK, f.boot.Revision
		case errors.Is(err, os.ErrNotExist):
			f.status.State = Missing
		case errors.Is(err, errNewer):
			f.status.State, f.status.Reason = Newer, err.Error()
		default:
			f.status.State, f.status.Reason = Damaged, err.Error()
		}
	}
	return copies
}

// newest returns the copy to boot from, or -1.
func newest(copies [2]found) int {
	best := -1
	for i, f := range copies {
		if f.status.State == OK && (best < 0 || f.boot.Revision > copies[best].boot.Revision) {
			best = i
		}
	}
	return best
}

// Save replaces both copies, one after the other. The first to go is the one
// that would not be booted from, so a filer that loses power at any moment boots
// with the old content or the new, never with none.
func (c *Cache) Save(b Boot) error {
	data, err := encode(b)
	if err != nil {
		return fmt.Errorf("boot cache: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first := 0
	if newest(c.read()) == 0 {
		first = 1
	}
	for _, i := range []int{first, 1 - first} {
		if err := c.replace(names[i], data); err != nil {
			return fmt.Errorf("boot cache: %w", err)
		}
	}
	return nil
}

// Heal rebuilds a copy that is not sound from one that is. It returns ErrNone if
// there is no sound copy.
func (c *Cache) Heal() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	copies := c.read()
	i := newest(copies)
	if i < 0 {
		return ErrNone
	}
	if other := copies[1-i]; other.status.State == OK && other.boot.Revision == copies[i].boot.Revision {
		return nil
	}
	data, err := encode(copies[i].boot)
	if err == nil {
		err = c.replace(names[1-i], data)
	}
	if err != nil {
		return fmt.Errorf("heal boot cache: %w", err)
	}
	return nil
}

// replace puts data in the place of a file at one stroke.
func (c *Cache) replace(name string, data []byte) error {
	path := filepath.Join(c.dir, name)
	tmp := path + ".new"
	err := c.disk.write(tmp, data)
	if err == nil {
		err = c.disk.rename(tmp, path)
	}
	if err != nil {
		// What is left of it would take the room that the next attempt needs.
		if rmErr := os.Remove(tmp); rmErr != nil && !errors.Is(rmErr, os.ErrNotExist) {
			err = errors.Join(err, rmErr)
		}
	}
	return err
}

// A disk is how the cache reaches its files.
type disk interface {
	read(path string) ([]byte, error)
	// write creates a file, readable by the owner only, and syncs it.
	write(path string, data []byte) error
	// rename replaces a file and syncs the directory.
	rename(from, to string) error
}

type osDisk struct{}

func (osDisk) read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > int64(headerSize+maxBody) {
		return nil, fmt.Errorf("%w: it has %d bytes", errDamaged, info.Size())
	}
	return os.ReadFile(path)
}

func (osDisk) write(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (osDisk) rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
