package api

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/netquorum/netquorum"
)

func TestErrorOf(t *testing.T) {
	problems := netquorum.Problems{{Document: netquorum.Key{Kind: "Filer", Name: "a"}, Rule: "r", Message: "m"}}
	tests := []struct {
		name string
		err  error
		code Code
		exit int
		text string
	}{
		{"an error of nobody's is internal", errors.New("boom"), ErrInternal, ExitRefused, "boom"},
		{"a wrapped code keeps the whole sentence", fmt.Errorf("%w: 1 of 3", ErrNoQuorum), ErrNoQuorum, ExitUnreachable, "no quorum: 1 of 3"},
		{"an error keeps its message", Refuse(ErrNotFound, "no such thing", nil), ErrNotFound, ExitRefused, "no such thing"},
		{"what is said around an error is kept", fmt.Errorf("while trying: %w", Refuse(ErrUsage, "what?", nil)), ErrUsage, ExitUsage, "while trying: what?"},
		{"broken rules are a refusal", fmt.Errorf("x: %w", problems), ErrInvalid, ExitRefused, "Filer/a: m [r]"},
		{"a deadline is a timeout", fmt.Errorf("x: %w", context.DeadlineExceeded), ErrTimeout, ExitTimeout, "x: context deadline exceeded"},
		{"a code of a later version is internal", &Error{Code: "later", Message: "m"}, ErrInternal, ExitRefused, "m"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := ErrorOf(test.err)
			if e.Code != test.code || e.Error() != test.text || ExitCode(test.err) != test.exit {
				t.Errorf("code %s, exit code %d, text %q; want %s, %d, %q", e.Code, ExitCode(test.err), e.Error(), test.code, test.exit, test.text)
			}
			if e.Status == 0 || e.Title == "" {
				t.Errorf("status %d, title %q; want both", e.Status, e.Title)
			}
		})
	}
}

func TestRefusalsMatchErrRefusedAndFailuresDoNot(t *testing.T) {
	for code, kind := range kinds {
		want := kind.exit == ExitRefused && code != ErrInternal && code != ErrFailed
		if got := errors.Is(Refuse(code, "", nil), ErrRefused); got != want {
			t.Errorf("%s matches ErrRefused: %v, want %v", code, got, want)
		}
		if !errors.Is(Refuse(code, "", nil), code) {
			t.Errorf("%s does not match itself", code)
		}
	}
}

func TestTheManualListsEveryCode(t *testing.T) {
	manual, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for code, kind := range kinds {
		line := fmt.Sprintf("| `%s` | %d | %d |", string(code), kind.status, kind.exit)
		if !strings.Contains(string(manual), line) {
			t.Errorf("docs/api.md lacks a line that begins with %s", line)
		}
	}
}

func FuzzParseKind(f *testing.F) {
	for _, s := range []string{"filer", "FILERS", "vserver", "routes", "route", "", "s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKind(s)
		if (err == nil) != (k != "") {
			t.Errorf("ParseKind(%q) = %q, %v", s, k, err)
		}
	})
}
