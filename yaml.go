package netquorum

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxAliased is how many values the aliases (*name) of one YAML document may
// stand for, together; without a bound, nine lines can stand for a billion.
const maxAliased = 100_000

// yaml decodes a stream of YAML documents. Each is parsed by itself, so that a
// syntax error in one does not hide the errors of the others.
func (d *decoder) yaml(data []byte) (docs []Document) {
	for _, part := range splitYAML(data) {
		d.doc = Key{}
		if len(part.text) > MaxDocument {
			d.tooLarge(place{part.line, 1}, len(part.text))
			continue
		}
		n, err := readYAML(part)
		if err != nil {
			d.syntax(err)
			continue
		}
		if n == nil {
			continue
		}
		if doc, ok := d.document(n); ok {
			docs = append(docs, doc)
		}
	}
	return docs
}

// A yamlPart is the text of one document and the line on which it begins.
type yamlPart struct {
	text []byte
	line int
}

// splitYAML cuts a stream at its document markers. YAML forbids a marker at the
// beginning of a line inside any value, so looking at lines is enough.
func splitYAML(data []byte) []yamlPart {
	var parts []yamlPart
	part := yamlPart{line: 1}
	start, line := 0, 0
	for pos := 0; pos < len(data); {
		line++
		end := len(data)
		if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		text := data[pos:end]
		marker := bytes.HasPrefix(text, []byte("---")) || bytes.HasPrefix(text, []byte("..."))
		if marker && (len(text) == 3 || bytes.IndexByte([]byte(" \t\r\n"), text[3]) >= 0) {
			part.text = data[start:pos]
			parts = append(parts, part)
			// What follows the marker on its line belongs to the document.
			start, part = pos+3, yamlPart{line: line}
		}
		pos = end
	}
	part.text = data[start:]
	return append(parts, part)
}

// readYAML turns the text of one document into nodes; nil when it has none.
func readYAML(part yamlPart) (root *node, err error) {
	// What the parser does not expect must not end the daemon.
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, &jsonError{place{part.line, 1}, fmt.Sprintf("YAML: the parser gave up: %v", p)}
		}
	}()
	if err := tooDeep(part); err != nil {
		return nil, err
	}
	file, err := parser.ParseBytes(withoutDirectives(part.text), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, yamlSyntax(err, part)
	}
	r := &yamlReader{line: part.line - 1, anchors: map[string]ast.Node{}, open: map[string]bool{}}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			return nil, &jsonError{r.at(doc.Body), "two values stand in one document; separate documents with ---"}
		}
		if root, err = r.node(doc.Body, 0); err != nil {
			return nil, err
		}
	}
	if root != nil && root.kind == nullNode {
		return nil, nil
	}
	return root, nil
}

// withoutDirectives makes comments of lines like %YAML 1.2, which only stand
// before the marker of a document and so end up in a part of their own.
func withoutDirectives(text []byte) []byte {
	if !bytes.HasPrefix(bytes.TrimLeft(text, "\r\n"), []byte("%")) {
		return text
	}
	out := make([]byte, 0, len(text))
	for line := range bytes.Lines(text) {
		if line[0] == '%' {
			line = append([]byte("#"), line[1:]...)
		}
		out = append(out, line...)
	}
	return out
}

// tooDeep refuses what would make the parser's recursion exhaust the stack. It
// counts brackets and list dashes without understanding the text, generously.
func tooDeep(part yamlPart) error {
	depth, line := 0, part.line
	for text := range bytes.Lines(part.text) {
		dashes := 0
		for i, c := range text {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(0, depth-1)
			case '-', '?', ':':
				if i+1 < len(text) && (text[i+1] == ' ' || text[i+1] == '\t') {
					dashes++
				}
			}
		}
		if depth > 10*maxDepth || dashes > 10*maxDepth {
			return &jsonError{place{line, 1}, fmt.Sprintf("lists and mappings nest deeper than %d", maxDepth)}
		}
		line++
	}
	return nil
}

// yamlSyntax takes the place and the bare message out of the parser's error,
// whose own text is an excerpt of several lines.
func yamlSyntax(err error, part yamlPart) error {
	var y yaml.Error
	if !errors.As(err, &y) {
		return &jsonError{place{part.line, 1}, err.Error()}
	}
	at := place{part.line, 1}
	if t := y.GetToken(); t != nil && t.Position != nil {
		at = place{part.line - 1 + t.Position.Line, t.Position.Column}
	}
	return &jsonError{at, "YAML: " + y.GetMessage()}
}

// A yamlReader turns the parser's tree into nodes.
type yamlReader struct {
	line    int // lines before the document
	anchors map[string]ast.Node
	open    map[string]bool // aliases being followed
	aliased int             // values that aliases stood for so far
}

func (r *yamlReader) at(n ast.Node) place {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return place{r.line + t.Position.Line, t.Position.Column}
	}
	return place{r.line + 1, 1}
}

func (r *yamlReader) fail(n ast.Node, format string, args ...any) error {
	return &jsonError{r.at(n), fmt.Sprintf(format, args...)}
}

func (r *yamlReader) node(n ast.Node, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, r.fail(n, "lists and mappings nest deeper than %d", maxDepth)
	}
	if len(r.open) > 0 {
		if r.aliased++; r.aliased > maxAliased {
			return nil, r.fail(n, "aliases stand for more than %d values", maxAliased)
		}
	}
	at := r.at(n)
	switch n := n.(type) {
	case nil:
		return &node{at: at}, nil
	case *ast.NullNode:
		return &node{at: at}, nil
	case *ast.BoolNode:
		return &node{kind: boolNode, at: at, text: fmt.Sprint(n.Value)}, nil
	case *ast.IntegerNode:
		return r.number(n, n.Token.Value, n.Value)
	case *ast.FloatNode:
		return r.number(n, n.Token.Value, n.Value)
	case *ast.StringNode:
		return yamlString(n, at), nil
	case *ast.LiteralNode:
		return &node{kind: stringNode, at: at, text: n.Value.Value}, nil
	case *ast.MappingNode:
		return r.mapping(n, n.Values, depth)
	case *ast.MappingValueNode:
		return r.mapping(n, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out := &node{kind: listNode, at: at}
		for _, item := range n.Values {
			v, err := r.node(item, depth+1)
			if err != nil {
				return nil, err
			}
			out.list = append(out.list, v)
		}
		return out, nil
	case *ast.AnchorNode:
		r.anchors[n.Name.String()] = n.Value
		return r.node(n.Value, depth+1)
	case *ast.AliasNode:
		return r.alias(n, depth)
	default:
		return nil, r.fail(n, "%s is not supported here", strings.ToLower(n.Type().String()))
	}
}

func (r *yamlReader) alias(n *ast.AliasNode, depth int) (*node, error) {
	name := n.Value.String()
	target, ok := r.anchors[name]
	if !ok {
		return nil, r.fail(n, "alias *%s has no anchor &%s before it", name, name)
	}
	if r.open[name] {
		return nil, r.fail(n, "alias *%s contains itself", name)
	}
	r.open[name] = true
	defer delete(r.open, name)
	return r.node(target, depth+1)
}

// yamlString resolves a scalar that the parser calls a string: some plain ones
// are numbers in JSON's eyes (1e3), and quoted ones never are.
func yamlString(n *ast.StringNode, at place) *node {
	plain := n.Token.Type == token.StringType
	if plain && n.Value != "" && numberLen([]byte(n.Value)) == len(n.Value) {
		return &node{kind: numberNode, at: at, text: n.Value}
	}
	return &node{kind: stringNode, at: at, text: n.Value}
}

// number keeps a number as it is written when JSON can write it so, and
// converts what only YAML has, like 0x1f.
func (r *yamlReader) number(n ast.Node, text string, value any) (*node, error) {
	text = strings.TrimSpace(text)
	if numberLen([]byte(text)) != len(text) {
		text = fmt.Sprint(value)
	}
	if numberLen([]byte(text)) != len(text) {
		return nil, r.fail(n, "%s is no number that JSON can write", text)
	}
	return &node{kind: numberNode, at: r.at(n), text: text}, nil
}

func (r *yamlReader) mapping(n ast.Node, values []*ast.MappingValueNode, depth int) (*node, error) {
	out := &node{kind: objectNode, at: r.at(n)}
	if len(values) > 0 {
		out.at = r.at(values[0].Key)
	}
	var merged []member
	for _, mv := range values {
		if mv.Key.IsMergeKey() {
			m, err := r.merge(mv, depth)
			if err != nil {
				return nil, err
			}
			merged = append(merged, m...)
			continue
		}
		name, err := r.key(mv.Key)
		if err != nil {
			return nil, err
		}
		v, err := r.node(mv.Value, depth+1)
		if err != nil {
			return nil, err
		}
		out.members = append(out.members, member{name, r.at(mv.Key), v})
	}
	if again, first := repeated(out.members); again != nil {
		return nil, &jsonError{again.at, fmt.Sprintf("key %q stands here a second time; the first is on line %d", again.name, first.at.line)}
	}
	// What a mapping says itself goes before what it merges in.
	if len(merged) > 0 {
		said := map[string]bool{}
		for _, m := range out.members {
			said[m.name] = true
		}
		for _, m := range merged {
			if !said[m.name] {
				said[m.name] = true
				out.members = append(out.members, m)
			}
		}
	}
	return out, nil
}

// merge reads the value of a << key: a mapping or a list of mappings.
func (r *yamlReader) merge(mv *ast.MappingValueNode, depth int) ([]member, error) {
	v, err := r.node(mv.Value, depth+1)
	if err != nil {
		return nil, err
	}
	if v.kind == objectNode {
		return v.members, nil
	}
	var out []member
	for _, item := range v.list {
		if item.kind != objectNode {
			return nil, r.fail(mv, "<< takes mappings only")
		}
		out = append(out, item.members...)
	}
	if v.kind != listNode {
		return nil, r.fail(mv, "<< takes mappings only")
	}
	return out, nil
}

// key returns the name of a member. Names that look like numbers or words are
// names all the same.
func (r *yamlReader) key(k ast.MapKeyNode) (string, error) {
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return strings.TrimSpace(k.GetToken().Value), nil
	default:
		return "", r.fail(k, "a key must be plain text")
	}
}
