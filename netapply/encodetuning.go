package netapply

import (
	"errors"
	"fmt"
	"maps"
	"slices"

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
	if _, shown := t["link/speed"]; set == setLink && !shown && t["link/autoneg"] == "off" {
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
	// Remembered first: a daemon that is killed in between must still know.
	if err := k.memory.keep(s.Link, now); err != nil {
		return err
	}
	if err := k.tryTuning(s.Link, index, to, before); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", fieldsOf(to), err), k.memory.keep(s.Link, was))
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

// tryTuning writes settings and looks what came of it.
func (k *Netlink) tryTuning(link string, index int, to, before Tuning) error {
	if err := k.writeTuning(link, index, to, before); err != nil {
		return err
	}
	set := SetTuning{link, to}.set()
	after, err := k.readTuning(link, index, readingOf(set), remembered{Forced: to})
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range to.names() {
		_, what := setOf(name)
		if got, shown := after[name]; shown && got != to[name] {
			errs = append(errs, fmt.Errorf("the driver took %s for %s of %s", got, what, to[name]))
		} else if v, fixed := after[setFixed+"/"+what]; set == setFeatures && fixed && v != to[name] {
			errs = append(errs, fmt.Errorf("%s is fixed to %s", what, v))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	undo := Tuning{}
	for name, v := range before.TouchedBy(to) {
		if after[name] != v {
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

func (k *Netlink) writeTuning(link string, index int, values, before Tuning) error {
	k.writes.Add(1)
	set := SetTuning{link, values}.set()
	if _, ok := ethtoolSets[set]; ok {
		return k.ethtool.write(index, set, values, before)
	}
	return writeFiles(link, index, values)
}
