package monitor

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/netquorum/netquorum"
)

// A Prober asks probe targets and listens to their links.
type Prober interface {
	// Ask asks each target once and returns without waiting for answers. From
	// then on it listens to the links of these targets, and to no others.
	Ask(list []Ask)
	// Know says which addresses are this filer's own: a claim of one of them is
	// worth telling of.
	Know(own map[netip.Addr]bool)
	// Heard receives answers, and what neighbours say of addresses on the links.
	Heard() <-chan Heard
	// Close ends listening and waits for it.
	Close()
}

// heardRoom is how much that was heard may wait to be looked at; more is
// dropped, and the next round asks again.
const heardRoom = 256

// Packets asks with raw sockets: one for ARP and one for neighbour discovery on
// each link with targets, and one for ICMP on each link with distant ones.
type Packets struct {
	log   *slog.Logger
	heard chan Heard
	done  context.Context
	stop  context.CancelFunc
	wait  sync.WaitGroup

	// wanted are the addresses worth telling of, so that a busy network's ARP
	// wakes nobody.
	wanted atomic.Pointer[map[netip.Addr]bool]

	mu      sync.Mutex
	sockets map[socketKey]*socket
	failing map[socketKey]bool // to log once
}

type socketKey struct {
	name    string
	index   int
	mac     netquorum.MAC
	own     netip.Addr // of ND and ICMP
	purpose purpose
}

type purpose string

const (
	purposeARP  purpose = "ARP"
	purposeND   purpose = "neighbour discovery"
	purposeICMP purpose = "ICMP"
)

// A socket sends questions and is read until it is closed.
type socket struct {
	send  func(target netip.Addr) error
	close func() error
}

// NewPackets returns a prober for the network namespace of the process. A nil
// logger is silent.
func NewPackets(log *slog.Logger) *Packets {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	done, stop := context.WithCancel(context.Background())
	p := &Packets{log: log, heard: make(chan Heard, heardRoom), done: done, stop: stop,
		sockets: map[socketKey]*socket{}, failing: map[socketKey]bool{}}
	p.Know(nil)
	return p
}

// Heard implements Prober.
func (p *Packets) Heard() <-chan Heard { return p.heard }

// Know implements Prober.
func (p *Packets) Know(own map[netip.Addr]bool) { p.wanted.Store(&own) }

// Close implements Prober.
func (p *Packets) Close() {
	p.stop()
	p.mu.Lock()
	for _, s := range p.sockets {
		_ = s.close()
	}
	clear(p.sockets)
	p.mu.Unlock()
	p.wait.Wait()
}

// Ask implements Prober.
func (p *Packets) Ask(list []Ask) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done.Err() != nil {
		return
	}
	used := map[socketKey]bool{}
	for _, a := range list {
		k := a.socket()
		used[k] = true
		s, ok := p.sockets[k]
		if !ok {
			var err error
			if s, err = p.open(k); err != nil {
				p.fail(k, err)
				continue
			}
			p.sockets[k] = s
		}
		if err := s.send(a.Address); err != nil {
			// The link may be gone, or another one have its name: the next round
			// opens another socket.
			_ = s.close()
			delete(p.sockets, k)
			if !errors.Is(err, unix.ENETDOWN) && !errors.Is(err, unix.ENXIO) {
				p.fail(k, err)
			}
			continue
		}
		delete(p.failing, k)
	}
	for k, s := range p.sockets {
		if !used[k] {
			_ = s.close()
			delete(p.sockets, k)
		}
	}
}

// fail says once that a link cannot be asked.
func (p *Packets) fail(k socketKey, err error) {
	if !p.failing[k] {
		p.log.Warn("cannot ask neighbours", "interface", k.name, "by", k.purpose, "error", err)
	}
	if len(p.failing) > heardRoom {
		clear(p.failing)
	}
	p.failing[k] = true
}

// socket is the socket that a target is asked by.
func (a Ask) socket() socketKey {
	k := socketKey{name: a.Interface, index: a.Index}
	switch {
	case !a.OnLink:
		k.purpose, k.own = purposeICMP, a.Source
	case a.Address.Is6():
		k.purpose, k.own, k.mac = purposeND, a.LinkLocal, a.MAC
	default:
		k.purpose, k.own, k.mac = purposeARP, a.Source, a.MAC
	}
	return k
}

func (p *Packets) open(k socketKey) (*socket, error) {
	switch k.purpose {
	case purposeICMP:
		return p.openICMP(k)
	case purposeND:
		return p.openFrames(k, unix.ETH_P_IPV6, &packet.Config{Filter: onlyND},
			func(target netip.Addr) ([]byte, error) { return solicitation(k.mac, k.own, target) },
			func(b []byte) (Heard, bool, error) { return parseND(b, k.own) })
	}
	return p.openFrames(k, unix.ETH_P_ARP, nil,
		func(target netip.Addr) ([]byte, error) { return arpFrame(k.mac, k.own, target), nil },
		func(b []byte) (Heard, bool, error) { return parseARP(b, k.mac) })
}

// openFrames opens a packet socket on a link. It joins no group and asks for no
// frames that the link would not take anyway: listening changes nothing.
func (p *Packets) openFrames(k socketKey, protocol int, cfg *packet.Config,
	make func(netip.Addr) ([]byte, error), parse func([]byte) (Heard, bool, error)) (*socket, error) {
	conn, err := packet.Listen(&net.Interface{Index: k.index, Name: k.name, HardwareAddr: k.mac[:]}, packet.Raw, protocol, cfg)
	if err != nil {
		return nil, err
	}
	p.wait.Go(func() {
		var b [1600]byte
		for {
			n, _, err := conn.ReadFrom(b[:])
			if errors.Is(err, unix.ENETDOWN) {
				continue // said once when a link goes down; it may come back
			}
			if err != nil {
				return
			}
			if h, ok, err := parse(b[:n]); ok && err == nil && h.MAC != k.mac {
				h.Interface = k.name
				p.tell(h)
			}
		}
	})
	return &socket{close: conn.Close, send: func(target netip.Addr) error {
		frame, err := make(target)
		if err != nil {
			return err
		}
		_, err = conn.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])})
		return err
	}}, nil
}

// tell passes on what matters to somebody, and drops it when nobody listens.
func (p *Packets) tell(h Heard) {
	if own := *p.wanted.Load(); !h.Answer && !own[h.Address] {
		return
	}
	select {
	case p.heard <- h:
	default:
	}
}
