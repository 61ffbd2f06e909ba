package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A probe asks, from the client's card, for an address: many times a second, by
// ARP, which everybody hears, and by a ping to the MAC of the address, as a
// client would. Every filer's kernel is told to send packets with a TTL of its
// own; that tells them apart, which the MAC does not, because it moves with the
// address.
type probe struct {
	c       *cluster // that of the test that runs now
	fd      int
	mac     net.HardwareAddr
	from    netip.Addr // the client's address
	target  netip.Addr
	port    net.HardwareAddr // the MAC that belongs to the address
	ttl     map[byte]string
	stop    chan struct{}
	stopped sync.WaitGroup

	mu      sync.Mutex
	replies []reply
	pings   map[uint16]string // who answered an echo request
	arps    map[byte]int      // how often an ARP request was answered
	asked   int
	wrong   map[string]string // what must not be seen, and what was seen last
}

// A reply is one that the client has seen to its ping.
type reply struct {
	at   time.Time
	host string
}

// probing starts a probe from the client's card.
func probing(c *cluster, node, card string, from, target netip.Addr, port string) *probe {
	c.t.Helper()
	mac, err := net.ParseMAC(port)
	if err != nil {
		c.t.Fatal(err)
	}
	p := &probe{c: c, from: from, target: target, port: mac, ttl: map[byte]string{}, stop: make(chan struct{}),
		pings: map[uint16]string{}, arps: map[byte]int{}, wrong: map[string]string{}}
	for i, f := range c.filers() {
		p.ttl[byte(101+i)] = f
		p.mark(f)
	}
	if err := p.open(c.node(node).Namespace, card); err != nil {
		c.t.Fatalf("a raw socket on %s of %s: %v", card, node, err)
	}
	p.stopped.Go(p.ask)
	p.stopped.Go(p.listen)
	c.t.Cleanup(p.close)
	return p
}

// mark gives the filer its TTL. A kernel that was switched off has forgotten it.
func (p *probe) mark(filer string) {
	p.c.t.Helper()
	p.c.sh(filer, fmt.Sprintf("echo %d > /proc/sys/net/ipv4/ip_default_ttl", 101+slices.Index(p.c.filers(), filer)))
}

func (p *probe) open(namespace, card string) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with this goroutine
		done <- func() error {
			ns, err := netns.GetFromName(namespace)
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := netns.Set(ns); err != nil {
				return err
			}
			link, err := net.InterfaceByName(card)
			if err != nil {
				return err
			}
			p.mac = link.HardwareAddr
			all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
			if p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
				return err
			}
			// A socket belongs to the namespace that it was made in.
			return errors.Join(
				unix.Bind(p.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Index}),
				unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
		}()
	}()
	return <-done
}

func (p *probe) close() {
	select {
	case <-p.stop:
		return
	default:
	}
	close(p.stop)
	p.stopped.Wait()
	unix.Close(p.fd)
}

// probePace is how often each question is asked.
const probePace = 10 * time.Millisecond

func (p *probe) ask() {
	tick := time.NewTicker(probePace)
	defer tick.Stop()
	for seq := uint16(0); ; seq++ {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		// Each ARP request comes from an address of its own, which the answer
		// repeats: 100 of them, so that one is used again after a second.
		asker := p.from.As4()
		asker[3] = 128 + byte(seq%100)
		p.mu.Lock()
		p.asked++
		delete(p.pings, seq)
		delete(p.arps, asker[3])
		p.mu.Unlock()
		for _, frame := range [][]byte{p.arpRequest(asker), p.echoRequest(seq)} {
			// While the card has no signal this fails, which is like an
			// answer that does not come.
			_ = unix.Send(p.fd, frame, 0)
		}
	}
}

func (p *probe) ethernet(to net.HardwareAddr, kind uint16) []byte {
	return binary.BigEndian.AppendUint16(append(append([]byte(nil), to...), p.mac...), kind)
}

func (p *probe) arpRequest(asker [4]byte) []byte {
	target := p.target.As4()
	f := append(p.ethernet(net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, unix.ETH_P_ARP), 0, 1, 8, 0, 6, 4, 0, 1)
	f = append(append(f, p.mac...), asker[:]...)
	return append(append(f, 0, 0, 0, 0, 0, 0), target[:]...)
}

// probeID marks our echo requests.
const probeID = 0x6e71

func (p *probe) echoRequest(seq uint16) []byte {
	from, target := p.from.As4(), p.target.As4()
	icmp := []byte{8, 0, 0, 0}
	icmp = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(icmp, probeID), seq)
	binary.BigEndian.PutUint16(icmp[2:], checksum(icmp))
	ip := []byte{0x45, 0, 0, byte(20 + len(icmp)), 0, 0, 0, 0, 64, 1, 0, 0}
	ip = append(append(ip, from[:]...), target[:]...)
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	return append(append(p.ethernet(p.port, unix.ETH_P_IP), ip...), icmp...)
}

// checksum is that of the Internet protocols, of an even number of bytes.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func (p *probe) listen() {
	frame := make([]byte, 2048)
	for {
		select {
		case <-p.stop:
			return
		default:
		}
		if n, _, err := unix.Recvfrom(p.fd, frame, 0); err == nil {
			p.see(frame[:n], time.Now())
		}
	}
}

// see takes note of one frame at the client's card.
func (p *probe) see(f []byte, at time.Time) {
	target := p.target.As4()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(f) < 42 || [6]byte(f[:6]) != [6]byte(p.mac): // not for us alone
	case binary.BigEndian.Uint16(f[12:]) == unix.ETH_P_ARP && f[21] == 2 && [4]byte(f[28:32]) == target && f[41] >= 128:
		if mac := net.HardwareAddr(f[22:28]); mac.String() != p.port.String() {
			p.wrong["an ARP request was answered with the MAC of another link than the address is on"] = mac.String()
			return
		}
		if p.arps[f[41]]++; p.arps[f[41]] > 1 {
			p.wrong["an ARP request was answered more than once"] = at.Format(time.StampMilli)
		}
	case binary.BigEndian.Uint16(f[12:]) == unix.ETH_P_IP && f[14] == 0x45 && f[23] == 1 && [4]byte(f[26:30]) == target &&
		f[34] == 0 && binary.BigEndian.Uint16(f[38:]) == probeID:
		host, known := p.ttl[f[22]]
		if !known {
			p.wrong["an answer came with a TTL that is no filer's"] = fmt.Sprint(f[22])
		}
		seq := binary.BigEndian.Uint16(f[40:])
		if before := p.pings[seq]; before != "" {
			p.wrong["a ping was answered more than once"] = fmt.Sprintf("by %s and %s, %s", before, host, at.Format(time.StampMilli))
		}
		p.pings[seq] = host
		p.replies = append(p.replies, reply{at, host})
	}
}

// answers waits until the client gets answers from a filer that is, or is not,
// the named one, to what happens from now on.
func (p *probe) answers(is bool, filer string) {
	p.c.t.Helper()
	p.mu.Lock()
	seen := len(p.replies)
	p.mu.Unlock()
	what := "the client gets answers from another filer than " + filer
	if is {
		what = "the client gets answers from " + filer
	}
	p.c.await(what, patience(), func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, r := range p.replies[seen:] {
			if (r.host == filer) == is {
				return nil
			}
		}
		return fmt.Errorf("%d answers, none of those", len(p.replies)-seen)
	})
}

// silence waits until the client has had no answer for a time.
func (p *probe) silence(d time.Duration) {
	p.c.t.Helper()
	p.c.await(fmt.Sprintf("the client gets no answer for %v", d), patience(), func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if last := p.replies[len(p.replies)-1]; time.Since(last.at) < d {
			return fmt.Errorf("%s answers", last.host)
		}
		return nil
	})
}

// A reign is a time in which one filer answered.
type reign struct {
	host        string
	first, last time.Time
}

// reigns tells who answered, one after the other.
func reigns(replies []reply) (all []reign) {
	for i, r := range replies {
		if i == 0 || all[len(all)-1].host != r.host {
			all = append(all, reign{r.host, r.at, r.at})
		}
		all[len(all)-1].last = r.at
	}
	return all
}

// longest is the longest time between two answers.
func longest(replies []reply) (gap time.Duration) {
	for i := 1; i < len(replies); i++ {
		gap = max(gap, replies[i].at.Sub(replies[i-1].at))
	}
	return gap
}

// seen are the answers so far.
func (p *probe) seen() []reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.replies[:len(p.replies):len(p.replies)]
}
