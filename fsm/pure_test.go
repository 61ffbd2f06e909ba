package fsm

import (
	"go/parser"
	"go/token"
	"io/fs"
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
	packages, err := parser.ParseDir(token.NewFileSet(), ".", func(f fs.FileInfo) bool {
		return !strings.HasSuffix(f.Name(), "_test.go")
	}, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	files := packages["fsm"].Files
	if len(files) < 5 {
		t.Fatalf("only %d files found", len(files))
	}
	for name, file := range files {
		for _, imp := range file.Imports {
			if path, _ := strconv.Unquote(imp.Path.Value); slices.Contains(forbidden, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}
