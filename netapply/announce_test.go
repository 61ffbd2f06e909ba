package netapply

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/ndp"
	netquorum "github.com/netquorum/netquorum"
)

// wire records what is sent, and when.
type wire struct {
	mu    sync.Mutex
	start time.Time
	log   []string
	open  int
	fail  map[string]bool // links that cannot be opened
}

type wireFrames struct {
	w    *wire
	link string
}

func (w *wire) openLink(link string) (frames, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail[link] {
		return nil, errors.New("no such device")
	}
	w.open++
	return wireFrames{w, link}, nil
}

func (f wireFrames) MAC() netquorum.MAC { return netquorum.MAC{2, 9, 9, 9, 9, 9} }

func (f wireFrames) Send(b []byte) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.log = append(f.w.log, fmt.Sprintf("%v %s %s", time.Since(f.w.start), f.link, describe(b)))
	return nil
}

func (f wireFrames) Close() error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.open--
	return nil
}

// describe reads a frame back.
func describe(b []byte) string {
	mac := netquorum.MAC(b[6:12])
	if b[12] == 0x08 {
		ip, _ := netip.AddrFromSlice(b[28:32])
		target, _ := netip.AddrFromSlice(b[38:42])
		return fmt.Sprintf("arp op %d %s at %s for %s to %s", b[21], ip, mac, target, netquorum.MAC(b[:6]))
	}
	source, _ := netip.AddrFromSlice(b[22:38])
	m, err := ndp.ParseMessage(b[54:])
	if err != nil {
		return err.Error()
	}
	na := m.(*ndp.NeighborAdvertisement)
	return fmt.Sprintf("na %s from %s at %v override %t hops %d length %d of %d", na.TargetAddress, source, na.Options[0].(*ndp.LinkLayerAddress).Addr, na.Override, b[21], b[19], len(b)-54)
}

func startAnnouncer(w *wire) *Announcer {
	a := NewAnnouncer(nil)
	a.open = w.openLink
	w.start = time.Now()
	return a
}

var (
	four = Announcement{"data0-a", netquorum.MAC{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("10.2.2.1")}
	six  = Announcement{"data0-a", netquorum.MAC{}, netip.MustParseAddr("2001:db8::1")}
)

func TestAnnouncementsAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		a := startAnnouncer(w)
		a.Announce(four, six)
		time.Sleep(3 * time.Second) // of the bubble's time
		a.Close()
		var expected []string
		for _, at := range []string{"0s", "200ms", "500ms", "1s", "2s"} {
			expected = append(expected,
				at+" data0-a arp op 1 10.2.2.1 at 02:00:00:00:00:01 for 10.2.2.1 to ff:ff:ff:ff:ff:ff",
				at+" data0-a arp op 2 10.2.2.1 at 02:00:00:00:00:01 for 10.2.2.1 to ff:ff:ff:ff:ff:ff",
				at+" data0-a na 2001:db8::1 from 2001:db8::1 at 02:09:09:09:09:09 override true hops 255 length 32 of 32")
		}
		if !slices.Equal(w.log, expected) {
			t.Errorf("sent:\n%s\nwant:\n%s", strings.Join(w.log, "\n"), strings.Join(expected, "\n"))
		}
		if w.open != 0 || len(a.active) != 0 {
			t.Errorf("%d sockets and %d announcements left", w.open, len(a.active))
		}
	})
}

func TestAnnouncementsEndWhenTheAddressGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		a := startAnnouncer(w)
		other := Announcement{"data0-b", four.MAC, netip.MustParseAddr("10.2.2.9")}
		a.Announce(four, other)
		time.Sleep(300 * time.Millisecond)
		a.Withdraw("data0-a", four.Address)
		time.Sleep(300 * time.Millisecond)
		a.Withdraw("data0-b", netip.Addr{}) // the whole link
		time.Sleep(3 * time.Second)
		a.Close()
		times := map[string]int{}
		for _, l := range w.log {
			times[strings.Fields(l)[1]]++
		}
		if times["data0-a"] != 4 || times["data0-b"] != 6 {
			t.Errorf("frames sent: %v, want 4 of data0-a (twice two) and 6 of data0-b", times)
		}
	})
}

func TestAnnouncedAgainCountsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		a := startAnnouncer(w)
		a.Announce(four)
		time.Sleep(100 * time.Millisecond)
		a.Announce(four)
		time.Sleep(3 * time.Second)
		a.Close()
		if len(w.log) != 2+10 {
			t.Errorf("%d frames, want 2 of the first and 10 of the second announcement:\n%s", len(w.log), strings.Join(w.log, "\n"))
		}
	})
}

func TestAnnouncerClosesInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{fail: map[string]bool{"gone": true}}
		a := startAnnouncer(w)
		a.Announce(four, Announcement{"gone", four.MAC, four.Address})
		synctest.Wait()
		a.Close()
		if time.Since(w.start) > 0 || w.open != 0 || len(w.log) != 2 {
			t.Errorf("closed after %v with %d sockets open and %d frames sent", time.Since(w.start), w.open, len(w.log))
		}
		a.Announce(four) // after Close: nothing
		a.Close()
	})
}
