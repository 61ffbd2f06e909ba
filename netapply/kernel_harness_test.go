package netapply_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/netquorum/netquorum/lab/nstest"
	"github.com/netquorum/netquorum/netapply"
)

// inNamespace is nstest.Enter for tests that need features of the kernel.
func inNamespace(t *testing.T, features ...string) bool {
	t.Helper()
	if !nstest.Within(t) {
		for _, f := range netapply.Features(t.Context()) {
			if slices.Contains(features, f.Name) && !f.Present {
				t.Skipf("this kernel has no %s (%s); run with -exec test/vm/vm-exec", f.Name, f.Detail)
			}
		}
	}
	return nstest.Enter(t)
}

// run runs a command and returns what it printed.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func sh(t testing.TB, script string) {
	t.Helper()
	nstest.Sh(t, script)
}

func openKernel(t testing.TB) *netapply.Netlink {
	t.Helper()
	k, err := netapply.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// tryCommand reports whether a command succeeds.
func tryCommand(line string) bool { return exec.Command("sh", "-c", line).Run() == nil }
