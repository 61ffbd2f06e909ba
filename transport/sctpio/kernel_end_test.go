package sctpio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ishidawataru/sctp"
)

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
