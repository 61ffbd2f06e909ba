package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/netquorum/netquorum"
)

// services are servers on the wildcard address of every filer and of the client,
// and a client. The sockets live in this process and in the nodes' namespaces.
type services struct{ namespaces map[string]string }

type (
	group   = sync.WaitGroup
	counter struct{ n atomic.Int64 }
)

func (c *counter) add()         { c.n.Add(1) }
func (c *counter) value() int64 { return c.n.Load() }

// serve opens the sockets. Every server answers with the name of its node.
func serve(c *cluster) *services {
	c.t.Helper()
	s := &services{namespaces: map[string]string{}}
	for _, node := range append(c.filers(), "client") {
		s.namespaces[node] = c.node(node).Namespace
		for _, port := range []int{22, 443, 2049, 10000, 10100, 4000} {
			s.listen(c, node, "tcp", port)
		}
		for _, port := range []int{2049, 161, 4000} {
			s.listen(c, node, "udp", port)
		}
	}
	return s
}

func (s *services) listen(c *cluster, node, protocol string, port int) {
	c.t.Helper()
	address := fmt.Sprintf("0.0.0.0:%d", port)
	var closer interface{ Close() error }
	err := s.in(node, func() error {
		if protocol == "tcp" {
			l, err := new(net.ListenConfig).Listen(c.t.Context(), "tcp4", address)
			if err == nil {
				closer = l
				go answerTCP(l, node)
			}
			return err
		}
		l, err := net.ListenPacket("udp4", address)
		if err != nil {
			return err
		}
		closer = l
		p := ipv4.NewPacketConn(l)
		go answerUDP(p, node)
		return p.SetControlMessage(ipv4.FlagDst, true)
	})
	if err != nil {
		c.t.Fatalf("%s/%d on %s: %v", protocol, port, node, err)
	}
	c.t.Cleanup(func() { _ = closer.Close() })
}

func answerTCP(l net.Listener, name string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Write([]byte(name))
		_ = conn.Close()
	}
}

// answerUDP answers from the address that was asked, as a server on a machine
// with many addresses must.
func answerUDP(p *ipv4.PacketConn, name string) {
	b := make([]byte, 64)
	for {
		_, to, from, err := p.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && to != nil {
			_, _ = p.WriteTo([]byte(name), &ipv4.ControlMessage{Src: to.Dst}, from)
		}
	}
}

// in runs something in a node's network namespace.
func (s *services) in(node string, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with this goroutine
		done <- func() error {
			ns, err := netns.GetFromName(s.namespaces[node])
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := netns.Set(ns); err != nil {
				return err
			}
			return do()
		}()
	}()
	return <-done
}

// Who is not answered waits so long: what is allowed gets all the time that a
// busy machine needs.
const deniedWait, allowedWait = 400 * time.Millisecond, 15 * time.Second

// connect asks from the client, and returns who answered.
func (s *services) connect(c cell, allowed bool) (string, error) {
	wait := deniedWait
	if allowed {
		wait = allowedWait
	}
	return s.connectFrom("client", c, wait)
}

func (s *services) connectFrom(node string, c cell, wait time.Duration) (answer string, err error) {
	err = s.in(node, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		d := net.Dialer{LocalAddr: local(c.packet.Protocol, c.packet.From)}
		to := netip.AddrPortFrom(c.packet.To, c.packet.Port).String()
		conn, err := d.DialContext(ctx, c.packet.Protocol+"4", to)
		if err != nil {
			return err
		}
		defer conn.Close()
		if c.packet.Port == netquorum.ClusterPort {
			answer = c.name // the daemon waits for us to speak first
			return nil
		}
		end, _ := ctx.Deadline()
		b := make([]byte, 64)
		for { // what is sent by UDP may be lost
			if c.packet.Protocol == "udp" {
				if _, err := conn.Write([]byte("?")); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
					return err
				}
			}
			try := time.Now().Add(wait / 4)
			if c.packet.Protocol == "tcp" || try.After(end) {
				try = end
			}
			_ = conn.SetReadDeadline(try)
			n, err := conn.Read(b)
			if n > 0 {
				answer = string(b[:n])
				return nil
			}
			if c.packet.Protocol == "tcp" || !time.Now().Before(end) {
				return err
			}
		}
	})
	return answer, err
}

func local(protocol string, a netip.Addr) net.Addr {
	if protocol == "udp" {
		return net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
}
