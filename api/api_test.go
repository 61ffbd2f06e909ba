package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/api/apitest"
)

// clusterYAML is a small configuration of which every kind of reader can make
// sense.
const clusterYAML = `kind: Cluster
name: acme
spec: {mac: "00:07:34:04:12:0e"}
---
kind: FilerGroup
name: main
spec: {}
---
kind: Filer
name: filer1
spec:
  group: main
  interfaces:
  - {name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]}
  - {name: data0, parent: eth0}
---
kind: VirtualServer
name: VsvrA
spec:
  group: main
  addresses:
  - {alias: data0, instance: 0, prefix: 10.2.2.1/24}
`

var testMAC = netquorum.MAC{0, 7, 0x34, 4, 0x12, 0xe}

// start serves a backend on a real socket and returns a client of it and the
// socket's path.
func start(t testing.TB, b api.Backend) (*api.Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := api.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s := api.NewServer(api.Options{Backend: b, Version: "v0.0.0-test", Log: slog.New(slog.DiscardHandler),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "up 1\n") })})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	c := api.NewClient(path)
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return c, path
}

// startAcme is start with a cluster formed from clusterYAML.
func startAcme(t *testing.T) (*api.Client, *apitest.Backend) {
	t.Helper()
	b := new(apitest.Backend)
	c, _ := start(t, b)
	docs := parse(t, clusterYAML)
	if _, err := c.Init(t.Context(), api.InitRequest{Filer: "filer1", Documents: docs}); err != nil {
		t.Fatal(err)
	}
	return c, b
}

func parse(t testing.TB, text string) []netquorum.Document {
	t.Helper()
	docs, err := netquorum.ParseDocuments("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func record(name, data string) netquorum.Document {
	return netquorum.Document{Kind: netquorum.KindRecord, Name: name, Spec: &netquorum.Record{Type: "test", Data: json.RawMessage(data)}}
}

func put(docs ...netquorum.Document) api.ApplyRequest {
	var r api.ApplyRequest
	for _, d := range docs {
		r.Puts = append(r.Puts, api.Put{Document: d})
	}
	return r
}

func revision(n netquorum.Revision) *netquorum.Revision { return &n }

func TestWhatIsAppliedIsReadBack(t *testing.T) {
	c, _ := startAcme(t)
	ctx := t.Context()
	res, err := c.Apply(ctx, put(record("a", `{"n":1}`), record("b", `[2]`)))
	if err != nil {
		t.Fatal(err)
	}
	if res.Revision != 2 || res.Changed != 2 || res.Changes != nil {
		t.Errorf("result %+v, want revision 2 with 2 changes, not listed", res)
	}
	d, err := c.Get(ctx, netquorum.KindRecord, "A", api.Linearizable)
	if err != nil {
		t.Fatal(err)
	}
	want := record("a", `{"n":1}`)
	want.Revision = 2
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("the record came back different (-want +got):\n%s", diff)
	}
	list, err := c.List(ctx, api.Stale, netquorum.KindRecord, netquorum.KindCluster)
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Documents) != 3 || !list.Stale || list.Revision != 2 {
		t.Errorf("list has %d documents, stale %v, revision %d; want 3, true, 2", len(list.Documents), list.Stale, list.Revision)
	}
}

func TestNamesMayHaveSlashes(t *testing.T) {
	c, _ := startAcme(t)
	if _, err := c.Apply(t.Context(), put(record("backup/plan", `1`))); err != nil {
		t.Fatal(err)
	}
	if d, err := c.Get(t.Context(), netquorum.KindRecord, "backup/plan", ""); err != nil || d.Name != "backup/plan" {
		t.Errorf("got %+v, %v", d, err)
	}
}

func TestApplyAgainChangesNothing(t *testing.T) {
	c, _ := startAcme(t)
	for range 2 {
		res, err := c.Apply(t.Context(), put(parse(t, clusterYAML)...))
		if err != nil {
			t.Fatal(err)
		}
		if res.Revision != 1 || res.Changed != 0 {
			t.Errorf("result %+v, want revision 1 and nothing changed", res)
		}
	}
}

func TestRequestIDMakesRepeatingSafe(t *testing.T) {
	c, _ := startAcme(t)
	req := put(record("a", `1`))
	req.RequestID = "the-same"
	first, err := c.Apply(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(t.Context(), put(record("a", `2`))); err != nil {
		t.Fatal(err)
	}
	again, err := c.Apply(t.Context(), req)
	if err != nil || again.Revision != first.Revision {
		t.Errorf("repeated request: %+v, %v; want the first result, revision %d", again, err, first.Revision)
	}
	if d, _ := c.Get(t.Context(), netquorum.KindRecord, "a", ""); string(d.Spec.(*netquorum.Record).Data) != "2" {
		t.Errorf("the repeated request was applied again: %s", d.Spec.(*netquorum.Record).Data)
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name string
		req  api.ApplyRequest
		want api.Code
		text string
	}{
		{"a document that changed since", api.ApplyRequest{Puts: []api.Put{{Document: record("a", `2`), IfRevision: revision(7)}}}, api.ErrStaleRevision, "Record/a"},
		{"a document that must not exist and does", api.ApplyRequest{Puts: []api.Put{{Document: record("a", `2`), MustNotExist: true}}}, api.ErrExists, "Record/a"},
		{"deleting what is not there", api.ApplyRequest{Deletes: []api.Delete{{Kind: netquorum.KindRecord, Name: "zz"}}}, api.ErrNotFound, "Record/zz"},
		{"a kind that only the cluster writes", put(netquorum.Document{Kind: netquorum.KindPlacement, Name: "VsvrA", Spec: &netquorum.Placement{Filer: "filer1"}}), api.ErrMachineKind, "Placement/VsvrA"},
		{"a transaction larger than a log entry", put(bigRecords(4)...), api.ErrTooLarge, "bytes"},
	}
	c, _ := startAcme(t)
	if _, err := c.Apply(t.Context(), put(record("a", `1`))); err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := c.Apply(t.Context(), test.req)
			if !errors.Is(err, test.want) || !errors.Is(err, api.ErrRefused) {
				t.Fatalf("error %v, want a refusal with code %s", err, test.want)
			}
			if !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %q does not mention %q", err, test.text)
			}
			if api.ExitCode(err) != api.ExitRefused {
				t.Errorf("exit code %d, want %d", api.ExitCode(err), api.ExitRefused)
			}
		})
	}
	if l, err := c.List(t.Context(), ""); err != nil || l.Revision != 2 {
		t.Errorf("revision %d, %v after refusals; want 2", l.Revision, err)
	}
}

func bigRecords(n int) (docs []netquorum.Document) {
	for i := range n {
		docs = append(docs, record(fmt.Sprint("big", i), `"`+strings.Repeat("x", 200<<10)+`"`))
	}
	return docs
}

func TestDryRunShowsDiffAndPlansAndChangesNothing(t *testing.T) {
	c, _ := startAcme(t)
	docs := parse(t, clusterYAML)
	filer := *docs[2].Spec.(*netquorum.Filer)
	filer.Interfaces = append([]netquorum.Interface{}, filer.Interfaces...)
	filer.Interfaces[0].Addresses = []netip.Prefix{netip.MustParsePrefix("10.1.1.9/24")}
	docs[2].Spec = &filer
	req := put(docs...)
	req.DryRun = true
	res, err := c.Apply(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Changes) != 1 || !strings.Contains(res.Changes[0].Diff, "10.1.1.9/24") {
		t.Errorf("changes %+v, want the one of filer1 with a diff", res.Changes)
	}
	if len(res.Plans["filer1"].Steps) == 0 {
		t.Errorf("plans %+v, want steps for filer1", res.Plans)
	}
	if l, _ := c.List(t.Context(), ""); l.Revision != 1 {
		t.Errorf("the dry run made revision %d", l.Revision)
	}
}

func TestChangesComeWithTheirDiffsWhenAsked(t *testing.T) {
	c, _ := startAcme(t)
	req := put(record("a", `1`))
	req.Changes = true
	res, err := c.Apply(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Changes) != 1 || res.Changes[0].Verb() != "created" || !strings.Contains(res.Changes[0].Diff, "+name: a") {
		t.Errorf("changes %+v, want the creation of Record/a with its diff", res.Changes)
	}
}

func TestWithoutQuorum(t *testing.T) {
	c, b := startAcme(t)
	b.LoseQuorum(true)
	ctx := t.Context()
	_, write := c.Apply(ctx, put(record("a", `1`)))
	_, read := c.List(ctx, api.Linearizable)
	_, restore := c.Restore(ctx, parse(t, clusterYAML))
	for what, err := range map[string]error{"write": write, "linearizable read": read, "restore": restore} {
		if !errors.Is(err, api.ErrNoQuorum) || api.ExitCode(err) != api.ExitUnreachable {
			t.Errorf("%s: error %v with exit code %d, want no quorum and %d", what, err, api.ExitCode(err), api.ExitUnreachable)
		}
	}
	if _, err := c.List(ctx, api.Stale); err != nil {
		t.Errorf("stale read: %v", err)
	}
	if st, err := c.Status(ctx); err != nil || st.Quorum {
		t.Errorf("status: quorum %v, %v; want an answer that says no quorum", st.Quorum, err)
	}
}

func TestWaitingInVainTellsThatTheChangeIsCommitted(t *testing.T) {
	c, b := startAcme(t)
	b.Lag("filer3")
	req := put(record("a", `1`))
	req.Wait = api.WaitApplied
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := c.Apply(ctx, req)
	var e *api.Error
	if !errors.As(err, &e) || e.Code != api.ErrTimeout || e.Revision != 2 || !strings.Contains(e.Error(), "filer3") {
		t.Fatalf("error %+v, want a timeout that names filer3 and revision 2", err)
	}
	if api.ExitCode(err) != api.ExitTimeout {
		t.Errorf("exit code %d, want %d", api.ExitCode(err), api.ExitTimeout)
	}
}

func TestDumpAndRestoreAreInverse(t *testing.T) {
	for _, form := range []api.DumpFormat{api.DumpYAML, api.DumpLines} {
		t.Run(string(form), func(t *testing.T) {
			c, _ := startAcme(t)
			first := dump(t, c, form)
			other, _ := startAcme(t)
			if _, err := other.Apply(t.Context(), put(record("in/the/way", `0`))); err != nil {
				t.Fatal(err)
			}
			res, err := other.Restore(t.Context(), parse(t, first))
			if err != nil {
				t.Fatal(err)
			}
			if res.Documents != 4 {
				t.Errorf("restored %d documents, want 4", res.Documents)
			}
			if diff := cmp.Diff(first, dump(t, other, form)); diff != "" {
				t.Errorf("the second dump differs from the first (-first +second):\n%s", diff)
			}
		})
	}
}

func dump(t *testing.T, c *api.Client, form api.DumpFormat) string {
	t.Helper()
	var out strings.Builder
	if err := c.Dump(t.Context(), &out, form, api.Linearizable); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestHistoryNamesWhoseChangeItWas(t *testing.T) {
	c, _ := startAcme(t)
	for i := range 3 {
		if _, err := c.Apply(t.Context(), put(record("a", fmt.Sprint(i)))); err != nil {
			t.Fatal(err)
		}
	}
	changes, err := c.History(t.Context(), api.HistoryRequest{Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(changes) != 2 || changes[0].Revision != 3 || changes[1].Revision != 4 {
		t.Fatalf("history %+v, want revisions 3 and 4", changes)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if changes[1].Actor != me.Username {
		t.Errorf("actor %q, want the user at the other end of the socket, %q", changes[1].Actor, me.Username)
	}
	if d := changes[1].Documents[0]; d.Verb() != "changed" || !strings.Contains(d.Diff, "-  data: 1\n+  data: 2\n") {
		t.Errorf("document change %+v, want the diff from 1 to 2", d)
	}
}

func TestTokensLeaveTheStoreWithoutTheirSecret(t *testing.T) {
	c, _ := startAcme(t)
	made, err := c.CreateToken(t.Context(), api.TokenRequest{Filer: "filer2"})
	if err != nil {
		t.Fatal(err)
	}
	if made.Token == "" || made.Filer != "filer2" || time.Until(made.Expires) > time.Hour {
		t.Errorf("token %+v, want a secret for filer2 that is good for an hour", made)
	}
	listed, err := c.Tokens(t.Context())
	if err != nil || len(listed) != 1 || listed[0].Token != "" {
		t.Errorf("tokens %+v, %v; want one without its secret", listed, err)
	}
	if err := c.RevokeToken(t.Context(), made.ID); err != nil {
		t.Error(err)
	}
	if err := c.RevokeToken(t.Context(), made.ID); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("revoking twice: %v, want not found", err)
	}
}

func TestInitAndJoin(t *testing.T) {
	unconfigured := func(t *testing.T) *api.Client {
		c, _ := start(t, new(apitest.Backend))
		return c
	}
	t.Run("a filer without a cluster refuses writes", func(t *testing.T) {
		_, err := unconfigured(t).Apply(t.Context(), put(record("a", `1`)))
		if !errors.Is(err, api.ErrUnconfigured) {
			t.Errorf("error %v, want %s", err, api.ErrUnconfigured)
		}
	})
	t.Run("init forms a cluster once", func(t *testing.T) {
		c := unconfigured(t)
		req := api.InitRequest{Cluster: "acme", MAC: &testMAC, Filer: "filer1"}
		res, err := c.Init(t.Context(), req)
		if err != nil || res.Cluster != "acme" || res.Filer != "filer1" {
			t.Fatalf("init: %+v, %v", res, err)
		}
		if _, err := c.Init(t.Context(), req); !errors.Is(err, api.ErrConfigured) {
			t.Errorf("second init: %v, want %s", err, api.ErrConfigured)
		}
	})
	t.Run("join needs a peer that answers", func(t *testing.T) {
		_, err := unconfigured(t).Join(t.Context(), api.JoinRequest{Filer: "filer2", Token: apitest.PeerToken, Peer: "10.9.9.9"})
		if !errors.Is(err, api.ErrUnreachable) || api.ExitCode(err) != api.ExitUnreachable {
			t.Errorf("error %v, want %s", err, api.ErrUnreachable)
		}
	})
	t.Run("join needs a good token", func(t *testing.T) {
		_, err := unconfigured(t).Join(t.Context(), api.JoinRequest{Filer: "filer2", Token: "nqt-bad", Peer: apitest.Peer})
		if !errors.Is(err, api.ErrToken) {
			t.Errorf("error %v, want %s", err, api.ErrToken)
		}
	})
	t.Run("join enters the peer's cluster", func(t *testing.T) {
		res, err := unconfigured(t).Join(t.Context(), api.JoinRequest{Filer: "filer2", Token: apitest.PeerToken + "\n", Peer: apitest.Peer})
		if err != nil || res.Cluster != "joined" {
			t.Errorf("join: %+v, %v", res, err)
		}
	})
}
