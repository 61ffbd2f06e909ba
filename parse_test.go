package netquorum

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBadFiles(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"an empty file", "", "f: there is no document in it"},
		{"nothing but comments and separators", "# hello\n---\n---\n# bye\n", "f: there is no document in it"},
		{"a binary file", "kind: \x00\x01\x02", "f: it is not text in UTF-8, but looks like binary data"},
		{"another encoding", "kind: Filer\nname: caf\xe9", "f: it is not text in UTF-8, but looks like binary data"},
		{"an unknown kind", "kind: Filler\nname: a", `f:1:7: Filler/a: kind: unknown kind "Filler"; this version has Cluster, Routes, Application, Access, FilerGroup, Filer, VirtualServer, Service, Partner, Record`},
		{"no kind", "name: a\nspec: {}", "f:1:1: kind: missing; say what the document is, for example kind: VirtualServer"},
		{"no name", "kind: Filer", "f:1:1: name: missing; every Filer has a name"},
		{"a list instead of a document", "- kind: Filer\n  name: a", "f:1:1: a document is a mapping with kind, name and spec, not a list"},
		{"text instead of a document", "hello", "f:1:1: a document is a mapping with kind, name and spec, not a string"},
		{"an unknown field of a document", "kind: Filer\nname: a\nstatus: {}", "f:3:1: Filer/a: status: unknown field; a document has kind, name, revision, spec"},
		{"an unknown field of a spec", "kind: Filer\nname: a\nspec:\n  grp: main", "f:4:3: Filer/a: spec.grp: unknown field; here stand group, interfaces, routes, access, probes"},
		{"a field in another case", "kind: Filer\nname: a\nspec:\n  Group: main", "f:4:3: Filer/a: spec.Group: unknown field; here stand group, interfaces, routes, access, probes"},
		{"a key twice", "kind: Filer\nname: a\nspec:\n  group: a\n  group: b", `f:5:3: key "group" stands here a second time; the first is on line 4`},
		{"a key twice in a record's data", "kind: Record\nname: a\nspec:\n  data: {x: 1, x: 2}", `f:4:16: key "x" stands here a second time; the first is on line 4`},
		{"a number for a name", "kind: Filer\nname: 12", "f:2:7: name: needs a string, not a number; put it in quotes"},
		{"a word for a list", "kind: Filer\nname: a\nspec: {interfaces: eth0}", "f:3:20: Filer/a: spec.interfaces: needs a list, not a string"},
		{"a list for a mapping", "kind: Filer\nname: a\nspec: []", "f:3:7: Filer/a: spec: needs a mapping, not a list"},
		{"an empty element", "kind: Filer\nname: a\nspec:\n  interfaces:\n  -\n  - {name: eth0}", "f:5:4: Filer/a: spec.interfaces[0]: is empty"},
		{"a fraction for a whole number", "kind: Cluster\nname: a\nspec: {history: 1.5}", "f:3:17: Cluster/a: spec.history: needs a whole number"},
		{"a number that is too large", "kind: Cluster\nname: a\nspec: {history: 99999999999999999999}", "f:3:17: Cluster/a: spec.history: needs a whole number"},
		{"a negative revision", "kind: Cluster\nname: a\nrevision: -1", "f:3:11: Cluster/a: revision: needs a whole number, not negative"},
		{"a word for a truth value", "kind: Filer\nname: a\nspec:\n  interfaces:\n  - {name: bond0, bond: {lacpActive: yes}}", "f:5:38: Filer/a: spec.interfaces[0].bond.lacpActive: needs true or false"},
		{"a word for a switch", "kind: Filer\nname: a\nspec:\n  interfaces:\n  - {name: eth0, ethernet: {offloads: {tso: off}}}", "f:5:45: Filer/a: spec.interfaces[0].ethernet.offloads.tso: needs true or false"},
		{"a switch left open", "kind: Filer\nname: a\nspec:\n  interfaces:\n  - {name: eth0, ethernet: {offloads: {tso: }}}", "f:5:44: Filer/a: spec.interfaces[0].ethernet.offloads.tso: is empty"},
		{"a list of switches", "kind: Filer\nname: a\nspec:\n  interfaces:\n  - {name: eth0, ethernet: {offloads: [tso]}}", "f:5:39: Filer/a: spec.interfaces[0].ethernet.offloads: needs a mapping, not a list"},
		{"processors that are none", "kind: Filer\nname: a\nspec:\n  interfaces:\n  - {name: eth0, cpu: {rps: ff}}", `f:5:29: Filer/a: spec.interfaces[0].cpu.rps: "ff" is no list of processors like 0-3,8`},
		{"processors as a number", "kind: Filer\nname: a\nspec:\n  interfaces:\n  - {name: eth0, cpu: {rps: 2}}", "f:5:29: Filer/a: spec.interfaces[0].cpu.rps: needs a string, not a number; put it in quotes"},
		{"a name against the rules", "kind: Filer\nname: a\nspec:\n  interfaces:\n  - name: en0", `f:5:11: Filer/a: spec.interfaces[0].name: interface name "en0" is not ethN, bondN, failN, mgmtN, dataN, sanN or one of these with a VLAN tag (1-4094) like bond0.10, at most 15 characters`},
		{"a VLAN tag out of range", "kind: Filer\nname: a\nspec:\n  interfaces:\n  - name: eth0.4095", `f:5:11: Filer/a: spec.interfaces[0].name: interface name "eth0.4095" is not ethN, bondN, failN, mgmtN, dataN, sanN or one of these with a VLAN tag (1-4094) like bond0.10, at most 15 characters`},
		{"no prefix length", "kind: VirtualServer\nname: a\nspec:\n  addresses:\n  - {alias: data0, prefix: 10.1.1.1}", `f:5:28: VirtualServer/a: spec.addresses[0].prefix: "10.1.1.1" has no prefix length; write it like 10.1.1.1/24`},
		{"no prefix length of IPv6", "kind: VirtualServer\nname: a\nspec:\n  addresses:\n  - {alias: data0, prefix: 'fd00::1'}", `f:5:28: VirtualServer/a: spec.addresses[0].prefix: "fd00::1" has no prefix length; write it like fd00::1/64`},
		{"no address", "kind: VirtualServer\nname: a\nspec:\n  addresses:\n  - {alias: data0, prefix: ten}", `f:5:28: VirtualServer/a: spec.addresses[0].prefix: "ten" is not an address with a prefix length like 10.1.1.2/24`},
		{"no gateway", "kind: Routes\nname: a\nspec:\n  routes:\n  - {to: 10/8, via: me}", "f:5:10: Routes/a: spec.routes[0].to: \"10/8\" is neither a prefix like 10.0.0.0/8 nor \"default\"\nf:5:21: Routes/a: spec.routes[0].via: \"me\" is not an IP address"},
		{"no MAC", "kind: Cluster\nname: a\nspec: {mac: 00:07}", `f:3:13: Cluster/a: spec.mac: "00:07" is not a MAC address like 00:07:34:04:12:0e`},
		{"bytes that are not base64", "kind: Token\nname: a\nspec: {key: '%'}", "f:3:13: Token/a: spec.key: needs bytes in base64"},
		{"bad YAML", "kind: Filer\nname: [a", "f:2:7: YAML: sequence end token ']' not found"},
		{"a number that JSON cannot write", "kind: Record\nname: a\nspec: {data: .inf}", "f:3:14: infinity is not supported here"},
		{"two values in a document", "kind: Filer\nname: a\n...\nname: b", "f:4:1: kind: missing; say what the document is, for example kind: VirtualServer"},
		{"a tag", "kind: !!str Filer\nname: a", "f:1:7: tag is not supported here"},
		{"an alias of nothing", "kind: Record\nname: a\nspec: {data: *x}", "f:3:14: alias *x has no anchor &x before it"},
		{"an alias that contains itself", "kind: Record\nname: a\nspec:\n  data: &x [*x]", "f:4:13: alias *x contains itself"},
		{"aliases that explode", "kind: Record\nname: a\nspec:\n  data:\n" + bomb(), "f:7:34: aliases stand for more than 100000 values"},
		{"lists that nest deeply", "kind: Record\nname: a\nspec: {data: " + strings.Repeat("[", 100_000) + "}", "f:3:1: lists and mappings nest deeper than 100"},
		{"dashes that nest deeply", "kind: Record\nname: a\nspec:\n  data:\n  " + strings.Repeat("- ", 100_000) + "1", "f:5:1: lists and mappings nest deeper than 100"},
		{"a document of 10 MB", "kind: Record\nname: a\nspec:\n  data: " + strings.Repeat("x", 10<<20), "f:1:1: a document of 10485795 bytes is larger than the 1024 KiB that one may have"},
		{"a JSON document of 10 MB", `{"kind":"Record","name":"a","spec":{"data":"` + strings.Repeat("x", 10<<20) + `"}}`, "f:1:1: a document of 10485807 bytes is larger than the 1024 KiB that one may have"},
		{"JSON with a key twice", `{"kind":"Record","name":"a","spec":{"type":"x",` + "\n" + ` "type":"y"}}`, `f:2:2: key "type" stands here a second time; the first is on line 1`},
		{"JSON with a key twice in a record's data", `{"kind":"Record","name":"a","spec":{"data":{"x":1,"\u0078":2}}}`, `f:1:51: key "x" stands here a second time; the first is on line 1`},
		{"JSON with an unknown field", `{"kind":"Filer","name":"a","spec":{"grp":1}}`, "f:1:36: Filer/a: spec.grp: unknown field; here stand group, interfaces, routes, access, probes"},
		{"JSON that ends too early", `{"kind":"Filer"`, `f:1:16: expected '}' at the end of an object, found the end of the file`},
		{"JSON with rubbish behind", `{"kind":"Filer","name":"a"} x`, `f:1:29: 'x' cannot begin a JSON value`},
		{"JSON that nests deeply", `{"kind":"Record","name":"a","spec":{"data":` + strings.Repeat("[", 100_000), "f:1:143: lists and objects nest deeper than 100"},
		{"JSON with half a surrogate pair", `{"kind":"\ud800"}`, "f:1:10: half of a surrogate pair stands alone"},
		{"JSON with a bad number", `{"kind":01}`, "f:1:9: this is no JSON number"},
		{"JSON with a bad escape", `{"kind":"\x"}`, `f:1:10: a backslash must be followed by one of " \ / b f n r t or uXXXX`},
		{"JSON with a line break in a string", "{\"kind\":\"a\nb\"}", `f:1:11: a string holds the control character '\n'; write it as an escape`},
		{"errors in several documents", "kind: Filer\nname: a\nspec: {a: 1}\n---\nkind: [\n---\nkind: Filer\nname: b\n---\nkind: Filer\nname: c\nspec: {group: 1, routes: 2}",
			"f:3:8: Filer/a: spec.a: unknown field; here stand group, interfaces, routes, access, probes\n" +
				"f:5:7: YAML: sequence end token ']' not found\n" +
				"f:12:15: Filer/c: spec.group: needs a string, not a number; put it in quotes\n" +
				"f:12:26: Filer/c: spec.routes: needs a string, not a number; put it in quotes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			docs, err := ParseDocuments("f", []byte(tc.text))
			if err == nil || docs != nil {
				t.Fatalf("read %d documents, error %v", len(docs), err)
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// bomb is a dozen lines of YAML that stand for a trillion values.
func bomb() string {
	var b strings.Builder
	b.WriteString("    a0: &a0 [1]\n")
	for i := 1; i < 12; i++ {
		b.WriteString(fmt.Sprintf("    a%d: &a%d [", i, i) + strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9) + fmt.Sprintf("*a%d]\n", i-1))
	}
	return b.String()
}

func TestParseErrorsCanBeTold(t *testing.T) {
	_, err := ParseDocuments("f", nil)
	if !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty file gives %v", err)
	}
	_, err = ParseDocuments("f", []byte("kind: Filler\nname: a"))
	var unknown *UnknownKindError
	var place *ParseError
	if !errors.As(err, &unknown) || unknown.Kind != "Filler" || !errors.As(err, &place) || place.Line != 1 || place.Column != 7 {
		t.Errorf("an unknown kind gives %v", err)
	}
	_, err = ParseDocuments("f", make([]byte, MaxFile+1))
	if err == nil || !strings.Contains(err.Error(), "more than the 64 MiB") {
		t.Errorf("a huge file gives %v", err)
	}
	if _, err := DecodeSpec("Filler", nil); !errors.As(err, &unknown) {
		t.Errorf("the spec of an unknown kind gives %v", err)
	}
}

func TestGoodFiles(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"anchors and merges", `
kind: Record
name: a
spec:
  data:
    base: &base {x: 1, y: 2}
    one: {<<: *base, y: 3}
    two: [*base, *base]
    three: {<<: [{z: 0, x: 5}, *base]}
`, `{"kind":"Record","name":"a","spec":{"data":{"base":{"x":1,"y":2},"one":{"x":1,"y":3},"three":{"x":5,"y":2,"z":0},"two":[{"x":1,"y":2},{"x":1,"y":2}]}}}`},
		{"numbers that only YAML has", "kind: Record\nname: a\nspec: {data: [0x1f, 0o17, 1_000, +1, 1e3, 1.50, '1', .5]}",
			`{"kind":"Record","name":"a","spec":{"data":[31,15,1000,1,1e3,1.50,"1",0.5]}}`},
		{"keys that look like something else", "kind: Record\nname: a\nspec: {data: {1: a, true: b, ~: c, 'x y': d}}",
			`{"kind":"Record","name":"a","spec":{"data":{"1":"a","true":"b","x y":"d","~":"c"}}}`},
		{"text over several lines", "kind: Record\nname: a\nspec:\n  data: |\n    one\n      two\n  type: >-\n    a\n    b\n",
			`{"kind":"Record","name":"a","spec":{"type":"a b","data":"one\n  two\n"}}`},
		{"a byte order mark and carriage returns", "\ufeffkind: Filer\r\nname: a\r\nspec:\r\n  group: g\r\n", `{"kind":"Filer","name":"a","spec":{"group":"g"}}`},
		{"a directive, and markers with something behind", "%YAML 1.2\n--- # first\nkind: Filer\nname: a\n... # end\n", `{"kind":"Filer","name":"a","spec":{}}`},
		{"no spec, or nothing in it", "kind: Filer\nname: a\n---\nkind: Filer\nname: b\nspec:\n", `{"kind":"Filer","name":"a","spec":{}}` + "\n" + `{"kind":"Filer","name":"b","spec":{}}`},
		{"empty lists and empty values are none", "kind: Filer\nname: a\nspec: {group: , interfaces: [], routes: null}", `{"kind":"Filer","name":"a","spec":{}}`},
		{"MAC addresses without quotes", "kind: Cluster\nname: a\nspec: {mac: 00:07:34:04:12:0E}", `{"kind":"Cluster","name":"a","spec":{"mac":"00:07:34:04:12:0e"}}`},
		{"interface names in upper case", "kind: Filer\nname: A\nspec: {interfaces: [{name: Bond0, members: [ETH0]}]}", `{"kind":"Filer","name":"A","spec":{"interfaces":[{"name":"bond0","members":["eth0"]}]}}`},
		{"host bits are kept, IPv4 in the form of IPv6 is not", "kind: VirtualServer\nname: a\nspec:\n  group: g\n  addresses:\n  - {alias: data0, prefix: 10.1.1.7/8}\n  - alias: data0\n    instance: 1\n    prefix: ::ffff:10.1.1.8/104\n",
			`{"kind":"VirtualServer","name":"a","spec":{"group":"g","addresses":[{"alias":"data0","instance":0,"prefix":"10.1.1.7/8"},{"alias":"data0","instance":1,"prefix":"10.1.1.8/8"}]}}`},
		{"a JSON stream", " {\"spec\":{\"data\":{\"b\":1,\"a\":\"\\u00e9\\/\"}},\"kind\":\"Record\",\"name\":\"a\"}\n{\"name\":\"b\",\"kind\":\"Filer\",\"revision\":7}",
			`{"kind":"Record","name":"a","spec":{"data":{"a":"é/","b":1}}}` + "\n" + `{"kind":"Filer","name":"b","revision":7,"spec":{}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			docs, err := ParseDocuments("f", []byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range docs {
				text, err := json.Marshal(d)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(text))
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("documents (-want +got):\n%s", diff)
			}
		})
	}
}

func TestARepeatedKeyAmongManyIsFound(t *testing.T) {
	var b strings.Builder
	for i := range 20 {
		fmt.Fprintf(&b, "\n%q: %d,", fmt.Sprint("k", i), i)
	}
	_, err := CanonicalJSON([]byte("{" + b.String() + "\n\"k3\": 1}"))
	if err == nil || err.Error() != `22:1: key "k3" stands here a second time; the first is on line 5` {
		t.Errorf("the error is %v", err)
	}
}

func TestDecodeSpec(t *testing.T) {
	for _, tc := range []struct{ text, want, err string }{
		{"", "{}", ""},
		{"null", "{}", ""},
		{`{"type": "x", "data": {"b": 1, "a": 2}}`, `{"type":"x","data":{"a":2,"b":1}}`, ""},
		{`{"type": 1}`, "", "Record:1:10: spec.type: needs a string, not a number; put it in quotes"},
		{`{"type": "x"`, "", "Record:1:13: expected '}' at the end of an object, found the end of the file"},
		{`{} {}`, "", "Record:1:4: there is more after the JSON value"},
		{"\xff", "", errNotText.Error()},
	} {
		spec, err := DecodeSpec(KindRecord, []byte(tc.text))
		if err != nil || tc.err != "" {
			if err == nil || err.Error() != tc.err {
				t.Errorf("%s: error %v, want %s", tc.text, err, tc.err)
			}
			continue
		}
		if got, _ := appendSpec(nil, spec); string(got) != tc.want {
			t.Errorf("%s: read as %s, want %s", tc.text, got, tc.want)
		}
	}
}
