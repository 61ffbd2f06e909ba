package netapply

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// An Applier makes a kernel match what is desired. Its methods may be called
// from several goroutines; one pass runs at a time.
type Applier struct {
	Kernel    Kernel
	Announcer *Announcer   // nil: neighbours are not told
	Log       *slog.Logger // nil: silent

	mu sync.Mutex
}

// A Report says what one pass did.
type Report struct {
	Steps    []Step        // carried out successfully, in order
	Failures []ObjectError // objects that are not as desired
	Writes   uint64        // changes asked of the kernel
	Rounds   int           // how often the kernel was read
	Duration time.Duration
}

// Apply observes, plans and executes. An error means that the pass could not be
// made at all; objects that failed are in the report.
func (a *Applier) Apply(ctx context.Context, want Desired) (Report, error) {
	return Report{}, nil
}
