package sctpio

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ishidawataru/sctp"
	"golang.org/x/sys/unix"

	"github.com/netquorum/netquorum/lab/nstest"
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
}

// How associations begin, and with which addresses.
func TestKernelAddresses(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	t.Run("dialling", testDial)
	t.Run("listening", testListen)
	t.Run("paths", testPaths)
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

// testDeath: the kernel tells a socket's error to the first who asks. Both
// directions must end all the same, whichever comes first, and whether or not the
// dead process had read everything.
func testDeath(t *testing.T) {
	l, err := Listen(Addr(0, near...), Bulk())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, manner := range []string{"idle", "busy", "unread", "idle", "busy"} {
		victim := exec.Command("/proc/self/exe", "-test.run=^$")
		victim.Env = append(os.Environ(), victimEnv+"="+l.Addr().String())
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		l.SetDeadline(time.Now().Add(10 * time.Second))
		here, err := l.AcceptSCTP()
		if err != nil {
			t.Fatal(err)
		}
		read := func() error { _, err := here.Read(make([]byte, 1)); return err }
		waiting := map[string]<-chan error{}
		if manner != "unread" {
			waiting["Read"] = async(read)
		}
		if manner != "idle" {
			var written atomic.Int32
			waiting["Write"] = async(func() error {
				for {
					n, err := here.Write(make([]byte, 16<<10))
					written.Add(int32(n))
					if err != nil {
						return err
					}
				}
			})
			await(t, "the victim to have plenty to read", func() bool { return written.Load() > 64<<10 })
		}
		start := time.Now()
		victim.Process.Kill()
		for what, c := range waiting {
			if err := within(t, what, c); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
				t.Errorf("%s when the peer, %s, was killed: %v", what, manner, err)
			}
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the death of a process, %s, was noticed after %v", manner, took)
		}
		victim.Wait()
		// A reader that comes when the writer has had the socket's error.
		if err := within(t, "a late reader's end", async(read)); errors.Is(err, net.ErrClosed) {
			t.Errorf("the peer's end looks like ours: %v", err)
		}
		if err := here.Close(); err != nil {
			t.Error(err)
		}
	}
}

// victimEnv names whom a process is to call, to be killed then.
const victimEnv = "NQ_SCTPIO_VICTIM"

func TestMain(m *testing.M) {
	if to := os.Getenv(victimEnv); to != "" {
		addr, err := sctp.ResolveSCTPAddr(network, to)
		if err == nil {
			_, err = Dial(context.Background(), Addr(0, near...), addr, Bulk())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		select {}
	}
	os.Exit(m.Run())
}

// testLastWords: what was written before Close arrives, and a writer that learns
// of the end first does not take it from the reader.
func testLastWords(t *testing.T) {
	for _, c := range []struct {
		size  int
		learn bool // by writing, before anything is read
	}{{1 << 20, false}, {1000, true}, {1, true}} {
		here, there := pair(t, Control(), near, far)
		words := bytes.Repeat([]byte("w"), c.size)
		if _, err := there.Write(words); err != nil {
			t.Fatal(err)
		}
		if err := there.Close(); err != nil {
			t.Fatal(err)
		}
		if c.learn {
			err := within(t, "a writer to learn of the end", async(func() error {
				for {
					if _, err := here.Write([]byte("x")); err != nil {
						return err
					}
				}
			}))
			if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("writing after the peer's Close: %v", err)
			}
		}
		here.SetReadDeadline(time.Now().Add(10 * time.Second))
		got, err := io.ReadAll(here)
		if !bytes.Equal(got, words) || !c.learn && err != nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%+v: %d bytes arrived, %v", c, len(got), err)
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

func testDial(t *testing.T) {
	l := listenFar(t, Control(), far...)
	port := l.port
	dial := func(ctx context.Context, to *sctp.SCTPAddr) (time.Duration, error) {
		start := time.Now()
		c, err := Dial(ctx, Addr(0, near...), to, Control())
		if err == nil {
			c.Close()
		}
		return time.Since(start), err
	}
	if took, err := dial(t.Context(), Addr(port+1, far...)); !errors.Is(err, syscall.ECONNREFUSED) || took > time.Second {
		t.Errorf("nobody listening: %v after %v", err, took)
	}
	if took, err := dial(t.Context(), Addr(port, lost, far[1])); err != nil || took > time.Second {
		t.Errorf("the first address is dead: %v after %v", err, took)
	}
	if took, err := dial(t.Context(), Addr(port, far[0], lost)); err != nil || took > time.Second {
		t.Errorf("the second address is dead: %v after %v", err, took)
	}
	// Frames to the lost one go out and nobody answers.
	nstest.Sh(t, "ip neigh replace "+lost.String()+" lladdr 02:00:00:00:00:77 dev path0")
	if took, err := dial(t.Context(), Addr(port, lost)); !errors.Is(err, syscall.ETIMEDOUT) || took > 6*time.Second {
		t.Errorf("silence: %v after %v", err, took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if took, err := dial(ctx, Addr(port, lost)); !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
		t.Errorf("silence with a deadline: %v after %v", err, took)
	}
	if _, err := dial(ctx, Addr(port, far...)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if _, err := Dial(t.Context(), Addr(0, lost), Addr(port, far...), Control()); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("from an address that is not ours: %v", err)
	}
	var names []string
	o := Control()
	o.Socket = func(network, address string, c syscall.RawConn) error {
		names = append(names, network+" "+address)
		return errors.New("not today")
	}
	if _, err := Dial(t.Context(), Addr(0, near...), Addr(port, far...), o); err == nil || !strings.Contains(err.Error(), "not today") || len(names) != 1 || names[0] != "sctp4 10.0.0.1/10.1.0.1:0" {
		t.Errorf("%v, %q", err, names)
	}
}

func testListen(t *testing.T) {
	l := listenFar(t, Control(), far[0])
	reaches := func(want bool, ip netip.Addr) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		from := near
		if ip.Is6() {
			from = near6
		}
		c, err := Dial(ctx, Addr(0, from...), Addr(l.port, ip), Control())
		if err == nil {
			c.Close()
		}
		if (err == nil) != want {
			t.Errorf("calling %v: %v", ip, err)
		}
	}
	if _, err := Listen(Addr(l.port, near...), Control()); err != nil {
		t.Errorf("the same port in another namespace: %v", err)
	}
	reaches(true, far[0])
	reaches(false, far[1])
	if err := l.SetAddrs(far[0], far[1], far6[0]); err != nil {
		t.Fatal(err)
	}
	reaches(true, far[1])
	reaches(true, far6[0])
	if err := l.SetAddrs(far[1]); err != nil {
		t.Fatal(err)
	}
	reaches(false, far[0])
	reaches(true, far[1])
	if got := l.Addr().String(); got != Addr(l.port, far[1]).String() {
		t.Errorf("it listens at %s", got)
	}
	if err := l.SetAddrs(); err == nil {
		t.Error("it listens nowhere, or everywhere")
	}

	// Associations keep what they have, and a new listener gets the port.
	c, err := Dial(t.Context(), Addr(0, near...), Addr(l.port, far[1]), Control())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var a *Conn // those of before wait, too, although they have ended
	l.SetDeadline(time.Now().Add(10 * time.Second))
	for a == nil || a.remote.Port != c.local.Port {
		if a, err = l.AcceptSCTP(); err != nil {
			t.Fatal(err)
		}
		defer a.Close()
	}
	l.Close()
	listenFarAt(t, Addr(l.port, far...), Control())
	go a.Write([]byte("still here"))
	if _, err := io.ReadFull(c, make([]byte, 10)); err != nil {
		t.Error(err)
	}
}

func testPaths(t *testing.T) {
	events := make(chan Event, 1000)
	o := Control()
	o.Observe = func(e Event) { events <- e }
	here, there := pair(t, o, near, far)
	for _, c := range []*Conn{here, there} {
		go io.Copy(io.Discard, c) // events come where it is read
	}
	states := func() string {
		list, err := here.Paths()
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, p := range list {
			word := p.Remote.Addr().String() + " " + p.State.String()
			if p.Primary {
				word += " primary"
			}
			if p.RTO <= 0 || p.MTU != 1500 || p.Remote.Port() != uint16(here.remote.Port) {
				t.Fatalf("%+v", p)
			}
			words = append(words, word)
		}
		return strings.Join(words, ", ")
	}
	is := func(want string) {
		t.Helper()
		got := ""
		defer func() {
			if t.Failed() {
				t.Logf("paths: %s", got)
			}
		}()
		await(t, want, func() bool { got = states(); return got == want })
	}
	seen := func(k Kind, remote netip.Addr) {
		t.Helper()
		for {
			if e := within(t, k.String(), events); e.Kind == k && (e.Remote.Addr() == remote || k == AssociationUp) {
				return
			}
		}
	}
	is("10.0.0.2 active primary, 10.1.0.2 active")
	seen(AssociationUp, netip.Addr{})
	if err := here.SetPrimary(far[1]); err != nil {
		t.Fatal(err)
	}
	is("10.0.0.2 active, 10.1.0.2 active primary")
	nstest.Sh(t, "ip netns exec far ip link set path1 down")
	seen(PathFailing, far[1])
	seen(PathUnreachable, far[1])
	is("10.0.0.2 active, 10.1.0.2 unreachable primary")
	nstest.Sh(t, "ip netns exec far ip link set path1 up")
	seen(PathAvailable, far[1])
	is("10.0.0.2 active, 10.1.0.2 active primary")
	if err := here.SetPrimary(lost); err == nil {
		t.Error("an address that the peer does not have became primary")
	}
}
