package netapply

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A memory keeps what settings of links were before we changed them, so that
// they can be given back when the configuration no longer has them. Settings
// live as long as their link, at most until the machine is started again, and so
// does what is remembered: a link made anew has another index, and a file of
// another boot is not believed.
type memory struct {
	path, boot string // no path: kept as long as the process lives

	mu      sync.Mutex
	links   map[string]remembered
	refused map[string]refusedTuning // by what was asked for
}

// A refusedTuning is an answer that will be the same the next time: asking for it again
// every half minute would stop the card every half minute.
type refusedTuning struct {
	index  int
	before Tuning // what the link showed then
	err    error
}

// refuse remembers that a driver does not take a value, where asking costs a
// moment of connectivity.
func (m *memory) refuse(s SetTuning, index int, before Tuning, err error) {
	final := errors.Is(err, errTook) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)
	if !final || len(s.Interrupts()) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refused == nil {
		m.refused = map[string]refusedTuning{}
	}
	m.refused[s.String()] = refusedTuning{index, before, err}
}

// refusal is what the driver said to this step, nil when it was not asked or
// when the link is not as it was then.
func (m *memory) refusal(s SetTuning, index int, before Tuning) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, asked := m.refused[s.String()]
	if asked && r.index == index && maps.Equal(r.before, before) {
		return r.err
	}
	delete(m.refused, s.String())
	return nil
}

type remembered struct {
	Index  int    `json:"index"`
	Before Tuning `json:"before"`
	// Forced is the speed that we set: drivers do not show it without a link.
	Forced Tuning `json:"forced,omitempty"`
}

// memoryFormat is the version of the file. Another one is not read: that costs
// the knowledge of what was before, and nothing else.
const memoryFormat = 1

type memoryFile struct {
	Format int                   `json:"format"`
	Boot   string                `json:"boot"`
	Links  map[string]remembered `json:"links"`
}

// RememberIn keeps what settings of links were before they were changed in a
// file, so that a restart of the daemon does not forget it. An error means that
// what was remembered is lost; what will be is kept nevertheless.
func (k *Netlink) RememberIn(path string) error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Errorf("cannot tell this boot of the machine from others: %w", err)
	}
	k.memory.mu.Lock()
	defer k.memory.mu.Unlock()
	k.memory.path, k.memory.boot = path, strings.TrimSpace(string(boot))
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read what settings were before: %w", err)
	}
	links, err := decodeMemory(text, k.memory.boot)
	if err != nil {
		return fmt.Errorf("%s: %w; settings taken out of the configuration stay as they are", path, err)
	}
	k.memory.links = links
	return nil
}

// decodeMemory reads a file of the given boot; nothing is in that of another.
func decodeMemory(text []byte, boot string) (map[string]remembered, error) {
	var f memoryFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("what settings were before cannot be read: %w", err)
	}
	if f.Format != memoryFormat {
		return nil, fmt.Errorf("what settings were before is in format %d, and this version reads %d", f.Format, memoryFormat)
	}
	if f.Boot != boot {
		return nil, nil
	}
	return f.Links, nil
}

// of returns what is remembered of a link.
func (m *memory) of(link string, index int) remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.links[link]
	if r.Index != index {
		return remembered{}
	}
	return remembered{r.Index, maps.Clone(r.Before), maps.Clone(r.Forced)}
}

// keep replaces what is remembered of a link. It is on the disk when keep
// returns, unless there is an error.
func (m *memory) keep(link string, r remembered) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(r.Before) == 0 {
		delete(m.links, link)
	} else {
		if m.links == nil {
			m.links = map[string]remembered{}
		}
		m.links[link] = r
	}
	if m.path == "" {
		return nil
	}
	text, err := json.Marshal(memoryFile{memoryFormat, m.boot, m.links})
	if err != nil {
		return err
	}
	// Not synced: a machine that goes down forgets the settings as well.
	temp := m.path + ".new"
	if err := errors.Join(os.MkdirAll(filepath.Dir(m.path), 0o700), os.WriteFile(temp, text, 0o600), os.Rename(temp, m.path)); err != nil {
		return fmt.Errorf("what settings of %s were before cannot be kept: %w", link, err)
	}
	return nil
}

// After is what is remembered, beyond t, of settings that were before and are
// now something else. What is as it was once is forgotten.
func (t Tuning) After(before, now Tuning) Tuning {
	after := maps.Clone(t)
	if after == nil {
		after = Tuning{}
	}
	mode := cmp.Or(t["link/autoneg"], before["link/autoneg"]) // as it was at first
	for name, v := range before {
		if _, known := after[name]; !known && !pointless(name, mode) {
			after[name] = v
		}
	}
	maps.DeleteFunc(after, func(name, v string) bool {
		is, said := now[name]
		return said && is == v
	})
	return after
}

// TouchedBy is the part of what a link shows that setting values may change:
// they themselves, and with who decides on the speed all that goes with it. What
// concerns the whole machine is nobody's to give back.
func (t Tuning) TouchedBy(values Tuning) Tuning {
	part := Tuning{}
	for name, v := range values {
		cur, shown := t[name]
		if set, _ := setOf(name); shown && set != setSysctl {
			part[name] = cur
		}
		if name == "link/autoneg" && cur != v {
			maps.Copy(part, t.in(setLink))
		}
	}
	return part
}

// changed is what is remembered of a link after settings of it were changed.
func (r remembered) changed(index int, before, values Tuning) remembered {
	now := remembered{index, r.Before.After(before.TouchedBy(values), values), maps.Clone(r.Forced)}
	if mode, ok := values["link/autoneg"]; ok {
		now.Forced = nil
		if _, said := values["link/speed"]; said && mode == "off" {
			now.Forced = Tuning{"link/speed": values["link/speed"], "link/duplex": values["link/duplex"]}
		}
	}
	return now
}
