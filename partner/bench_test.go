package partner_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/netquorum/netquorum/transport"
)

// BenchmarkStream and BenchmarkBareTLS carry the same bytes over one TCP
// connection on the loopback: go test ./partner -run xxx -bench . -benchtime 2s
func BenchmarkStream(b *testing.B) {
	east, west := newCluster(b, "east"), newCluster(b, "west")
	direct(east, west)
	from, to := stream(b, east, west, "mirror")
	throughput(b, from, to)
}

func BenchmarkBareTLS(b *testing.B) {
	west := newCluster(b, "west")
	west.endpoint.ServeStrangers("bare/1", func(conn *tls.Conn) (func(net.Conn), error) {
		return func(c net.Conn) { _, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, c, make([]byte, 256<<10)) }, nil
	})
	east := newCluster(b, "east")
	conn, err := east.endpoint.DialStranger(b.Context(), west.endpoint.Addr().String(), transport.Service("bare/1"))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, 256<<10)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := conn.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func throughput(b *testing.B, from io.Writer, to io.Reader) {
	go func() { _, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{to}, make([]byte, 256<<10)) }()
	buf := make([]byte, 256<<10)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := from.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
}
