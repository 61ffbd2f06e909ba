package netquorum

import (
	"fmt"
	"strings"
)

// A Problem is one broken rule of a configuration: where, which rule, and what
// to do. When the rule is about sharing, Owner is the document that holds the
// thing already.
type Problem struct {
	Document Key    `json:"document"`
	Field    string `json:"field,omitempty"` // like spec.addresses[2].prefix
	Rule     Rule   `json:"rule"`
	Message  string `json:"message"`
	Owner    *Key   `json:"owner,omitempty"`
}

func (p Problem) Error() string {
	where := p.Document.String()
	if p.Field != "" {
		where += ": " + p.Field
	}
	return fmt.Sprintf("%s: %s [%s]", where, p.Message, p.Rule)
}

// Problems are all broken rules found, in document order.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// A checker collects the problems of one document.
type checker struct {
	doc      Key
	problems Problems
}

// document checks what a document says by itself. The next one uses the memory of
// its problems again.
func (c *checker) document(d Document) Problems {
	c.doc, c.problems = d.Key(), c.problems[:0]
	checkName(c)
	d.Spec.check(c)
	return c.problems
}

func (c *checker) add(field string, rule Rule, format string, args ...any) {
	c.addTo(c.doc, field, rule, nil, format, args...)
}

// addOwned adds a problem about a thing that another document has.
func (c *checker) addOwned(field string, rule Rule, owner Key, format string, args ...any) {
	c.addTo(c.doc, field, rule, &owner, format, args...)
}

func (c *checker) addTo(doc Key, field string, rule Rule, owner *Key, format string, args ...any) {
	c.problems = append(c.problems, Problem{
		Document: doc, Field: field, Rule: rule, Message: fmt.Sprintf(format, args...), Owner: owner,
	})
}
