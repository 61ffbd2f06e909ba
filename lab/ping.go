package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// A Pinger sends echo requests from a node to an address at a fixed pace, and
// remembers which were answered: it measures how long an address is silent.
type Pinger struct {
	conn   *icmp.PacketConn
	target netip.Addr
	id     int
	pace   time.Duration
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu       sync.Mutex
	sent     []time.Time   // by sequence number
	answered map[int]bool  // sequence numbers
	replies  []time.Time   // in the order of arrival
	news     chan struct{} // closed and replaced at every answer
}

// A PingReport sums up what a Pinger has seen.
type PingReport struct {
	Sent int
	// Lost are the requests without an answer that are older than a second.
	Lost int
	// Gap is the longest time between two answers.
	Gap time.Duration
}

// Ping starts to ping an address from a node. Close ends it.
func (l *Lab) Ping(node string, target netip.Addr, pace time.Duration) (*Pinger, error) {
	network, local := "ip4:icmp", "0.0.0.0"
	if target.Is6() {
		network, local = "ip6:ipv6-icmp", "::"
	}
	p := &Pinger{target: target, id: os.Getpid() & 0xffff, pace: pace, answered: map[int]bool{}, news: make(chan struct{})}
	// A socket belongs to the network namespace that it was made in, whichever
	// thread uses it later.
	err := l.enter(node, func() (err error) {
		p.conn, err = icmp.ListenPacket(network, local)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ping from %s: %w", node, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.ended.Go(func() { p.send(ctx) })
	p.ended.Go(p.receive)
	return p, nil
}

// Close ends the pinging.
func (p *Pinger) Close() {
	p.cancel()
	p.conn.Close()
	p.ended.Wait()
}

func (p *Pinger) send(ctx context.Context) {
	tick := time.NewTicker(p.pace)
	defer tick.Stop()
	kind := icmp.Type(ipv4.ICMPTypeEcho)
	if p.target.Is6() {
		kind = ipv6.ICMPTypeEchoRequest
	}
	for {
		p.mu.Lock()
		seq := len(p.sent)
		p.sent = append(p.sent, time.Now())
		p.mu.Unlock()
		msg := icmp.Message{Type: kind, Body: &icmp.Echo{ID: p.id, Seq: seq & 0xffff, Data: []byte("netquorum")}}
		if packet, err := msg.Marshal(nil); err == nil {
			// A request that cannot be sent, as when no host answers for the
			// address, is one that is not answered.
			p.conn.WriteTo(packet, &net.IPAddr{IP: p.target.AsSlice()})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *Pinger) receive() {
	protocol := 1
	if p.target.Is6() {
		protocol = 58
	}
	packet := make([]byte, 1500)
	for {
		n, from, err := p.conn.ReadFrom(packet)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		msg, err := icmp.ParseMessage(protocol, packet[:n])
		if err != nil || msg.Type != ipv4.ICMPTypeEchoReply && msg.Type != ipv6.ICMPTypeEchoReply {
			continue
		}
		echo, ok := msg.Body.(*icmp.Echo)
		if !ok || echo.ID != p.id || from.String() != p.target.String() {
			continue
		}
		p.mu.Lock()
		// The wire has 16 bits of the number; the request was a recent one.
		last := len(p.sent) - 1
		p.answered[last-(last-echo.Seq)&0xffff] = true
		p.replies = append(p.replies, time.Now())
		close(p.news)
		p.news = make(chan struct{})
		p.mu.Unlock()
	}
}

// AwaitReply waits for an answer that arrives from now on to a request that was
// sent from now on.
func (p *Pinger) AwaitReply(ctx context.Context) error {
	p.mu.Lock()
	first := len(p.sent)
	p.mu.Unlock()
	for {
		p.mu.Lock()
		news := p.news
		for seq := first; seq < len(p.sent); seq++ {
			if p.answered[seq] {
				p.mu.Unlock()
				return nil
			}
		}
		p.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("no answer from %s: %w", p.target, context.Cause(ctx))
		}
	}
}

// Report tells what was seen so far.
func (p *Pinger) Report() PingReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := PingReport{Sent: len(p.sent)}
	for seq, at := range p.sent {
		if !p.answered[seq] && time.Since(at) > time.Second {
			r.Lost++
		}
	}
	for i := 1; i < len(p.replies); i++ {
		r.Gap = max(r.Gap, p.replies[i].Sub(p.replies[i-1]))
	}
	return r
}
