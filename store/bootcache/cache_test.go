package bootcache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/netquorum/netquorum"
)

var update = flag.Bool("update", false, "write the golden file")

func boot(r netquorum.Revision) Boot {
	return Boot{
		Revision: r, Cluster: "acme", Filer: "0b0c1f9e-8f5c-4b61-9f52-0d9a4c0f1d11", Name: "filer1",
		Documents: []netquorum.Document{
			{Kind: netquorum.KindCluster, Name: "acme", Revision: 1, Spec: &netquorum.Cluster{MAC: netquorum.MAC{0, 7, 0x34, 4, 0x12, 0x0e}}},
			{Kind: netquorum.KindFilerGroup, Name: "main", Revision: r, Spec: &netquorum.FilerGroup{}},
		},
	}
}

func open(t testing.TB) *Cache {
	t.Helper()
	c, err := Open(filepath.Join(t.TempDir(), "boot"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func save(t testing.TB, c *Cache, b Boot) {
	t.Helper()
	if err := c.Save(b); err != nil {
		t.Fatal(err)
	}
}

func (c *Cache) path(i int) string { return filepath.Join(c.dir, names[i]) }

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsSavedIsLoaded(t *testing.T) {
	c := open(t)
	if _, status, err := c.Load(); !errors.Is(err, ErrNone) || status[0].State != Missing || status[1].State != Missing {
		t.Fatalf("an empty cache: %+v, %v", status, err)
	}
	for r := netquorum.Revision(1); r <= 3; r++ {
		save(t, c, boot(r))
		got, status, err := c.Load()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(boot(r), got); diff != "" {
			t.Errorf("revision %d (-want +got):\n%s", r, diff)
		}
		for i, s := range status {
			if s.State != OK || s.Revision != r {
				t.Errorf("revision %d: %+v", r, s)
			}
			if info, err := os.Stat(c.path(i)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
			}
		}
	}
}

func TestTheFormatIsStable(t *testing.T) {
	got, err := encode(boot(7))
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "boot.1.golden")
	if *update {
		write(t, golden, got)
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the format has changed without a new version: %q, want %q", got, want)
	}
	b, err := decode(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(boot(7), b); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestOneSpoiledCopyIsNoticedAndHealed cuts one copy at every byte and flips
// every bit of it.
func TestOneSpoiledCopyIsNoticedAndHealed(t *testing.T) {
	sound, err := encode(boot(2))
	if err != nil {
		t.Fatal(err)
	}
	for bad := range names {
		c := open(t)
		save(t, c, boot(2))
		check := func(what string, data []byte) {
			t.Helper()
			write(t, c.path(bad), data)
			b, status, err := c.Load()
			if err != nil || b.Revision != 2 {
				t.Fatalf("%s: revision %d, %v", what, b.Revision, err)
			}
			if s := status[bad]; s.State == OK || s.State == Missing || s.Reason == "" {
				t.Fatalf("%s: %+v", what, s)
			}
		}
		for n := range sound {
			check(fmt.Sprintf("cut at byte %d", n), sound[:n])
		}
		for bit := range len(sound) * 8 {
			data := bytes.Clone(sound)
			data[bit/8] ^= 1 << (bit % 8)
			check(fmt.Sprintf("bit %d flipped", bit), data)
		}
		check("something added", append(bytes.Clone(sound), 0))
		if err := c.Heal(); err != nil {
			t.Fatal(err)
		}
		if _, status, _ := c.Load(); status[bad].State != OK {
			t.Errorf("after healing: %+v", status[bad])
		}
	}
}

func TestTheNewestSoundCopyWins(t *testing.T) {
	encoded := func(r netquorum.Revision) []byte {
		b, err := encode(boot(r))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	newer := encoded(9)
	binary.BigEndian.PutUint32(newer[len(magic):], format+1)
	broken := encoded(9)
	broken[len(broken)-1] ^= 1
	for _, c := range []struct {
		name     string
		a, b     []byte // nil: missing
		want     netquorum.Revision
		statuses [2]State
	}{
		{"the first is newer", encoded(3), encoded(2), 3, [2]State{OK, OK}},
		{"the second is newer", encoded(2), encoded(3), 3, [2]State{OK, OK}},
		{"the newer one is damaged", broken, encoded(2), 2, [2]State{Damaged, OK}},
		{"the other is missing", nil, encoded(2), 2, [2]State{Missing, OK}},
		{"the other is of a newer version", encoded(2), newer, 2, [2]State{OK, Newer}},
		{"the other is no boot cache", encoded(2), []byte(strings.Repeat("x", 500)), 2, [2]State{OK, Damaged}},
		{"both are damaged", broken, broken, 0, [2]State{Damaged, Damaged}},
		{"one is missing, one of a newer version", nil, newer, 0, [2]State{Missing, Newer}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := open(t)
			for i, data := range [][]byte{c.a, c.b} {
				if data != nil {
					write(t, cache.path(i), data)
				}
			}
			b, status, err := cache.Load()
			if b.Revision != c.want || errors.Is(err, ErrNone) != (c.want == 0) {
				t.Errorf("revision %d, %v; want %d", b.Revision, err, c.want)
			}
			if got := [2]State{status[0].State, status[1].State}; got != c.statuses {
				t.Errorf("%v, want %v", got, c.statuses)
			}
			if err := cache.Heal(); errors.Is(err, ErrNone) != (c.want == 0) {
				t.Errorf("heal: %v", err)
			}
			save(t, cache, boot(20))
			if _, status, err := cache.Load(); err != nil || status[0].Revision != 20 || status[1].Revision != 20 {
				t.Errorf("after the next save: %+v, %v", status, err)
			}
		})
	}
}

// A crashingDisk stops for ever before its n-th step, or in the middle of it.
type crashingDisk struct {
	disk
	steps, at int
	torn      bool
}

var errCrash = errors.New("power cut")

func (d *crashingDisk) step() bool { d.steps++; return d.steps > d.at }

func (d *crashingDisk) write(path string, data []byte) error {
	if d.step() {
		if d.torn && d.steps == d.at+1 {
			os.WriteFile(path, data[:len(data)/2], 0o600)
		}
		return errCrash
	}
	return d.disk.write(path, data)
}

func (d *crashingDisk) rename(from, to string) error {
	if d.step() {
		return errCrash
	}
	return d.disk.rename(from, to)
}

func TestAPowerCutAtAnyMomentLeavesACopyToBootFrom(t *testing.T) {
	for at := range 5 {
		for _, torn := range []bool{false, true} {
			t.Run(fmt.Sprintf("after %d steps, torn %v", at, torn), func(t *testing.T) {
				c := open(t)
				save(t, c, boot(1))
				// The worst beginning: only one copy is sound.
				write(t, c.path(at%2), []byte("spoiled"))
				c.disk = &crashingDisk{disk: osDisk{}, at: at, torn: torn}
				err := c.Save(boot(2))
				if (err == nil) != (at >= 4) {
					t.Errorf("save: %v", err)
				}
				after := &Cache{dir: c.dir, disk: osDisk{}}
				b, _, err := after.Load()
				if err != nil || b.Revision != 1 && b.Revision != 2 {
					t.Fatalf("revision %d, %v", b.Revision, err)
				}
				save(t, after, boot(3))
				if b, _, err := after.Load(); err != nil || b.Revision != 3 {
					t.Errorf("the next save: revision %d, %v", b.Revision, err)
				}
			})
		}
	}
}

func TestAFullDiskKeepsWhatWasThere(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	save(t, c, boot(1))
	big := boot(2)
	for i := range 2000 {
		big.Documents = append(big.Documents, netquorum.Document{Kind: netquorum.KindFilerGroup, Name: fmt.Sprintf("g%d", i), Revision: 2, Spec: &netquorum.FilerGroup{}})
	}
	if err := c.Save(big); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("save: %v, want ENOSPC", err)
	}
	b, status, err := c.Load()
	if err != nil || b.Revision != 1 || status[0].State != OK || status[1].State != OK {
		t.Errorf("revision %d, %+v, %v", b.Revision, status, err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*.new"))
	if len(left) > 0 {
		t.Errorf("%v takes the room that the next attempt needs", left)
	}
	save(t, c, boot(3))
}

func FuzzDecode(f *testing.F) {
	sound, err := encode(boot(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sound)
	f.Add(sound[:headerSize])
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		b := bytes.Clone(sound)
		b[rng.IntN(len(b))] ^= 1
		f.Add(b)
	}
	// A body of one's own under the right checksum reaches the JSON reader.
	f.Add([]byte(`{"revision":1,"documents":[{"kind":"Record","name":"r","spec":{}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		head := append([]byte(magic), 0, 0, 0, format)
		head = binary.BigEndian.AppendUint32(head, uint32(len(data)))
		sum := checksum(head, data)
		framed := append(append(head, sum[:]...), data...)
		for _, in := range [][]byte{data, framed} {
			b, err := decode(in)
			if err != nil {
				if !errors.Is(err, errDamaged) && !errors.Is(err, errNewer) {
					t.Errorf("%v is neither damage nor a newer version", err)
				}
				continue
			}
			again, err := encode(b)
			if err != nil {
				t.Fatalf("what was decoded cannot be encoded: %v", err)
			}
			if _, err := decode(again); err != nil {
				t.Errorf("what was encoded again cannot be decoded: %v", err)
			}
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	c := open(b)
	big := boot(1)
	for i := range 200 {
		big.Documents = append(big.Documents, netquorum.Document{Kind: netquorum.KindFilerGroup, Name: fmt.Sprintf("g%d", i), Revision: 1, Spec: &netquorum.FilerGroup{}})
	}
	save(b, c, big)
	for b.Loop() {
		if _, _, err := c.Load(); err != nil {
			b.Fatal(err)
		}
	}
}
