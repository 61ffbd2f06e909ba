package netapply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Netlink is the kernel of the network namespace in which it was opened. It
// keeps a socket for questions and one for changes; requests on either wait for
// each other. Settings are written through
// /proc/sys, which shows the namespace of the thread that looks: a program that
// changes namespaces must call from a thread that is in the right one.
type Netlink struct {
	questions *asker
	changes   *changer
	filter    packetFilter

	ethtool ethtool
	memory  memory // of settings that were changed

	proto  bool // the kernel keeps who made an address
	writes atomic.Uint64

	mu    sync.Mutex
	index map[string]int // links by name, as last observed
	// made are links that we made since somebody began to observe: a list that
	// was begun before does not have them.
	made  map[string]madeLink
	count uint64
	since uint64 // when index was begun, by count
}

type madeLink struct {
	index    int
	settings Settings // as the kernel made it
	at       uint64   // by Netlink.count
}

// requestTimeout bounds one request. The kernel answers in microseconds; when
// it does not answer at all, waiting longer does not help.
const requestTimeout = 10 * time.Second

// Open connects to the kernel of the calling thread's network namespace.
func Open() (*Netlink, error) {
	changes, err := openChanger()
	if err != nil {
		return nil, err
	}
	questions, err := openAsker()
	if err != nil {
		_ = changes.close()
		return nil, err
	}
	return &Netlink{
		questions: questions,
		changes:   changes,
		proto:     kernelAtLeast(5, 18),
		index:     map[string]int{},
		made:      map[string]madeLink{},
	}, nil
}

// Close ends the connection.
func (k *Netlink) Close() error {
	return errors.Join(k.questions.close(), k.changes.close(), k.ethtool.close())
}

// Writes implements Kernel.
func (k *Netlink) Writes() uint64 { return k.writes.Load() }

// kernelAtLeast compares the running kernel's version.
func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	return versionAtLeast(unix.ByteSliceToString(u.Release[:]), major, minor)
}

func versionAtLeast(release string, major, minor int) bool {
	a, rest, _ := strings.Cut(release, ".")
	b := strings.FieldsFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	x, err := strconv.Atoi(a)
	if err != nil || len(b) == 0 {
		return false
	}
	y, _ := strconv.Atoi(b[0])
	return x > major || x == major && y >= minor
}

// dumpTries bounds how often a list is asked for again because it changed while
// the kernel was writing it.
const dumpTries = 10

// dump asks for a list. It is called back once per object; reset is called
// before each try.
func (k *Netlink) dump(ctx context.Context, what uint16, body *message, reset func(), each func([]byte) error) error {
	for try := 1; ; try++ {
		reset()
		err := k.questions.ask(what, unix.NLM_F_DUMP, body, each)
		if !errors.Is(err, errInterrupted) || try == dumpTries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(rand.IntN(try*1000)) * time.Microsecond):
		}
	}
}

// lookup returns a link's index.
func (k *Netlink) lookup(name string) (int, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if m, ok := k.made[name]; ok {
		return m.index, true
	}
	i, ok := k.index[name]
	return i, ok
}

func (k *Netlink) remember(l rawLink) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count++
	k.made[l.name] = madeLink{l.index, l.settings, k.count}
}

// known are the settings that a link was made with, if it is that new.
func (k *Netlink) known(name string) Settings {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.made[name].settings
}

// begin is called before links are listed, observed after it with what begin
// returned. Several may observe while one makes links.
func (k *Netlink) begin() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.count
}

func (k *Netlink) observed(index map[string]int, since uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if since < k.since {
		return // a later list was faster
	}
	k.index, k.since = index, since
	maps.DeleteFunc(k.made, func(_ string, m madeLink) bool { return m.at <= since })
}

// indexOf is lookup for a link that must exist.
func (k *Netlink) indexOf(name string) (int, error) {
	if i, ok := k.lookup(name); ok {
		return i, nil
	}
	return 0, fmt.Errorf("there is no link %s", name)
}

// writeSetting writes below /proc/sys.
func (k *Netlink) writeSetting(link, name string, v int) error {
	return k.writeSys(settingPath(link, name), v)
}

// writeSys does without package os, which would watch the file for being ready:
// a new link takes a few of these.
func (k *Netlink) writeSys(path string, v int) error {
	k.writes.Add(1)
	path = filepath.Join("/proc/sys", path)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	_, err = unix.Write(fd, []byte(strconv.Itoa(v)))
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
