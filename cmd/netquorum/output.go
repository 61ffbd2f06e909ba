package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/netquorum/netquorum"
)

// Forms of output.
const (
	formatTable = "table"
	formatJSON  = "json"
	formatYAML  = "yaml"
)

var formats = []string{formatTable, formatJSON, formatYAML}

// print writes a value in the form that the user asked for; table writes it for
// people.
func (t *tool) print(v any, table func() error) error {
	switch t.output {
	case formatJSON:
		enc := json.NewEncoder(t.out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	case formatYAML:
		text, err := toYAML(v)
		if err != nil {
			return err
		}
		_, err = t.out.Write(text)
		return err
	}
	return table()
}

// toYAML writes documents as users write them, and anything else as the YAML of
// its JSON form, so that both name fields alike.
func toYAML(v any) ([]byte, error) {
	switch v := v.(type) {
	case netquorum.Document:
		return netquorum.FormatYAML(slices.Values([]netquorum.Document{v}))
	case []netquorum.Document:
		return netquorum.FormatYAML(slices.Values(v))
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(text)
}

func (t *tool) printf(format string, args ...any) { fmt.Fprintf(t.out, format, args...) }

// count says "1 document" or "3 documents".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
