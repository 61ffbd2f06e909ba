package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport/link"
)

// A PeerError says why the other side is not who it should be.
type PeerError struct {
	Reason Reason
	Filer  netquorum.FilerID // who it says it is, when it says so
	Name   string
	Want   netquorum.FilerID // who was called; empty for a caller
	// Ours says that the certificate, which another authority has issued, names this
	// cluster: one of the two sides has most likely missed a change of the authority.
	// Nothing proves it.
	Ours bool
	Err  error
}

func (e *PeerError) Error() string {
	who := "the peer"
	if e.Filer != "" {
		who = fmt.Sprintf("filer %s (%s)", e.Name, e.Filer)
	}
	switch e.Reason {
	case NoCertificate:
		return who + " showed no certificate"
	case OtherCluster:
		if e.Ours {
			return who + " shows a certificate of an authority of this cluster that is not trusted here: one of the two has missed a change of the authority and has to join again"
		}
		return who + " belongs to another cluster"
	case Expired:
		return fmt.Sprintf("the certificate of %s has expired: %v; check the clocks of both filers", who, e.Err)
	case WrongFiler:
		return fmt.Sprintf("%s answered where filer %s was expected", who, e.Want)
	case NotAllowed:
		return who + " is not a member of the cluster (any more)"
	}
	return fmt.Sprintf("the certificate of %s is no filer's: %v", who, e.Err)
}

func (e *PeerError) Unwrap() error { return e.Err }

// A person is what a verified certificate says.
type person struct {
	id   netquorum.FilerID
	name string
}

// verify checks that the other side of a handshake holds a certificate of this
// identity's cluster that is good for the usage, and says whose it is.
func (i *Identity) verify(cs tls.ConnectionState, usage x509.ExtKeyUsage, now time.Time) (person, error) {
	if len(cs.PeerCertificates) == 0 {
		return person{}, &PeerError{Reason: NoCertificate}
	}
	cert := cs.PeerCertificates[0]
	_, err := cert.Verify(x509.VerifyOptions{
		Roots: i.pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return person{}, &PeerError{Reason: Expired, Err: err}
	case errors.As(err, new(x509.UnknownAuthorityError)):
		named, _ := oneURI(cert, clusterPrefix)
		return person{}, &PeerError{Reason: OtherCluster, Ours: named == i.ClusterID, Err: err}
	case err != nil:
		return person{}, &PeerError{Reason: NotAFiler, Err: err}
	}
	cluster, err := oneURI(cert, clusterPrefix)
	if err != nil {
		return person{}, &PeerError{Reason: NotAFiler, Err: err}
	}
	if cluster != i.ClusterID {
		return person{}, &PeerError{Reason: OtherCluster}
	}
	p, err := whose(cert)
	if err != nil {
		return person{}, &PeerError{Reason: NotAFiler, Err: err}
	}
	return p, nil
}

func whose(cert *x509.Certificate) (person, error) {
	id, err := oneURI(cert, filerPrefix)
	if err != nil {
		return person{}, err
	}
	if err := checkFilerID(netquorum.FilerID(id)); err != nil {
		return person{}, err
	}
	return person{netquorum.FilerID(id), cert.Subject.CommonName}, nil
}

// PeerOf returns the authenticated filer at the other end of a connection that
// Open returned or a service accepted; an empty id for any other connection.
func PeerOf(conn net.Conn) netquorum.FilerID {
	if a, ok := conn.RemoteAddr().(link.Addr); ok {
		return netquorum.FilerID(a)
	}
	return ""
}

// peerOf is who a verified connection is with.
func peerOf(cs tls.ConnectionState) person {
	if len(cs.PeerCertificates) == 0 {
		return person{}
	}
	p, err := whose(cs.PeerCertificates[0])
	if err != nil {
		return person{}
	}
	return p
}
