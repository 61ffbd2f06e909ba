package apitest

import (
	"context"

	"github.com/netquorum/netquorum/api"
)

// SetLinks makes a filer report these links.
func (b *Backend) SetLinks(r api.LinkReport) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.links == nil {
		b.links = map[string]api.LinkReport{}
	}
	b.links[r.Filer] = r
}

// Links returns what was set with SetLinks.
func (b *Backend) Links(_ context.Context, filer string) (api.LinkReport, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if filer == "" {
		filer = b.filer
	}
	if r, ok := b.links[filer]; ok {
		return r, nil
	}
	return api.LinkReport{}, api.Refuse(api.ErrNotFound, "the cluster has no filer "+filer, nil)
}
