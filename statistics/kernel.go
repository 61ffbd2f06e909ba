package statistics

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// maxElements is how many elements go into one message: the length of an
// attribute has 16 bits.
const maxElements = 250

// bufferSize is enough for the batch that counts 10,000 addresses, which is sent
// at once, and for the answers to it: when those overflow, the kernel has carried
// the batch out all the same, and nobody knows.
const bufferSize = 32 << 20

// A Kernel is what counts: the real one (Netlink), or a test's.
type Kernel interface {
	// Ensure makes it count what is wanted, and reports whether there was
	// anything to do. Counters that are wanted already go on.
	Ensure(want Counted, now time.Time) (changed bool, err error)
	// Traffic returns what was counted, by owner and address.
	Traffic() ([]AddressTraffic, error)
	// Sockets returns the open sockets that are bound to an address.
	Sockets(ctx context.Context, of Counted) (map[Owner]*Sockets, error)
}

// Netlink is the kernel of the process's network namespace.
type Netlink struct{}

var _ Kernel = Netlink{}

// connect opens a connection for one look or one batch.
func connect() (*nftables.Conn, error) {
	return nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetReadBuffer(bufferSize), c.SetWriteBuffer(bufferSize))
	}))
}

// observe reads the table, with the counters.
func observe(c *nftables.Conn) (observed, map[counterSet][]counted, error) {
	var have observed
	if _, err := c.ListTableOfFamily(TableName, nftables.TableFamilyINet); err != nil {
		if _, other := c.ListTables(); other != nil {
			return have, nil, fmt.Errorf("the kernel has no nftables: %w", other)
		}
		return have, nil, nil
	}
	have = observed{exists: true, chains: map[string]bool{}, sets: map[string]map[netip.Addr]claim{}}
	counters, err := have.readSets(c)
	if err != nil {
		return have, nil, err
	}
	return have, counters, have.readChains(c)
}

func (o *observed) readSets(c *nftables.Conn) (map[counterSet][]counted, error) {
	list, err := c.GetSets(table)
	if err != nil {
		return nil, fmt.Errorf("reading the sets of table %s: %w", TableName, err)
	}
	exists := map[string]bool{}
	for _, s := range list {
		exists[s.Name] = true
	}
	out := map[counterSet][]counted{}
	for _, s := range counterSets {
		if !exists[s.name()] {
			continue
		}
		elements, err := c.GetSetElements(s.set())
		if err != nil {
			return nil, fmt.Errorf("reading set %s of table %s: %w", s.name(), TableName, err)
		}
		o.sets[s.name()] = make(map[netip.Addr]claim, len(elements))
		for _, e := range elements {
			a, ok := netip.AddrFromSlice(e.Key)
			if !ok {
				continue
			}
			// An element without a claim is nobody's: it is in the sets, to be
			// removed, and not in the statistics.
			is, ok := parseClaim(e.Comment)
			o.sets[s.name()][a] = is
			if ok && e.Counter != nil {
				out[s] = append(out[s], counted{element{a, is}, Count{e.Counter.Packets, e.Counter.Bytes}})
			}
		}
	}
	return out, nil
}

func (o *observed) readChains(c *nftables.Conn) error {
	list, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return fmt.Errorf("reading the chains of table %s: %w", TableName, err)
	}
	for _, l := range layout() {
		if !slices.ContainsFunc(list, func(c *nftables.Chain) bool { return c.Table.Name == TableName && c.Name == l.chain.Name }) {
			continue
		}
		rules, err := c.GetRules(table, &l.chain)
		if err != nil {
			return fmt.Errorf("reading chain %s of table %s: %w", l.chain.Name, TableName, err)
		}
		var marks [][]byte
		for _, r := range rules {
			marks = append(marks, r.UserData)
		}
		o.chains[l.chain.Name] = ours(marks, len(l.rules))
	}
	return nil
}

// do carries changes out in one batch: all of them, or none.
func do(c *nftables.Conn, ch changes) error {
	if ch.table {
		c.AddTable(table)
	}
	for _, s := range ch.sets {
		set := s.set.set()
		if s.create {
			if err := c.AddSet(set, nil); err != nil {
				return err
			}
		}
		if err := elements(set, s.remove, func(a netip.Addr) nftables.SetElement { return nftables.SetElement{Key: a.AsSlice()} }, c.SetDeleteElements); err != nil {
			return err
		}
		if err := elements(set, s.add, func(e element) nftables.SetElement {
			return nftables.SetElement{Key: e.address.AsSlice(), Comment: e.claim.text()}
		}, c.SetAddElements); err != nil {
			return err
		}
	}
	for _, l := range ch.chains {
		c.FlushChain(c.AddChain(&l.chain))
	}
	for _, l := range ch.chains {
		for _, exprs := range l.rules {
			c.AddRule(&nftables.Rule{Table: table, Chain: &l.chain, Exprs: exprs, UserData: []byte(layoutMark)})
		}
	}
	return c.Flush()
}

// elements sends a list in messages that are not too long.
func elements[T any](set *nftables.Set, list []T, as func(T) nftables.SetElement, send func(*nftables.Set, []nftables.SetElement) error) error {
	for part := range slices.Chunk(list, maxElements) {
		var message []nftables.SetElement
		for _, x := range part {
			message = append(message, as(x))
		}
		if err := send(set, message); err != nil {
			return err
		}
	}
	return nil
}

// Ensure implements Kernel.
func (Netlink) Ensure(want Counted, now time.Time) (changed bool, err error) {
	c, err := connect()
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, c.CloseLasting()) }()
	have, _, err := observe(c)
	if err != nil {
		return false, err
	}
	ch := plan(want, have, now)
	if ch.none() {
		return false, nil
	}
	if err := do(c, ch); err != nil && !errors.Is(err, unix.ENOBUFS) {
		return false, fmt.Errorf("counting in table %s: %w", TableName, err)
	}
	// An answer may be lost although all was done: look instead of believing.
	if have, _, err = observe(c); err != nil {
		return true, err
	}
	if left := plan(want, have, now); !left.none() {
		return true, fmt.Errorf("table %s is not as it was made: somebody else changes it", TableName)
	}
	return true, nil
}

// Traffic implements Kernel.
func (Netlink) Traffic() (list []AddressTraffic, err error) {
	c, err := connect()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.CloseLasting()) }()
	have, counters, err := observe(c)
	if err != nil {
		return nil, err
	}
	if !have.exists {
		return nil, fmt.Errorf("table %s is not there yet", TableName)
	}
	return joined(counters), nil
}
