package netapply_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/netquorum/netquorum/netapply"
	"golang.org/x/sys/unix"
)

const namespaceEnv = "NQ_NETAPPLY_NAMESPACE"

// inNamespace runs the calling test once more, as a process in fresh network
// and mount namespaces, and reports whether the caller is that process. The
// caller returns when it is not.
func inNamespace(t *testing.T, features ...string) bool {
	t.Helper()
	if os.Getenv(namespaceEnv) == t.Name() {
		// Namespaces that the test makes by name stay among its own mounts.
		for _, err := range []error{
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("tmpfs", "/run", "tmpfs", 0, ""),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		run(t, "ip", "link", "set", "lo", "up")
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	for _, f := range netapply.Features(t.Context()) {
		for _, needed := range features {
			if f.Name == needed && !f.Present {
				t.Skipf("this kernel has no %s (%s); run with -exec test/vm/vm-exec", f.Name, f.Detail)
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60m")
	cmd.Env = append(os.Environ(), namespaceEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	t.Logf("in its namespace:\n%s", out.String())
	if err != nil {
		t.Fatalf("in its namespace: %v", err)
	}
	return false
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

// sh runs commands, one a line.
func sh(t testing.TB, script string) {
	t.Helper()
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line != "" {
			run(t, "sh", "-ec", line)
		}
	}
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
