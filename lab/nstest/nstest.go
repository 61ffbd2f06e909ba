// Package nstest runs tests of the kernel in network and mount namespaces of their
// own, so that they touch nothing else.
package nstest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// environment names the test for which the process was started.
const environment = "NQ_NAMESPACE_OF"

// Enter runs the calling test once more, as a process in fresh network and mount
// namespaces, and reports whether the caller is that process. The caller returns
// when it is not. It skips the test without root; what else is missing is the
// caller's to find out, before or after.
func Enter(t testing.TB) bool {
	t.Helper()
	if Within(t) {
		// Namespaces that the test makes by name stay among its own mounts.
		for _, err := range []error{
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("tmpfs", "/run", "tmpfs", 0, ""),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		Sh(t, "ip link set lo up")
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+limit(t))
	cmd.Env = append(os.Environ(), environment+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	t.Logf("in its namespaces:\n%s", out)
	switch {
	case err != nil:
		t.Fatalf("in its namespaces: %v", err)
	case bytes.Contains(out, []byte("\n--- SKIP: "+t.Name()+" ")):
		t.SkipNow()
	case !bytes.Contains(out, []byte("\n--- PASS: "+t.Name()+" ")):
		t.Fatal("in its namespaces the test did not run")
	}
	return false
}

// Within reports whether this process was started by Enter for the test.
func Within(t testing.TB) bool { return os.Getenv(environment) == t.Name() }

// limit leaves the test the time that its first process has.
func limit(t testing.TB) string {
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if at, ok := d.Deadline(); ok {
			return time.Until(at).String()
		}
	}
	return "0"
}

// Possible skips the test when one of the commands fails: this kernel lacks what
// it needs.
func Possible(t testing.TB, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
			t.Skipf("this kernel cannot do %q (%s); run with -exec test/vm/vm-exec", line, bytes.TrimSpace(out))
		}
	}
}

// Sh runs commands, one a line, and returns what the last one printed.
func Sh(t testing.TB, script string) (out string) {
	t.Helper()
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		text, err := exec.Command("sh", "-ec", line).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, text)
		}
		out = string(text)
	}
	return out
}

// Inside runs a function in a network namespace that ip made, by its name.
func Inside(namespace string, do func() error) error {
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
		return fmt.Errorf("in namespace %s: %w", namespace, err)
	}
	return nil
}
