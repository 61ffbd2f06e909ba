package calls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netquorum/netquorum/trace"
)

func TestTheHighestCommonVersionIsUsed(t *testing.T) {
	offered := map[string]Versions{"old": {}, "both": {1, 3}, "new": {4, 5}}
	var programs []Program
	for name, v := range offered {
		programs = append(programs, Program{Name: name, Versions: v, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s in version %d", name, Version(r.Context()))
		})})
	}
	p := start(t, echo, programs...)
	c := p.client(t)
	c.PeerOf = func(net.Conn) string { return "filer n2" }
	for _, test := range []struct {
		program string
		speak   Versions
		want    uint16 // 0: none
	}{
		{"old", Versions{}, 1},
		{"old", Versions{1, 1}, 1},
		{"old", Versions{1, 9}, 1},
		{"old", Versions{2, 9}, 0},
		{"both", Versions{}, 1},
		{"both", Versions{1, 2}, 2},
		{"both", Versions{2, 2}, 2},
		{"both", Versions{3, 7}, 3},
		{"both", Versions{4, 7}, 0},
		{"new", Versions{}, 0},
		{"new", Versions{1, 3}, 0},
		{"new", Versions{1, 4}, 4},
		{"new", Versions{5, 5}, 5},
		{"new", Versions{1, 9}, 5},
		{"new", Versions{6, 9}, 0},
		{"new", Versions{5, 4}, 0}, // no range at all
		{"absent", Versions{1, 9}, 0},
	} {
		a, err := c.Call(t.Context(), Request{Program: test.program, Versions: test.speak, Method: "GET", Target: "/"})
		version, alone := c.Version(t.Context(), test.program, test.speak)
		if version != test.want || (alone == nil) != (test.want != 0) {
			t.Errorf("%s, speaking %v: version %d, %v; want %d", test.program, test.speak, version, alone, test.want)
		}
		if test.want != 0 {
			if want := fmt.Sprintf("%s in version %d", test.program, test.want); err != nil || string(a.Body) != want || a.Version != test.want {
				t.Errorf("%s, speaking %v: %q, version %d, %v; want %d", test.program, test.speak, a.Body, a.Version, err, test.want)
			}
			continue
		}
		var refused *VersionError
		if !errors.As(err, &refused) || !errors.Is(err, ErrNotSent) || !errors.Is(err, ErrUnspoken) || !strings.Contains(err.Error(), "filer n2") {
			t.Errorf("%s, speaking %v: %v", test.program, test.speak, err)
		} else if refused.Program != test.program || refused.Have != offered[test.program].orFirst() && test.program != "absent" || refused.Have != (Versions{}) && test.program == "absent" {
			t.Errorf("%s, speaking %v: %+v", test.program, test.speak, refused)
		}
	}
	if n := p.accepts.Load(); n != 1 {
		t.Errorf("%d connections were made for it", n)
	}
}

func TestALaterHelloMaySayMore(t *testing.T) {
	h := hello{maxBody: 7, programs: []offer{{"x", Versions{1, 2}}}}
	got, err := parseHello(append(h.append(nil), "and what nobody knows yet"...))
	if err != nil || got.maxBody != 7 || len(got.programs) != 1 || got.programs[0] != h.programs[0] {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestATraceGoesThereAndComesBack(t *testing.T) {
	for name, border := range map[string]bool{"between filers": false, "where requests enter": true} {
		t.Run(name, func(t *testing.T) {
			c := start(t, func(w http.ResponseWriter, r *http.Request) {
				id := trace.From(r.Context())
				if id == 0 && border {
					id = 77
				}
				w.Header().Set(trace.Header, id.String())
				io.WriteString(w, id.String())
			}).client(t)
			for _, test := range []struct{ inContext, inRequest, want trace.ID }{{0, 0, 0}, {5, 0, 5}, {0, 6, 6}, {5, 6, 6}} {
				if border && test.want == 0 {
					test.want = 77
				}
				a, err := c.Call(trace.With(t.Context(), test.inContext), Request{Method: "GET", Target: "/", Trace: test.inRequest})
				if err != nil || a.Trace != test.want || string(a.Body) != test.want.String() {
					t.Errorf("%+v: %v, %s, %v", test, a.Trace, a.Body, err)
				}
			}
		})
	}
}

func TestABodyIsBoundedByWhoTakesIt(t *testing.T) {
	c := serve(t, &Server{MaxBody: 1000, Programs: []Program{{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := 0
		fmt.Sscan(r.URL.Query().Get("answer"), &n)
		w.Write(make([]byte, n))
	})}}}).client(t)
	for _, test := range []struct {
		body, answer, status int
		sent                 bool
	}{{1000, 1000, 200, true}, {1001, 0, 0, false}, {0, 1001, 500, true}} {
		a, err := c.Call(t.Context(), Request{Method: "POST", Target: fmt.Sprintf("/?answer=%d", test.answer), Body: make([]byte, test.body)})
		if a.Status != test.status || errors.Is(err, ErrNotSent) == test.sent {
			t.Errorf("%+v: %d, %v", test, a.Status, err)
		}
	}
}

// A hello that does not come must not hold up callers for ever, and a connection
// that ends before it was no way to the other side.
func TestAPeerThatSaysNothingIsNoPeer(t *testing.T) {
	dialled := make(chan net.Conn, 1)
	c := &Client{Dial: func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		dialled <- theirs
		return ours, nil
	}}
	t.Cleanup(c.Close)
	done := make(chan error, 1)
	call := func(ctx context.Context) {
		_, err := c.Call(ctx, Request{Method: "GET", Target: "/"})
		done <- err
	}
	go call(t.Context())
	(<-dialled).Close()
	if err := <-done; !errors.Is(err, ErrNotSent) || !errors.Is(err, io.EOF) {
		t.Errorf("of a connection that ended: %v", err)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("the caller's reason")
	go call(ctx)
	theirs := <-dialled
	cancel(reason)
	if err := <-done; !errors.Is(err, ErrNotSent) || !errors.Is(err, reason) {
		t.Errorf("of a caller that left: %v", err)
	}
	if _, err := theirs.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection that nobody waits for is still open: %v", err)
	}

	synctest.Test(t, func(t *testing.T) {
		silent := &Client{PeerOf: func(net.Conn) string { return "filer n2" }, Dial: func(context.Context) (net.Conn, error) {
			ours, _ := net.Pipe()
			return ours, nil
		}}
		began := time.Now()
		_, err := silent.Call(t.Context(), Request{Method: "GET", Target: "/"})
		if took := time.Since(began); !errors.Is(err, ErrNotSent) || !strings.Contains(err.Error(), "filer n2") || took != helloTimeout {
			t.Errorf("after %v: %v", took, err)
		}
		silent.Close()
	})
}
