package netapply

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A packetFilter reads and writes our nftables table. Its sockets are opened
// when they are needed: most filers have no policy.
type packetFilter struct {
	mu sync.Mutex
	// What was last read, and the generation of the kernel's rulesets that it is
	// of: any change of any table by anybody begins a new one.
	last       *Ruleset
	generation uint32
	known      bool
}

// observe returns what is in our table, nil when there is none.
func (f *packetFilter) observe() (*Ruleset, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for try := 0; ; try++ {
		now, err := generation()
		if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
			return nil, nil // this kernel has no nftables
		}
		if err != nil {
			return nil, fmt.Errorf("asking for the generation of the rulesets: %w", err)
		}
		if f.known && f.generation == now {
			return f.last, nil
		}
		if try == dumpTries {
			return nil, errors.New("the rulesets of this machine keep changing")
		}
		// What changes while it is read is read again: the next turn compares.
		f.last, err = readAccess()
		f.known, f.generation = err == nil, now
		if err != nil && try+1 == dumpTries {
			return nil, err
		}
	}
}

// generation asks for the number of the last change of any table.
func generation() (uint32, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_NETFILTER)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: {Socket: s}}
	req.AddData(&message{b: make([]byte, 4)}) // nfgenmsg: any family, version 0
	replies, err := req.Execute(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN)
	if err != nil {
		return 0, err
	}
	for _, b := range replies {
		for a, err := range attributes(b[min(4, len(b)):]) {
			if err == nil && a.kind == unix.NFTA_GEN_ID && len(a.value) == 4 {
				return binary.BigEndian.Uint32(a.value), nil
			}
		}
	}
	return 0, errors.New("the kernel does not tell the generation of its rulesets")
}

// hasNftables reports whether there can be a table at all.
func hasNftables() bool {
	_, err := generation()
	return err == nil
}

// aboutAccess tells whether an event is about our table: other programs may
// change theirs many times a second. In every message of nftables the first
// attribute is the name of the table, except in those that end a transaction.
func aboutAccess(m syscall.NetlinkMessage) bool {
	for a, err := range attributes(m.Data[min(4, len(m.Data)):]) {
		return err == nil && a.kind == unix.NFTA_TABLE_NAME && a.text() == AccessTable
	}
	return false
}

// readAccess reads our table.
func readAccess() (*Ruleset, error) {
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.CloseLasting() }()
	t, err := c.ListTableOfFamily(AccessTable, nftables.TableFamilyINet)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", accessObject, err)
	}
	all, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("reading the chains of %s: %w", accessObject, err)
	}
	var chains []*nftables.Chain
	rules := map[string][]*nftables.Rule{}
	for _, chain := range all {
		if chain.Table.Name != AccessTable {
			continue
		}
		chains = append(chains, chain)
		if rules[chain.Name], err = c.GetRules(t, chain); err != nil {
			return nil, fmt.Errorf("reading chain %s: %w", chain.Name, err)
		}
	}
	sets, err := c.GetSets(t)
	if err != nil {
		return nil, fmt.Errorf("reading the sets of %s: %w", accessObject, err)
	}
	elements := map[string][]nftables.SetElement{}
	for _, s := range sets {
		if elements[s.Name], err = c.GetSetElements(s); err != nil {
			return nil, fmt.Errorf("reading set %s: %w", s.Name, err)
		}
	}
	return decodeAccess(t, chains, rules, sets, elements), nil
}

// answersBuffer holds the kernel's answers to a batch: they come all at once.
const answersBuffer = 8 << 20

// set replaces the table.
func (f *packetFilter) set(r *Ruleset) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known = false
	c, err := nftables.New(nftables.WithSockOptions(func(s *netlink.Conn) error { return s.SetReadBuffer(answersBuffer) }))
	if err != nil {
		return err
	}
	if err := r.encode(c); err != nil {
		return err
	}
	err = c.Flush()
	if errors.Is(err, unix.ENOBUFS) {
		// Answers were lost, which says nothing about the change. What came of it
		// is seen when the table is read again.
		return nil
	}
	return err
}
