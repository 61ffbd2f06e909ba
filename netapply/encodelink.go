package netapply

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// newLinks is the length of the run of steps at the beginning that make aliases
// and ports side by side: the links may be made all at once, before what is set
// of them. Zero: the first step makes none.
func newLinks(steps []Step) int {
	made := map[string]bool{}
	for n, s := range steps {
		switch s := s.(type) {
		case AddLink:
			if s.Link.Kind != Macvlan && s.Link.Kind != VLAN || made[s.Link.Parent] || made[s.Link.Name] {
				return n
			}
			made[s.Link.Name] = true
		case SetSettings:
			if !made[s.Link] {
				return n
			}
		case SetLink:
			if !made[s.Name] || s.Master != nil && made[*s.Master] {
				return n
			}
		default:
			return n
		}
	}
	return len(steps)
}

// addLinkSteps carries out those of the steps that make links.
func (k *Netlink) addLinkSteps(ctx context.Context, steps []Step, errs []error) {
	var links []Link
	var of []int
	for i, s := range steps {
		if add, ok := s.(AddLink); ok {
			links, of = append(links, add.Link), append(of, i)
		}
	}
	for n, err := range k.addLinks(ctx, links) {
		errs[of[n]] = err
	}
}

// addLinks makes links in one batch and returns the outcomes.
func (k *Netlink) addLinks(ctx context.Context, links []Link) []error {
	errs := make([]error, len(links))
	var batch []change
	var of []int
	for i, l := range links {
		c, err := k.addLink(l)
		if errs[i] = err; err == nil {
			batch, of = append(batch, c), append(of, i)
		}
	}
	k.writes.Add(uint64(len(batch)))
	made := map[string]bool{}
	for n, err := range k.changes.exchange(batch) {
		l := links[of[n]]
		if errors.Is(err, unix.EOPNOTSUPP) {
			err = fmt.Errorf("this kernel has no links of type %s: %w", l.Kind, err)
		}
		if errs[of[n]] = err; err == nil {
			made[l.Name] = true
		}
	}
	err := k.learn(ctx, made)
	for i, l := range links {
		if errs[i] == nil {
			if _, known := k.lookup(l.Name); err != nil || !known {
				errs[i] = errors.Join(err, fmt.Errorf("link %s was made but cannot be found", l.Name))
			}
		}
	}
	return errs
}

// learnAll is from how many new links on all links are listed, which costs what
// asking for a few by name does.
const learnAll = 10

// learn asks for links that were just made: their indexes, and the settings that
// the kernel gave them.
func (k *Netlink) learn(ctx context.Context, made map[string]bool) error {
	if len(made) >= learnAll {
		list, err := k.observeLinks(ctx)
		for _, l := range list {
			if made[l.name] {
				k.remember(l)
			}
		}
		return err
	}
	for name := range made {
		m := linkHeader(0, 0, 0)
		m.text(unix.IFLA_IFNAME, name)
		m.u32(unix.IFLA_EXT_MASK, extSkipStats)
		err := k.questions.ask(unix.RTM_GETLINK, 0, m, func(b []byte) error {
			l, err := decodeLink(b)
			if err == nil {
				k.remember(l)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
