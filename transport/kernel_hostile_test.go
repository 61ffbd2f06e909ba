package transport_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/netquorum/netquorum/lab/nstest"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/sctpio"
	"github.com/netquorum/netquorum/transport/transporttest"
)

// The same hostile callers by SCTP. What is above TLS is the same for both kinds.
func TestKernelHostileCallersBySCTP(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	if err := sctpio.Supported(); err != nil {
		t.Skipf("%v; run with -exec test/vm/vm-exec", err)
	}
	nstest.Sh(t, "ip link set lo up")
	for name, attack := range map[string]func(*victim, *testing.T){
		"a replayed handshake": (*victim).replayed, "truncated handshakes": (*victim).truncated,
	} {
		t.Run(name, func(t *testing.T) {
			v := newVictimWith(t, func(cfg *transport.Config) {
				cfg.SCTP, cfg.Addresses = true, addresses("127.0.0.1/8")
				cfg.HandshakeTimeout = 3 * time.Second // an emulated processor is slow
			})
			v.rest, v.late = 500*time.Millisecond, true
			to, err := netip.ParseAddrPort(v.filer.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			v.dial = func() net.Conn {
				t.Helper()
				local := sctpio.Addr(0, to.Addr())
				conn, err := sctpio.Dial(within(t, 10*time.Second), local, sctpio.Addr(to.Port(), to.Addr()), sctpio.Control())
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
				return conn
			}
			transporttest.Eventually(t, "the honest link to be carried by SCTP", func() bool {
				for _, l := range v.filer.Links() {
					if l.Kind == "sctp" {
						return true
					}
				}
				return false
			})
			attack(v, t)
		})
	}
}
