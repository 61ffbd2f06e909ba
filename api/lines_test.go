package api

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/netquorum/netquorum"
)

func recordOf(name, data string) netquorum.Document {
	return netquorum.Document{Kind: netquorum.KindRecord, Name: name, Spec: &netquorum.Record{Data: []byte(data)}}
}

// linesOf are documents shorter and longer than what is made and decoded at a time.
func linesOf(n int) (docs []netquorum.Document) {
	for i := range n {
		size := i * 7919 % (linesAtOnce / 4)
		if i%50 == 7 {
			size = 3 * linesAtOnce
		}
		docs = append(docs, recordOf(fmt.Sprintf("r%d", i), `"`+strings.Repeat("x", size)+`"`))
	}
	return docs
}

func TestDocumentsAreTheSameWhereverTheirLinesAreCut(t *testing.T) {
	docs := linesOf(120)
	for name, reader := range map[string]func(io.Reader) io.Reader{
		"as it comes": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader, "data with the end": iotest.DataErrReader,
	} {
		got, err := readLines(reader(newLineWriter(docs)))
		if err != nil || len(got) != len(docs) {
			t.Fatalf("%s: %d documents, %v; want %d", name, len(got), err, len(docs))
		}
		for i := range docs {
			if !got[i].Equal(docs[i]) {
				t.Errorf("%s: document %d is not what was sent", name, i)
			}
		}
	}
}

func TestTheFirstBadLineIsTold(t *testing.T) {
	text, err := io.ReadAll(newLineWriter(linesOf(60)))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	lines[21], lines[50] = "{\n", "{\n"
	_, err = readLines(strings.NewReader(strings.Join(lines, "")))
	if err == nil || !strings.HasPrefix(err.Error(), "line 22: ") {
		t.Errorf("%.100v; want line 22", err)
	}
}

func TestABodyThatBreaksOffIsNoDocuments(t *testing.T) {
	broken := errors.New("broken")
	docs, err := readLines(io.MultiReader(newLineWriter(linesOf(60)), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || docs != nil {
		t.Errorf("%d documents, %v; want the reader's error", len(docs), err)
	}
}

type unwritable struct{ netquorum.Spec }

func (unwritable) MarshalJSON() ([]byte, error) { return nil, errors.New("no text") }

func TestADocumentWithoutATextIsToldByTheClient(t *testing.T) {
	bad := netquorum.Document{Kind: netquorum.KindFiler, Name: "bad", Spec: unwritable{&netquorum.Filer{}}}
	w := newLineWriter(append(linesOf(10), bad))
	if _, err := io.Copy(io.Discard, w); err == nil || w.failure() != err {
		t.Errorf("read: %v, told: %v; want the same error", err, w.failure())
	}
}
