package behalf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Dialer connects as a virtual server. The zero value of everything but Server
// will do.
type Dialer struct {
	Server string
	Finder Finder // nil: the daemon at the default socket
	// Address chooses one of the server's addresses; its routes do when invalid.
	Address netip.Addr
	// Net has time-outs, keep-alive and so on. LocalAddr is the server's business
	// and stays empty. Names are looked up as the filer would, unless it has a
	// Resolver with this Dialer's DialContext.
	Net net.Dialer
}

// DialContext connects to an address of the networks tcp, tcp4, tcp6, udp, udp4
// or udp6. A host with several addresses is tried as net.Dialer does; those that
// the server has no route to, or no address for, fail.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if d.Net.LocalAddr != nil {
		return nil, errors.New("behalf: Dialer.Net.LocalAddr is the server's business; choose with Dialer.Address")
	}
	id, err := find(ctx, d.Finder, d.Server, d.Address)
	if err != nil {
		return nil, err
	}
	dialer, before := d.Net, d.Net.ControlContext
	dialer.ControlContext = func(ctx context.Context, network, to string, c syscall.RawConn) error {
		if before != nil {
			if err := before(ctx, network, to, c); err != nil {
				return err
			}
		}
		return control(c, func(fd int) error { return id.bind(fd, network, to) })
	}
	return dialer.DialContext(ctx, network, address)
}

func find(ctx context.Context, f Finder, server string, only netip.Addr) (Identity, error) {
	id, err := Find(ctx, f, server)
	if err == nil && only.IsValid() {
		id, err = id.Only(only)
	}
	return id, err
}

// control runs a function on a socket.
func control(c syscall.RawConn, do func(fd int) error) error {
	var err error
	if outer := c.Control(func(fd uintptr) { err = do(int(fd)) }); outer != nil {
		return outer
	}
	return err
}

// bind gives a socket that is about to connect the server's address and routes.
func (id Identity) bind(fd int, network, to string) error {
	remote, err := netip.ParseAddrPort(to)
	if err != nil {
		return fmt.Errorf("speaking as %s: network %s: %w", id.Server, network, err)
	}
	if err := id.enter(fd); err != nil {
		return err
	}
	source, err := id.SourceFor(remote.Addr())
	if err != nil {
		return err
	}
	// The port is chosen when the connection is made, as without bind: many
	// connections may share one as long as they go to different places.
	_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if err := unix.Bind(fd, sockaddr(network, netip.AddrPortFrom(source, 0))); err != nil {
		return fmt.Errorf("speaking as %s from %s: %w; has it just moved away?", id.Server, source, err)
	}
	return nil
}

// enter makes a socket belong to the server's VRF.
func (id Identity) enter(fd int) error {
	if id.VRF == "" {
		return nil
	}
	if err := unix.BindToDevice(fd, id.VRF); err != nil {
		return fmt.Errorf("speaking as %s: entering its VRF %s: %w", id.Server, id.VRF, err)
	}
	return nil
}

// sockaddr is an address for a socket of a network as net names them to hooks:
// tcp4, tcp6 and so on.
func sockaddr(network string, a netip.AddrPort) unix.Sockaddr {
	if strings.HasSuffix(network, "4") {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
