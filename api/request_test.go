package api_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/api/apitest"
)

func TestRequestsThatMakeNoSense(t *testing.T) {
	c, path := start(t, new(apitest.Backend))
	if _, err := c.Init(t.Context(), api.InitRequest{Filer: "filer1", Documents: parse(t, clusterYAML)}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name                 string
		method, target, kind string
		body                 string
		status               int
		code                 api.Code
		text                 string // in the detail
	}{
		{name: "an unknown resource", method: "GET", target: "/v1/nope", status: 404, code: api.ErrNotFound, text: "/v1/openapi.json"},
		{name: "a method that the resource lacks", method: "PATCH", target: "/v1/status", status: 404, code: api.ErrNotFound, text: "PATCH"},
		{name: "a misspelt parameter", method: "DELETE", target: "/v1/documents/Filer/filer1?ifrevision=3", status: 400, code: api.ErrUsage, text: "ifRevision"},
		{name: "a revision that is no number", method: "DELETE", target: "/v1/documents/Filer/filer1?ifRevision=x", status: 400, code: api.ErrUsage, text: "whole number"},
		{name: "an unknown consistency", method: "GET", target: "/v1/documents?consistency=eventual", status: 400, code: api.ErrUsage, text: "eventual"},
		{name: "an unknown wait", method: "POST", target: "/v1/apply?wait=forever", body: "kind: Record\nname: a\n", status: 400, code: api.ErrUsage, text: "forever"},
		{name: "a timeout that is none", method: "GET", target: "/v1/status?timeout=soon", status: 400, code: api.ErrUsage, text: "soon"},
		{name: "an unknown kind in the path", method: "GET", target: "/v1/documents/Banana", status: 400, code: api.ErrUsage, text: "Banana"},
		{name: "a document that is not there", method: "GET", target: "/v1/documents/Filer/zz", status: 404, code: api.ErrNotFound, text: "Filer/zz"},
		{name: "another document in the body than in the path", method: "PUT", target: "/v1/documents/Record/a", body: "kind: Record\nname: b\n", status: 400, code: api.ErrUsage, text: "Record/a"},
		{name: "ifRevision with two documents", method: "POST", target: "/v1/apply?ifRevision=3", body: "kind: Record\nname: a\n---\nkind: Record\nname: b\n", status: 400, code: api.ErrUsage, text: "2"},
		{name: "an empty transaction", method: "POST", target: "/v1/transactions", body: "{}", status: 400, code: api.ErrUsage, text: "neither"},
		{name: "a put of nothing", method: "POST", target: "/v1/transactions", body: `{"puts":[{}]}`, status: 400, code: api.ErrUsage, text: "puts[0]"},
		{name: "a delete of nothing", method: "POST", target: "/v1/transactions", body: `{"deletes":[{"kind":"Record"}]}`, status: 400, code: api.ErrUsage, text: "deletes[0]"},
		{name: "a transaction with an unknown field", method: "POST", target: "/v1/transactions", body: `{"put":[]}`, status: 422, code: api.ErrInvalid, text: `"put"`},
		{name: "a body that is no JSON", method: "POST", target: "/v1/transactions", body: `{`, status: 400, code: api.ErrUsage, text: "JSON"},
		{name: "two JSON values where one belongs", method: "POST", target: "/v1/transactions", body: `{} {}`, status: 400, code: api.ErrUsage, text: "after"},
		{name: "no body", method: "POST", target: "/v1/tokens", status: 400, code: api.ErrUsage, text: "empty"},
		{name: "a body of another type", method: "POST", target: "/v1/apply", kind: "image/png", body: "x", status: 400, code: api.ErrUsage, text: "image/png"},
		{name: "no documents", method: "POST", target: "/v1/apply", body: "# nothing\n", status: 422, code: api.ErrInvalid, text: "document"},
		{name: "an unknown field of a document", method: "POST", target: "/v1/apply", body: "kind: Record\nname: a\nspec: {colour: red}\n", status: 422, code: api.ErrInvalid, text: "colour"},
		{name: "a key twice", method: "POST", target: "/v1/apply", body: "kind: Record\nname: a\nname: b\n", status: 422, code: api.ErrInvalid, text: "name"},
		{name: "a bad line in a restore", method: "POST", target: "/v1/restore", kind: "application/jsonl", body: "{\"kind\":\"Record\",\"name\":\"a\"}\n{\"kind\":\"Record\"}\n", status: 422, code: api.ErrInvalid, text: "line 2"},
		{name: "more than fits", method: "POST", target: "/v1/apply", body: strings.Repeat(" ", 17<<20), status: 413, code: api.ErrTooLarge, text: "16 MiB"},
		{name: "init without a filer", method: "POST", target: "/v1/init", body: "{}", status: 400, code: api.ErrUsage, text: "filer"},
		{name: "join without a token", method: "POST", target: "/v1/join", body: `{"filer":"a","peer":"b"}`, status: 400, code: api.ErrUsage, text: "token"},
		{name: "a history that ends before it begins", method: "GET", target: "/v1/history?from=3&to=2", status: 400, code: api.ErrUsage, text: "after"},
		{name: "a limit of nothing", method: "GET", target: "/v1/history?limit=0", status: 400, code: api.ErrUsage, text: "limit"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req, _ := http.NewRequestWithContext(t.Context(), test.method, "http://x"+test.target, strings.NewReader(test.body))
			if test.kind != "" {
				req.Header.Set("Content-Type", test.kind)
			}
			resp, err := overSocket(path).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			var e api.Error
			if err := json.Unmarshal(body, &e); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("the answer is no problem document: %s %s", resp.Status, body)
			}
			if resp.StatusCode != test.status || e.Status != test.status || e.Code != test.code {
				t.Errorf("answer %s with code %s, want %d and %s", resp.Status, e.Code, test.status, test.code)
			}
			if !strings.Contains(e.Message, test.text) {
				t.Errorf("detail %q does not mention %q", e.Message, test.text)
			}
		})
	}
	if l, err := c.List(t.Context(), ""); err != nil || l.Revision != 1 {
		t.Errorf("after all this the revision is %d, %v; want 1: nothing changed", l.Revision, err)
	}
}

func TestWhatCurlSends(t *testing.T) {
	c, path := start(t, new(apitest.Backend))
	if _, err := c.Init(t.Context(), api.InitRequest{Filer: "filer1", Documents: parse(t, clusterYAML)}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name                       string
		method, target, kind, body string
		status                     int
		text                       string
	}{
		{"apply of YAML", "POST", "/v1/apply?changes=true", "application/yaml", "kind: Record\nname: a\nspec: {data: 1}\n", 200, `"name":"a"`},
		{"apply of JSON", "POST", "/v1/apply", "application/json", `{"kind":"Record","name":"b","spec":{"data":1}}`, 200, `"revision":3`},
		{"apply as curl -d says it", "POST", "/v1/apply", "application/x-www-form-urlencoded", "kind: Record\nname: c\n", 200, `"revision":4`},
		{"put of one document", "PUT", "/v1/documents/records/c?ifRevision=4", "application/json; charset=utf-8", `{"kind":"Record","name":"c","spec":{"data":2}}`, 200, `"revision":5`},
		{"delete of one document", "DELETE", "/v1/documents/record/c", "", "", 200, `"revision":6`},
		{"list of one kind, by what operators call it", "GET", "/v1/documents/vservers", "", "", 200, "VsvrA"},
		{"dump", "GET", "/v1/dump", "", "", 200, "kind: VirtualServer"},
		{"metrics", "GET", "/metrics", "", "", 200, "up 1"},
		{"the API's description", "GET", "/v1/openapi.json", "", "", 200, `"openapi"`},
		{"version", "GET", "/v1/version", "", "", 200, "v0.0.0-test"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req, _ := http.NewRequestWithContext(t.Context(), test.method, "http://x"+test.target, strings.NewReader(test.body))
			if test.kind != "" {
				req.Header.Set("Content-Type", test.kind)
			}
			resp, err := overSocket(path).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != test.status || !strings.Contains(string(body), test.text) {
				t.Errorf("answer %s %s; want %d and %q", resp.Status, body, test.status, test.text)
			}
		})
	}
}
