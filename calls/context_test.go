package calls

import (
	"context"
	"errors"
	"testing"
	"time"
)

type someKey struct{}

// A request's context is like any other, whoever asks first and when.
func TestCallContext(t *testing.T) {
	cause := errors.New("the base ended")
	for _, timeout := range []time.Duration{0, time.Hour} {
		for name, look := range map[string]func(ctx context.Context) error{
			"done":    func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
			"err":     func(ctx context.Context) error { return ctx.Err() },
			"cause":   func(ctx context.Context) error { return context.Cause(ctx) },
			"derived": func(ctx context.Context) error { d, stop := context.WithCancel(ctx); defer stop(); return d.Err() },
		} {
			base, cancel := context.WithCancelCause(context.WithValue(context.Background(), someKey{}, "x"))
			var early, late, cut callContext
			q := sent{Request: Request{Timeout: timeout, Trace: 7}, version: 3}
			for _, c := range []*callContext{&early, &late, &cut} {
				c.begin(base, &q)
				if c.Value(someKey{}) != "x" || Version(c) != 3 {
					t.Error("the context has lost values")
				}
				if _, ok := c.Deadline(); ok != (timeout > 0) {
					t.Errorf("with a timeout of %v it has a deadline: %v", timeout, ok)
				}
			}
			below, stop := context.WithCancel(&early)
			if early.Err() != nil || context.Cause(&late) != nil {
				t.Error("the context has ended early")
			}
			early.end()
			<-below.Done()
			stop()
			late.end()
			if err := look(&early); !errors.Is(err, context.Canceled) {
				t.Errorf("%s of an ended request that was waited for: %v", name, err)
			}
			if err := look(&late); !errors.Is(err, context.Canceled) {
				t.Errorf("%s of an ended request: %v", name, err)
			}
			cancel(cause)
			if err := look(&cut); !errors.Is(err, context.Canceled) && err != cause {
				t.Errorf("%s of a request whose connection ended: %v", name, err)
			}
			late.end()
			cut.end()
		}
	}
}
