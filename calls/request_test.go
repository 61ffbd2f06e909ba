package calls

import (
	"io"
	"testing"
)

// A body is in memory already: handlers need not copy it.
func TestBodyGivesWhatIsLeft(t *testing.T) {
	x, err := newExchange(&sent{Request: Request{Method: "POST", Target: "/", Body: []byte("abcdef")}})
	if err != nil {
		t.Fatal(err)
	}
	b, ok := x.req.Body.(interface{ Rest() []byte })
	if !ok {
		t.Fatalf("a body is a %T", x.req.Body)
	}
	for _, want := range []string{"abcdef", "cdef"} {
		if got := string(b.Rest()); got != want {
			t.Errorf("left are %q, want %q", got, want)
		}
		if want == "abcdef" {
			if _, err := io.ReadFull(x.req.Body, make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
