package transporttest

import (
	"net"
	"time"
)

// A Way is how long data is under way on a relay's connections, in each direction.
type Way struct {
	Delay time.Duration
	Rate  int // bytes a second
}

// Lengthen makes the way of later connections longer.
func (r *Relay) Lengthen(w Way) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.way = w
}

// A parcel is data that is under way.
type parcel struct {
	b  []byte
	at time.Time // when it arrives
}

// carry is pump over a long way. What fits on the way is taken at once, as by a network,
// and no more.
func (r *Relay) carry(to, from net.Conn, w Way) {
	const size = 16 << 10
	room := 2*int(w.Delay.Seconds()*float64(w.Rate))/size + 64
	under := make(chan parcel, room)
	arrived := make(chan struct{})
	r.wg.Go(func() {
		defer close(arrived)
		defer from.Close() // which ends reading
		for p := range under {
			if !r.until(p.at) || !r.wait() {
				return
			}
			if _, err := to.Write(p.b); err != nil {
				return
			}
		}
	})
	var free time.Time // when all that was taken has been sent
	for {
		b := make([]byte, size)
		n, err := from.Read(b)
		if n > 0 {
			if now := time.Now(); free.Before(now) {
				free = now
			}
			free = free.Add(time.Duration(float64(n) / float64(w.Rate) * float64(time.Second)))
			select {
			case under <- parcel{b[:n], free.Add(w.Delay)}:
			case <-arrived:
				return
			}
		}
		if err != nil {
			close(under)
			<-arrived
			return
		}
	}
}

// until waits for a time; false when the relay has ended.
func (r *Relay) until(at time.Time) bool {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.closed:
		return false
	}
}
