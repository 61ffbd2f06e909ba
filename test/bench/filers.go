package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// A filer is one daemon on the loopback.
type filer struct {
	name, dir, socket, listen string
	bin                       string
	cmd                       *exec.Cmd
	client                    *api.Client
}

func (f *filer) start(args ...string) error {
	out, err := os.OpenFile(filepath.Join(f.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	f.cmd = exec.Command(filepath.Join(f.bin, "netquorum"), append([]string{"serve", "--data", filepath.Join(f.dir, "data"),
		"--socket", f.socket, "--listen", f.listen, "--advertise", f.listen, "--log-level", "warn"}, args...)...)
	f.cmd.Stdout, f.cmd.Stderr = out, out
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return f.cmd.Start()
}

func (f *filer) kill() {
	if f.cmd != nil && f.cmd.Process != nil {
		f.cmd.Process.Kill()
		f.cmd.Wait()
		f.cmd = nil
	}
}

type filers []*filer

// startFilers forms a cluster of three daemons.
func startFilers(ctx context.Context, o options, name string, documents ...netquorum.Document) (fs filers, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	defer func() {
		if err != nil {
			fs.stop()
		}
	}()
	for i := range 3 {
		dir := filepath.Join(o.dir, name, fmt.Sprint("filer", i+1))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fs, err
		}
		f := &filer{name: fmt.Sprint("filer", i+1), dir: dir, socket: filepath.Join(dir, "s"), bin: o.bin,
			listen: fmt.Sprintf("127.0.0.1:%d", 7481+i)}
		f.client = api.NewClient(f.socket)
		if err := f.start(); err != nil {
			return fs, err
		}
		fs = append(fs, f)
		if err := eventually(ctx, "the daemon answers", func() error { _, err := f.client.Version(ctx); return err }); err != nil {
			return fs, err
		}
	}
	first := api.InitRequest{Filer: fs[0].name, Documents: documents}
	if len(documents) == 0 {
		first.Cluster, first.MAC = "bench", &netquorum.MAC{0, 7, 0x34, 4, 0x12, 0xe}
	}
	if _, err := fs[0].client.Init(ctx, first); err != nil {
		return fs, err
	}
	for _, f := range fs[1:] {
		t, err := fs[0].client.CreateToken(ctx, api.TokenRequest{Filer: f.name})
		if err != nil {
			return fs, err
		}
		if _, err := f.client.Join(ctx, api.JoinRequest{Filer: f.name, Token: t.Token, Peer: fs[0].listen}); err != nil {
			return fs, err
		}
	}
	return fs, nil
}

func (fs filers) stop() {
	for _, f := range fs {
		f.kill()
		if f.client != nil {
			f.client.Close()
		}
	}
}

// leader returns the filer that leads.
func (fs filers) leader(ctx context.Context) (*filer, error) {
	var found *filer
	err := eventually(ctx, "a filer leads", func() error {
		for _, f := range fs {
			if f.cmd == nil {
				continue
			}
			s, err := f.client.Status(ctx)
			if err == nil && s.Quorum {
				for _, g := range fs {
					if g.name == s.Leader && g.cmd != nil {
						found = g
						return nil
					}
				}
			}
		}
		return fmt.Errorf("nobody leads")
	})
	return found, err
}

// eventually tries until it works.
func eventually(ctx context.Context, what string, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// write commits one record of 256 bytes that differs from the one before: a
// transaction that changes nothing would be cheaper.
func write(ctx context.Context, f *filer, name string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	d := record(name, 256)
	data := d.Spec.(*netquorum.Record).Data
	copy(data[len(data)-12:], fmt.Sprintf("%010d", n)) // in the string at its end
	_, err := f.client.Apply(ctx, api.ApplyRequest{Puts: []api.Put{{Document: d}}})
	return err
}

// record has data like what other parts of a filer keep: JSON that says similar
// things with other names and numbers.
func record(name string, size int) netquorum.Document {
	h := fnv.New64a()
	h.Write([]byte(name))
	rng := rand.New(rand.NewPCG(h.Sum64(), 1))
	b := append(make([]byte, 0, size), '[')
	for len(b)+130 < size {
		b = fmt.Appendf(b, `{"client":"10.%d.%d.%d","path":"/vol/%x","quota":%d,"writable":%t},`,
			rng.IntN(256), rng.IntN(256), rng.IntN(256), rng.Uint64(), rng.Uint32(), rng.IntN(2) == 0)
	}
	b = append(b, '"')
	for len(b) < size-2 {
		b = append(b, 'a'+byte(rng.IntN(26)))
	}
	b = append(b, '"', ']')
	return netquorum.Document{Kind: netquorum.KindRecord, Name: name, Spec: &netquorum.Record{Data: b}}
}
