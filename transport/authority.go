package transport

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/netquorum/netquorum"
)

const (
	authorityFile = "authority.pem"

	filerValidity = 365 * 24 * time.Hour
	renewBefore   = filerValidity / 3

	uriScheme     = "netquorum"
	filerPrefix   = "filer:"
	clusterPrefix = "cluster:"
)

var (
	// A filer whose clock battery died boots in 1970 and must still be able to
	// form the cluster that will tell it the time, so nothing is "not yet valid".
	notBefore = time.Unix(0, 0).UTC()
	// The authority lives as long as its cluster (RFC 5280, 4.1.2.5: no
	// well-defined expiration).
	authorityNotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	// A clock that shows a time before this software existed is wrong, and a
	// certificate issued by it would be expired for everyone else.
	clockFloor = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
)

// An Authority issues the certificates by which the filers of one cluster
// recognise each other. Every filer holds it, so that any can admit a newcomer
// and renew itself.
type Authority struct {
	Cluster   string // the cluster's name, for people
	ClusterID string // made once; what certificates are compared by

	// Now is the clock; time.Now when nil.
	Now func() time.Time

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes the authority of a new cluster.
func NewAuthority(cluster string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the cluster's key: %w", err)
	}
	return newAuthority(cluster, uuid.NewString(), key)
}

func newAuthority(cluster, id string, key *ecdsa.PrivateKey) (*Authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: cluster, Organization: []string{"netquorum cluster"}},
		NotBefore:             notBefore,
		NotAfter:              authorityNotAfter,
		URIs:                  []*url.URL{clusterURI(id)},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // a filer's key signs no other certificate
	}
	cert, err := sign(template, template, key, key)
	if err != nil {
		return nil, fmt.Errorf("making the cluster's certificate: %w", err)
	}
	return &Authority{Cluster: cluster, ClusterID: id, cert: cert, key: key}, nil
}

// Issue makes a key and certificate for a filer, valid for a year.
func (a *Authority) Issue(id netquorum.FilerID, name string) (*Identity, error) {
	if err := checkFilerID(id); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of filer %s: %w", name, err)
	}
	now := time.Now
	if a.Now != nil {
		now = a.Now
	}
	from := now()
	if from.Before(clockFloor) {
		from = clockFloor
	}
	cert, err := sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: name, Organization: []string{"netquorum filer"}},
		NotBefore:             notBefore,
		NotAfter:              from.Add(filerValidity),
		URIs:                  []*url.URL{filerURI(id), clusterURI(a.ClusterID)},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}, a.cert, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("making the certificate of filer %s: %w", name, err)
	}
	return newIdentity(cert, key, a.cert)
}

// Renew makes a new key and certificate for the filer of an identity. What
// holds the old one stays connected; only new connections use the new one.
func (a *Authority) Renew(i *Identity) (*Identity, error) { return a.Issue(i.Filer, i.Name) }

// PEM returns the certificate and the key. It is the cluster's greatest secret.
func (a *Authority) PEM() ([]byte, error) {
	key, err := encodeKey(a.key)
	if err != nil {
		return nil, err
	}
	return append(encodeCert(a.cert), key...), nil
}

// ParseAuthority reads what PEM wrote.
func ParseAuthority(data []byte) (*Authority, error) {
	certs, key, err := decodePEM(data, 1)
	if err != nil {
		return nil, err
	}
	cert := certs[0]
	if !cert.IsCA {
		return nil, damaged("the certificate is not an authority's")
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, mismatched("the key does not belong to the certificate")
	}
	if err := cert.CheckSignatureFrom(cert); err != nil {
		return nil, damaged("the certificate's signature is wrong: %v", err)
	}
	id, err := oneURI(cert, clusterPrefix)
	if err != nil {
		return nil, damaged("%v", err)
	}
	a := &Authority{Cluster: cert.Subject.CommonName, ClusterID: id, cert: cert, key: key}
	if err := canonical(a, data); err != nil {
		return nil, err
	}
	return a, nil
}

// Save writes the authority into the directory, readable by root alone.
func (a *Authority) Save(dir string) error { return a.save(dir, authorityFile) }

func (a *Authority) save(dir, file string) error {
	data, err := a.PEM()
	if err != nil {
		return err
	}
	return writeSecret(filepath.Join(dir, file), data)
}

// LoadAuthority reads what Save wrote. Errors are of type *FileError.
func LoadAuthority(dir string) (*Authority, error) {
	return loadSecret(filepath.Join(dir, authorityFile), ParseAuthority)
}

func sign(template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func filerURI(id netquorum.FilerID) *url.URL {
	return &url.URL{Scheme: uriScheme, Opaque: filerPrefix + string(id)}
}

func clusterURI(id string) *url.URL {
	return &url.URL{Scheme: uriScheme, Opaque: clusterPrefix + id}
}

// oneURI returns what follows the prefix in the certificate's only URI of that
// kind. Two would let one certificate speak for two filers.
func oneURI(cert *x509.Certificate, prefix string) (string, error) {
	found := ""
	for _, u := range cert.URIs {
		rest, ok := strings.CutPrefix(u.Opaque, prefix)
		if !ok || u.Scheme != uriScheme {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("the certificate names two of netquorum:%s", prefix)
		}
		found = rest
	}
	if found == "" {
		return "", fmt.Errorf("the certificate names no netquorum:%s", prefix)
	}
	return found, nil
}

// checkFilerID keeps ids to what a URI and a host name both carry unchanged.
func checkFilerID(id netquorum.FilerID) error {
	if len(id) == 0 || len(id) > 64 {
		return fmt.Errorf("filer id %q: want 1 to 64 characters", id)
	}
	for _, r := range id {
		if r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			return fmt.Errorf("filer id %q: only a-z, 0-9 and - are allowed", id)
		}
	}
	return nil
}

// canonical refuses what is not exactly what PEM writes. Some bytes of a key
// file could change without a parser minding; a file that changed by itself is
// on a bad disk all the same.
func canonical(v interface{ PEM() ([]byte, error) }, data []byte) error {
	want, err := v.PEM()
	if err != nil {
		return err
	}
	if !bytes.Equal(want, data) {
		return damaged("it is not as it was written")
	}
	return nil
}

func encodeCert(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func encodeKey(k *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// decodePEM reads exactly n certificates and one key.
func decodePEM(data []byte, n int) (certs []*x509.Certificate, key *ecdsa.PrivateKey, err error) {
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			break
		}
		switch block.Type {
		case "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, nil, damaged("a certificate cannot be read: %v", err)
			}
			certs = append(certs, c)
		case "PRIVATE KEY":
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, nil, damaged("the key cannot be read") // the cause might quote it
			}
			ec, ok := k.(*ecdsa.PrivateKey)
			if !ok || key != nil {
				return nil, nil, damaged("want exactly one ECDSA key")
			}
			key = ec
		default:
			return nil, nil, damaged("unexpected %q", block.Type)
		}
	}
	if len(certs) != n || key == nil {
		return nil, nil, damaged("want %d certificates and a key, found %d and %t", n, len(certs), key != nil)
	}
	return certs, key, nil
}
