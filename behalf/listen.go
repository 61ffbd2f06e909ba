package behalf

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
)

// A ListenConfig listens as a virtual server, and as nobody else.
type ListenConfig struct {
	Server string
	Finder Finder // nil: the daemon at the default socket
	// Net has keep-alive and so on.
	Net net.ListenConfig
}

// Listen listens for connections to the server. The host of the address is one of
// the server's addresses, or empty for a server with a VRF, where it means all of
// them, and for one with a single address of the network.
//
// The server may move away while the listener stays: nothing reaches it then. It
// has to be made again when the server is back.
func (l *ListenConfig) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	config, address, err := l.prepare(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return config.Listen(ctx, network, address)
}

// ListenPacket listens for datagrams, likewise.
func (l *ListenConfig) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	config, address, err := l.prepare(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return config.ListenPacket(ctx, network, address)
}

func (l *ListenConfig) prepare(ctx context.Context, network, address string) (net.ListenConfig, string, error) {
	config := l.Net
	id, err := Find(ctx, l.Finder, l.Server)
	if err != nil {
		return config, "", err
	}
	if address, err = id.listenAddress(network, address); err != nil {
		return config, "", err
	}
	before := config.Control
	config.Control = func(network, address string, c syscall.RawConn) error {
		if before != nil {
			if err := before(network, address, c); err != nil {
				return err
			}
		}
		return control(c, id.enter)
	}
	return config, address, nil
}

// listenAddress puts the server's address where the host is missing.
func (id Identity) listenAddress(network, address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("speaking as %s: %w", id.Server, err)
	}
	own := slices.DeleteFunc(slices.Clone(id.Addresses), func(a netip.Addr) bool {
		return strings.HasSuffix(network, "4") && !a.Is4() || strings.HasSuffix(network, "6") && !a.Is6()
	})
	if host != "" {
		a, err := netip.ParseAddr(host)
		switch {
		case err != nil:
			return "", fmt.Errorf("speaking as %s: listening on %q, which is no address: %w", id.Server, host, err)
		case a.IsUnspecified():
			host = ""
		case !slices.Contains(own, a):
			return "", &AddressError{id, fmt.Sprintf("it cannot listen on %s by %s", a, network)}
		default:
			return address, nil
		}
	}
	switch {
	case len(own) == 0:
		return "", &AddressError{id, "it has no address for " + network}
	case id.VRF != "":
		return address, nil
	case len(own) == 1:
		return net.JoinHostPort(own[0].String(), port), nil
	}
	return "", &AddressError{id, fmt.Sprintf("which address is to be listened on by %s? Without a VRF name one", network)}
}
