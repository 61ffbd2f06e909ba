package sctpio

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ishidawataru/sctp"
	"golang.org/x/sys/unix"
)

// What an association must do as a net.Conn. These need a kernel with SCTP.
func TestKernelConn(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	t.Run("data of any size, over any addresses", testData)
	t.Run("deadlines", testDeadlines)
	t.Run("close wakes everybody", testClose)
	t.Run("a dead process ends both directions", testDeath)
	t.Run("last words arrive", testLastWords)
	t.Run("no threads, no descriptors", testResources)
	t.Run("settings", testSettings)
	t.Run("an accepted one becomes one for bulk data", testBecome)
}

func testData(t *testing.T) {
	for name, c := range map[string][2][]netip.Addr{
		"IPv4": {near, far}, "IPv6": {near6, far6},
		"both": {{near[0], near6[1]}, {far[0], far6[1]}}, "one address": {near[:1], far[:1]},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := pair(t, Control(), c[0], c[1])
			if a := AddrPorts(there.RemoteAddr()); len(a) != len(c[0]) {
				t.Errorf("the called sees %v, called by %v", there.RemoteAddr(), c[0])
			}
			want := bytes.Repeat([]byte("0123456789abcdef-"), 60_000) // a megabyte, no multiple of a message
			sent := async(func() error {
				for rest, n := want, 1; len(rest) > 0; n = n*7 + 1 {
					m, err := here.Write(rest[:min(n, len(rest))])
					if err != nil {
						return err
					}
					rest = rest[m:]
				}
				return nil
			})
			sum := sha256.New()
			// A buffer smaller than a message, and smaller than a notification.
			if _, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{io.LimitReader(there, int64(len(want)))}, make([]byte, 97)); err != nil {
				t.Fatal(err)
			}
			if err := within(t, "the sender's end", sent); err != nil {
				t.Error(err)
			}
			if w := sha256.Sum256(want); !bytes.Equal(sum.Sum(nil), w[:]) {
				t.Error("what arrived is not what was sent")
			}
		})
	}
}

func testDeadlines(t *testing.T) {
	here, there := pair(t, Bulk(), near, far)
	passes := func(what string, set func(time.Time) error, do func() error) {
		t.Helper()
		for _, d := range []time.Duration{-time.Second, 50 * time.Millisecond} {
			start := time.Now()
			if err := set(start.Add(d)); err != nil {
				t.Fatal(err)
			}
			err := within(t, what+" with a deadline", async(do))
			var ne net.Error
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("%s: %v", what, err)
			}
			if took := time.Since(start); took < d || took > d+2*time.Second {
				t.Errorf("%s: a deadline of %v passed after %v", what, d, took)
			}
		}
		set(time.Time{})
	}
	read := func() error { _, err := here.Read(make([]byte, 1)); return err }
	write := func() error {
		for {
			if _, err := here.Write(make([]byte, 64<<10)); err != nil {
				return err
			}
		}
	}
	passes("Read", here.SetReadDeadline, read)
	passes("Write", here.SetWriteDeadline, write) // nobody reads: the buffers fill
	passes("Read", here.SetDeadline, read)

	// Whoever waits already is told of a new deadline, too.
	reading := async(read)
	here.SetReadDeadline(time.Now())
	if err := within(t, "the reader's end", reading); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	here.SetReadDeadline(time.Time{})

	// A deadline is not the end: the same association goes on.
	go io.Copy(io.Discard, there)
	if _, err := here.Write([]byte("on")); err != nil {
		t.Error(err)
	}
}

func testClose(t *testing.T) {
	here, there := pair(t, Bulk(), near, far)
	l := listenFar(t, Control(), far...)
	waiting := map[string]<-chan error{
		"Read": async(func() error { _, err := here.Read(make([]byte, 1)); return err }),
		"Read after it": async(func() error {
			_, err := here.Read(make([]byte, 1))
			return err
		}),
		"Write": async(func() error {
			for {
				if _, err := here.Write(make([]byte, 64<<10)); err != nil {
					return err
				}
			}
		}),
		"Accept": async(func() error { _, err := l.Accept(); return err }),
	}
	await(t, "a full send buffer", func() bool {
		var n int
		there.s.control(func(fd int) (err error) { n, err = unix.IoctlGetInt(fd, unix.SIOCINQ); return err })
		return n > 0
	})
	for _, c := range []io.Closer{here, l} {
		if err := within(t, "Close", async(c.Close)); err != nil {
			t.Error(err)
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a second Close: %v", err)
		}
	}
	for what, c := range waiting {
		if err := within(t, what, c); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	_, read := here.Read(make([]byte, 1))
	_, write := here.Write([]byte("x"))
	_, paths := here.Paths()
	for what, err := range map[string]error{
		"Read": read, "Write": write, "SetDeadline": here.SetDeadline(time.Now()), "Paths": paths, "SetPrimary": here.SetPrimary(far[1]),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s of a closed association: %v", what, err)
		}
	}
}

func testResources(t *testing.T) {
	const conns = 40
	threads := func() int {
		list, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	descriptors := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	l := listenFar(t, Control(), far...)
	fds, before := descriptors(), threads()
	var ended atomic.Int32
	var all []*Conn
	for range conns {
		c, err := Dial(t.Context(), Addr(0, near...), l.Addr().(*sctp.SCTPAddr), Control())
		if err != nil {
			t.Fatal(err)
		}
		a, err := l.AcceptSCTP()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c, a)
		for _, c := range []*Conn{c, a} {
			go func() { c.Read(make([]byte, 1)); ended.Add(1) }()
		}
	}
	if n := threads() - before; n > conns/4 {
		t.Errorf("%d idle associations need %d more threads", 2*conns, n)
	}
	for _, c := range all {
		c.Close()
	}
	await(t, "the end of all readers", func() bool { return ended.Load() == 2*conns })
	await(t, "the descriptors' end", func() bool { return descriptors() <= fds })
}

// An accepted association becomes one for bulk data: its buffers, its mark, and
// all that it is sent arrives however late it is read.
func testBecome(t *testing.T) {
	l := listenFar(t, Control(), far...)
	here, err := Dial(t.Context(), Addr(0, near...), l.Addr().(*sctp.SCTPAddr), Bulk())
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	there, err := l.AcceptSCTP()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if err := there.Become(Bulk()); err != nil {
		t.Fatal(err)
	}
	for end, c := range map[string]*Conn{"the caller": here, "the called": there} {
		c.s.control(func(fd int) error {
			snd, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
			rcv, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
			if snd != 512<<10 || rcv != 1<<20 {
				t.Errorf("%s has buffers of %d and %d", end, snd, rcv)
			}
			return nil
		})
		b, err := c.s.get("PEER_ADDR_PARAMS", optPeerAddrParams, make([]byte, 156))
		if err != nil || b[154]>>2 != 0 {
			t.Errorf("%s marks with %d, %v", end, b[154]>>2, err)
		}
	}
	const size = 4 << 20
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i * i >> 8)
	}
	for _, way := range [][2]*Conn{{here, there}, {there, here}} {
		way[0].SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		full, err := way[0].Write(data)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("what nobody reads is taken: %d, %v", full, err)
		}
		way[0].SetWriteDeadline(time.Time{})
		written := async(func() error { _, err := way[0].Write(data[full:]); return err })
		start, got := time.Now(), make([]byte, size)
		if _, err := io.ReadFull(way[1], got); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("reading what was sent: %v", err)
		}
		t.Logf("%d KB were sent before somebody read; the rest took %v", full>>10, time.Since(start).Round(time.Millisecond))
		if err := within(t, "the writer's end", written); err != nil {
			t.Fatal(err)
		}
	}
}

// What is set is what the kernel has, at both ends.
func testSettings(t *testing.T) {
	here, there := pair(t, Control(), near, far)
	for end, c := range map[string]*Conn{"the caller": here, "the called": there} {
		get := func(name string, no, size int) []byte {
			b, err := c.s.get(name, no, make([]byte, size))
			if err != nil {
				t.Fatalf("%s: %v", end, err)
			}
			return b
		}
		word := func(b []byte, at int) uint32 { return native.Uint32(b[at:]) }
		rto, assoc, sack := get("RTOINFO", optRTOInfo, 16), get("ASSOCINFO", optAssocInfo, 20), get("DELAYED_SACK", optDelayedSACK, 12)
		params, thlds := get("PEER_ADDR_PARAMS", optPeerAddrParams, 156), get("PEER_ADDR_THLDS", optPeerAddrThlds, 144)
		status := get("STATUS", optStatus, statusSize)
		got := fmt.Sprintf("RTO %d/%d/%d, retransmits %d, SACK %d, heartbeat about %d, path %d, failing %d, DSCP %d, streams %d, nodelay %d",
			word(rto, 4), word(rto, 12), word(rto, 8), native.Uint16(assoc[4:]), word(sack, 4), word(params, 132)/10*10,
			native.Uint16(thlds[136:]), native.Uint16(thlds[138:]), params[154]>>2, native.Uint16(status[18:]), word(get("NODELAY", optNoDelay, 4), 0))
		if want := "RTO 200/100/400, retransmits 8, SACK 20, heartbeat about 250, path 2, failing 0, DSCP 48, streams 8, nodelay 1"; got != want {
			t.Errorf("%s has\n  %s\nnot\n  %s", end, got, want)
		}
		c.s.control(func(fd int) error {
			snd, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
			rcv, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
			if snd != 2<<20 || rcv != 2<<20 {
				t.Errorf("%s has buffers of %d and %d", end, snd, rcv)
			}
			linger, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LINGER)
			if err != nil || linger != 1 {
				t.Errorf("%s: SO_LINGER %d, %v", end, linger, err)
			}
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("%s: a child would inherit the association", end)
			}
			return nil
		})
	}
}
