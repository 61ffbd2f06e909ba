package netquorum

import (
	"cmp"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A decoder turns nodes into documents. It goes on after an error, so that a
// file's errors are all told at once.
type decoder struct {
	file   string
	doc    Key
	errors ParseErrors
}

func (d *decoder) fail(at place, field, format string, args ...any) {
	d.errors = append(d.errors, &ParseError{
		File: d.file, Line: at.line, Column: at.column, Document: d.doc, Field: field, Err: fmt.Errorf(format, args...),
	})
}

// document decodes one document; ok is false when it has errors.
func (d *decoder) document(n *node) (doc Document, ok bool) {
	before := len(d.errors)
	d.doc = Key{}
	if n.kind != objectNode {
		d.fail(n.at, "", "a document is a mapping with kind, name and spec, not %s", n.kind)
		return doc, false
	}
	var spec *node
	var kindAt place
	head := struct {
		Kind     Kind     `json:"kind"`
		Name     string   `json:"name"`
		Revision Revision `json:"revision"`
	}{}
	fields := structFields(reflect.TypeFor[wireDocument]())
	// The name first, so that every error can tell of which document it is.
	for _, pass := range [][]string{{"kind", "name"}, {"revision", "spec"}} {
		for _, m := range n.members {
			if !slices.Contains(pass, m.name) {
				continue
			}
			switch m.name {
			case "kind":
				kindAt = m.value.at
				d.value(m.value, reflect.ValueOf(&head.Kind).Elem(), "kind")
				d.doc.Kind = head.Kind
			case "name":
				d.value(m.value, reflect.ValueOf(&head.Name).Elem(), "name")
				d.doc.Name = head.Name
			case "revision":
				d.value(m.value, reflect.ValueOf(&head.Revision).Elem(), "revision")
			case "spec":
				spec = m.value
			}
		}
	}
	for _, m := range n.members {
		if _, known := fields[m.name]; !known {
			d.fail(m.at, m.name, "unknown field; a document has %s", fieldNames(reflect.TypeFor[wireDocument]()))
		}
	}
	switch _, known := newSpec[head.Kind]; {
	case len(d.errors) > before && (head.Kind == "" || head.Name == ""):
	case head.Kind == "":
		d.fail(n.at, "kind", "missing; say what the document is, for example kind: VirtualServer")
	case !known:
		d.fail(kindAt, "kind", "%w", &UnknownKindError{Kind: head.Kind})
	case head.Name == "":
		d.fail(n.at, "name", "missing; every %s has a name", head.Kind)
	}
	if len(d.errors) > before && newSpec[head.Kind] == nil {
		return doc, false
	}
	doc = Document{head.Kind, head.Name, head.Revision, d.spec(head.Kind, spec)}
	return doc, len(d.errors) == before
}

// spec decodes the content of a document of a known kind. A missing one is
// empty.
func (d *decoder) spec(kind Kind, n *node) Spec {
	spec := newSpec[kind]()
	if n != nil && n.kind != nullNode {
		d.value(n, reflect.ValueOf(spec).Elem(), "spec")
	}
	if r, ok := spec.(*Record); ok {
		r.examined = r.Data // nodes write nothing else
	}
	return spec
}

var (
	prefixType = reflect.TypeFor[netip.Prefix]()
	addrType   = reflect.TypeFor[netip.Addr]()
	rawType    = reflect.TypeFor[json.RawMessage]()
	bytesType  = reflect.TypeFor[[]byte]()
)

// value decodes n into v. Nothing written (null) leaves v at its zero value.
func (d *decoder) value(n *node, v reflect.Value, field string) {
	if v.Type() == rawType {
		v.SetBytes(n.appendCanonical(nil))
		return
	}
	if n.kind == nullNode {
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), field)
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(n, v, u, field)
		return
	}
	switch {
	case v.Type() == bytesType:
		b, err := base64.StdEncoding.DecodeString(n.text)
		if n.kind != stringNode || err != nil {
			d.fail(n.at, field, "needs bytes in base64")
			return
		}
		v.SetBytes(b)
	case v.Kind() == reflect.Struct:
		d.object(n, v, field)
	case v.Kind() == reflect.Slice:
		d.list(n, v, field)
	case v.Kind() == reflect.Map:
		d.mapping(n, v, field)
	default:
		d.scalar(n, v, field)
	}
}

func (d *decoder) text(n *node, v reflect.Value, u encoding.TextUnmarshaler, field string) {
	if n.kind != stringNode {
		d.fail(n.at, field, "needs a string, not %s; put it in quotes", n.kind)
		return
	}
	if n.text == "" { // how a value that is missing is written; the rules ask for it
		return
	}
	switch v.Type() {
	case prefixType:
		p, err := parsePrefix(n.text)
		if err != nil {
			d.fail(n.at, field, "%w", err)
		}
		v.Set(reflect.ValueOf(p))
	case addrType:
		a, err := netip.ParseAddr(n.text)
		if err != nil {
			d.fail(n.at, field, "%q is not an IP address", n.text)
		}
		v.Set(reflect.ValueOf(a.Unmap()))
	default:
		if err := u.UnmarshalText([]byte(n.text)); err != nil {
			d.fail(n.at, field, "%w", err)
		}
	}
}

// parsePrefix reads an address with its prefix length, host part kept. An
// IPv4 address in IPv6 clothes is the IPv4 address.
func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		if a, err := netip.ParseAddr(s); err == nil {
			return netip.Prefix{}, fmt.Errorf("%q has no prefix length; write it like %s/%d", s, s, min(24, a.BitLen())+a.BitLen()/128*40)
		}
		return netip.Prefix{}, fmt.Errorf("%q is not an address with a prefix length like 10.1.1.2/24", s)
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, nil
}

func (d *decoder) object(n *node, v reflect.Value, field string) {
	if n.kind != objectNode {
		d.fail(n.at, field, "needs a mapping, not %s", n.kind)
		return
	}
	fields := structFields(v.Type())
	for _, m := range n.members {
		name := field + "." + m.name
		index, known := fields[m.name]
		if !known {
			d.fail(m.at, name, "unknown field; here stand %s", fieldNames(v.Type()))
			continue
		}
		d.value(m.value, v.Field(index), name)
	}
}

// mapping decodes a mapping whose names the types do not know. An empty one
// stays nil: it says the same as none.
func (d *decoder) mapping(n *node, v reflect.Value, field string) {
	if n.kind != objectNode {
		d.fail(n.at, field, "needs a mapping, not %s", n.kind)
		return
	}
	if len(n.members) == 0 {
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.members))
	for _, m := range n.members {
		name := field + "." + m.name
		if m.value.kind == nullNode {
			d.fail(m.value.at, name, "is empty")
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(m.value, value, name)
		out.SetMapIndex(reflect.ValueOf(m.name), value)
	}
	v.Set(out)
}

// list decodes a list. An empty one stays nil: it says the same as none.
func (d *decoder) list(n *node, v reflect.Value, field string) {
	if n.kind != listNode {
		d.fail(n.at, field, "needs a list, not %s", n.kind)
		return
	}
	if len(n.list) == 0 {
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.list), len(n.list))
	for i, item := range n.list {
		at := fmt.Sprintf("%s[%d]", field, i)
		if item.kind == nullNode {
			d.fail(item.at, at, "is empty")
			continue
		}
		d.value(item, out.Index(i), at)
	}
	v.Set(out)
}

func (d *decoder) scalar(n *node, v reflect.Value, field string) {
	switch {
	case v.Kind() == reflect.String:
		if n.kind != stringNode {
			d.fail(n.at, field, "needs a string, not %s; put it in quotes", n.kind)
			return
		}
		v.SetString(n.text)
	case v.Kind() == reflect.Bool:
		if n.kind != boolNode {
			d.fail(n.at, field, "needs true or false")
			return
		}
		v.SetBool(n.text == "true")
	case v.CanInt():
		i, err := strconv.ParseInt(n.text, 10, v.Type().Bits())
		if n.kind != numberNode || err != nil {
			d.fail(n.at, field, "needs a whole number")
			return
		}
		v.SetInt(i)
	case v.CanUint():
		u, err := strconv.ParseUint(n.text, 10, v.Type().Bits())
		if n.kind != numberNode || err != nil {
			d.fail(n.at, field, "needs a whole number, not negative")
			return
		}
		v.SetUint(u)
	default:
		panic(fmt.Sprintf("netquorum: the decoder does not know %s", v.Type()))
	}
}

// fieldsOf holds the fields of every struct that documents consist of.
var fieldsOf = func() map[reflect.Type]map[string]int {
	out := map[reflect.Type]map[string]int{}
	var visit func(t reflect.Type)
	visit = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || out[t] != nil || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
			return
		}
		out[t] = map[string]int{}
		for i := range t.NumField() {
			if !t.Field(i).IsExported() {
				continue
			}
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			out[t][name] = i
			visit(t.Field(i).Type)
		}
	}
	visit(reflect.TypeFor[wireDocument]())
	for _, make := range newSpec {
		visit(reflect.TypeOf(make()))
	}
	return out
}()

func structFields(t reflect.Type) map[string]int { return fieldsOf[t] }

// fieldNames lists the fields of a struct for a message.
func fieldNames(t reflect.Type) string {
	fields := structFields(t)
	names := slices.SortedFunc(maps.Keys(fields), func(a, b string) int { return cmp.Compare(fields[a], fields[b]) })
	return strings.Join(names, ", ")
}
