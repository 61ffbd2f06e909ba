package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/netquorum/netquorum/lab"
)

// daemon is the netquorum that the labs run. Where it is empty, unbuilt says
// why.
var (
	daemon  string
	unbuilt error
)

// emulated is set in the virtual machine, where everything takes longer.
var emulated = os.Getenv("NQ_IN_VM") != ""

// labsDir has the labs of all runs of these tests. Their names begin with the
// process id of the run, so that what a run left behind can be told from what
// another run still uses.
var labsDir = filepath.Join(os.TempDir(), "netquorum-e2e")

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if err := clearLeftovers(); err != nil {
			fmt.Fprintln(os.Stderr, "what an earlier run left behind cannot be cleared:", err)
			return 1
		}
		dir, err := os.MkdirTemp("", "netquorum-e2e-bin-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		daemon, unbuilt = findBinary(dir)
		return m.Run()
	}())
}

// findBinary builds netquorum, unless it is built already. Where it cannot be
// built because this is not the place for it, the tests skip.
func findBinary(dir string) (string, error) {
	if prebuilt := os.Getenv("NQ_BIN"); prebuilt != "" {
		if info, err := os.Stat(prebuilt); err == nil && info.IsDir() {
			prebuilt = filepath.Join(prebuilt, "netquorum")
		}
		_, err := os.Stat(prebuilt)
		return prebuilt, err
	}
	if emulated {
		return "", fmt.Errorf("set NQ_BIN to a directory with a netquorum that is built: compiling it in the virtual machine takes too long")
	}
	file := filepath.Join(dir, "netquorum")
	build := exec.Command("go", "build", "-trimpath", "-o", file, "../../cmd/netquorum")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "netquorum cannot be built: %v\n%s", err, out)
		os.Exit(1)
	}
	return file, nil
}

// labName makes a name of its own for a lab of this run.
func labName(test string) string {
	test, _, _ = strings.Cut(test, "/")
	return fmt.Sprintf("e2e-%d-%s", os.Getpid(), strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(test, "TestLab"), "TestVM")))
}

// clearLeftovers takes down the labs of runs that ended without doing it.
func clearLeftovers() error {
	names, err := lab.List(labsDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		pid, _, _ := strings.Cut(strings.TrimPrefix(name, "e2e-"), "-")
		n, err := strconv.Atoi(pid)
		if err != nil || syscall.Kill(n, 0) == nil {
			continue
		}
		if err := lab.Down(labsDir, name); err != nil {
			return err
		}
	}
	return nil
}
