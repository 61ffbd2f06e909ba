package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/api/apitest"
)

const acme = "kind: Cluster\nname: acme\nspec: {mac: \"00:07:34:04:12:0e\"}\n"

// A console runs command lines against a daemon of its own.
type console struct {
	t      *testing.T
	socket string
	client *api.Client
}

func newConsole(t *testing.T) *console {
	t.Helper()
	dir := t.TempDir()
	c := &console{t: t, socket: filepath.Join(dir, "s")}
	l, err := api.Listen(c.socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	server := api.NewServer(api.Options{Backend: new(apitest.Backend), Log: slog.New(slog.DiscardHandler)})
	go func() { served <- server.Serve(ctx, l) }()
	c.client = api.NewClient(c.socket)
	t.Cleanup(func() {
		c.client.Close()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	if code, _, errs := c.run(acme, "init", "--filer", "filer1", "-f", "-"); code != 0 {
		t.Fatalf("init: %s", errs)
	}
	return c
}

func (c *console) run(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(c.t.Context(), append([]string{"--socket", c.socket}, args...), strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestBadInputIsRefusedClearlyAndChangesNothing(t *testing.T) {
	tests := []struct {
		name, input string
		want        []string // in the error
	}{
		{"an empty file", "", []string{"bad.yaml", "no document"}},
		{"a file of comments", "# nothing here\n", []string{"bad.yaml", "no document"}},
		{"a binary file", "\x7fELF\x02\x01\x00\x00\xff\xfe", []string{"bad.yaml", "binary"}},
		{"a file that is no YAML", "kind: [\n", []string{"bad.yaml:"}},
		{"a key twice", "kind: Record\nname: a\nspec:\n  type: x\n  type: y\n", []string{"bad.yaml:5", "type"}},
		{"an unknown field", "kind: Record\nname: a\nspec:\n  colour: red\n", []string{"bad.yaml:4", "Record/a", "colour"}},
		{"an unknown kind", "kind: Banana\nname: a\n", []string{"bad.yaml:1", "Banana", "VirtualServer"}},
		{"no kind", "name: a\n", []string{"bad.yaml:1", "kind"}},
		{"no name", "kind: Record\n", []string{"bad.yaml:1", "name"}},
		{"a list instead of a document", "- kind: Record\n", []string{"bad.yaml:1"}},
		{"a document of 10 MB", "kind: Record\nname: a\nspec:\n  data: " + strings.Repeat("x", 10<<20) + "\n", []string{"bad.yaml", "larger"}},
		{"a record above its limit", "kind: Record\nname: a\nspec:\n  data: " + strings.Repeat("x", 300<<10) + "\n", []string{"Record/a", "data"}},
		{"an address that is none", "kind: Filer\nname: filer1\nspec:\n  interfaces:\n  - {name: mgmt0, parent: eth0, addresses: [10.1.1.300/24]}\n", []string{"bad.yaml:5", "10.1.1.300"}},
		{"a second cluster", acme + "---\nkind: Cluster\nname: other\nspec: {mac: \"00:07:34:04:12:0f\"}\n", []string{"Cluster/"}},
		{"a kind that only the cluster writes", "kind: Placement\nname: VsvrA\nspec: {epoch: 3}\n", []string{"Placement/VsvrA"}},
		{"a reference to nothing", "kind: Filer\nname: filer1\nspec: {group: nowhere}\n", []string{"Filer/filer1", "group", "nowhere"}},
		{"two problems at once", "kind: Record\nname: a\nspec: {colour: red}\n---\nkind: Record\nname: b\nspec: {shape: round}\n", []string{"2 problems", "colour", "shape"}},
	}
	c := newConsole(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "bad.yaml")
			if err := os.WriteFile(file, []byte(test.input), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, command := range [][]string{{"apply", "-f", file}, {"apply", "--dry-run", "-f", file}, {"restore", file}} {
				code, out, errs := c.run("", command...)
				if code != api.ExitRefused || out != "" {
					t.Fatalf("%s: exit code %d and output %q, want %d and none", command[0], code, out, api.ExitRefused)
				}
				if command[0] == "restore" {
					continue // what is missing beside is found as well
				}
				for _, want := range test.want {
					if !strings.Contains(errs, want) {
						t.Errorf("%s: error %q does not mention %q", command[0], cut(errs), want)
					}
				}
				if len(errs) > 4096 {
					t.Errorf("%s: the error takes %d bytes", command[0], len(errs))
				}
			}
			if l, err := c.client.List(t.Context(), ""); err != nil || l.Revision != 1 {
				t.Errorf("revision %d, %v; want 1: nothing changed", l.Revision, err)
			}
		})
	}
}

func cut(s string) string { return s[:min(len(s), 500)] }

func TestEveryCommandHasHelpWithExamples(t *testing.T) {
	for _, args := range [][]string{
		{"serve"}, {"init"}, {"join"}, {"token", "create"}, {"token", "list"}, {"token", "revoke"}, {"apply"}, {"diff"}, {"validate"},
		{"get"}, {"delete"}, {"dump"}, {"restore"}, {"history"}, {"watch"}, {"status"}, {"schema"}, {"version"}, {"completion", "bash"},
		{"message", "send"}, {"message", "call"}, {"message", "serve"}, {"message", "receive"}, {"message", "complete"}, {"message", "fail"},
		{"message", "release"}, {"message", "extend"}, {"message", "pending"}, {"message", "result"}, {"message", "completions"},
		{"message", "acknowledge"}, {"message", "withdraw"}, {"message", "target"}, {"message", "status"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), append(args, "--help"), nil, &out, &errs); code != 0 || errs.Len() > 0 {
			t.Errorf("%v --help: exit code %d, %s", args, code, errs.String())
		}
		if args[0] != "completion" && !strings.Contains(out.String(), "Examples:") {
			t.Errorf("%v has no examples in its help", args)
		}
		for line := range strings.Lines(out.String()) {
			if len(line) > 200 {
				t.Errorf("%v: a line of %d characters in the help", args, len(line))
			}
		}
	}
}

func TestEveryOutputFormatOfEveryReader(t *testing.T) {
	c := newConsole(t)
	if code, _, errs := c.run("kind: Record\nname: a\n", "apply", "-f", "-"); code != 0 {
		t.Fatal(errs)
	}
	for _, command := range []string{"get", "get record a", "history", "status", "status filer1", "token list", "version", "dump", "apply -f -", "apply -f - --dry-run", "diff -f -", "validate -f -"} {
		for _, format := range []string{"json", "yaml"} {
			code, out, errs := c.run(acme, append(strings.Fields(command), "-o", format)...)
			if code != 0 || errs != "" || (out == "" && command != "diff -f -") {
				t.Errorf("%s -o %s: exit code %d, output %q, errors %q", command, format, code, out, errs)
			}
		}
	}
}
