// Command tally runs the parts of `make test` and sums them up.
//
//	tally -record FILE COMMAND [ARG ...]   run one part, remember how it went
//	tally -report FILE ...                 sum up: skipped tests, failures, one closing line
//
// A command that writes what `go test -json` writes is counted test by test;
// any other counts as one test, passed when it exits with 0.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	record := flag.String("record", "", "run a command and remember in this file how its tests went")
	report := flag.Bool("report", false, "sum up what was remembered in these files")
	name := flag.String("name", "", "what a recorded command that is no test is called")
	flag.Parse()
	var err error
	switch {
	case *report && flag.NArg() > 0:
		err = sumUp(os.Stdout, flag.Args())
	case *record != "" && flag.NArg() > 0:
		err = run(os.Stdout, *record, *name, flag.Args())
	default:
		flag.Usage()
		os.Exit(2)
	}
	if errors.Is(err, errFailed) {
		os.Exit(1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(2)
	}
}

// errFailed says that a test failed, and that this has been told.
var errFailed = errors.New("failed")

// run runs one part. It fails only if that cannot be remembered: the verdict is
// for the report.
func run(out io.Writer, file, name string, argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c := newCount()
	c.read(stdout, out)
	if name == "" {
		name = strings.Join(argv, " ")
	}
	c.finish(name, cmd.Wait(), out)
	data, err := json.MarshalIndent(c.Results, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

// sumUp prints the closing line of everything that was recorded.
func sumUp(w io.Writer, files []string) error {
	all := map[string]Result{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		var results map[string]Result
		if err := json.Unmarshal(data, &results); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		merge(all, results)
	}
	out := bufio.NewWriter(w)
	failed := printReport(out, all)
	if err := out.Flush(); err != nil {
		return err
	}
	if failed {
		return errFailed
	}
	return nil
}
