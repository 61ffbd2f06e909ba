package apitest

import (
	"context"
	"fmt"
	"strings"

	"github.com/netquorum/netquorum/api"
)

// Count makes Statistics answer with this.
func (b *Backend) Count(st api.Statistics) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.statistics = st
}

// Host makes Presence answer with these; other servers are elsewhere.
func (b *Backend) Host(list ...api.Presence) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.present = list
}

// Statistics returns what was set with Count.
func (b *Backend) Statistics(_ context.Context, server string) (api.Statistics, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.ready(false); err != nil {
		return api.Statistics{}, err
	}
	var out api.Statistics
	for _, s := range b.statistics.Servers {
		if server == "" || strings.EqualFold(server, s.Name) {
			out.Servers = append(out.Servers, s)
		}
	}
	if server != "" && out.Servers == nil {
		return out, api.Refuse(api.ErrNotFound, "there is no virtual server or service "+server, nil)
	}
	return out, nil
}

// Presence returns what was set with Host.
func (b *Backend) Presence(_ context.Context, server string) (api.Presence, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.ready(false); err != nil {
		return api.Presence{}, err
	}
	for _, p := range b.present {
		if strings.EqualFold(server, p.Name) {
			return p, nil
		}
	}
	for h := range b.state.Config().Hosted() {
		if strings.EqualFold(server, h.Key.Name) {
			return api.Presence{}, api.Refuse(api.ErrElsewhere, fmt.Sprintf("%s is on filer2, not on this filer (%s): ask there", h.Key.Name, b.filer), nil)
		}
	}
	return api.Presence{}, api.Refuse(api.ErrNotFound, "there is no virtual server or service "+server, nil)
}
