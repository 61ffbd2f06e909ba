package netapply

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// observeTuning adds to links what was asked for, and what is remembered.
func (k *Netlink) observeTuning(links []ObservedLink, looks []Look) error {
	wanted := make(map[string][]string, len(looks))
	for _, l := range looks {
		wanted[l.Link] = l.Sets
	}
	add := func(list []string, more ...string) []string {
		list = append(slices.Clone(list), more...)
		slices.Sort(list)
		return slices.Compact(list)
	}
	for i := range links {
		l := &links[i]
		was := k.memory.of(l.Name, l.Index)
		l.Before = was.Before
		// What is to be given back is looked at, too: it may have to be put back
		// once more when the change fails.
		sets := add(wanted[l.Name], was.Before.sets()...)
		if len(sets) == 0 {
			continue
		}
		l.Tuning = Tuning{}
		for _, set := range sets {
			t, err := k.readTuning(l.Name, l.Index, set, was)
			if errors.Is(err, unix.ENODEV) {
				continue // gone since it was listed
			}
			if err != nil {
				return fmt.Errorf("link %s: %w", l.Name, err)
			}
			maps.Copy(l.Tuning, t)
		}
	}
	return nil
}

func (k *Netlink) readTuning(link string, index int, set string, was remembered) (Tuning, error) {
	if _, ok := ethtoolSets[set]; !ok {
		return readFiles(link, index, set)
	}
	t, err := k.ethtool.read(index, set)
	if t["link/autoneg"] == "off" {
		// What a driver shows is the link's speed: none without a link, and for a
		// while after a change the old one. We know better what we asked for.
		maps.Copy(t, was.Forced)
	}
	return t, err
}

// setTuning changes settings of one set, whole or not at all, and remembers what
// they were.
func (k *Netlink) setTuning(s SetTuning) error {
	index, err := k.indexOf(s.Link)
	if err != nil {
		return err
	}
	was := k.memory.of(s.Link, index)
	before, err := k.readTuning(s.Link, index, readingOf(s.set()), was)
	if err != nil {
		return err
	}
	to := Tuning{}
	for name, v := range s.Values {
		cur, shown := before[name]
		once, ours := was.Before[name]
		gone := !shown && ours && once == v // like a queue: what it was is no matter
		if !gone && (!shown || cur != v) {
			to[name] = v
		}
	}
	now := was.changed(index, before, s.Values)
	if len(to) == 0 {
		return k.memory.keep(s.Link, now)
	}
	if s.set() == setLink {
		to = s.Values // one means nothing without the others
	}
	if err := checkModes(to, before); err != nil {
		return fmt.Errorf("%s: %w", fieldsOf(to), err)
	}
	if err := k.memory.refusal(s, index, before); err != nil {
		return err
	}
	// Remembered first: a daemon that is killed in between must still know.
	if err := k.memory.keep(s.Link, now); err != nil {
		return err
	}
	if err := k.tryTuning(s.Link, index, to, before); err != nil {
		err = fmt.Errorf("%s: %w", fieldsOf(to), err)
		k.memory.refuse(s, index, before, err)
		return errors.Join(err, k.memory.keep(s.Link, was))
	}
	return nil
}

// readingOf is the set to read for one that is written.
func readingOf(set string) string {
	if set == setSysctl {
		return setQueues
	}
	return set
}

// tryTuning writes settings and looks what came of it. When that is not what was
// asked for, everything is set back: there are drivers that refuse a value and
// have changed half of it.
func (k *Netlink) tryTuning(link string, index int, to, before Tuning) error {
	errs := []error{k.writeTuning(link, index, to, before)}
	trusted := remembered{}
	if errs[0] == nil {
		trusted.Forced = to.in(setLink)
	}
	after, err := k.readTuning(link, index, readingOf(SetTuning{link, to}.set()), trusted)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	if errs[0] == nil {
		errs = differences(to, after)
	}
	if errors.Join(errs...) == nil {
		return nil
	}
	undo := Tuning{}
	for name, v := range before.TouchedBy(to) {
		if cur, shown := after[name]; !shown || cur != v {
			undo[name] = v
		}
	}
	if len(undo) > 0 {
		if err := k.writeTuning(link, index, undo, before); err != nil {
			errs = append(errs, fmt.Errorf("and cannot be set back: %w", err))
		}
	}
	return errors.Join(errs...)
}

// differences tells what a driver made of what it was asked for.
func differences(to, after Tuning) (errs []error) {
	for _, name := range to.names() {
		set, what := setOf(name)
		if got, shown := after[name]; shown && got != to[name] {
			errs = append(errs, fmt.Errorf("%w %s for %s of %s", errTook, got, what, to[name]))
		} else if v, fixed := after[setFixed+"/"+what]; set == setFeatures && fixed && v != to[name] {
			errs = append(errs, fmt.Errorf("%s is fixed to %s", what, v))
		}
	}
	return errs
}

var errTook = errors.New("the driver took")

// checkModes refuses to offer a speed that the card does not have: drivers take
// it, and offer nothing.
func checkModes(values, before Tuning) error {
	speed, ok := values["link/speed"]
	modes := before.in(setModes)
	if !ok || values["link/autoneg"] != "on" || len(modes) == 0 {
		return nil
	}
	var list []string
	for _, name := range modes.names() {
		_, mode := setOf(name)
		list = append(list, mode)
	}
	return fmt.Errorf("no link mode of %s Mb/s, %s duplex, can be offered; the interface has %s", speed, values["link/duplex"], strings.Join(list, ", "))
}

func (k *Netlink) writeTuning(link string, index int, values, before Tuning) error {
	k.writes.Add(1)
	set := SetTuning{link, values}.set()
	if _, ok := ethtoolSets[set]; ok {
		return k.ethtool.write(index, set, values, before)
	}
	return writeFiles(link, index, values)
}
