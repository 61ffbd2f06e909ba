package agent

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/failover"
	"github.com/netquorum/netquorum/monitor"
)

// pathInterfaces asks another filer's monitor.
const pathInterfaces = "/interfaces"

// absentGrace is how long an alias may be set down or away before this filer
// counts as one that cannot host what needs it: the daemon itself makes links
// anew when it must, and puts right what somebody else did to them.
const absentGrace = 2 * time.Second

// runMonitor keeps the monitor going for as long as the daemon lives, whatever
// happens to the membership or to the monitor itself (S3).
func (a *Agent) runMonitor(ctx context.Context) error {
	if a.monitor == nil {
		return nil
	}
	for {
		err := a.monitor.Run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.log.Error("the monitor ended and is started again", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// newMonitor watches what the configuration of the agent says: a given source,
// or the kernel's own; nothing when the kernel is a fake and no source is given.
func newMonitor(cfg Config) *monitor.Monitor {
	o := monitor.Options{Source: cfg.Links, Log: cfg.Log.With("part", "monitor")}
	switch {
	case cfg.Links == nil && cfg.ownKernel:
		o.Source = &monitor.Netlink{}
		o.Probe = func() monitor.Prober { return monitor.NewPackets(o.Log) }
	case cfg.Links == nil:
		return nil
	}
	return monitor.New(o)
}

// watchFor lets the monitor watch what a goal asks for.
func (a *Agent) watchFor(g goal) {
	if a.monitor != nil {
		a.monitor.Configure(monitor.PlanFor(g.config, g.filer))
	}
}

// monitored is what the monitor says now; nothing without one.
func (a *Agent) monitored() monitor.Snapshot {
	if a.monitor == nil {
		return monitor.Snapshot{}
	}
	return a.monitor.Snapshot()
}

// aliasHealth says which aliases cannot carry what they should. What is not
// mentioned is sound.
func aliasHealth(s monitor.Snapshot, now time.Time) map[netquorum.InterfaceName]failover.Health {
	var out map[netquorum.InterfaceName]failover.Health
	for _, i := range s.Interfaces {
		name := netquorum.InterfaceName(i.Name)
		if !name.IsAlias() {
			continue
		}
		health := failover.Sound
		switch {
		case i.State == monitor.Failed, i.State == monitor.Offline && now.Sub(i.Since) >= absentGrace:
			health = failover.Failed
		case i.State == monitor.Up:
			health = failover.Recovering
		}
		if health == failover.Sound {
			continue
		}
		if out == nil {
			out = map[netquorum.InterfaceName]failover.Health{}
		}
		out[name] = health
	}
	return out
}

// healthChanges wakes whoever reports, when an alias failed or is back.
func (a *Agent) healthChanges(ctx context.Context, wake func()) error {
	if a.monitor == nil {
		return nil
	}
	for e := range a.monitor.Subscribe(ctx) {
		if e.Snapshot != nil || e.Member == "" && netquorum.InterfaceName(e.Interface).IsAlias() {
			wake()
		}
	}
	return ctx.Err()
}

// Interfaces implements api.Backend.
func (b backend) Interfaces(ctx context.Context, filer string) (api.InterfaceReport, error) {
	m, id, err := b.monitorOf(filer)
	if err != nil {
		return api.InterfaceReport{}, err
	}
	if id == "" {
		return b.interfaces(), nil
	}
	var r api.InterfaceReport
	return r, call(ctx, m.client, id, pathInterfaces, struct{}{}, &r)
}

// WatchInterfaces implements api.Backend.
func (b backend) WatchInterfaces(ctx context.Context, filer string) iter.Seq2[api.InterfaceEvent, error] {
	return func(yield func(api.InterfaceEvent, error) bool) {
		m, id, err := b.monitorOf(filer)
		switch {
		case err != nil:
			yield(api.InterfaceEvent{}, err)
		case id != "":
			watchInterfacesOf(ctx, m.endpoint, id, yield)
		default:
			b.watchInterfaces(ctx, func(e api.InterfaceEvent) bool { return yield(e, nil) })
		}
	}
}

var errNoMonitor = api.Refuse(api.ErrUnsupported, "this daemon watches no interfaces: it was started without a kernel to watch", nil)

// monitorOf finds out which filer is meant: an empty id means this one.
func (b backend) monitorOf(filer string) (*member, netquorum.FilerID, error) {
	m, err := b.running()
	if filer == "" || err == nil && strings.EqualFold(filer, m.name) || err != nil && strings.EqualFold(filer, b.monitored().Filer) {
		if b.monitor == nil {
			return nil, "", errNoMonitor
		}
		return m, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	config, _ := m.newest()
	if id := memberID(config, filer); id != "" {
		return m, id, nil
	}
	return nil, "", api.Refuse(api.ErrNotFound, "the cluster has no filer "+filer+" that has joined", nil)
}

func (a *Agent) interfaces() api.InterfaceReport { return interfaceReport(a.monitored()) }

// watchInterfaces tells of this filer's interfaces until it is told to stop.
func (a *Agent) watchInterfaces(ctx context.Context, tell func(api.InterfaceEvent) bool) {
	for e := range a.monitor.Subscribe(ctx) {
		if !tell(interfaceEvent(e)) {
			return
		}
	}
}

// localInterfaces answers other filers.
func (a *Agent) localInterfaces(context.Context, struct{}) (api.InterfaceReport, error) {
	if a.monitor == nil {
		return api.InterfaceReport{}, errNoMonitor
	}
	return a.interfaces(), nil
}
