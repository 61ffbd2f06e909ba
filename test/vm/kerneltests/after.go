package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// passedIn reads from what tally recorded which tests passed, whole: one of which
// a part was skipped is not among them. A test has its package's path and a space
// before its name.
func passedIn(file string) (map[string]bool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var results map[string]struct{ Action string }
	if err := json.Unmarshal(data, &results); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	passed := map[string]bool{}
	for name, r := range results {
		passed[name] = r.Action == "pass"
	}
	for name, r := range results {
		if pkg, test, _ := strings.Cut(name, " "); r.Action != "pass" {
			whole, _, _ := strings.Cut(test, "/")
			delete(passed, pkg+" "+whole)
		}
	}
	return passed, nil
}

var testName = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// left are a package's tests that are still to be run.
func (r *runner) left(path, dir string) ([]string, error) {
	wanted, err := regexp.Compile(r.run)
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		for _, m := range testName.FindAllSubmatch(text, -1) {
			if name := string(m[1]); wanted.MatchString(name) && !r.done[path+" "+name] {
				names = append(names, name)
			}
		}
	}
	return names, nil
}
