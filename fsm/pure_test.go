package fsm

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The state machine must not be able to ask for what differs between filers:
// the packages that tell it are not imported.
func TestThePackageIsPure(t *testing.T) {
	forbidden := []string{
		"time", "os", "math/rand", "math/rand/v2", "crypto/rand", "hash/maphash", "runtime", "syscall", "maps", "net", "unsafe",
	}
	names, err := filepath.Glob("*.go")
	if err != nil || len(names) < 5 {
		t.Fatalf("found only %v: %v", names, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range file.Imports {
			if path, _ := strconv.Unquote(imp.Path.Value); slices.Contains(forbidden, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}
