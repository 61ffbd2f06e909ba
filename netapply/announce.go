package netapply

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mdlayher/packet"
	netquorum "github.com/netquorum/netquorum"
)

// An Announcer tells the neighbours where an address is now: the kernel does so
// when a link comes up, but not when an address is added. Each announcement is
// repeated, because frames get lost exactly while switches and bonds change
// over, and ends when the address goes away again: a late repetition would draw
// the traffic away from the next host.
type Announcer struct {
	log *slog.Logger

	times []time.Duration // of the repetitions, since the start
	open  func(link string) (frames, error)
	after func(time.Duration) <-chan time.Time

	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu     sync.Mutex
	active map[announced]uint64 // which announcement of an address is the current one
	count  uint64
}

// frames sends whole Ethernet frames on one link.
type frames interface {
	Send(frame []byte) error
	MAC() netquorum.MAC
	Close() error
}

// An Announcement is one address that has arrived on a link of this filer. The
// link's own MAC is used when none is given.
type Announcement struct {
	Link    string
	MAC     netquorum.MAC
	Address netip.Addr
}

type announced struct {
	link    string
	address netip.Addr
}

// NewAnnouncer returns an announcer for the calling process's network
// namespace; Close ends it. A nil logger is silent.
func NewAnnouncer(log *slog.Logger) *Announcer {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Announcer{
		log: log,
		times: []time.Duration{
			0, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
		},
		open: openFrames, after: time.After,
		ctx: ctx, cancel: cancel, active: map[announced]uint64{},
	}
}

// Announce tells the neighbours several times over about two seconds. It does
// not wait.
func (a *Announcer) Announce(list ...Announcement) {
	if len(list) == 0 || a.ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	a.count++
	n := a.count
	for _, x := range list {
		a.active[announced{x.Link, x.Address}] = n
	}
	a.mu.Unlock()
	a.wait.Go(func() { a.run(n, list) })
}

// Withdraw ends the announcements of an address, before it is removed. Without
// an address it ends all of the link.
func (a *Announcer) Withdraw(link string, address netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k := range a.active {
		if k.link == link && (k.address == address || !address.IsValid()) {
			delete(a.active, k)
		}
	}
}

// Close stops announcing and waits for what is under way.
func (a *Announcer) Close() {
	a.cancel()
	a.wait.Wait()
}

// run sends the n-th list of announcements at their times.
func (a *Announcer) run(n uint64, list []Announcement) {
	defer a.forget(n, list)
	links := map[string]frames{}
	defer func() {
		for _, f := range links {
			f.Close()
		}
	}()
	passed := time.Duration(0)
	for _, at := range a.times {
		if at > passed {
			select {
			case <-a.ctx.Done():
				return
			case <-a.after(at - passed):
			}
			passed = at
		}
		for _, x := range list {
			if a.current(n, x) {
				a.send(links, x)
			}
		}
	}
}

// current reports whether the address is still here and was not announced anew.
func (a *Announcer) current(n uint64, x Announcement) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.active[announced{x.Link, x.Address}] == n
}

func (a *Announcer) forget(n uint64, list []Announcement) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range list {
		if k := (announced{x.Link, x.Address}); a.active[k] == n {
			delete(a.active, k)
		}
	}
}

func (a *Announcer) send(links map[string]frames, x Announcement) {
	f, ok := links[x.Link]
	if !ok {
		var err error
		if f, err = a.open(x.Link); err != nil {
			a.log.Warn("cannot announce an address", "link", x.Link, "address", x.Address, "error", err)
			return // tried again at the next time
		}
		links[x.Link] = f
	}
	mac := x.MAC
	if mac.IsZero() {
		mac = f.MAC()
	}
	for _, frame := range announcementFrames(mac, x.Address) {
		if err := f.Send(frame); err != nil {
			a.log.Warn("cannot announce an address", "link", x.Link, "address", x.Address, "error", err)
		}
	}
}

// packetFrames is frames over a packet socket.
type packetFrames struct {
	conn *packet.Conn
	mac  netquorum.MAC
}

func openFrames(link string) (frames, error) {
	ifi, err := net.InterfaceByName(link)
	if err != nil {
		return nil, err
	}
	// Protocol 0: nothing is received.
	conn, err := packet.Listen(ifi, packet.Raw, 0, nil)
	if err != nil {
		return nil, err
	}
	f := packetFrames{conn: conn}
	if len(ifi.HardwareAddr) == len(f.mac) {
		f.mac = netquorum.MAC(ifi.HardwareAddr)
	}
	return f, nil
}

func (f packetFrames) Send(frame []byte) error {
	_, err := f.conn.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])})
	return err
}

func (f packetFrames) MAC() netquorum.MAC { return f.mac }
func (f packetFrames) Close() error       { return f.conn.Close() }
