package main

import (
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// lineWidth is what a table may take before its last column is wrapped.
const lineWidth = 100

// leastRoom is what the last column has for its words at least.
const leastRoom = 20

const columnGap = "  "

// A table is text in columns under headings.
type table struct {
	head  []string
	rows  [][]string
	below []string // headings of columns that may stand below
}

func newTable(head ...string) *table { return &table{head: head} }

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// mayStandBelow names columns, never the last, of which each row has its cell on
// a line of its own when the table would be too wide otherwise: as many of them
// as must be, the first named first.
func (t *table) mayStandBelow(headings ...string) { t.below = headings }

// write prints the table. The last column is wrapped between words when a line
// would be wider than a terminal is.
func (t *table) write(w io.Writer) error {
	beside, below := t.layout()
	all := append([][]string{t.head}, t.rows...)
	widths := make([]int, len(beside))
	for i, column := range beside {
		widths[i] = widest(all, column)
	}
	last := len(beside) - 1
	indent := 0
	for _, width := range widths[:last] {
		indent += width + len(columnGap)
	}
	room := max(lineWidth-indent, leastRoom)
	var b strings.Builder
	for _, row := range all {
		var line strings.Builder
		for i, column := range beside[:last] {
			line.WriteString(pad(orDash(row[column]), widths[i]) + columnGap)
		}
		for i, part := range wrap(orDash(row[beside[last]]), room) {
			if i > 0 {
				line.Reset()
				line.WriteString(strings.Repeat(" ", indent))
			}
			b.WriteString(strings.TrimRight(line.String()+part, " ") + "\n")
		}
		for _, column := range below {
			for _, part := range wrap(orDash(row[column]), lineWidth-len(columnGap)) {
				b.WriteString(columnGap + part + "\n")
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// layout says which columns stand beside each other, and which below.
func (t *table) layout() (beside, below []int) {
	all := append([][]string{t.head}, t.rows...)
	last := len(t.head) - 1
	width := min(widest(all, last), leastRoom)
	for column := range last {
		width += widest(all, column) + len(columnGap)
	}
	for _, heading := range t.below {
		if column := slices.Index(t.head, heading); width > lineWidth {
			width -= widest(all, column) + len(columnGap)
			below = append(below, column)
		}
	}
	slices.Sort(below)
	for column := range t.head {
		if !slices.Contains(below, column) {
			beside = append(beside, column)
		}
	}
	return beside, below
}

// widest is the width of a column.
func widest(rows [][]string, column int) int {
	n := 0
	for _, row := range rows {
		n = max(n, utf8.RuneCountInString(orDash(row[column])))
	}
	return n
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
