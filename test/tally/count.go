package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
)

// A Result is how one test went.
type Result struct {
	Action string `json:"action"` // pass, fail or skip
	// Said is what the test printed, unless it passed.
	Said string `json:"said,omitempty"`
}

// event is a line of go test -json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a build
	Test       string
	Output     string
	Elapsed    float64
}

// A count follows one stream of events.
type count struct {
	// Results by "package Test", or "package" for a package that failed
	// outside its tests.
	Results map[string]Result
	said    map[string]*strings.Builder
	events  int
}

func newCount() *count {
	return &count{Results: map[string]Result{}, said: map[string]*strings.Builder{}}
}

// read follows a stream to its end, telling the essence of it on out.
func (c *count) read(r io.Reader, out io.Writer) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			c.line(line, out)
		}
		if err != nil {
			return
		}
	}
}

func (c *count) line(line string, out io.Writer) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		fmt.Fprint(out, line)
		return
	}
	c.events++
	if e.Package == "" {
		e.Package, _, _ = strings.Cut(e.ImportPath, " ")
	}
	key := strings.TrimSpace(e.Package + " " + e.Test)
	switch e.Action {
	case "output", "build-output":
		if c.said[key] == nil {
			c.said[key] = &strings.Builder{}
		}
		c.said[key].WriteString(e.Output)
	case "pass", "skip", "fail", "build-fail":
		c.end(e, key, out)
	}
}

func (c *count) end(e event, key string, out io.Writer) {
	said := ""
	if b := c.said[key]; b != nil {
		said = b.String()
		delete(c.said, key)
	}
	action := strings.TrimPrefix(e.Action, "build-")
	if e.Test == "" {
		switch action {
		case "pass":
			fmt.Fprintf(out, "ok    %s (%.1f s)\n", e.Package, e.Elapsed)
		case "fail":
			fmt.Fprintf(out, "FAIL  %s (%.1f s)\n", e.Package, e.Elapsed)
			c.unfinished(e.Package, out)
			// Counted by itself only when no test of it is to blame; see leaves.
			c.Results[key] = Result{action, strings.TrimSpace(c.Results[key].Said + "\n" + said)}
			fmt.Fprint(out, said)
		}
		return
	}
	r := Result{Action: action}
	if action != "pass" {
		r.Said = said
	}
	c.Results[key] = r
	if action == "fail" {
		fmt.Fprint(out, said)
	}
}

// unfinished blames the tests of a failed package that never came to an end:
// one of them ended the whole process.
func (c *count) unfinished(pkg string, out io.Writer) {
	for key, said := range c.said {
		if _, ended := c.Results[key]; !ended && strings.HasPrefix(key, pkg+" ") {
			c.Results[key] = Result{"fail", said.String()}
			fmt.Fprint(out, said)
			delete(c.said, key)
		}
	}
}

// finish takes the command's own end into account: a stream without a failure
// may still come from a command that failed.
func (c *count) finish(name string, err error, out io.Writer) {
	if c.events == 0 {
		c.Results[name] = Result{Action: "pass"}
	}
	for _, r := range c.Results {
		if r.Action == "fail" {
			return
		}
	}
	if err != nil {
		fmt.Fprintf(out, "FAIL  %s: %v\n", name, err)
		c.Results[name] = Result{"fail", err.Error()}
	}
}

// rank orders what two runs of one test say of it: a failure counts before all,
// and a test that was skipped here passed when it passed in the virtual machine.
var rank = map[string]int{"skip": 1, "pass": 2, "fail": 3}

func merge(into, from map[string]Result) {
	for key, r := range from {
		if rank[r.Action] > rank[into[key].Action] {
			into[key] = r
		}
	}
}

// leaves drops what only repeats the verdict of a part of it: a test whose
// subtests were counted, a package whose tests were.
func leaves(all map[string]Result) map[string]Result {
	parts := map[string][]string{} // results below a key
	for key := range all {
		for _, up := range above(key) {
			if _, ok := all[up]; ok {
				parts[up] = append(parts[up], all[key].Action)
			}
		}
	}
	out := map[string]Result{}
	for key, r := range all {
		blamed := false
		for _, action := range parts[key] {
			blamed = blamed || action == "fail"
		}
		if len(parts[key]) == 0 || r.Action == "fail" && !blamed {
			out[key] = r
		}
	}
	return out
}

// above lists what a result is a part of: "p T/a/b" of "p T/a", "p T" and "p".
func above(key string) []string {
	pkg, test, ok := strings.Cut(key, " ")
	if !ok {
		return nil
	}
	ups := []string{pkg}
	for i, b := range test {
		if b == '/' {
			ups = append(ups, pkg+" "+test[:i])
		}
	}
	return ups
}

// printReport lists what was skipped and what failed, and ends with the closing
// line.
func printReport(w io.Writer, all map[string]Result) (failed bool) {
	results := leaves(all)
	byAction := map[string][]string{}
	for key, r := range results {
		byAction[r.Action] = append(byAction[r.Action], key)
	}
	for _, action := range []string{"skip", "fail"} {
		keys := byAction[action]
		sort.Strings(keys)
		if len(keys) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s:\n", map[string]string{"skip": "Skipped, and why", "fail": "Failed"}[action])
		for _, key := range keys {
			fmt.Fprintf(w, "  %s: %s\n", key, reason(results[key].Said))
		}
	}
	fmt.Fprintf(w, "\n%d passed, %d failed, %d skipped\n", len(byAction["pass"]), len(byAction["fail"]), len(byAction["skip"]))
	return len(byAction["fail"]) > 0
}

// reason is the last thing that a test said for itself, in one line.
func reason(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		line := strings.TrimSpace(lines[i])
		if line == "" || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "===") || strings.HasPrefix(line, "FAIL") {
			continue
		}
		// "file.go:12: why" reads better without the place.
		if place, why, ok := strings.Cut(line, ": "); ok && strings.Contains(place, ".go:") && why != "" {
			line = why
		}
		return line
	}
	return "no reason given"
}
