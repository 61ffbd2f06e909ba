package api

import (
	"net/netip"

	"github.com/netquorum/netquorum"
)

// A Plan is what one filer would do to its kernel.
type Plan struct {
	// Steps read like the ip, sysctl and nft commands an operator would type, in
	// the order in which they would be carried out.
	Steps []string `json:"steps"`
	// Impacts are the steps that interrupt traffic, and for whom.
	Impacts []Impact `json:"impacts,omitempty"`
	// Problems are objects that this filer cannot have.
	Problems []string `json:"problems,omitempty"`
	// Unknown says why the steps are not known, when they are not.
	Unknown string `json:"unknown,omitempty"`
}

// An Impact says whom one step of a plan takes traffic away from.
type Impact struct {
	Step       int            `json:"step"` // index of the step, from 0
	Interfaces []string       `json:"interfaces"`
	Addresses  []netip.Prefix `json:"addresses,omitempty"`
	// Servers are the virtual servers and services among the addresses' owners;
	// all other addresses are the filer's.
	Servers []netquorum.Key `json:"servers,omitempty"`
	// Denied is what no longer comes through to the addresses, when the step
	// changes access; all else still does.
	Denied []string `json:"denied,omitempty"`
	// Lasting interruptions are there until the change is undone; others end
	// with the plan, or as soon after it as switches and bonds have settled.
	Lasting bool `json:"lasting"`
}

// A StrandedServer is a virtual server or service that some filer which answers
// could host before a change and none after it.
type StrandedServer struct {
	netquorum.Key
	// Candidates are the filers of its group and what each would lack; who lacks
	// nothing is away.
	Candidates []netquorum.Candidate `json:"candidates"`
}
