package netquorum

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
)

var update = flag.Bool("update", false, "write generated and golden files anew")

func TestSchemaIsCurrent(t *testing.T) {
	const file = "docs/schema/netquorum.schema.json"
	want, err := json.MarshalIndent(generateSchema(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, Schema()) {
		t.Errorf("%s is stale; run: go generate .", file)
	}
}

// Everything that the decoder takes is in the schema, and nothing else: both
// follow the JSON tags.
func TestSchemaDescribesEveryField(t *testing.T) {
	var s struct {
		Defs map[string]struct {
			Description string
			Properties  map[string]struct{ Description string }
		} `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	for typ, fields := range fieldsOf {
		if typ == reflect.TypeFor[wireDocument]() || Kind(typ.Name()).Machine() || typ == reflect.TypeFor[RolloutStep]() || typ == reflect.TypeFor[Revocation]() {
			continue
		}
		def, ok := s.Defs[typ.Name()]
		if !ok || def.Description == "" {
			t.Errorf("the schema does not describe %s", typ.Name())
		}
		for name := range fields {
			if _, ok := def.Properties[name]; !ok {
				t.Errorf("the schema lacks %s.%s", typ.Name(), name)
			}
		}
	}
	for name := range s.Defs {
		if Kind(name).Machine() {
			t.Errorf("the schema offers %s, which users do not write", name)
		}
	}
}

func generateSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	comments := typeComments(t)
	r := &jsonschema.Reflector{
		Anonymous: true,
		Mapper:    mapType,
		LookupComment: func(typ reflect.Type, field string) string {
			if field == "" {
				return comments[typ.Name()]
			}
			if said := comments[typ.Name()+"."+field]; said != "" {
				return said
			}
			if f, ok := typ.FieldByName(field); ok {
				if s := mapType(f.Type); s != nil {
					return s.Description
				}
			}
			return ""
		},
	}
	root := &jsonschema.Schema{
		Version:              jsonschema.Version,
		Title:                "netquorum document",
		Description:          "One document of a netquorum configuration. A YAML file holds any number of them, separated by ---.",
		Type:                 "object",
		Required:             []string{"kind", "name"},
		AdditionalProperties: jsonschema.FalseSchema,
		Properties:           jsonschema.NewProperties(),
		Definitions:          jsonschema.Definitions{},
	}
	kind := &jsonschema.Schema{Type: "string", Description: "What the document configures."}
	root.Properties.Set("kind", kind)
	root.Properties.Set("name", &jsonschema.Schema{Type: "string", Pattern: "^[A-Za-z0-9]([A-Za-z0-9._/-]{0,251}[A-Za-z0-9])?$",
		Description: "Unique among the documents of the kind, without regard to case."})
	root.Properties.Set("revision", &jsonschema.Schema{Type: "integer", Minimum: "0", Description: "The revision that last wrote the document. Ignored in a user's file."})
	root.Properties.Set("spec", &jsonschema.Schema{Type: "object", Description: "The content, by kind."})
	for _, k := range Kinds {
		if k.Machine() {
			continue
		}
		kind.Enum = append(kind.Enum, string(k))
		s := r.ReflectFromType(reflect.TypeOf(newSpec[k]()).Elem())
		for name, def := range s.Definitions {
			root.Definitions[name] = def
		}
		when, then := jsonschema.NewProperties(), jsonschema.NewProperties()
		when.Set("kind", &jsonschema.Schema{Const: string(k)})
		then.Set("spec", &jsonschema.Schema{Ref: "#/$defs/" + string(k)})
		root.AllOf = append(root.AllOf, &jsonschema.Schema{If: &jsonschema.Schema{Properties: when}, Then: &jsonschema.Schema{Properties: then}})
	}
	refine(t, root.Definitions)
	return root
}

// mapType says what the types look like that write themselves as text.
func mapType(t reflect.Type) *jsonschema.Schema {
	text := func(pattern, description string) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "string", Pattern: pattern, Description: description}
	}
	switch t {
	case reflect.TypeFor[InterfaceName]():
		return text(`^([Ee][Tt][Hh]|[Bb][Oo][Nn][Dd]|[Ff][Aa][Ii][Ll]|[Mm][Gg][Mm][Tt]|[Dd][Aa][Tt][Aa]|[Ss][Aa][Nn])(0|[1-9][0-9]{0,3})([.][1-9][0-9]{0,3})*$`,
			"ethN, bondN, failN, mgmtN, dataN, sanN, or one of these with VLAN tags like bond0.10.")
	case reflect.TypeFor[MAC]():
		return text(`^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$|^([0-9A-Fa-f]{4}[.]){2}[0-9A-Fa-f]{4}$`, "A MAC address like 00:07:34:04:12:0e, in quotes.")
	case reflect.TypeFor[netip.Prefix]():
		return text(`^[0-9A-Fa-f:.]+/[0-9]{1,3}$`, "An IPv4 or IPv6 address with the length of its subnet, like 10.1.1.2/24.")
	case reflect.TypeFor[netip.Addr]():
		return text(`^[0-9A-Fa-f:.]+$`, "An IPv4 or IPv6 address.")
	case reflect.TypeFor[Verdict]():
		return &jsonschema.Schema{Type: "string", Enum: []any{string(Allow), string(Deny)}}
	case reflect.TypeFor[Class]():
		return &jsonschema.Schema{Type: "string", Enum: []any{string(ClassData), string(ClassManagement)}}
	case reflect.TypeFor[Ports]():
		return text(`^([Tt][Cc][Pp]|[Uu][Dd][Pp]|[Ss][Cc][Tt][Pp])/[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$`, "A protocol with a port or a range, like tcp/2049 or udp/137-138.")
	case reflect.TypeFor[Destination]():
		return text(`^default$|^[0-9A-Fa-f:.]+/[0-9]{1,3}$`, "A network like 10.0.0.0/8, or default.")
	case reflect.TypeFor[CPUList]():
		return text(`^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$`, "Processors, like 0-3,8.")
	case reflect.TypeFor[BondMode]():
		s := text("", "One of the kernel's bonding modes.")
		for _, m := range BondModes {
			s.Enum = append(s.Enum, string(m))
		}
		return s
	case reflect.TypeFor[json.RawMessage]():
		return &jsonschema.Schema{Description: "Any value, at most 256 KiB as JSON."}
	}
	return nil
}

// refine adds the values and ranges that the rules know and the types do not.
func refine(t *testing.T, defs jsonschema.Definitions) {
	t.Helper()
	property := func(typ, field string) *jsonschema.Schema {
		s, ok := defs[typ].Properties.Get(field)
		if !ok {
			t.Fatalf("there is no %s.%s to refine", typ, field)
		}
		return s
	}
	for typ, words := range map[string]map[string][]string{
		"Bond":     {"lacpRate": lacpRates, "adSelect": adSelects, "xmitHashPolicy": xmitHashPolicies, "primaryReselect": primaryReselects, "failOverMac": failOverMACs, "arpValidate": arpValidates, "arpAllTargets": arpAllTargets},
		"Failover": {"primaryReselect": primaryReselects, "failOverMac": failOverMACs, "arpValidate": arpValidates},
		"Ethernet": {"duplex": duplexes},
	} {
		for field, allowed := range words {
			for _, w := range allowed {
				p := property(typ, field)
				p.Enum = append(p.Enum, w)
			}
		}
	}
	number := func(typ, field string, low, high int) {
		p := property(typ, field)
		p.Minimum, p.Maximum = json.Number(strconv.Itoa(low)), json.Number(strconv.Itoa(high))
	}
	number("Cluster", "history", 0, maxHistory)
	number("Interface", "mtu", minMTU, maxMTU)
	number("Address", "instance", 0, maxInstance)
	number("Route", "metric", 0, 1<<32-1)
	number("Bond", "adPriority", 0, 65535)
	number("Bond", "adUserPortKey", 0, 1023)
	for _, typ := range []string{"Bond", "Failover"} {
		for _, field := range []string{"miimon", "upDelay", "downDelay", "arpInterval"} {
			number(typ, field, 0, maxMilliseconds)
		}
		number(typ, "peerNotifDelay", 0, maxPeerNotifDelay)
		number(typ, "numGratArp", 0, 255)
		number(typ, "resendIgmp", 0, 255)
	}
	number("Bond", "missedMax", 0, 255)
	number("Bond", "lpInterval", 0, maxLPInterval)
	number("Bond", "packetsPerSlave", 0, 65535)
	for _, s := range speeds {
		p := property("Ethernet", "speed")
		p.Enum = append(p.Enum, s)
	}
	number("CPU", "rpsFlows", 0, maxRPSFlows)
	number("CPU", "deferHardIrqs", 0, maxDefer)
	number("CPU", "groFlushTimeout", 0, maxFlush)
	for _, s := range InterfaceSettings {
		typ, field := "Interface", s.Field
		if group, name, nested := strings.Cut(s.Field, "."); nested {
			typ, field = strings.ToUpper(group[:1])+group[1:], name
		}
		p := property(typ, field)
		p.Description = strings.TrimSpace(p.Description + " On " + layersText(s.Layers) + ".")
	}
	// These have a default although they are always written.
	optional := func(typ, field string) {
		defs[typ].Required = slices.DeleteFunc(defs[typ].Required, func(f string) bool { return f == field })
	}
	optional("Address", "instance")
	optional("Cluster", "servers")
	optional("FilerGroup", "servers")
	optional("Route", "to")
}

// typeComments reads the doc comments of the types and their fields, by
// "Type" and "Type.Field".
func typeComments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			decl, ok := n.(*ast.GenDecl)
			if !ok || decl.Tok != token.TYPE {
				return true
			}
			for _, spec := range decl.Specs {
				typ := spec.(*ast.TypeSpec)
				out[typ.Name.Name] = comment(decl.Doc, typ.Doc)
				s, ok := typ.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, f := range s.Fields.List {
					for _, id := range f.Names {
						out[typ.Name.Name+"."+id.Name] = comment(f.Doc, f.Comment)
					}
				}
			}
			return true
		})
	}
	return out
}

// comment returns the first comment that is there, on one line.
func comment(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if g != nil {
			return strings.Join(strings.Fields(g.Text()), " ")
		}
	}
	return ""
}

// The table of rules, for people who look up what a refusal means.
func TestRuleTableIsCurrent(t *testing.T) {
	const file = "docs/schema/rules.md"
	var b strings.Builder
	b.WriteString("# Rules of a configuration\n\nEvery refusal names one of these in brackets. The second column is the requirement behind it.\n\n| rule | requirement | what it asks for |\n|---|---|---|\n")
	for _, r := range RuleBook {
		b.WriteString("| `" + string(r.Rule) + "` | " + r.Requirement + " | " + r.Says + " |\n")
	}
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != b.String() {
		t.Errorf("%s is stale; run: go generate . (%v)", file, err)
	}
}
