package agent

import (
	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/monitor"
)

// This file says in the API's words what the monitor says.

func interfaceReport(s monitor.Snapshot) api.InterfaceReport {
	out := api.InterfaceReport{Filer: s.Filer, Seq: s.Seq, Time: s.Time.UTC(), Interfaces: []api.GroupStatus{}, Findings: []api.InterfaceFinding{}}
	for _, i := range s.Interfaces {
		out.Interfaces = append(out.Interfaces, groupStatus(i))
	}
	for _, f := range s.Findings {
		out.Findings = append(out.Findings, interfaceFinding(f))
	}
	return out
}

func groupStatus(i monitor.Interface) api.GroupStatus {
	out := api.GroupStatus{
		Name: i.Name, Layer: i.Layer, State: api.GroupState(i.State), Reason: i.Reason, Since: i.Since.UTC(),
		Active: i.Active, Parent: i.Below, Faults: i.Faults, Addresses: i.Addresses, Routes: i.Routes,
	}
	if l := i.LACP; l != nil {
		out.LACP = &api.LACPStatus{Partner: l.Partner.String(), Aggregator: l.Aggregator, Ports: l.Ports, Rate: "slow"}
		if l.Fast {
			out.LACP.Rate = "fast"
		}
	}
	for _, m := range i.Members {
		out.Members = append(out.Members, memberStatus(m))
	}
	for _, t := range i.Targets {
		p := api.ProbeStatus{Address: t.Address, Reason: string(t.Reason), State: t.State}
		if !t.Answered.IsZero() {
			at := t.Answered.UTC()
			p.Answered = &at
		}
		out.Probes = append(out.Probes, p)
	}
	return out
}

func memberStatus(m monitor.Member) api.MemberStatus {
	out := api.MemberStatus{Name: m.Name, State: api.GroupState(m.State), Reason: m.Reason}
	if l := m.LACP; l != nil {
		out.LACP = &api.LACPPort{
			Partner: l.Partner.String(), PartnerKey: int(l.PartnerKey), Aggregator: l.Aggregator,
			Actor: l.Actor.Words(), PartnerState: l.Partners.Words(),
			ActorChurn: string(l.ActorChurn), PartnerChurn: string(l.PartnerChurn), Speed: l.Speed, Duplex: l.Duplex,
		}
	}
	return out
}

func interfaceFinding(f monitor.Finding) api.InterfaceFinding {
	return api.InterfaceFinding{Interface: f.Interface, Code: string(f.Code), Message: f.Message, Advice: f.Advice}
}

func interfaceEvent(e monitor.Event) api.InterfaceEvent {
	out := api.InterfaceEvent{
		Seq: e.Seq, Time: e.Time.UTC(), Interface: e.Interface, Member: e.Member,
		Was: api.GroupState(e.Was), State: api.GroupState(e.Is), Reason: e.Reason, Gone: e.Gone,
	}
	if e.Finding != nil {
		f := interfaceFinding(*e.Finding)
		out.Finding = &f
	}
	if e.Snapshot != nil {
		r := interfaceReport(*e.Snapshot)
		out.Report = &r
	}
	return out
}

// troubles are the interfaces that do not work, for status: who asks how the
// cluster is wants to hear of these without asking for each filer's interfaces.
// What fails because of the interface below it is left out.
func troubles(s monitor.Snapshot) (out []api.InterfaceTrouble) {
	for _, i := range s.Interfaces {
		if i.State.Works() || i.Below != "" && !s.Interface(i.Below).State.Works() {
			continue
		}
		out = append(out, api.InterfaceTrouble{Name: i.Name, State: api.GroupState(i.State), Reason: i.Reason, Since: i.Since.UTC()})
	}
	return out
}

// describe adds to a filer's status what its monitor says.
func describe(f *api.FilerStatus, s monitor.Snapshot) {
	f.Troubles = troubles(s)
	for _, x := range s.Findings {
		f.Findings = append(f.Findings, interfaceFinding(x))
	}
	for n := range f.Links {
		if l := &f.Links[n]; l.Layer == netquorum.LayerBond || l.Layer == netquorum.LayerFailover {
			l.Active = s.Interface(l.Name).Active
		}
	}
}
