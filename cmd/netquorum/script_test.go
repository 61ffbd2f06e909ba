package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/api/apitest"
)

var update = flag.Bool("update", false, "write golden files anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"netquorum": func() {
			ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt)
			defer restore()
			os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

// TestStories runs testdata/script/*.txtar: the real tool against a real server
// on a real socket, over a cluster in memory. Beside testscript's own commands
// there are
//
//	daemon                starts one; $NETQUORUM_SOCKET is its socket
//	backend quorum on|off takes the quorum away or gives it back
//	backend lag FILER     makes a filer never apply anything
//	backend report FILE   makes status answer with the JSON of the file
//	backend monitor FILE  makes a filer's monitor say the JSON of the file
//	backend happen FILE   makes all monitors tell of the event of the file
//	backend count FILE    makes statistics answer with the JSON of the file
//	backend rollout FILE  makes the JSON of the file the last rollout
//	backend host FILE     makes the servers of the file hosted here
//	backend authority FILE  makes authority answer with the JSON of the file
//	backend place V=F     puts virtual server V on filer F for messages
//	exits N ARGS...       runs netquorum and checks its exit code
//	waitfile FILE TEXT    waits until the file has the text
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			dir, err := os.MkdirTemp("", "netquorum") // a socket's path must be short
			if err != nil {
				return err
			}
			env.Defer(func() { os.RemoveAll(dir) })
			env.Setenv("NETQUORUM_SOCKET", filepath.Join(dir, "s"))
			env.Values["messages"] = new(apitest.Messages)
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", "atexit_sleep_ms=10") // a second for each command otherwise
			env.Values["backend"] = &apitest.Backend{Now: func() time.Time { return time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC) }}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"daemon":   startDaemon,
			"backend":  changeBackend,
			"exits":    checkExit,
			"waitfile": waitForText,
		},
	})
}

func startDaemon(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := api.Listen(ts.Getenv("NETQUORUM_SOCKET"), 0o600)
	ts.Check(err)
	s := api.NewServer(api.Options{Backend: ts.Value("backend").(*apitest.Backend), Messages: ts.Value("messages").(*apitest.Messages), Version: "v1.2.3", Log: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	ts.Defer(func() {
		stop()
		ts.Check(<-served)
	})
}

func changeBackend(ts *testscript.TestScript, _ bool, args []string) {
	b := ts.Value("backend").(*apitest.Backend)
	if len(args) != 2 {
		ts.Fatalf("usage: backend quorum|lag|report|monitor|happen VALUE")
	}
	switch args[0] {
	case "quorum":
		b.LoseQuorum(args[1] == "off")
	case "lag":
		b.Lag(args[1])
	case "report":
		var st api.Status
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &st))
		b.Report(st)
	case "count":
		var st api.Statistics
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &st))
		b.Count(st)
	case "rollout":
		var r api.Rollout
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &r))
		b.SetRollout(&r)
	case "authority":
		var a api.Authority
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &a))
		b.SetAuthority(a)
	case "host":
		var list []api.Presence
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &list))
		b.Host(list...)
	case "place":
		server, filer, _ := strings.Cut(args[1], "=")
		ts.Value("messages").(*apitest.Messages).Place(server, filer, 1)
	case "monitor":
		var r api.InterfaceReport
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &r))
		b.Monitor(r)
	case "happen":
		var e api.InterfaceEvent
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &e))
		b.Happen(e)
	default:
		ts.Fatalf("backend cannot %s", args[0])
	}
}

func checkExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits N ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("netquorum", args[1:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func waitForText(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: waitfile FILE TEXT")
	}
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		data, _ := os.ReadFile(ts.MkAbs(args[0]))
		if strings.Contains(string(data), args[1]) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("waited 10 s for %q in %s, which has:\n%s", args[1], args[0], data)
		}
	}
}
