package netquorum

import (
	"strings"
)

const (
	maxName       = 63
	maxRecordName = 253 // paths of other subsystems
)

// checkName checks the name of a document.
func checkName(c *checker) {
	name, kind := c.doc.Name, c.doc.Kind
	limit, more := maxName, "._-"
	if kind == KindRecord {
		limit, more = maxRecordName, "._-/"
	}
	switch {
	case name == "":
		c.add("name", RuleName, "is missing")
	case len(name) > limit:
		c.add("name", RuleName, "has %d characters; %d is the most", len(name), limit)
	case !validName(name, more):
		c.add("name", RuleName, "%q may hold letters, digits and %s only, and begins and ends with a letter or digit", name, more)
	}
	if !strings.HasPrefix(strings.ToLower(name), ManagementServer) {
		return
	}
	switch {
	case kind == KindVirtualServer && strings.EqualFold(name, ManagementServer):
	case kind == KindVirtualServer, kind == KindService, kind == KindFiler:
		c.add("name", RuleNameReserved, "%s is reserved for the virtual server of that name, also as the beginning of a name; choose another", ManagementServer)
	}
}

// CheckFilerName returns what is wrong with a name for a filer, or nil.
func CheckFilerName(name string) error {
	c := &checker{doc: Key{KindFiler, name}}
	checkName(c)
	if len(c.problems) == 0 {
		return nil
	}
	return c.problems
}

func validName(name, more string) bool {
	last := len(name) - 1
	for i := range len(name) {
		if !alphanumeric(name[i]) && (i == 0 || i == last || strings.IndexByte(more, name[i]) < 0) {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// validHostName reports whether s is a name for DNS: labels of letters, digits
// and dashes, relative or with a final dot.
func validHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || !validName(label, "-") {
			return false
		}
	}
	return true
}

// checkReference reports a named document that does not exist.
func (c Config) checkReference(ck *checker, field string, kind Kind, name string) {
	if name == "" {
		return
	}
	if _, ok := c.Get(kind, name); !ok {
		ck.add(field, RuleReference, "there is no %s named %s; add it or name another", kind, name)
	}
}
