package api_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/api/apitest"
)

// FuzzRequests sends anything at all and asks for an answer that is JSON and no
// internal error, from a server that still works afterwards.
func FuzzRequests(f *testing.F) {
	f.Add("POST", "/v1/transactions", "application/json", `{"puts":[{"document":{"kind":"Record","name":"a","spec":{"data":1}},"ifRevision":0}]}`)
	f.Add("POST", "/v1/transactions", "", `{"deletes":[{"kind":"Record","name":"a"}],"dryRun":true}`)
	f.Add("POST", "/v1/apply?dryRun=1&changes=true", "application/yaml", "kind: Record\nname: a\nspec: {data: [1, 2]}\n")
	f.Add("POST", "/v1/restore", "application/jsonl", `{"kind":"Cluster","name":"acme","spec":{"mac":"00:07:34:04:12:0e"}}`)
	f.Add("PUT", "/v1/documents/Record/a%2Fb", "application/json", `{"kind":"Record","name":"a/b"}`)
	f.Add("GET", "/v1/history?from=1&to=2&limit=3&diff=true", "", "")
	f.Add("GET", "/v1/documents?kind=filers&consistency=stale", "", "")
	f.Add("POST", "/v1/tokens", "", `{"ttl":"5m"}`)
	f.Add("POST", "/v1/init", "", `{"filer":"x"}`)
	f.Add("DELETE", "/v1/documents/Cluster/acme", "", "")
	f.Fuzz(func(t *testing.T, method, target, kind, body string) {
		b := new(apitest.Backend)
		s := api.NewServer(api.Options{Backend: b, Log: slog.New(slog.DiscardHandler)})
		if _, err := b.Init(t.Context(), api.InitRequest{Filer: "filer1", Documents: parse(t, clusterYAML)}); err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequest(method, "http://x"+target, strings.NewReader(body))
		if err != nil {
			return // no request
		}
		if r.URL.Path == "/v1/watch" {
			return // a watch has no end
		}
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		resp := w.Result()
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode == http.StatusInternalServerError {
			t.Errorf("%s %s: %s", method, target, text)
		}
		if strings.Contains(resp.Header.Get("Content-Type"), "json") && resp.Header.Get("Content-Type") != "application/jsonl" && !json.Valid(text) {
			t.Errorf("%s %s: the answer is no JSON: %s", method, target, text)
		}
		if _, err := b.Status(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
