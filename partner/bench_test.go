package partner_test

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/transporttest"
)

// BenchmarkStreamBesideBareTLS sends in turn over a stream and over TLS alone,
// each over one TCP connection on the loopback. of-bare is the median of the
// ratios: what one takes next to the other, whatever else the machine does.
//
//	go test ./partner -run xxx -bench . -benchtime 60x
func BenchmarkStreamBesideBareTLS(b *testing.B) {
	stream, plain := lanes(b, transporttest.Way{})
	var ratios []float64
	var streams, plains time.Duration
	b.SetBytes(2 * round)
	for b.Loop() {
		s, p := stream.send(b), plain.send(b)
		streams, plains = streams+s, plains+p
		ratios = append(ratios, p.Seconds()/s.Seconds())
	}
	slices.Sort(ratios)
	n := float64(round*len(ratios)) / 1e6
	b.ReportMetric(ratios[len(ratios)/2], "of-bare")
	b.ReportMetric(n/streams.Seconds(), "stream-MB/s")
	b.ReportMetric(n/plains.Seconds(), "bare-MB/s")
}

// lanes are a stream between two clusters and TLS alone, each over one TCP connection.
func lanes(t testing.TB, w transporttest.Way) (mirror, plain *lane) {
	var east, west *cluster
	var at string
	if w == (transporttest.Way{}) {
		east, west = newCluster(t, "east"), newCluster(t, "west")
		direct(east, west)
		at = west.endpoint.Addr().String()
	} else {
		var relays []*transporttest.Relay
		east, west, relays = pair(t, 1)
		relays[0].Lengthen(w)
		at = relays[0].Addr
	}
	from, to := stream(t, east, west, "mirror")
	accepted := make(chan net.Conn, 1)
	west.endpoint.ServeStrangers("bare/1", func(conn *tls.Conn) (func(net.Conn), error) {
		return func(c net.Conn) { accepted <- c }, nil
	})
	bare, err := east.endpoint.DialStranger(t.Context(), at, transport.Service("bare/1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bare.Close() })
	return newLane(t, from, to), newLane(t, bare, <-accepted)
}

// round is what is sent in turn.
const round = 32 << 20

// A lane is one of the two, with a reader that says when a round has arrived.
type lane struct {
	to      io.Writer
	arrived chan error
	buf     []byte
}

func newLane(t testing.TB, to io.Writer, from io.Reader) *lane {
	l := &lane{to: to, arrived: make(chan error), buf: make([]byte, 256<<10)}
	go func() {
		buf := make([]byte, 256<<10)
		for {
			for left := round; left > 0; {
				n, err := from.Read(buf[:min(len(buf), left)])
				if err != nil {
					close(l.arrived)
					return
				}
				left -= n
			}
			select {
			case l.arrived <- nil:
			case <-t.Context().Done():
				return
			}
		}
	}()
	return l
}

func (l *lane) send(t testing.TB) time.Duration {
	start := time.Now()
	for range round / len(l.buf) {
		if _, err := l.to.Write(l.buf); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := <-l.arrived; !ok {
		t.Fatal("the reader has ended")
	}
	return time.Since(start)
}
