// Command kerneltests runs the project's kernel tests in the virtual machine,
// all in one boot, and writes what `go test -json` would.
//
// Kernel tests are those whose names begin with TestKernel or TestVM. They are
// compiled here, as compiling in an emulated machine takes for ever.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/netquorum/netquorum/lab"
	"github.com/netquorum/netquorum/transport/sctpio"
)

// pattern is what the names of kernel tests match.
const pattern = "^Test(Kernel|VM)"

func main() {
	pkgs := flag.String("packages", "", "directories of the packages to test, with commas (default: all that have kernel tests)")
	run := flag.String("run", pattern, "names of the tests to run")
	vmExec := flag.String("vm-exec", "test/vm/vm-exec", "what runs a command in the virtual machine")
	limit := flag.Duration("timeout", 8*time.Minute, "for one package, in the virtual machine")
	ifNeeded := flag.Bool("if-needed", false, "do nothing when this machine's own kernel has all that the tests need")
	after := flag.String("after", "", "what tally recorded of a run on this machine's own kernel: the tests that passed there are not repeated")
	flag.Parse()
	if *ifNeeded {
		if missing, err := lab.Missing(lab.Features...); err == nil && len(missing) == 0 && sctpio.Supported() == nil {
			fmt.Fprintln(os.Stderr, "kerneltests: this machine's kernel has everything; the tests ran on it")
			return
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := runner{run: *run, vmExec: *vmExec, limit: *limit}
	if *after != "" {
		var err error
		if r.done, err = passedIn(*after); err != nil {
			fmt.Fprintln(os.Stderr, "kerneltests:", err)
			os.Exit(1)
		}
	}
	if err := r.main(ctx, *pkgs); err != nil {
		fmt.Fprintln(os.Stderr, "kerneltests:", err)
		os.Exit(1)
	}
}

type runner struct {
	run    string
	vmExec string
	limit  time.Duration
	done   map[string]bool // the tests that need not be repeated, package and name
	dir    string          // for the test binaries, and what comes of them
}

// A testPackage is a package with kernel tests.
type testPackage struct {
	path string // like github.com/netquorum/netquorum/netapply
	dir  string // absolute
	file string // base name of its files below the runner's directory
	run  string // what the names of its tests to run match
}

func (r *runner) main(ctx context.Context, dirs string) error {
	names := strings.FieldsFunc(dirs, func(c rune) bool { return c == ',' })
	for i, name := range names {
		names[i] = "./" + filepath.Clean(name) // go would look for another's package
	}
	if len(names) == 0 {
		var err error
		if names, err = withKernelTests("."); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		fmt.Fprintln(os.Stderr, "kerneltests: no package has a test that matches", pattern)
		return nil
	}
	var err error
	if r.dir, err = os.MkdirTemp("", "netquorum-kerneltests-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.dir)
	packages, err := r.compile(ctx, names)
	if err != nil {
		return err
	}
	bootErr := r.boot(ctx, packages)
	var failed []string
	for _, p := range packages {
		if ok, err := r.convert(ctx, p); err != nil || !ok {
			failed = append(failed, p.path)
		}
	}
	if bootErr != nil {
		return bootErr
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

var kernelTest = regexp.MustCompile(`(?m)^func Test(Kernel|VM)\w*\(`)

// withKernelTests finds the directories of the packages to test.
func withKernelTests(root string) ([]string, error) {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		dir := "./" + filepath.Dir(path)
		if !strings.HasSuffix(path, "_test.go") || slices.Contains(dirs, dir) {
			return nil
		}
		text, err := os.ReadFile(path)
		if kernelTest.Match(text) {
			dirs = append(dirs, dir)
		}
		return err
	})
	return dirs, err
}

func (r *runner) compile(ctx context.Context, names []string) ([]testPackage, error) {
	var packages []testPackage
	for i, name := range names {
		out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.ImportPath}}\t{{.Dir}}", name).Output()
		if err != nil {
			return nil, fmt.Errorf("go list %s: %w", name, err)
		}
		path, dir, _ := strings.Cut(strings.TrimSpace(string(out)), "\t")
		p := testPackage{path, dir, fmt.Sprintf("%02d", i), r.run}
		if r.done != nil {
			left, err := r.left(path, dir)
			if err != nil {
				return nil, err
			}
			if len(left) == 0 {
				continue
			}
			p.run = "^(" + strings.Join(left, "|") + ")$"
		}
		build := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-o", filepath.Join(r.dir, p.file+".test"), name)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("compile the tests of %s: %w", name, err)
		}
		packages = append(packages, p)
	}
	return packages, nil
}

// boot runs the compiled tests, one package after the other: each has the
// emulated machine for itself.
func (r *runner) boot(ctx context.Context, packages []testPackage) error {
	script := &bytes.Buffer{}
	for _, p := range packages {
		fmt.Fprintf(script, "echo 'kernel tests of %s'; SECONDS=0\n", p.path)
		fmt.Fprintf(script, "cd '%s' && timeout -k 10 %d '%s/%s.test' -test.v=test2json -test.run '%s' -test.timeout %s >\"$NQ_OUT/%s.out\" 2>&1\n",
			p.dir, int((r.limit + 30*time.Second).Seconds()), r.dir, p.file, p.run, r.limit, p.file)
		fmt.Fprintf(script, "echo $? >\"$NQ_OUT/%s.status\"; echo \"  ended after $SECONDS s\"\n", p.file)
	}
	job := filepath.Join(r.dir, "job")
	if err := os.WriteFile(job, script.Bytes(), 0o644); err != nil {
		return err
	}
	vm := exec.CommandContext(ctx, r.vmExec, "bash", job)
	vm.Cancel = func() error { return vm.Process.Signal(os.Interrupt) }
	all := time.Minute + time.Duration(len(packages))*(r.limit+time.Minute)
	// A network card of its own, with nothing behind it, whose driver may be tried out.
	vm.Env = append([]string{"VM_NET=-device e1000e,romfile="}, os.Environ()...)
	vm.Env = append(vm.Env, "VM_OUT="+r.dir, fmt.Sprintf("VM_TIMEOUT=%d", int(all.Seconds())))
	vm.Stdout, vm.Stderr = os.Stderr, os.Stderr
	if err := vm.Run(); err != nil {
		return fmt.Errorf("the virtual machine: %w", err)
	}
	return nil
}

// convert writes what a package's tests said as events, and tells whether they
// passed. A package without a status had its machine fail under it.
func (r *runner) convert(ctx context.Context, p testPackage) (passed bool, err error) {
	status, err := os.ReadFile(filepath.Join(r.dir, p.file+".status"))
	passed = err == nil && strings.TrimSpace(string(status)) == "0"
	said, err := os.ReadFile(filepath.Join(r.dir, p.file+".out"))
	if err != nil {
		said = []byte("the tests did not run\n")
	}
	if !passed && !bytes.Contains(said, []byte("\nFAIL")) {
		said = append(said, "\nFAIL\n"...)
	}
	events := exec.CommandContext(ctx, "go", "tool", "test2json", "-t", "-p", p.path)
	events.Stdin = bytes.NewReader(said)
	events.Stdout, events.Stderr = os.Stdout, os.Stderr
	return passed, events.Run()
}
