package apitest

import (
	"context"
	"iter"
	"sync"

	"github.com/netquorum/netquorum/api"
)

// monitors are the reports of the filers' monitors.
type monitors struct {
	mu      sync.Mutex
	reports map[string]api.InterfaceReport
	changed chan struct{}
	events  []api.InterfaceEvent
}

// Monitor makes a filer's monitor say this.
func (b *Backend) Monitor(r api.InterfaceReport) {
	m := &b.monitors
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reports == nil {
		m.reports = map[string]api.InterfaceReport{}
	}
	m.reports[r.Filer] = r
}

// Happen makes every watch of interfaces see an event.
func (b *Backend) Happen(e api.InterfaceEvent) {
	m := &b.monitors
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, e)
	if m.changed != nil {
		close(m.changed)
	}
	m.changed = make(chan struct{})
}

// Interfaces returns what was set with Monitor.
func (b *Backend) Interfaces(_ context.Context, filer string) (api.InterfaceReport, error) {
	b.mu.Lock()
	if filer == "" {
		filer = b.filer
	}
	b.mu.Unlock()
	m := &b.monitors
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.reports[filer]; ok {
		return r, nil
	}
	return api.InterfaceReport{}, api.Refuse(api.ErrNotFound, "the cluster has no filer "+filer, nil)
}

// WatchInterfaces yields the report, and then what Happen says.
func (b *Backend) WatchInterfaces(ctx context.Context, filer string) iter.Seq2[api.InterfaceEvent, error] {
	return func(yield func(api.InterfaceEvent, error) bool) {
		report, err := b.Interfaces(ctx, filer)
		if err != nil {
			yield(api.InterfaceEvent{}, err)
			return
		}
		if !yield(api.InterfaceEvent{Seq: report.Seq, Time: report.Time, Report: &report}, nil) {
			return
		}
		for next := 0; ; {
			b.monitors.mu.Lock()
			if b.monitors.changed == nil {
				b.monitors.changed = make(chan struct{})
			}
			events, changed := b.monitors.events, b.monitors.changed
			b.monitors.mu.Unlock()
			for ; next < len(events); next++ {
				if !yield(events[next], nil) {
					return
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}
}
