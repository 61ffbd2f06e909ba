package main

import (
	"io"
	"strings"
	"unicode/utf8"
)

// lineWidth is what a table may take before its last column is wrapped.
const lineWidth = 100

const columnGap = "  "

// A table is text in columns under headings.
type table struct {
	head []string
	rows [][]string
}

func newTable(head ...string) *table { return &table{head: head} }

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// write prints the table. The last column is wrapped between words when a line
// would be wider than a terminal is.
func (t *table) write(w io.Writer) error {
	widths := t.widths()
	last := len(t.head) - 1
	indent := 0
	for _, width := range widths[:last] {
		indent += width + len(columnGap)
	}
	room := max(lineWidth-indent, 20)
	var b strings.Builder
	for _, row := range append([][]string{t.head}, t.rows...) {
		var line strings.Builder
		for i, cell := range row[:last] {
			line.WriteString(pad(orDash(cell), widths[i]) + columnGap)
		}
		for i, part := range wrap(orDash(row[last]), room) {
			if i > 0 {
				line.Reset()
				line.WriteString(strings.Repeat(" ", indent))
			}
			b.WriteString(strings.TrimRight(line.String()+part, " ") + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *table) widths() []int {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(orDash(cell)))
		}
	}
	return widths
}

// orDash keeps an empty cell visible, so that columns can be counted.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", width-utf8.RuneCountInString(s))
}

// wrap breaks text between words into lines of at most width, where its words
// allow that.
func wrap(text string, width int) []string {
	lines := []string{""}
	for _, word := range strings.Fields(text) {
		line := &lines[len(lines)-1]
		switch {
		case *line == "":
			*line = word
		case utf8.RuneCountInString(*line)+1+utf8.RuneCountInString(word) <= width:
			*line += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}
