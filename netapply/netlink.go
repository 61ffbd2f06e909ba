package netapply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Netlink is the kernel of the network namespace in which it was opened. It
// keeps a socket for questions and one for changes; requests on either wait for
// each other. Settings are written through
// /proc/sys, which shows the namespace of the thread that looks: a program that
// changes namespaces must call from a thread that is in the right one.
type Netlink struct {
	questions map[int]*nl.SocketHandle
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
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		_ = changes.close()
		return nil, fmt.Errorf("cannot open a netlink socket: %w", err)
	}
	timeout := unix.NsecToTimeval(requestTimeout.Nanoseconds())
	_ = s.SetSendTimeout(&timeout)
	_ = s.SetReceiveTimeout(&timeout)
	// Lists filtered in the kernel; old kernels do without. Error texts stay off:
	// the library takes the end of a list that failed with a text for the answer
	// to a change, and reads beyond it.
	_ = unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return &Netlink{
		questions: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}},
		changes:   changes,
		proto:     kernelAtLeast(5, 18),
		index:     map[string]int{},
		made:      map[string]madeLink{},
	}, nil
}

// Close ends the connection.
func (k *Netlink) Close() error {
	k.questions[unix.NETLINK_ROUTE].Close()
	return errors.Join(k.changes.close(), k.ethtool.close())
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
		req := k.request(what, unix.NLM_F_DUMP, body)
		reset()
		var bad error
		err := req.ExecuteIter(unix.NETLINK_ROUTE, 0, func(b []byte) bool {
			bad = each(b)
			return bad == nil
		})
		if bad != nil {
			return bad
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == dumpTries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(rand.IntN(try*1000)) * time.Microsecond):
		}
	}
}

// ask sends one question and returns the answers of a type.
func (k *Netlink) ask(what uint16, body *message, answer uint16) ([][]byte, error) {
	return k.request(what, 0, body).Execute(unix.NETLINK_ROUTE, answer)
}

func (k *Netlink) request(what uint16, flags int, body *message) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(int(what), flags)
	req.Sockets = k.questions
	req.AddData(body)
	return req
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

func (k *Netlink) writeSys(path string, v int) error {
	k.writes.Add(1)
	f, err := os.OpenFile(filepath.Join("/proc/sys", path), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.Itoa(v))
	return errors.Join(err, f.Close())
}
