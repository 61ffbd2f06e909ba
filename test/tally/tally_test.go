package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const stream = `not json
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:3: this kernel has no bonding\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Test":"TestC/one"}
{"Action":"output","Package":"p","Test":"TestC/two","Output":"    c_test.go:9: got 1\n"}
{"Action":"fail","Package":"p","Test":"TestC/two"}
{"Action":"fail","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p","Elapsed":1.5}
{"Action":"pass","Package":"q","Test":"TestD"}
{"Action":"pass","Package":"q"}
`

func TestEveryLeafIsCountedOnce(t *testing.T) {
	c := newCount()
	var told bytes.Buffer
	c.read(strings.NewReader(stream), &told)
	c.finish("tests", errors.New("exit status 1"), &told)
	var out bytes.Buffer
	if !printReport(&out, c.Results) {
		t.Error("the failure is not told")
	}
	want := `
Skipped, and why:
  p TestB: this kernel has no bonding

Failed:
  p TestC/two: got 1

3 passed, 1 failed, 1 skipped
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", &out, want)
	}
	for _, line := range []string{"not json\n", "c_test.go:9: got 1", "ok    q"} {
		if !strings.Contains(told.String(), line) {
			t.Errorf("%q is not told in:\n%s", line, &told)
		}
	}
}

func TestWhatRanElsewhereIsNotSkipped(t *testing.T) {
	all := map[string]Result{}
	merge(all, map[string]Result{"p TestB": {Action: "skip"}, "p TestX": {Action: "pass"}})
	merge(all, map[string]Result{"p TestB": {Action: "pass"}, "p TestX": {Action: "fail"}})
	merge(all, map[string]Result{"p TestB": {Action: "skip"}, "p TestX": {Action: "pass"}})
	if all["p TestB"].Action != "pass" || all["p TestX"].Action != "fail" {
		t.Errorf("got %v", all)
	}
}

func TestAFailureWithoutATestIsCounted(t *testing.T) {
	for name, c := range map[string]struct{ stream, want string }{
		"a package that does not compile": {
			`{"ImportPath":"p","Action":"build-output","Output":"x.go:1: undefined: y\n"}
{"ImportPath":"p","Action":"build-fail"}
{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}
{"Action":"fail","Package":"p","Elapsed":0,"FailedBuild":"p"}
`, "p: undefined: y\n\n0 passed, 1 failed, 0 skipped\n"},
		"a package that panics": {
			`{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"panic: oh\n"}
{"Action":"fail","Package":"p"}
`, "p: panic: oh\n\n1 passed, 1 failed, 0 skipped\n"},
		"a test that ends the process": {
			`{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"fatal: no disk\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
`, "p TestA: fatal: no disk\n\n0 passed, 1 failed, 0 skipped\n"},
		"a command that fails without a word": {
			`{"Action":"pass","Package":"p","Test":"TestA"}
`, "part: exit status 3\n\n1 passed, 1 failed, 0 skipped\n"},
		"a command that is no test": {"hello\n", "part: exit status 3\n\n0 passed, 1 failed, 0 skipped\n"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newCount()
			n.read(strings.NewReader(c.stream), &bytes.Buffer{})
			n.finish("part", errors.New("exit status 3"), &bytes.Buffer{})
			var out bytes.Buffer
			if !printReport(&out, n.Results) || !strings.HasSuffix(out.String(), c.want) {
				t.Errorf("got:\n%s\nwant at the end:\n%s", &out, c.want)
			}
		})
	}
}

func TestPartsAreRecordedAndSummedUp(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	var out bytes.Buffer
	if err := run(&out, one, "lint", []string{"true"}); err != nil {
		t.Fatal(err)
	}
	if err := run(&out, two, "", []string{"echo", `{"Action":"pass","Package":"p","Test":"TestA"}`}); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := sumUp(&out, []string{one, two}); err != nil || out.String() != "\n2 passed, 0 failed, 0 skipped\n" {
		t.Errorf("%v, got: %q", err, &out)
	}
	if err := run(&out, one, "lint", []string{"false"}); err != nil {
		t.Fatal(err)
	}
	if err := sumUp(&out, []string{one, two}); !errors.Is(err, errFailed) {
		t.Errorf("got %v", err)
	}
	if err := sumUp(&out, []string{filepath.Join(dir, "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
