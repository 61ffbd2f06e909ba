package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netquorum/netquorum/lab"
)

// tool runs the command line, as an invocation of its own would.
func tool(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	c := root()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetArgs(append([]string{"--dir", dir}, args...))
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func TestSeparateInvocationsWorkOnOneLab(t *testing.T) {
	missing, err := lab.Missing(lab.Cables, lab.Bridges)
	if err != nil || len(missing) > 0 {
		t.Skipf("no labs on this machine: %v %v", missing, err)
	}
	dir := t.TempDir()
	topology := filepath.Join(dir, "pair.yaml")
	err = os.WriteFile(topology, []byte(`
name: tool-test
switches: [{name: sw1}]
filers: [{name: filer1, ports: [{name: eth0, switch: sw1}]}]
clients: [{name: client, ports: [{name: eth0, switch: sw1, addresses: [10.9.9.1/24]}]}]
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	labs := filepath.Join(dir, "labs")
	t.Cleanup(func() { lab.Down(labs, "tool-test") })
	run := func(args ...string) string {
		t.Helper()
		out, err := tool(t, labs, args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	if out := run("up", "-f", topology); !strings.Contains(out, "tool-test is up: 1 filers") {
		t.Errorf("up says %q", out)
	}
	if _, err := tool(t, labs, "up", "-f", topology); err == nil || !strings.Contains(err.Error(), "netquorum-lab down") {
		t.Errorf("a second up: %v", err)
	}
	if out := run("list"); out != "tool-test\n" {
		t.Errorf("list says %q", out)
	}
	run("link", "down", "filer1", "eth0")
	run("partition", "client")
	var nodes []lab.NodeStatus
	if err := json.Unmarshal([]byte(run("status", "-o", "json")), &nodes); err != nil {
		t.Fatal(err)
	}
	if len(nodes) != 3 || nodes[0].Name != "filer1" || strings.Join(nodes[0].Unplugged, "") != "eth0" || nodes[1].Part != 1 {
		t.Errorf("status says %+v", nodes)
	}
	run("heal")
	run("plug", "--all")
	run("kill", "filer1")
	if out := run("status"); !strings.Contains(out, "filer1  filer   off") {
		t.Errorf("status says\n%s", out)
	}
	run("start", "--all")
	run("exec", "client", "--", "true")
	_, err = tool(t, labs, "exec", "client", "--", "sh", "-c", "exit 42")
	if code := exitCode(err); code != 42 {
		t.Errorf("the exit code of a command in a node is %d: %v", code, err)
	}
	for _, wrong := range [][]string{
		{"link", "sideways", "filer1", "eth0"}, {"link", "down", "filer1", "eth9"}, {"kill"}, {"kill", "nobody"},
		{"exec", "nobody", "--", "true"}, {"logs", "filer1"}, {"status", "-o", "xml"}, {"up", "-f", topology + ".none"},
	} {
		if _, err := tool(t, labs, wrong...); err == nil {
			t.Errorf("%v is no error", wrong)
		}
	}
	run("down")
	if out := run("list"); out != "" {
		t.Errorf("after down, list says %q", out)
	}
	if _, err := tool(t, labs, "status"); err == nil {
		t.Error("status of no lab is no error")
	}
}
