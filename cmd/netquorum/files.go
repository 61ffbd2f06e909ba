package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// addFileFlag adds -f, which may be given several times.
func addFileFlag(cmd *cobra.Command, files *[]string, text string) {
	cmd.Flags().StringArrayVarP(files, "file", "f", nil, text)
	cmd.MarkFlagFilename("file", "yaml", "yml", "json")
}

// readDocuments reads the documents of all files, "-" being standard input.
// They are read here and not by the daemon, so that an error names file and
// line.
func (t *tool) readDocuments(files []string) ([]netquorum.Document, error) {
	var all []netquorum.Document
	for _, name := range files {
		docs, err := t.readFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, docs...)
	}
	return all, nil
}

func (t *tool) readFile(name string) ([]netquorum.Document, error) {
	data, err := t.readInput(name)
	if err != nil {
		return nil, err
	}
	if name == "-" {
		name = "standard input"
	}
	docs, err := netquorum.ParseDocuments(name, data)
	if err != nil {
		return nil, asInvalid(err)
	}
	if len(docs) == 0 {
		return nil, api.Refuse(api.ErrInvalid, name+" holds no documents", nil)
	}
	return docs, nil
}

// asInvalid makes an error about a document a refusal, as it would be if the
// daemon had found it.
func asInvalid(err error) error {
	if e := api.ErrorOf(err); e.Code == api.ErrInvalid {
		return e
	}
	return api.Refuse(api.ErrInvalid, err.Error(), nil)
}

// maxInput is what the daemon takes in a restore; more is not even read.
const maxInput = 128 << 20

func (t *tool) readInput(name string) ([]byte, error) {
	in := t.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, api.Refuse(api.ErrUsage, err.Error(), nil)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return nil, api.Refuse(api.ErrUsage, fmt.Sprintf("reading %s: %v", name, err), nil)
	}
	if len(data) > maxInput {
		return nil, api.Refuse(api.ErrTooLarge, fmt.Sprintf("%s is larger than %d MiB", name, maxInput>>20), nil)
	}
	return data, nil
}
