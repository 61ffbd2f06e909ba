package memlink

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netquorum/netquorum"
)

func connect(t *testing.T, w *Wire) (a, b net.Conn) {
	t.Helper()
	a, b, err := w.Connect()
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// arrives reports whether the next thing that b reads is what a writes.
func arrives(t *testing.T, a, b net.Conn) bool {
	t.Helper()
	if _, err := a.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	b.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 4)
	_, err := io.ReadFull(b, buf)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return err == nil && string(buf) == "ping"
}

func TestACutIsOfADirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWire(1)
		a, b := connect(t, w)
		w.Cut(AToB)
		if arrives(t, a, b) || !arrives(t, b, a) {
			t.Error("from A to B is cut, nothing else")
		}
		if _, _, err := w.Connect(); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("connecting over a cut wire: %v", err)
		}
		w.Heal()
		if !arrives(t, a, b) { // what was sent meanwhile comes first: the same word
			t.Error("a healed wire brings nothing")
		}
	})
}

func TestAWireDelaysInOrderAndAtItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWire(1)
		w.Set(Faults{Delay: time.Second, Rate: 1000})
		a, b := connect(t, w)
		start := time.Now()
		for i := range 10 {
			a.Write(bytes.Repeat([]byte{byte(i)}, 100))
		}
		got := make([]byte, 1000)
		io.ReadFull(b, got)
		for i, c := range got {
			if c != byte(i/100) {
				t.Fatalf("byte %d is of packet %d", i, c)
			}
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("1000 bytes at 1000 a second, a second late, took %v", took)
		}
	})
}

func TestAConnectionEndsAsTCPDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWire(1)
		a, b := connect(t, w)
		a.Write([]byte("last words"))
		a.Close()
		if got, err := io.ReadAll(b); string(got) != "last words" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("writing to a closed end: %v", err)
		}
		a, b = connect(t, w)
		full := make(chan error, 1)
		go func() {
			for {
				if _, err := a.Write(make([]byte, 64<<10)); err != nil {
					full <- err
					return
				}
			}
		}()
		synctest.Wait() // the writer waits for room
		w.Break()
		if err := <-full; err == nil {
			t.Error("a writer does not notice that the process is dead")
		}
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("reading from a dead process: %v", err)
		}
		if _, _, err := w.Connect(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("connecting to a dead process: %v", err)
		}
	})
}

func TestAnIsolatedFilerIsCutFromAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(1)
		pair := func(from, to, path string) [2]net.Conn {
			near, far, err := n.Connect(netquorum.FilerID(from), netquorum.FilerID(to), path)
			if err != nil {
				t.Fatal(err)
			}
			return [2]net.Conn{near, far}
		}
		ba, ac, bc := pair("b", "a", "mgmt0"), pair("a", "c", "mgmt0"), pair("b", "c", "mgmt1")
		n.Isolate("a")
		if arrives(t, ba[0], ba[1]) || arrives(t, ac[1], ac[0]) || !arrives(t, bc[0], bc[1]) {
			t.Error("a is isolated, b and c are not")
		}
		if _, _, err := n.Connect("d", "a", "mgmt0"); err == nil {
			t.Error("an isolated filer is reached on a new path")
		}
		n.Heal()
		n.Cut("c", "b", "mgmt1")
		if !arrives(t, ba[0], ba[1]) || !arrives(t, bc[0], bc[1]) || arrives(t, bc[1], bc[0]) {
			t.Error("only what c sends to b is cut")
		}
	})
}
