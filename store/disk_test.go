package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sys/unix"
)

// A faultyDisk fails or hangs when it is told to.
type faultyDisk struct {
	diskStore
	err  atomic.Pointer[error]
	mu   sync.Mutex
	hang chan struct{} // writes wait for its end
}

func (d *faultyDisk) fault() error {
	d.mu.Lock()
	hang := d.hang
	d.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if err := d.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (d *faultyDisk) fail(err error) { d.err.Store(&err) }

func (d *faultyDisk) StoreLogs(ls []*raft.Log) error {
	if err := d.fault(); err != nil {
		return err
	}
	return d.diskStore.StoreLogs(ls)
}

func (d *faultyDisk) SetUint64(k []byte, v uint64) error {
	if err := d.fault(); err != nil {
		return err
	}
	return d.diskStore.SetUint64(k, v)
}

func (d *faultyDisk) Set(k, v []byte) error {
	if err := d.fault(); err != nil {
		return err
	}
	return d.diskStore.Set(k, v)
}

// withFaultyDisks gives every filer such a disk.
func withFaultyDisks() (map[string]*faultyDisk, func(*Options)) {
	disks := map[string]*faultyDisk{}
	return disks, func(o *Options) {
		d := &faultyDisk{}
		disks[string(o.ID)] = d
		o.disk = func(real diskStore) diskStore { d.diskStore = real; return d }
	}
}

func TestAHungDiskStopsTheLeaderAndNotTheCluster(t *testing.T) {
	for _, c := range []struct {
		name     string
		watchdog time.Duration
		moves    bool
	}{
		{"with the watchdog another filer leads", 300 * time.Millisecond, true},
		// Why there is one: heartbeats do not touch the disk.
		{"without the watchdog the leader stays for ever", time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			disks, adjust := withFaultyDisks()
			l := newCluster(t, 3, adjust, func(o *Options) { o.DiskStall = c.watchdog })
			old := l.leader()
			rest := l.followers()
			d := disks[string(old.id)]
			release := make(chan struct{})
			d.mu.Lock()
			d.hang = release
			d.mu.Unlock()
			defer close(release)
			stuck := make(chan error, 1)
			go func() {
				_, err := old.Propose(testContext(t, 5*time.Second), put(record("stuck", "x")))
				stuck <- err
			}()
			if !c.moves {
				ctx, cancel := context.WithTimeout(context.Background(), 4*labTiming.Heartbeat)
				defer cancel()
				if _, err := rest[0].Propose(ctx, put(record("r", "x"))); err == nil {
					t.Error("a write was acknowledged although the leader's disk hangs")
				}
				if got := rest[0].reigns.load().leader; got != old.id {
					t.Errorf("%q leads: the library notices by itself, the watchdog is not needed any more", got)
				}
				return
			}
			select {
			case err := <-old.fatal:
				t.Log(err)
			case <-time.After(patience):
				t.Fatal("waited in vain for the watchdog")
			}
			l.propose(rest[0], put(record("r", "x")))
			<-stuck
			if got := old.Status().Role; got != RoleFailed {
				t.Errorf("role %q, want %q", got, RoleFailed)
			}
		})
	}
}

func TestAfterTheFirstFailedWriteEveryWriteFails(t *testing.T) {
	files, err := openFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	d := &faultyDisk{diskStore: files}
	told := 0
	log := &diskLog{disk: d, log: "log", votes: "raft.db", stall: time.Minute, onFail: func(error) { told++ }, onWipe: func() {}}
	entry := &raft.Log{Index: 1, Term: 1, Type: raft.LogNoop}
	if err := log.StoreLog(entry); err != nil {
		t.Fatal(err)
	}
	d.fail(syscall.EIO)
	if err := log.StoreLog(&raft.Log{Index: 2, Term: 1}); !errors.Is(err, syscall.EIO) || !errors.Is(err, ErrDiskFailed) {
		t.Fatalf("failing disk: %v, want EIO and ErrDiskFailed", err)
	}
	d.err.Store(nil) // the disk claims to be well again
	if err := log.StoreLog(&raft.Log{Index: 2, Term: 1}); !errors.Is(err, ErrDiskFailed) {
		t.Errorf("the next write: %v, want ErrDiskFailed: the data of the failed one may be gone", err)
	}
	if err := log.DeleteRange(1, 1); !errors.Is(err, ErrDiskFailed) {
		t.Errorf("shortening the log: %v, want ErrDiskFailed", err)
	}
	ended := make(chan struct{})
	returned := false
	go func() {
		defer close(ended)
		log.SetUint64([]byte("CurrentTerm"), 2)
		returned = true
	}()
	<-ended
	if returned {
		t.Error("storing a term returned to raft, which panics or goes on without it")
	}
	if told != 1 {
		t.Errorf("told %d times of the failure, want once", told)
	}
	if err := log.GetLog(1, &raft.Log{}); err != nil {
		t.Errorf("reading must go on: %v", err)
	}
}

func TestAFilerWhoseDiskFailsStandsAsideUntilItIsRestarted(t *testing.T) {
	for _, role := range []string{"leader", "follower"} {
		t.Run(role, func(t *testing.T) {
			disks, adjust := withFaultyDisks()
			l := newCluster(t, 3, adjust)
			r := l.propose(l.leader(), put(record("before", "x")))
			bad := l.leader()
			if role == "follower" {
				bad = l.follower()
			}
			if err := bad.Wait(l.context(), r.Revision); err != nil {
				t.Fatal(err)
			}
			disks[string(bad.id)].fail(syscall.EIO)
			var good *filer
			for _, f := range l.filers {
				if f != bad {
					good = f
				}
			}
			l.propose(good, put(record("after", "x")))
			l.wait("the filer to notice that its disk failed", func() bool { return bad.Status().Role == RoleFailed })
			if _, err := bad.Propose(l.context(), put(record("r", "x"))); !errors.Is(err, ErrDiskFailed) {
				t.Errorf("propose: %v, want ErrDiskFailed", err)
			}
			if _, err := bad.Read(l.context(), Linearizable); !errors.Is(err, ErrDiskFailed) {
				t.Errorf("read: %v, want ErrDiskFailed", err)
			}
			if value(bad.State(), "before") != "x" {
				t.Error("its own state is gone")
			}
			disks[string(bad.id)].err.Store(nil)
			l.kill(bad)
			l.open(bad)
			l.mustHave(map[string]string{"before": "x", "after": "x"})
			l.wait("the restarted filer to catch up", func() bool { return value(bad.State(), "after") == "x" })
		})
	}
}

// smallDisk mounts a file system of the given size.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestAFullDiskIsReportedAndLosesNothing(t *testing.T) {
	small := smallDisk(t, "40m")
	l := newCluster(t, 3, func(o *Options) {
		if o.ID == "filer-3" {
			o.Dir = filepath.Join(small, "store")
		}
	})
	full := l.filers[2]
	l.propose(l.leader(), put(record("before", "x")))
	filler, err := os.Create(filepath.Join(small, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	filler.Close()
	for i := 0; full.Status().Role != RoleFailed; i++ {
		if i > 1000 {
			t.Fatal("the disk is full and nothing was noticed")
		}
		big := make([]byte, 64<<10)
		for j := range big {
			big[j] = 'x'
		}
		l.propose(l.filers[0], put(record("big", string(big)+time.Now().String())))
	}
	if _, err := full.Propose(l.context(), put(record("r", "x"))); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("propose: %v, want ENOSPC", err)
	}
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	l.kill(full)
	l.open(full)
	l.wait("the restarted filer to catch up", func() bool { return value(full.State(), "before") == "x" && len(value(full.State(), "big")) > 0 })
}
