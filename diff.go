package netquorum

import (
	"fmt"
	"strings"
)

// diffContext is how many unchanged lines are shown around a change.
const diffContext = 3

// FormatDiff shows what changed in a document as a unified diff of its YAML
// forms. A document that was not there before, or is not after, is nil. The
// result is empty when both say the same. Secrets are not shown.
func FormatDiff(before, after *Document) string {
	old, oldName := diffSide(before)
	new, newName := diffSide(after)
	ops := diffLines(old, new)
	var b strings.Builder
	for i := 0; i < len(ops); {
		from, to := nextHunk(ops, i)
		if from == to {
			break
		}
		if b.Len() == 0 {
			fmt.Fprintf(&b, "--- %s\n+++ %s\n", oldName, newName)
		}
		writeHunk(&b, ops, from, to)
		i = to
	}
	return b.String()
}

func diffSide(d *Document) (lines []string, name string) {
	if d == nil {
		return nil, "/dev/null"
	}
	name = d.Key().String()
	if d.Revision != 0 {
		name = fmt.Sprintf("%s@%d", name, d.Revision)
	}
	text, err := appendYAML(nil, d.Public())
	if err != nil {
		return []string{"# cannot be shown: " + err.Error()}, name
	}
	for line := range strings.Lines(string(text)) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines, name
}

// A diffOp is one line: kept (' '), removed ('-') or added ('+').
type diffOp struct {
	sign byte
	line string
}

// diffLines finds a shortest way from a to b by the algorithm of Myers (1986),
// after taking off what they begin and end with in common.
func diffLines(a, b []string) []diffOp {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var ops []diffOp
	for _, line := range a[:head] {
		ops = append(ops, diffOp{' ', line})
	}
	ops = append(ops, diffMiddle(a[head:len(a)-tail], b[head:len(b)-tail])...)
	for _, line := range a[len(a)-tail:] {
		ops = append(ops, diffOp{' ', line})
	}
	return ops
}

// maxDiff is how many edits are looked for. Beyond that the documents have
// little in common, and all of one is shown, then all of the other.
const maxDiff = 400

func diffMiddle(a, b []string) []diffOp {
	// reach[k] is how far in a one gets on diagonal k, where k = x - y; one
	// copy is kept for every number of edits, to find the way back.
	var history []map[int]int
	reach := map[int]int{1: 0}
	for d := 0; d <= maxDiff; d++ {
		next := make(map[int]int, d+2)
		for k := -d; k <= d; k += 2 {
			x := reach[k+1]
			if k != -d && (k == d || reach[k-1]+1 > x) {
				x = reach[k-1] + 1
			}
			for x < len(a) && x-k < len(b) && x-k >= 0 && a[x] == b[x-k] {
				x++
			}
			next[k] = x
			if x >= len(a) && x-k >= len(b) {
				return walkBack(a, b, append(history, reach))
			}
		}
		history = append(history, reach)
		reach = next
	}
	var ops []diffOp
	for _, line := range a {
		ops = append(ops, diffOp{'-', line})
	}
	for _, line := range b {
		ops = append(ops, diffOp{'+', line})
	}
	return ops
}

// walkBack follows the furthest reaches from the end to the beginning.
func walkBack(a, b []string, history []map[int]int) []diffOp {
	x, y := len(a), len(b)
	var back []diffOp
	for d := len(history) - 1; d >= 0; d-- {
		reach, k := history[d], x-y
		from := k - 1
		if k == -d || k != d && reach[k-1]+1 <= reach[k+1] {
			from = k + 1
		}
		px := reach[from]
		py := px - from
		for x > px && y > py && x > 0 && y > 0 {
			x--
			y--
			back = append(back, diffOp{' ', a[x]})
		}
		if d == 0 {
			break
		}
		if from == k+1 {
			y--
			back = append(back, diffOp{'+', b[y]})
		} else {
			x--
			back = append(back, diffOp{'-', a[x]})
		}
	}
	ops := make([]diffOp, 0, len(back))
	for i := len(back) - 1; i >= 0; i-- {
		ops = append(ops, back[i])
	}
	return ops
}

// nextHunk returns the next run of changes from i on, with its context; from
// and to are equal when there is none.
func nextHunk(ops []diffOp, i int) (from, to int) {
	for i < len(ops) && ops[i].sign == ' ' {
		i++
	}
	if i == len(ops) {
		return i, i
	}
	from = max(0, i-diffContext)
	for same := 0; i < len(ops) && same <= 2*diffContext; i++ {
		if same++; ops[i].sign != ' ' {
			same, to = 0, i+1
		}
	}
	return from, min(len(ops), to+diffContext)
}

func writeHunk(b *strings.Builder, ops []diffOp, from, to int) {
	oldLine, newLine := 1, 1
	for _, op := range ops[:from] {
		if op.sign != '+' {
			oldLine++
		}
		if op.sign != '-' {
			newLine++
		}
	}
	removed, added := 0, 0
	for _, op := range ops[from:to] {
		if op.sign != '+' {
			removed++
		}
		if op.sign != '-' {
			added++
		}
	}
	fmt.Fprintf(b, "@@ -%s +%s @@\n", hunkRange(oldLine, removed), hunkRange(newLine, added))
	for _, op := range ops[from:to] {
		b.WriteByte(op.sign)
		b.WriteString(op.line + "\n")
	}
}

// hunkRange writes where a hunk begins and how long it is; one of no lines
// begins before the first, as diff has it.
func hunkRange(line, n int) string {
	if n == 0 {
		line--
	}
	return fmt.Sprintf("%d,%d", line, n)
}
