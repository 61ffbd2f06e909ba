package netquorum

import (
	"fmt"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// Load returns the configuration of documents that were one before, from a
// snapshot. It does not ask about the rules again: what a cluster has committed
// stands, also where a later version would refuse it, or no filer could start.
// An error says that the documents cannot ever have been a configuration.
func Load(documents []Document) (Config, error) {
	docs, claims, uses := iradix.New[*entry]().Txn(), iradix.New[claim]().Txn(), iradix.New[user]().Txn()
	var c Config
	var text []byte
	for _, d := range documents {
		if p, ok := wellFormed(d); !ok {
			return Config{}, p
		}
		var err error
		if text, err = d.AppendJSON(text[:0]); err != nil {
			return Config{}, err
		}
		e := &entry{d, sumOf(text)}
		path := docPath(d.Key())
		if _, again := docs.Insert(path, e); again {
			return Config{}, fmt.Errorf("%s stands among the documents twice", d.Key())
		}
		c.sum = c.sum.plus(e.sum)
		for _, cl := range claimsOf(d) {
			claims.Insert([]byte(cl.thing), cl)
		}
		for _, u := range usesOf(d) {
			uses.Insert(usePath(u.thing, path), user{d.Key(), u.field})
		}
	}
	c.docs, c.claims, c.uses = docs.Commit(), claims.Commit(), uses.Commit()
	return c, nil
}
