package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Gateway implements Prober: the kernel is made to look for the neighbour by a
// datagram to it, which may be lost, and its neighbour table says who answered.
// What the table had from before is forgotten first.
func (netProber) Gateway(ctx context.Context, link string, gateway netip.Addr) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("%s: %w", link, err)
	}
	index := l.Attrs().Index
	family := unix.AF_INET
	if gateway.Is6() {
		family = unix.AF_INET6
	}
	neighbour := &netlink.Neigh{LinkIndex: index, Family: family, IP: gateway.AsSlice()}
	if have, ok := neighbourState(index, family, gateway); ok && have&unix.NUD_PERMANENT == 0 {
		neighbour.State = have
		_ = netlink.NeighDel(neighbour) // gone by itself is as good
	}
	zone := ""
	if gateway.IsLinkLocalUnicast() {
		zone = link
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		if n%10 == 0 {
			d := net.Dialer{Control: bindTo(link)}
			if conn, err := d.DialContext(ctx, "udp", netip.AddrPortFrom(gateway.WithZone(zone), discardPort).String()); err == nil {
				_, _ = conn.Write(nil) // a refusal is an answer, too
				conn.Close()
			}
		}
		const known = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE | unix.NUD_PERMANENT
		if have, ok := neighbourState(index, family, gateway); ok && have&known != 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer on %s", gateway, link)
		case <-tick.C:
		}
	}
}

// discardPort is where nobody has to listen (RFC 863).
const discardPort = 9

func neighbourState(link, family int, a netip.Addr) (int, bool) {
	list, err := netlink.NeighList(link, family)
	if err != nil {
		return 0, false
	}
	for _, n := range list {
		if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == a {
			return n.State, true
		}
	}
	return 0, false
}

// bindTo sends by one link, whatever the routes say.
func bindTo(link string) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), link) }); e != nil {
			return e
		}
		return err
	}
}
