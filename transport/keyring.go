package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const nextAuthorityFile = "authority-next.pem"

// A Keyring is all that a filer shows and trusts: its identity, the cluster's
// authority and, while the cluster changes its authority, the next one. It never
// changes; each step of a change writes files and makes another.
//
// The steps are safe against a loss of power: each replaces one file in one
// step, and every keyring that can be found afterwards is one that works.
type Keyring struct {
	Current  *Authority
	Next     *Authority // nil but while the authority is changed
	Identity *Identity  // issued by one of the two, trusting both
}

// NewKeyring puts together what belongs together; next may be nil.
func NewKeyring(current, next *Authority, identity *Identity) (*Keyring, error) {
	k := &Keyring{Current: current, Next: next, Identity: identity}
	for _, a := range k.authorities() {
		if a.ClusterID != identity.ClusterID {
			return nil, mismatched("the authority and the identity are of different clusters")
		}
	}
	if k.Issuer() == nil {
		return nil, mismatched("the identity was issued by none of the authorities that this filer holds")
	}
	k.Identity = identity.trusting(k.authorities())
	return k, nil
}

// LoadKeyring reads what Save and the steps wrote. Errors are of type
// *FileError; ErrMissing means that the filer is in no cluster yet.
func LoadKeyring(dir string) (*Keyring, error) {
	identity, err := LoadIdentity(dir)
	if err != nil {
		return nil, err
	}
	current, err := LoadAuthority(dir)
	if err != nil {
		return nil, err
	}
	next, err := loadSecret(filepath.Join(dir, nextAuthorityFile), ParseAuthority)
	if err != nil && !errors.Is(err, ErrMissing) {
		return nil, err
	}
	k, err := NewKeyring(current, next, identity)
	if err != nil {
		return nil, &FileError{filepath.Join(dir, identityFile), err}
	}
	return k, nil
}

// Save writes the whole keyring, the identity last: a filer with an identity has
// what it needs to use it.
func (k *Keyring) Save(dir string) error {
	if k.Next == nil {
		if err := removeSecret(filepath.Join(dir, nextAuthorityFile)); err != nil {
			return err
		}
	} else if err := k.Next.save(dir, nextAuthorityFile); err != nil {
		return err
	}
	if err := k.Current.Save(dir); err != nil {
		return err
	}
	return k.Identity.Save(dir)
}

// Trust keeps the next authority and trusts it beside the current one.
func (k *Keyring) Trust(dir string, next *Authority) (*Keyring, error) {
	if k.Next != nil && k.Issuer() == k.Next && !k.Next.cert.Equal(next.cert) {
		return nil, errors.New("this filer uses the next authority already; it cannot be given another")
	}
	out, err := NewKeyring(k.Current, next, k.Identity)
	if err != nil {
		return nil, err
	}
	return out, next.save(dir, nextAuthorityFile)
}

// Use gets an identity of the next authority.
func (k *Keyring) Use(dir string) (*Keyring, error) {
	if k.Next == nil {
		return nil, errors.New("there is no next authority to use")
	}
	return k.reissue(dir, k.Next)
}

// Renew gets an identity for another year, with a new key.
func (k *Keyring) Renew(dir string) (*Keyring, error) { return k.reissue(dir, k.Issuer()) }

func (k *Keyring) reissue(dir string, by *Authority) (*Keyring, error) {
	identity, err := by.Renew(k.Identity)
	if err != nil {
		return nil, err
	}
	out, err := NewKeyring(k.Current, k.Next, identity)
	if err != nil {
		return nil, err
	}
	return out, identity.Save(dir)
}

// Retire puts the next authority in the place of the current one, whose key is
// gone with that. The identity must be one of the next already.
func (k *Keyring) Retire(dir string) (*Keyring, error) {
	if k.Next == nil || k.Issuer() != k.Next {
		return nil, errors.New("the current authority is still used by this filer")
	}
	out, err := NewKeyring(k.Next, nil, k.Identity)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, authorityFile)
	if err := os.Rename(filepath.Join(dir, nextAuthorityFile), path); err != nil {
		return nil, &FileError{path, err}
	}
	return out, syncDir(dir)
}

// Forget drops a next authority that never came into use.
func (k *Keyring) Forget(dir string) (*Keyring, error) {
	out, err := NewKeyring(k.Current, nil, k.Identity)
	if err != nil {
		return nil, err
	}
	return out, removeSecret(filepath.Join(dir, nextAuthorityFile))
}

// Issuer is the authority that issued the identity, and issues others'.
func (k *Keyring) Issuer() *Authority {
	for _, a := range k.authorities() {
		if k.Identity == nil || k.Identity.ca.Equal(a.cert) {
			return a
		}
	}
	return nil
}

func (k *Keyring) authorities() []*Authority {
	if k.Next == nil {
		return []*Authority{k.Current}
	}
	return []*Authority{k.Current, k.Next}
}

// Successor makes another authority for the same cluster.
func (a *Authority) Successor() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the cluster's next key: %w", err)
	}
	return newAuthority(a.Cluster, a.ClusterID, key)
}

// Fingerprint names the authority without telling anything of its key: the
// SHA-256 of its certificate, in hexadecimal.
func (a *Authority) Fingerprint() string { return fingerprint(a.cert) }

// Issuer is the fingerprint of the authority that issued the identity.
func (i *Identity) Issuer() string { return fingerprint(i.ca) }

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// issuedByTrusted reports whether a certificate was issued by an authority that is
// trusted now. Whether it has expired since it was shown is another matter.
func (i *Identity) issuedByTrusted(c *x509.Certificate) bool {
	_, err := c.Verify(x509.VerifyOptions{Roots: i.pool, CurrentTime: c.NotAfter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// trusting returns the identity with exactly these authorities trusted.
func (i *Identity) trusting(list []*Authority) *Identity {
	c := *i
	c.pool = x509.NewCertPool()
	for _, a := range list {
		c.pool.AddCert(a.cert)
	}
	return &c
}

// removeSecret removes a file of keys, if it is there, for good.
func removeSecret(path string) error {
	err := os.Remove(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return &FileError{path, err}
	}
	return syncDir(filepath.Dir(path))
}
