package api_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netquorum/netquorum/api"
)

func TestListen(t *testing.T) {
	listen := func(t *testing.T, path string, mode os.FileMode) net.Listener {
		t.Helper()
		l, err := api.Listen(path, mode)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	refused := func(t *testing.T, path, text string) {
		t.Helper()
		l, err := api.Listen(path, 0o600)
		if err == nil {
			l.Close()
			t.Fatal("Listen succeeded")
		}
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not mention %q", err, text)
		}
	}
	t.Run("the file has the mode that was asked for", func(t *testing.T) {
		for _, mode := range []os.FileMode{0o600, 0o660} {
			path := filepath.Join(t.TempDir(), "made", "api.sock")
			listen(t, path, mode)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != mode {
				t.Errorf("mode %v, want %v", info.Mode().Perm(), mode)
			}
		}
	})
	t.Run("a socket that a dead daemon left is replaced", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "api.sock")
		dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		dead.SetUnlinkOnClose(false)
		dead.Close()
		listen(t, path, 0o600)
	})
	t.Run("a daemon that lives keeps its socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "api.sock")
		listen(t, path, 0o600)
		refused(t, path, "another daemon")
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatalf("the first daemon lost its socket: %v", err)
		}
		conn.Close()
	})
	t.Run("a program that is no daemon of ours keeps its socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "api.sock")
		other, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		refused(t, path, "another program")
	})
	t.Run("a file that is no socket is left alone", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "api.sock")
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, path, "no socket")
		if data, _ := os.ReadFile(path); string(data) != "precious" {
			t.Errorf("the file now has %q", data)
		}
	})
	t.Run("closing removes the socket and lets the next one listen", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "api.sock")
		listen(t, path, 0o600).Close()
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Close: %v, want no file", err)
		}
		listen(t, path, 0o600)
	})
}
