package netquorum

import (
	"fmt"
	"iter"
	"net/netip"
	"strings"
)

// A claim says that a document has a thing that only one may have.
type claim struct {
	thing string // in the index
	owner Key
	field string
	rule  Rule
	what  string // for people
}

// The prefixes of things keep the kinds of things apart. They are no kind's
// letter, because uses of addresses and of documents share an index.
const (
	addressThing = "@"
	nameThing    = "="
	portThing    = "%"
)

// address is the claim of an IP address, without its prefix length: the same
// address in another subnet would be the same address. IPv4 in IPv6 clothes is
// the IPv4 address.
func claimAddress(field string, p netip.Prefix) claim {
	ip := p.Addr().Unmap().WithZone("")
	return claim{thing: addressThing + ip.String(), field: field, rule: RuleAddressUnique, what: "address " + ip.String()}
}

// claimName is the claim of a name in one of the two spaces in which names of
// different kinds must differ: "hosted" things, which are placed under their
// names, and "hosts" of DHCP identifiers without an instance.
func claimName(space, name string) claim {
	return claim{thing: nameThing + space + "/" + strings.ToLower(name), field: "name", rule: RuleNameShared, what: "name " + name}
}

// claimPort is the claim of the MAC that a port gets. The claim is of the part
// that does not depend on the cluster MAC, so that a new cluster MAC changes no
// claim; see PortMAC.
func claimPort(owner Key, alias InterfaceName, field string) claim {
	return claim{
		thing: portThing + portPart(owner, alias).String(), field: field, rule: RulePortMAC,
		what: fmt.Sprintf("the MAC derived for %s on %s", owner, alias),
	}
}

func (c claim) isAddress() bool { return strings.HasPrefix(c.thing, addressThing) }

// conflict is the problem of a document that claims what another has.
func (c claim) conflict(first claim) Problem {
	p := Problem{Document: c.owner, Field: c.field, Rule: c.rule, Owner: &first.owner}
	switch {
	case c.rule == RuleClusterOne:
		p.Message = fmt.Sprintf("%s is the cluster already; there is one Cluster document only", first.owner)
	case first.owner == c.owner:
		p.Message = fmt.Sprintf("%s stands in this document twice, also in %s; remove one", c.what, first.field)
	default:
		p.Message = fmt.Sprintf("%s belongs to %s already (%s); choose another or remove it there", c.what, first.owner, first.field)
	}
	return p
}

// claimsOf returns what the document claims.
func claimsOf(d Document) []claim {
	r, ok := d.Spec.(related)
	if !ok {
		return nil
	}
	claims := r.claims(d.Key())
	for i := range claims {
		claims[i].owner = d.Key()
	}
	return claims
}

func usesOf(d Document) []use {
	if r, ok := d.Spec.(related); ok {
		return r.uses()
	}
	return nil
}

// A use says that a document names another, or an address, and where.
type use struct {
	thing string // in the index: docPath, or the thing of a claim
	field string
}

// A user is the document of a use.
type user struct {
	key   Key
	field string
}

// usePath is where a use of a thing by the document of a path is indexed.
func usePath(thing string, path []byte) []byte {
	return append(append(append(make([]byte, 0, len(thing)+1+len(path)), thing...), 0), path...)
}

// useOf returns the use of a named document; none when the name is empty.
func useOf(kind Kind, name, field string) []use {
	if name == "" {
		return nil
	}
	return []use{{string(docPath(Key{kind, name})), field}}
}

// usersOf yields the documents that use a thing, by kind, then name.
func (c Config) usersOf(thing string) iter.Seq[user] { return c.usersBelow(thing + "\x00") }

func (c Config) usersOfKind(thing string, kind Kind) iter.Seq[user] {
	return c.usersBelow(thing + "\x00" + string(docPath(Key{kind, ""})))
}

func (c Config) usersBelow(prefix string) iter.Seq[user] {
	return func(yield func(user) bool) {
		if c.uses == nil {
			return
		}
		it := c.uses.Root().Iterator()
		it.SeekPrefix([]byte(prefix))
		for _, u, ok := it.Next(); ok && yield(u); _, u, ok = it.Next() {
		}
	}
}

// OwnerOf returns the document that has an IP address, and the field in which
// it stands.
func (c Config) OwnerOf(ip netip.Addr) (owner Key, field string, ok bool) {
	if c.claims == nil {
		return Key{}, "", false
	}
	cl, ok := c.claims.Get([]byte(addressThing + ip.Unmap().WithZone("").String()))
	return cl.owner, cl.field, ok
}
