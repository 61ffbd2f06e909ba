package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os"
	"slices"
	"strconv"
	"time"
)

// mirrorRounds is how often a mirror's rate is measured: it is no test.
var mirrorRounds, _ = strconv.Atoi(os.Getenv("NQ_MIRROR_ROUNDS"))

// What a mirror's stream takes next to TLS alone, in turn, between the same two
// namespaces. Both ends of either are in this process; the stream goes through
// two daemons and their local sockets beside.
func mirrorBesideTLS(p *partnership) {
	from, to := p.pair("rate")
	bareFrom, bareTo := p.bareTLS()
	const round = 64 << 20
	send := func(to io.Writer, from io.Reader) time.Duration {
		arrived := make(chan error, 1)
		start := time.Now()
		go func() {
			_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(from, round), make([]byte, 256<<10))
			arrived <- err
		}()
		buf := make([]byte, 256<<10)
		for range round / len(buf) {
			if _, err := to.Write(buf); err != nil {
				p.t.Fatal(err)
			}
		}
		p.must(<-arrived)
		return time.Since(start)
	}
	var ratios []float64
	var streams, bares time.Duration
	for range mirrorRounds {
		s, b := send(from, to), send(bareFrom, bareTo)
		streams, bares = streams+s, bares+b
		ratios = append(ratios, b.Seconds()/s.Seconds())
	}
	slices.Sort(ratios)
	rate := func(d time.Duration) float64 { return float64(mirrorRounds) * round / (1 << 20) / d.Seconds() }
	p.t.Logf("%d rounds of %d MiB: a stream %.0f MiB/s, TLS alone %.0f MiB/s; of-bare %.2f in the middle, %.2f to %.2f",
		mirrorRounds, round>>20, rate(streams), rate(bares), ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1])
}

// bareTLS is a connection from munich-1 to berlin-1 with what streams have for
// encryption, and nothing else.
func (p *partnership) bareTLS() (from, to net.Conn) {
	p.t.Helper()
	s := services{namespaces: map[string]string{"munich-1": p.node("munich-1").Namespace, "berlin-1": p.node("berlin-1").Namespace}}
	var l net.Listener
	p.must(s.in("berlin-1", func() (err error) {
		l, err = net.Listen("tcp4", "192.0.2.7:9000")
		return err
	}))
	p.t.Cleanup(func() { l.Close() })
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p.must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	p.must(err)
	p.must(s.in("munich-1", func() (err error) {
		from, err = net.DialTimeout("tcp4", "192.0.2.7:9000", patience())
		return err
	}))
	to, err = l.Accept()
	p.must(err)
	from = tls.Client(from, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, DynamicRecordSizingDisabled: true})
	to = tls.Server(to, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}, MinVersion: tls.VersionTLS13, DynamicRecordSizingDisabled: true})
	p.t.Cleanup(func() { from.Close(); to.Close() })
	return from, to
}
