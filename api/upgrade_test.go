package api_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/api/apitest"
)

func TestACallerKeepsItsNameOnAConnectionOfManyRequests(t *testing.T) {
	c, _ := startAcme(t)
	var writers sync.WaitGroup
	for range 10 {
		writers.Go(func() {
			if _, err := c.Apply(t.Context(), put(record("r", "1"))); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	changes, err := c.History(t.Context(), api.HistoryRequest{Limit: 1})
	if err != nil || len(changes) != 1 || changes[0].Actor == "" || changes[0].Actor == "unknown" {
		t.Errorf("history: %+v, %v; want one change with who made it", changes, err)
	}
}

func TestOnlyAnUpgradeIsUpgraded(t *testing.T) {
	_, path := start(t, new(apitest.Backend))
	resp, err := overSocket(path).Get("http://netquorum/v1/calls")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a plain request: %s, want 400", resp.Status)
	}
}

func TestAServerThatIsNoDaemonIsNamedSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				r.Body.Close()
				conn.Write([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
			}
			conn.Close()
		}
	}()
	c := api.NewClient(path)
	defer c.Close()
	_, err = c.Version(context.Background())
	if err == nil || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), "this version") {
		t.Errorf("%v, want an error that asks whether it is a daemon of this version", err)
	}
}
