package transport

import (
	"cmp"
	"fmt"
	"time"

	"github.com/netquorum/netquorum"
)

// A SilentError says that a filer answers on no path, although the link to it has
// not been given up yet.
type SilentError struct {
	Filer netquorum.FilerID
	Name  string
	Since time.Time // when the last path fell silent
	Now   time.Time
	// Asked says that a request was on its way before. It may have been carried out,
	// or be yet, when a path is mended soon.
	Asked bool
}

func (e *SilentError) Error() string {
	text := fmt.Sprintf("%s has answered on no path for %v, since %s",
		cmp.Or(e.Name, "filer "+string(e.Filer)), e.Now.Sub(e.Since).Round(time.Second), e.Since.UTC().Format("15:04:05 UTC"))
	if e.Asked {
		text += "; whether it carries out the request is not known"
	}
	return text
}

// mute is what a keeper knows of a filer's silence on all paths of a link that
// lives.
type mute struct {
	since time.Time // zero while a path works
	told  bool      // it is so long that requests do not wait for its end
}

// look brings it up to date. It says when to look again, zero for never, and
// whether the silence has just become too long.
func (m *mute) look(v view, now time.Time, limit time.Duration) (again time.Time, fell bool) {
	switch {
	case v.alive():
		*m = mute{}
		return time.Time{}, false
	case m.since.IsZero():
		m.since = v.lost
		for _, h := range v.have {
			if h.down.After(m.since) {
				m.since = h.down
			}
		}
		if m.since.IsZero() {
			m.since = now
		}
	}
	if m.told {
		return time.Time{}, false
	}
	m.told = now.Sub(m.since) >= limit
	return m.since.Add(limit), m.told
}

// silent is the error for requests to the filer, asked of before or not. The
// caller holds the lock.
func (k *keeper) silent(now time.Time, asked bool) error {
	return &SilentError{Filer: k.id, Name: k.peer.name, Since: k.mute.since, Now: now, Asked: asked}
}

// silence is an error while there is a link to a filer that has been silent for
// too long for requests to be sent.
func (e *Endpoint) silence(id netquorum.FilerID) error {
	e.mu.Lock()
	k := e.keepers[id]
	e.mu.Unlock()
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.usable() == nil || !k.mute.told {
		return nil
	}
	return k.silent(time.Now(), false)
}
