package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"

	"github.com/netquorum/netquorum"
)

var update = flag.Bool("update", false, "write the OpenAPI document anew")

// The document is served from one copy and read from the other.
var openAPIFiles = []string{"openapi.json", filepath.Join("..", "docs", "api", "openapi.json")}

func TestOpenAPIDocumentIsThatOfTheRoutesAndTypes(t *testing.T) {
	want := makeOpenAPI(t)
	for _, name := range openAPIFiles {
		if *update {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, got) {
			t.Errorf("%s is stale; run go generate ./api (-want +got):\n%s", name, cmp.Diff(string(want), string(got)))
		}
	}
}

func TestEveryReferenceInTheOpenAPIDocumentResolves(t *testing.T) {
	doc := makeOpenAPI(t)
	var parsed struct {
		Components map[string]map[string]any `json:"components"`
	}
	if err := json.Unmarshal(doc, &parsed); err != nil {
		t.Fatal(err)
	}
	refs := regexp.MustCompile(`"\$ref": "([^"]*)"`).FindAllSubmatch(doc, -1)
	if len(refs) < 20 {
		t.Errorf("only %d references", len(refs))
	}
	for _, ref := range refs {
		path := strings.Split(string(ref[1]), "/")
		if len(path) != 4 || path[0] != "#" || parsed.Components[path[2]][path[3]] == nil {
			t.Errorf("%s leads nowhere", ref[1])
		}
	}
}

// makeOpenAPI makes the document from the route table, the types, and the
// comments in the source.
func makeOpenAPI(t *testing.T) []byte {
	t.Helper()
	g := &generator{schemas: map[string]any{}, types: map[string]reflect.Type{}, comments: map[string]string{}}
	for pkg, dir := range map[string]string{"github.com/netquorum/netquorum": "..", "github.com/netquorum/netquorum/api": "."} {
		if err := g.readComments(pkg, dir); err != nil {
			t.Fatal(err)
		}
	}
	paths := map[string]map[string]any{}
	for _, rt := range routes {
		path := strings.ReplaceAll(rt.path, "...", "") // the rest of the path, which OpenAPI cannot say
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		paths[path][strings.ToLower(rt.method)] = g.operation(rt)
	}
	problem := g.content(Error{}, []string{typeProblem}, false)
	doc := map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "netquorum", "version": APIVersion,
			"description": "What a filer's daemon answers on its local socket. Times are RFC 3339, sizes are bytes.",
			"license":     map[string]any{"name": "Apache 2.0", "identifier": "Apache-2.0"},
		},
		"servers": []any{map[string]any{"url": "http://localhost", "description": "over the socket: curl --unix-socket " + DefaultSocket}},
		"paths":   paths,
		"components": map[string]any{"schemas": g.schemas,
			"responses": map[string]any{"Problem": map[string]any{"description": "Nothing was done, unless revision is set.", "content": problem}}},
	}
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

type generator struct {
	schemas  map[string]any
	types    map[string]reflect.Type // by schema name, to find two types of one name
	comments map[string]string
}

func (g *generator) operation(rt route) map[string]any {
	op := map[string]any{"summary": rt.summary, "operationId": operationID(rt)}
	if rt.detail != "" {
		op["description"] = rt.detail
	}
	var params []any
	for _, m := range regexp.MustCompile(`{(\w+)[.]*}`).FindAllStringSubmatch(rt.path, -1) {
		params = append(params, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, q := range rt.parameters() {
		s := map[string]any{"type": q.kind}
		if q.enum != nil {
			s["enum"] = q.enum
		}
		params = append(params, map[string]any{"name": q.name, "in": "query", "description": q.text, "schema": s})
	}
	if params != nil {
		op["parameters"] = params
	}
	if rt.body != nil {
		op["requestBody"] = map[string]any{"required": true, "content": g.content(rt.body, rt.bodyTypes, true)}
	}
	done := map[string]any{"description": "Done."}
	code := http.StatusNoContent
	if rt.reply != nil {
		done["content"] = g.content(rt.reply, rt.replyTypes, false)
		if rt.alternative != nil {
			one, other := done["content"].(map[string]any)[typeJSON].(map[string]any), g.content(rt.alternative, nil, false)[typeJSON].(map[string]any)
			done["content"] = map[string]any{typeJSON: map[string]any{"schema": map[string]any{"anyOf": []any{one["schema"], other["schema"]}}}}
		}
		code = http.StatusOK
	}
	op["responses"] = map[string]any{fmt.Sprint(code): done, "default": map[string]any{"$ref": "#/components/responses/Problem"}}
	return op
}

// operationID is the method and the path in one word: getDocumentsKindName.
func operationID(rt route) string {
	id := strings.ToLower(rt.method)
	for _, part := range regexp.MustCompile(`\w+`).FindAllString(strings.TrimPrefix(rt.path, "/v1"), -1) {
		id += strings.ToUpper(part[:1]) + part[1:]
	}
	return id
}

func (g *generator) content(v any, kinds []string, strict bool) map[string]any {
	if kinds == nil {
		kinds = []string{typeJSON}
	}
	out := map[string]any{}
	for _, kind := range kinds {
		out[kind] = map[string]any{"schema": g.schema(reflect.TypeOf(v), strict)}
	}
	return out
}

// schema returns the type's schema and keeps those that it refers to.
func (g *generator) schema(t reflect.Type, strict bool) any {
	switch t {
	case reflect.TypeFor[octets]():
		return map[string]any{"type": "string", "format": "binary"}
	case reflect.TypeFor[schema]():
		return map[string]any{"type": "object"}
	case reflect.TypeFor[documents]():
		return map[string]any{"$ref": "#/components/schemas/Document", "description": "Documents, one after another."}
	case reflect.TypeFor[netquorum.Document]():
		g.document()
		return map[string]any{"$ref": "#/components/schemas/Document"}
	}
	r := &jsonschema.Reflector{
		// A later version may answer with more than this one's document says.
		AllowAdditionalProperties: !strict,
		Anonymous:                 true,
		Mapper:                    g.special,
		Namer:                     g.name,
		LookupComment:             func(t reflect.Type, field string) string { return g.comments[commentKey(t.PkgPath(), t.Name(), field)] },
	}
	text, err := json.Marshal(r.ReflectFromType(t))
	if err != nil {
		panic(err)
	}
	text = bytes.ReplaceAll(text, []byte("#/$defs/"), []byte("#/components/schemas/"))
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	defs, _ := out["$defs"].(map[string]any)
	for name, def := range defs {
		if g.schemas[name] == nil || strict { // what is in a request is strict in an answer too
			g.schemas[name] = def
		}
	}
	delete(out, "$defs")
	delete(out, "$schema")
	return out
}

// name tells types of the same name apart: api.Token is what the API shows,
// netquorum.Token the content of a document.
func (g *generator) name(t reflect.Type) string {
	name := t.Name()
	if name == "" {
		return "" // a pointer, slice or map
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[netquorum.Spec]()) {
		name += "Spec"
	}
	if other := g.types[name]; other != nil && other != t {
		panic(fmt.Sprintf("%v and %v would both be called %s", t, other, name))
	}
	g.types[name] = t
	return name
}

// document adds the schema of a document, which encodes itself.
func (g *generator) document() {
	if g.schemas["Document"] != nil {
		return
	}
	g.schemas["Document"] = true // being made: specs may hold documents
	var kinds, specs []any
	for _, k := range netquorum.Kinds {
		spec, err := netquorum.DecodeSpec(k, nil)
		if err != nil {
			panic(err)
		}
		kinds = append(kinds, string(k))
		specs = append(specs, g.schema(reflect.TypeOf(spec).Elem(), true))
	}
	g.schemas["Document"] = map[string]any{
		"type":        "object",
		"description": g.comments[commentKey("github.com/netquorum/netquorum", "Document", "")] + " GET /v1/schema has its rules for each kind.",
		"required":    []any{"kind", "name"},
		"properties": map[string]any{
			"kind":     map[string]any{"type": "string", "enum": kinds},
			"name":     map[string]any{"type": "string"},
			"revision": map[string]any{"type": "integer", "description": "Of the transaction that last wrote it; ignored in a write."},
			"spec":     map[string]any{"anyOf": specs},
		},
	}
}

// special has the schemas of types that encode themselves.
func (g *generator) special(t reflect.Type) *jsonschema.Schema {
	switch {
	case t == reflect.TypeFor[netquorum.Document]():
		g.document()
		return &jsonschema.Schema{Ref: "#/components/schemas/Document"}
	case t == reflect.TypeFor[json.RawMessage]():
		return &jsonschema.Schema{Description: "Any JSON value."}
	case t == reflect.TypeFor[Duration]():
		return &jsonschema.Schema{Type: "string", Description: "Like 1m30s."}
	case t.String() == "time.Time":
		return &jsonschema.Schema{Type: "string", Format: "date-time"}
	case reflect.PointerTo(t).Implements(reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()):
		return &jsonschema.Schema{Type: "string"}
	}
	return nil
}

// readComments keeps the comments of a package's types and fields as their
// descriptions.
func (g *generator) readComments(pkg, dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.TYPE {
				for _, spec := range d.Specs {
					g.typeComments(pkg, d, spec.(*ast.TypeSpec))
				}
			}
		}
	}
	return nil
}

func (g *generator) typeComments(pkg string, d *ast.GenDecl, spec *ast.TypeSpec) {
	g.comments[commentKey(pkg, spec.Name.Name, "")] = oneLine(d.Doc)
	s, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, field := range s.Fields.List {
		text := oneLine(field.Doc)
		if text == "" {
			text = oneLine(field.Comment)
		}
		for _, name := range field.Names {
			g.comments[commentKey(pkg, spec.Name.Name, name.Name)] = text
		}
	}
}

func commentKey(pkg, typ, field string) string { return pkg + "." + typ + "." + field }

func oneLine(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }
