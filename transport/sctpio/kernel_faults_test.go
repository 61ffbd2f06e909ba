package sctpio

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/netquorum/netquorum/lab/nstest"
)

// faults drops packets where they arrive, so that who sent them notices nothing:
// those of a whole cable, and those of the associations of one port.
type faults struct {
	here, there dropper
}

// A dropper drops what arrives in one namespace.
type dropper struct {
	conn          *nftables.Conn
	cables, ports *nftables.Set
}

// newFaults may be called once in a test's namespaces.
func newFaults(t testing.TB) *faults {
	t.Helper()
	const rules = `
		add table inet faults
		add set inet faults cables { type ifname; }
		add set inet faults ports { type inet_service; }
		add chain inet faults in { type filter hook prerouting priority 0; }
		add rule inet faults in iifname @cables drop
		add rule inet faults in sctp dport @ports drop
		add rule inet faults in sctp sport @ports drop`
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/rules", []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	nstest.Sh(t, "nft -f "+dir+"/rules\n ip netns exec far nft -f "+dir+"/rules")
	f := &faults{}
	f.here.open(t, "/proc/self/ns/net")
	f.there.open(t, "/run/netns/far")
	return f
}

func (d *dropper) open(t testing.TB, namespace string) {
	t.Helper()
	ns, err := os.Open(namespace)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	if d.conn, err = nftables.New(nftables.WithNetNSFd(int(ns.Fd()))); err != nil {
		t.Fatal(err)
	}
	table := &nftables.Table{Name: "faults", Family: nftables.TableFamilyINet}
	if d.cables, err = d.conn.GetSetByName(table, "cables"); err != nil {
		t.Fatal(err)
	}
	if d.ports, err = d.conn.GetSetByName(table, "ports"); err != nil {
		t.Fatal(err)
	}
}

// cable drops what arrives by a cable, or lets it pass again.
func (d *dropper) cable(name string, drop bool) error {
	key := make([]byte, unix.IFNAMSIZ)
	copy(key, name)
	return d.change(d.cables, key, drop)
}

// port drops what arrives of the associations of a port.
func (d *dropper) port(n uint16, drop bool) error {
	return d.change(d.ports, binary.BigEndian.AppendUint16(nil, n), drop)
}

func (d *dropper) change(set *nftables.Set, key []byte, drop bool) error {
	change := d.conn.SetDeleteElements
	if drop {
		change = d.conn.SetAddElements
	}
	if err := change(set, []nftables.SetElement{{Key: key}}); err != nil {
		return err
	}
	return d.conn.Flush()
}
