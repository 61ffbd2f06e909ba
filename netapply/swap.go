package netapply

import (
	"fmt"
	"maps"

	"golang.org/x/sys/unix"
)

// SwapLink lets a link that is ready and down take the name and the place of
// another, which stays, down, under a name of its own.
type SwapLink struct{ Name, Next, Old string }

// Object implements Step.
func (s SwapLink) Object() string { return linkObject(s.Name) }

func (s SwapLink) String() string {
	return fmt.Sprintf("ip link set %s down && ip link set %s name %s && ip link set %s name %s up", s.Name, s.Name, s.Old, s.Next, s.Name)
}

// swapLink puts the old link down first: before Linux 6.2 no link can be renamed
// while it is up. When something fails the old one is as it was.
func (k *Netlink) swapLink(s SwapLink) error {
	old, err := k.indexOf(s.Name)
	if err != nil {
		return err
	}
	next, err := k.indexOf(s.Next)
	if err != nil {
		return err
	}
	rename := func(index int, name string, flags uint32) change {
		m := linkHeader(index, flags, flags)
		m.text(unix.IFLA_IFNAME, name)
		return change{unix.RTM_SETLINK, 0, m, nil}
	}
	send := func(list ...change) (first error) {
		k.writes.Add(uint64(len(list)))
		for _, err := range k.changes.exchange(list) {
			if first == nil {
				first = err
			}
		}
		return first
	}
	err = send(
		change{unix.RTM_SETLINK, 0, linkHeader(old, 0, unix.IFF_UP), nil},
		rename(old, s.Old, 0),
		rename(next, s.Name, unix.IFF_UP),
	)
	if err != nil {
		// Each is harmless where the one before it was not needed.
		_ = send(rename(next, s.Next, 0), rename(old, s.Name, unix.IFF_UP))
		return err
	}
	k.renamed(map[string]int{s.Name: next, s.Old: old}, s.Next)
	return nil
}

// renamed notes the indexes that names stand for after swaps.
func (k *Netlink) renamed(now map[string]int, gone string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count++
	for name, i := range now {
		k.made[name] = madeLink{i, nil, k.count}
	}
	index := maps.Clone(k.index) // others may hold it
	delete(index, gone)
	k.index = index
	delete(k.made, gone)
}
