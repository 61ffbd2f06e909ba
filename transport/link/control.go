package link

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Stream 0 is the link's own: on it, both sides open, refuse and abort streams.
// It is a stream like others, so none of this is lost, comes twice or overtakes
// each other. Each message is
//
//	length of what follows u16, kind u8, stream u64, then
//	open    class u8, window u64, for each offered service: length u8, name
//	opened  window u64, which of the offered u8
//	refused
//	reset   why, for people
//	stop
const (
	messageOpen = 1 + iota
	messageOpened
	messageRefused
	messageReset // the stream is over at once, in both directions
	messageStop  // what you write is not read
)

const (
	controlWindow = 256 << 10
	maxOffered    = 16
	maxService    = 128
	maxMessage    = 1 + 8 + 1 + 8 + maxOffered*(1+maxService)
)

func checkOffer(services []string, c Class) error {
	if len(services) == 0 || len(services) > maxOffered {
		return fmt.Errorf("a stream is opened with 1 to %d services, not %d", maxOffered, len(services))
	}
	for _, s := range services {
		if s == "" || len(s) > maxService {
			return fmt.Errorf("service %q: its name has 1 to %d bytes", s, maxService)
		}
	}
	if c > Bulk {
		return fmt.Errorf("class %d is unknown", c)
	}
	return nil
}

func newMessage(kind byte, id uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{0, 0, kind}, id)
}

func openMessage(s *Stream) []byte {
	m := append(newMessage(messageOpen, s.id), byte(s.class))
	m = binary.BigEndian.AppendUint64(m, s.recv.window)
	for _, name := range s.offered {
		m = append(append(m, byte(len(name))), name...)
	}
	return m
}

func openedMessage(s *Stream, which int) []byte {
	return append(binary.BigEndian.AppendUint64(newMessage(messageOpened, s.id), s.recv.window), byte(which))
}

func idMessage(kind byte, id uint64, why string) []byte {
	return append(newMessage(kind, id), why[:min(len(why), maxText)]...)
}

// tell has a message sent: with the next kick.
func (l *Link) tell(m []byte) {
	binary.BigEndian.PutUint16(m, uint16(len(m)-2))
	l.control.send.write(m)
	l.queue(l.control)
}

// takeControl is the handler of stream 0.
func (l *Link) takeControl(p []byte) error {
	l.partial = append(l.partial, p...)
	rest := l.partial
	for len(rest) >= 2 {
		n := int(binary.BigEndian.Uint16(rest))
		if n < 9 || n > maxMessage {
			return l.broken(fmt.Errorf("a control message of %d bytes", n))
		}
		if len(rest) < 2+n {
			break
		}
		if err := l.takeMessage(rest[2], binary.BigEndian.Uint64(rest[3:]), rest[11:2+n]); err != nil {
			return l.broken(err)
		}
		rest = rest[2+n:]
	}
	l.partial = append(l.partial[:0], rest...)
	return nil
}

func (l *Link) broken(err error) error {
	err = fmt.Errorf("%w: %w", ErrProtocol, err)
	l.End(err)
	return err
}

func (l *Link) takeMessage(kind byte, id uint64, body []byte) error {
	if kind == messageOpen {
		return l.takeOpen(id, body)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[id]
	if id == 0 {
		return errors.New("the control stream is told to end")
	}
	if s == nil {
		return nil // it has ended here meanwhile
	}
	switch kind {
	case messageOpened:
		if len(body) != 9 || s.opened == nil || s.service != "" || int(body[8]) >= len(s.offered) {
			return errors.New("an answer to no offer")
		}
		s.service = s.offered[body[8]]
		s.send.begin(binary.BigEndian.Uint64(body))
		close(s.opened)
	case messageRefused:
		s.fail(fmt.Errorf("%w: %q", ErrNotServed, s.offered))
	case messageReset:
		s.discard()
		if len(body) > 0 {
			s.fail(fmt.Errorf("%w: %s", ErrAborted, body))
		} else {
			s.fail(ErrAborted)
		}
		s.pump()
	case messageStop:
		s.stopped = true
		s.send.drop((*frame).leave)
		s.wakeWriter()
		s.retire()
	default:
		return fmt.Errorf("a control message of unknown kind %d", kind)
	}
	return nil
}

func (l *Link) takeOpen(id uint64, body []byte) error {
	if len(body) < 9 {
		return errors.New("a short offer")
	}
	class, window := Class(body[0]), binary.BigEndian.Uint64(body[1:])
	offered := []string{}
	for rest := body[9:]; len(rest) > 0; {
		n := int(rest[0])
		if n == 0 || len(rest) < 1+n {
			return errors.New("a broken offer")
		}
		offered, rest = append(offered, string(rest[1:1+n])), rest[1+n:]
	}
	if err := checkOffer(offered, class); err != nil {
		return err
	}
	var name string
	var take func(*Stream)
	if l.cfg.Accept != nil {
		name, take = l.cfg.Accept(offered, class)
	}
	which := -1
	for i, o := range offered {
		if o == name {
			which = i
		}
	}
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return nil
	}
	if id%2 == l.nextID%2 || id == 0 || l.streams[id] != nil || window > 1<<40 {
		l.mu.Unlock()
		return fmt.Errorf("stream %d is opened by the wrong side or twice", id)
	}
	if take == nil || which < 0 {
		l.tell(idMessage(messageRefused, id, ""))
		l.mu.Unlock()
		return nil
	}
	s := l.newStream(id, class, l.window(class))
	s.service = name
	s.send.begin(window)
	l.tell(openedMessage(s, which))
	l.mu.Unlock()
	take(s)
	return nil
}
