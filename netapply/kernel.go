package netapply

import (
	"context"
	"fmt"
)

// A Kernel is what plans are made from and carried out on: the real one
// (Open), or a fake that behaves like it (package fakekernel).
type Kernel interface {
	// Observe reads the whole state. Tuning is read only of links that are asked
	// for: it costs questions to drivers.
	Observe(ctx context.Context, looks ...Look) (Observed, error)
	// Do carries out steps in order and returns what became of each. One that
	// fails does not stop the next. Removing what is gone is success.
	Do(ctx context.Context, steps ...Step) []error
	// Writes counts the changes asked of the kernel so far.
	Writes() uint64
}

// An ObjectError says what is wrong with one object: a link, an address, a
// route or a rule. The others are not affected unless they depend on it.
type ObjectError struct {
	Object string // like "link data0" or "address 10.2.2.1/24 dev data0-vsvra"
	Err    error
}

func (e ObjectError) Error() string { return fmt.Sprintf("%s: %v", e.Object, e.Err) }
func (e ObjectError) Unwrap() error { return e.Err }
