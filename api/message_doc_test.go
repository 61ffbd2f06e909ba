package api_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum/api"
)

// TestTheManualsExamples runs what docs/message-api.md shows.
func TestTheManualsExamples(t *testing.T) {
	manual, err := os.ReadFile("../docs/message-api.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		language string
		needs    []string
		command  []string
		want     string
	}{
		{"sh", []string{"curl", "jq", "base64", "sh"}, []string{"sh", "-euc"}, "HELLO"},
		{"python", []string{"python3"}, []string{"python3", "-c"}, "HELLO FROM PYTHON\n"},
	} {
		t.Run(test.language, func(t *testing.T) {
			for _, program := range test.needs {
				if _, err := exec.LookPath(program); err != nil {
					t.Skipf("the example needs %s: %v", program, err)
				}
			}
			code := regexp.MustCompile("(?s)```" + test.language + "\n(.*?)```").FindSubmatch(manual)
			if code == nil {
				t.Fatalf("the manual has no example in %s", test.language)
			}
			m := newMailroom(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, test.command[0], append(test.command[1:], string(code[1]))...)
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), "NETQUORUM_SOCKET="+m.path)
			var errs strings.Builder
			cmd.Stderr = &errs
			out, err := cmd.Output()
			if err != nil || string(out) != test.want {
				t.Errorf("it printed %q, %v, want %q; and said:\n%s", out, err, test.want, errs.String())
			}
			if left, err := m.Client.Completions(soon(t), "demo", 0, 0, 0); err != nil || len(left) > 0 {
				t.Errorf("completions that are left: %v, %v", left, err)
			}
			if _, err := m.Client.Completion(soon(t), "filer1/demo/00000000000000a1/1"); !errors.Is(err, api.ErrNotFound) {
				t.Errorf("the completion: %v, want not-found: it was acknowledged", err)
			}
		})
	}
}
