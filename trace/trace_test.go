package trace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestAnIDIsWhatItsTextSays(t *testing.T) {
	for text, want := range map[string]ID{
		"00c0ffee12345678": 0xc0ffee12345678, "1": 1, "ffffffffffffffff": 1<<64 - 1, "ABCDEF": 0xabcdef,
		"": 0, "0": 0, "0000000000000000": 0, "00000000000000001": 0, "+1": 0, "xyz": 0, "-1": 0, "0x1": 0, "1_0": 0,
	} {
		id, err := Parse(text)
		if id != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %v, %v; want %v", text, id, err, want)
		}
		if want == 0 {
			continue
		}
		if again, err := Parse(id.String()); again != id || err != nil || len(id.String()) != 16 {
			t.Errorf("%v became %v, %v", id, again, err)
		}
	}
	text, err := json.Marshal(struct {
		T ID `json:"t,omitzero"`
		N ID `json:"n,omitzero"`
	}{T: 255})
	if err != nil || string(text) != `{"t":"00000000000000ff"}` {
		t.Errorf("%s, %v", text, err)
	}
}

func TestIDsComeFromTheGivenSource(t *testing.T) {
	// The first eight bytes are no id: zero means none.
	source := bytes.NewReader(append(make([]byte, 8), 0, 0, 0, 0, 0, 0, 1, 2))
	if id, err := Read(source); id != 0x102 || err != nil {
		t.Errorf("%v, %v", id, err)
	}
	if _, err := Read(source); err == nil {
		t.Error("an id came from nowhere")
	}
	if one, other := New(), New(); one == other || one == 0 {
		t.Errorf("new ids are %v and %v", one, other)
	}
}

func TestALogLineHasTheIDOfItsContext(t *testing.T) {
	var out strings.Builder
	ring := NewRing(10, time.Now)
	log := slog.New(Handler(slog.NewTextHandler(&out, nil), ring)).With("part", "x")
	ctx := With(t.Context(), 0xab)
	log.Info("no context")
	log.InfoContext(t.Context(), "no id")
	log.DebugContext(ctx, "not enabled")
	log.WarnContext(ctx, "here it is", "n", 1)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	for i, line := range lines {
		if has := strings.Contains(line, "trace=00000000000000ab"); has != (i == 2) || !strings.Contains(line, "part=x") {
			t.Errorf("line %d: %s", i, line)
		}
	}
	got := ring.Of(0xab)
	if len(got) != 1 || got[0].What != "WARN here it is n=1" || !got[0].Log || got[0].Time.IsZero() {
		t.Errorf("remembered %+v", got)
	}
}

func TestARingKeepsTheLatest(t *testing.T) {
	now := time.Unix(0, 0)
	r := NewRing(5, func() time.Time { now = now.Add(time.Second); return now })
	for i := range 12 {
		r.Note(ID(1+i%2), func() string { return fmt.Sprint(i) })
	}
	r.Note(0, func() string { t.Error("asked for the words of what has no id"); return "" })
	if got := r.Of(2); len(got) != 3 || got[0].What != "7" || got[1].What != "9" || got[2].What != "11" {
		t.Errorf("%+v", got)
	}
	if got := r.Of(0); got != nil {
		t.Errorf("no id has %+v", got)
	}
	done := r.Span(With(t.Context(), 9), func() string { return "a span" })
	done(errors.New("failed " + strings.Repeat("ü", 1000)))
	got := r.Of(9)
	if len(got) != 1 || got[0].Took != time.Second || !strings.HasPrefix(got[0].Outcome, "failed ü") ||
		len(got[0].Outcome) > maxText || !utf8.ValidString(got[0].Outcome) {
		t.Errorf("%+v", got)
	}
}

func TestNoRingIsAnEmptyOne(t *testing.T) {
	var r *Ring
	r.Span(With(context.Background(), 1), func() string { return "" })(nil)
	r.Note(1, func() string { return "" })
	r.Add(Record{Trace: 1})
	if r.Of(1) != nil {
		t.Error("it remembers")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("00c0ffee12345678")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := Parse(s)
		if err != nil {
			return
		}
		if again, err := Parse(id.String()); err != nil || again != id {
			t.Errorf("%q: %v, then %v, %v", s, id, again, err)
		}
	})
}
