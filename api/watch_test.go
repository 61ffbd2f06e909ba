package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/api/apitest"
)

func TestWatchYieldsWhatWasAndWhatComes(t *testing.T) {
	c, _ := startAcme(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := c.Apply(ctx, put(record("a", `1`))); err != nil {
		t.Fatal(err)
	}
	var got []netquorum.Revision
	for change, err := range c.Watch(ctx, revision(1)) {
		if err != nil {
			t.Fatalf("after revisions %v: %v", got, err)
		}
		got = append(got, change.Revision)
		if len(got) == 3 {
			break
		}
		if _, err := c.Apply(ctx, put(record("a", `[`+strings.Repeat("1,", len(got))+`1]`))); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 3 || got[0] != 2 || got[1] != 3 || got[2] != 4 {
		t.Errorf("revisions %v, want 2, 3, 4", got)
	}
}

func TestWatchFromARevisionThatIsGoneIsRefusedAtOnce(t *testing.T) {
	b := new(apitest.Backend)
	c, _ := start(t, b)
	docs := parse(t, strings.Replace(clusterYAML, `spec: {mac: "00:07:34:04:12:0e"}`, `spec: {mac: "00:07:34:04:12:0e", history: 2}`, 1))
	if _, err := c.Init(t.Context(), api.InitRequest{Filer: "filer1", Documents: docs}); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{"1", "2", "3", "4"} {
		if _, err := c.Apply(t.Context(), put(record("a", data))); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range c.Watch(t.Context(), revision(1)) {
		if !errors.Is(err, api.ErrCompacted) {
			t.Fatalf("error %v, want %s", err, api.ErrCompacted)
		}
	}
}

func TestWatchEndsWithTheDaemon(t *testing.T) {
	path := t.TempDir() + "/api.sock"
	l, err := api.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	b := new(apitest.Backend)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	served := make(chan error, 1)
	go func() { served <- api.NewServer(api.Options{Backend: b}).Serve(ctx, l) }()
	c := api.NewClient(path)
	defer c.Close()
	if _, err := c.Init(t.Context(), api.InitRequest{Cluster: "acme", MAC: &testMAC, Filer: "filer1"}); err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range c.Watch(t.Context(), revision(0)) {
		if last = err; err == nil {
			stop()
		}
	}
	if !errors.Is(last, api.ErrUnreachable) {
		t.Errorf("the watch ended with %v, want %s", last, api.ErrUnreachable)
	}
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("waited 10 s for Serve to return")
	}
}

func TestWatchAsServerSentEvents(t *testing.T) {
	b := new(apitest.Backend)
	c, path := start(t, b)
	if _, err := c.Init(t.Context(), api.InitRequest{Cluster: "acme", MAC: &testMAC, Filer: "filer1"}); err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://x/v1/watch?from=0", nil)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := overSocket(path).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	text, ok := strings.CutPrefix(line, "data: ")
	var e api.WatchEvent
	if err := json.Unmarshal([]byte(text), &e); !ok || err != nil || e.Change == nil || e.Change.Revision != 1 {
		t.Errorf("event %q (%v), want a data line with revision 1", line, err)
	}
}

// overSocket is an HTTP client for what api.Client does not send.
func overSocket(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}}}
}
