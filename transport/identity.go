package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"time"

	"github.com/netquorum/netquorum"
)

const identityFile = "identity.pem"

// An Identity is what one filer shows to the others: its key, its certificate
// and the authority's certificate. It never changes; a renewed one is another.
type Identity struct {
	Filer     netquorum.FilerID
	Name      string // the filer's name when the certificate was issued
	Cluster   string // the cluster's name, for people
	ClusterID string
	Expires   time.Time

	leaf *tls.Certificate
	ca   *x509.Certificate
	pool *x509.CertPool
}

func newIdentity(cert *x509.Certificate, key *ecdsa.PrivateKey, ca *x509.Certificate) (*Identity, error) {
	if key.Curve != elliptic.P256() {
		return nil, damaged("the key is not of curve P-256")
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, mismatched("the key does not belong to the certificate")
	}
	if err := cert.CheckSignatureFrom(ca); err != nil {
		return nil, mismatched("the certificate was not issued by the cluster's authority: %v", err)
	}
	filer, err := oneURI(cert, filerPrefix)
	if err != nil {
		return nil, damaged("%v", err)
	}
	if err := checkFilerID(netquorum.FilerID(filer)); err != nil {
		return nil, damaged("%v", err)
	}
	cluster, err := oneURI(cert, clusterPrefix)
	if err != nil {
		return nil, damaged("%v", err)
	}
	if of, err := oneURI(ca, clusterPrefix); err != nil || of != cluster {
		return nil, mismatched("the certificate and its authority name different clusters")
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &Identity{
		Filer: netquorum.FilerID(filer), Name: cert.Subject.CommonName,
		Cluster: ca.Subject.CommonName, ClusterID: cluster,
		Expires: cert.NotAfter,
		leaf:    &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert},
		ca:      ca, pool: pool,
	}, nil
}

// NeedsRenewal reports whether a third or less of the certificate's year is
// left. A filer that is switched off for months still comes back in time.
func (i *Identity) NeedsRenewal(now time.Time) bool {
	return now.After(i.Expires.Add(-renewBefore))
}

// PEM returns the certificate, the authority's certificate and the key.
func (i *Identity) PEM() ([]byte, error) {
	key, err := encodeKey(i.leaf.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		return nil, err
	}
	return append(append(encodeCert(i.leaf.Leaf), encodeCert(i.ca)...), key...), nil
}

// ParseIdentity reads what PEM wrote.
func ParseIdentity(data []byte) (*Identity, error) {
	certs, key, err := decodePEM(data, 2)
	if err != nil {
		return nil, err
	}
	i, err := newIdentity(certs[0], key, certs[1])
	if err != nil {
		return nil, err
	}
	if err := canonical(i, data); err != nil {
		return nil, err
	}
	return i, nil
}

// Save writes the identity into the directory, readable by root alone. It is
// one file, so that a power cut cannot leave a key beside another's certificate.
func (i *Identity) Save(dir string) error {
	data, err := i.PEM()
	if err != nil {
		return err
	}
	return writeSecret(filepath.Join(dir, identityFile), data)
}

// LoadIdentity reads what Save wrote. Errors are of type *FileError: ErrMissing
// means that the filer is in no cluster yet.
func LoadIdentity(dir string) (*Identity, error) {
	return loadSecret(filepath.Join(dir, identityFile), ParseIdentity)
}
