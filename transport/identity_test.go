package transport_test

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport"
)

func newIdentity(t testing.TB) (*transport.Authority, *transport.Identity) {
	t.Helper()
	a, err := transport.NewAuthority("acme")
	if err != nil {
		t.Fatal(err)
	}
	i, err := a.Issue("0b9e9f6e-1", "filer1")
	if err != nil {
		t.Fatal(err)
	}
	return a, i
}

func pemOf(t testing.TB, v interface{ PEM() ([]byte, error) }) []byte {
	t.Helper()
	data, err := v.PEM()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestKeysAreSavedForRootAloneAndReadBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := os.Mkdir(dir, 0o755); err != nil { // as an installer might
		t.Fatal(err)
	}
	// What a power cut left, readable by all.
	if err := os.WriteFile(filepath.Join(dir, "identity.pem.new"), []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	a, i := newIdentity(t)
	for range 2 { // and once more over what is there
		if err := errors.Join(a.Save(dir), i.Save(dir)); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
	for _, e := range entries {
		if info, _ := e.Info(); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v", info.Mode())
	}
	a2, err := transport.LoadAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	i2, err := transport.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pemOf(t, a), pemOf(t, a2)) || !bytes.Equal(pemOf(t, i), pemOf(t, i2)) {
		t.Error("what was read is not what was saved")
	}
	if i2.Filer != "0b9e9f6e-1" || i2.Name != "filer1" || i2.Cluster != "acme" || i2.ClusterID != a.ClusterID || a2.Cluster != "acme" {
		t.Errorf("read %+v and %+v", i2, a2)
	}
	if next, err := a2.Issue("0b9e9f6e-2", "filer2"); err != nil || next.ClusterID != a.ClusterID {
		t.Errorf("an authority that was read cannot issue: %v", err)
	}
}

func TestACertificateIsRenewedInTime(t *testing.T) {
	a, _ := newIdentity(t)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	a.Now = func() time.Time { return now }
	i, err := a.Issue("f", "filer1")
	if err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	for age, want := range map[time.Duration]bool{0: false, 200 * day: false, 250 * day: true, 400 * day: true} {
		if got := i.NeedsRenewal(now.Add(age)); got != want {
			t.Errorf("after %v NeedsRenewal is %t", age, got)
		}
	}
	now = now.Add(250 * day)
	renewed, err := a.Renew(i)
	if err != nil {
		t.Fatal(err)
	}
	if renewed.Filer != i.Filer || renewed.Name != i.Name || !renewed.Expires.Equal(now.Add(365*day)) {
		t.Errorf("renewed to %+v", renewed)
	}
}

func TestBadFilerIDsGetNoCertificate(t *testing.T) {
	a, _ := newIdentity(t)
	for _, id := range []string{"", "A", "a b", "a/b", "a.b", "ä", strings.Repeat("a", 65)} {
		if _, err := a.Issue(netquorum.FilerID(id), "x"); err == nil {
			t.Errorf("a certificate was issued for %q", id)
		}
	}
}

// blocks returns the PEM parts of an identity: certificate, authority, key.
func blocks(data []byte) [][]byte {
	var out [][]byte
	for b, rest := pem.Decode(data); b != nil; b, rest = pem.Decode(rest) {
		out = append(out, pem.EncodeToMemory(b))
	}
	return out
}

func TestAFileOfKeysThatCannotBeUsedSaysWhy(t *testing.T) {
	a, i := newIdentity(t)
	other, theirs := newIdentity(t)
	second, err := a.Issue("0b9e9f6e-2", "filer2")
	if err != nil {
		t.Fatal(err)
	}
	good, authority := pemOf(t, i), pemOf(t, a)
	mine, foreign, sibling := blocks(good), blocks(pemOf(t, theirs)), blocks(pemOf(t, second))
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	flip := func(data []byte, at int) []byte {
		out := bytes.Clone(data)
		out[at] ^= 1
		return out
	}
	tests := []struct {
		name string
		data []byte // nil: no file
		want error
	}{
		{"no file", nil, transport.ErrMissing},
		{"an empty file", []byte{}, transport.ErrDamaged},
		{"cut in the middle", good[:len(good)/2], transport.ErrDamaged},
		{"cut at the end", good[:len(good)-10], transport.ErrDamaged},
		{"a bit flipped in the certificate", flip(good, 200), nil},
		{"a bit flipped in the key", flip(good, len(good)-80), nil},
		{"a bit flipped at the end of the key", flip(good, len(good)-40), nil},
		{"zeros", make([]byte, 4096), transport.ErrDamaged},
		{"too large", bytes.Repeat(good, 100), transport.ErrDamaged},
		{"something after it", append(bytes.Clone(good), "and more"...), transport.ErrDamaged},
		{"no key", join(mine[0], mine[1]), transport.ErrDamaged},
		{"two keys", join(good, mine[2]), transport.ErrDamaged},
		{"only one certificate", join(mine[0], mine[2]), transport.ErrDamaged},
		{"an authority", authority, transport.ErrDamaged},
		{"another filer's key", join(mine[0], mine[1], sibling[2]), transport.ErrMismatched},
		{"another cluster's authority", join(mine[0], foreign[1], mine[2]), transport.ErrMismatched},
		{"the authority where the filer belongs", join(mine[1], mine[1], blocks(authority)[1]), transport.ErrDamaged},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "identity.pem")
			if test.data != nil {
				if err := os.WriteFile(path, test.data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := transport.LoadIdentity(dir)
			var file *transport.FileError
			if !errors.As(err, &file) || file.Path != path {
				t.Fatalf("got %v, want a FileError for %s", err, path)
			}
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if test.want == nil && !errors.Is(err, transport.ErrDamaged) && !errors.Is(err, transport.ErrMismatched) {
				t.Errorf("got %v, want damaged or mismatched", err)
			}
			if test.want == transport.ErrMissing && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v is not fs.ErrNotExist", err)
			}
			if strings.Contains(err.Error(), "BEGIN") {
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
	for name, data := range map[string][]byte{
		"another authority's key": join(blocks(authority)[0], blocks(pemOf(t, other))[1]),
		"an identity":             good,
		"a filer's certificate":   join(mine[0], mine[2]),
	} {
		if _, err := transport.ParseAuthority(data); err == nil {
			t.Errorf("an authority was read from %s", name)
		}
	}
}

func TestKeysThatCannotBeWrittenLeaveTheOldOnes(t *testing.T) {
	_, i := newIdentity(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "identity.pem"), 0o700); err != nil { // nothing can be renamed over it
		t.Fatal(err)
	}
	var file *transport.FileError
	if err := i.Save(dir); !errors.As(err, &file) {
		t.Errorf("got %v, want a FileError", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "identity.pem.new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the attempt was left behind: %v", err)
	}
}

func FuzzParseIdentity(f *testing.F) {
	a, i := newIdentity(f)
	f.Add(pemOf(f, i))
	f.Add(pemOf(f, a))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if id, err := transport.ParseIdentity(data); err == nil {
			if again, err := transport.ParseIdentity(pemOf(t, id)); err != nil || again.Filer != id.Filer {
				t.Errorf("an identity does not survive: %v", err)
			}
		}
		if a, err := transport.ParseAuthority(data); err == nil {
			if again, err := transport.ParseAuthority(pemOf(t, a)); err != nil || again.ClusterID != a.ClusterID {
				t.Errorf("an authority does not survive: %v", err)
			}
		}
	})
}
