package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestWhatPassedWholeIsNotRepeated(t *testing.T) {
	dir := t.TempDir()
	recorded := filepath.Join(dir, "host.json")
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(recorded, `{
		"example.org/p TestKernelDone": {"action": "pass"}, "example.org/p TestKernelDone/part": {"action": "pass"},
		"example.org/p TestKernelHalf": {"action": "pass"}, "example.org/p TestKernelHalf/part": {"action": "skip"},
		"example.org/p TestKernelFailed": {"action": "fail"}, "example.org/p TestKernelSkipped": {"action": "skip"},
		"example.org/q TestKernelElsewhere": {"action": "pass"}, "example.org/p": {"action": "fail"}}`)
	write(filepath.Join(dir, "kernel_test.go"), "func TestKernelDone(\nfunc TestKernelHalf(\nfunc TestKernelFailed(\nfunc TestKernelSkipped(\nfunc TestKernelElsewhere(\nfunc TestVMOnly(\nfunc TestOther(\n")
	done, err := passedIn(recorded)
	if err != nil {
		t.Fatal(err)
	}
	r := runner{run: pattern, done: done}
	got, err := r.left("example.org/p", dir)
	want := []string{"TestKernelHalf", "TestKernelFailed", "TestKernelSkipped", "TestKernelElsewhere", "TestVMOnly"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}
