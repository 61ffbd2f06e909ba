package statistics

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const namespaceEnv = "NQ_STATISTICS_NAMESPACE"

// inNamespace runs the calling test once more, as a process in fresh network
// and mount namespaces, and reports whether the caller is that process.
func inNamespace(t *testing.T, possible ...string) bool {
	t.Helper()
	if os.Getenv(namespaceEnv) == t.Name() {
		for _, err := range []error{
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("tmpfs", "/run", "tmpfs", 0, ""),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		sh(t, "ip link set lo up")
		for _, line := range possible {
			if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
				t.Skipf("this kernel cannot do %q (%s); run with -exec test/vm/vm-exec", line, bytes.TrimSpace(out))
			}
		}
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), namespaceEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	t.Logf("in its namespace:\n%s", out)
	if err != nil {
		t.Fatalf("in its namespace: %v", err)
	}
	if bytes.Contains(out, []byte("--- SKIP")) {
		t.SkipNow()
	}
	return false
}

// sh runs commands, one a line.
func sh(t testing.TB, script string) {
	t.Helper()
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if out, err := exec.Command("sh", "-ec", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
}

// inside runs a function in a network namespace that ip made.
func inside(t testing.TB, namespace string, do func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and not unlocked: the thread is of no use afterwards
		f, err := os.Open("/run/netns/" + namespace)
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			f.Close()
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("in namespace %s: %v", namespace, err)
	}
}
