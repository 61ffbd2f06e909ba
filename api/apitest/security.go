package apitest

import (
	"context"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// SetAuthority makes Authority answer with this.
func (b *Backend) SetAuthority(a api.Authority) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.authority = a
}

// Authority implements api.Backend.
func (b *Backend) Authority(context.Context) (api.Authority, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.authority, b.ready(false)
}

// RotateAuthority implements api.Backend: what follows is for SetAuthority.
func (b *Backend) RotateAuthority(_ context.Context, r api.RotateRequest) (api.Authority, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.ready(true); err != nil {
		return api.Authority{}, err
	}
	if b.authority.Open() && len(r.Without) == 0 {
		return api.Authority{}, api.Refuse(api.ErrRefused, "the authority is being changed already", nil)
	}
	b.authority.Phase, b.authority.Without = netquorum.AuthorityTrust, r.Without
	return b.authority, nil
}

// RemoveFiler implements api.Backend.
func (b *Backend) RemoveFiler(ctx context.Context, r api.RemoveRequest) (api.RemoveResult, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.ready(true); err != nil {
		return api.RemoveResult{}, err
	}
	if _, ok := b.state.Config().Get(netquorum.KindFiler, r.Filer); !ok && r.Filer != b.filer {
		return api.RemoveResult{}, api.Refuse(api.ErrNotFound, "the cluster has no filer "+r.Filer, nil)
	}
	b.removed = append(b.removed, r)
	return api.RemoveResult{Filer: r.Filer, ID: "id-of-" + netquorum.FilerID(r.Filer), Revision: b.state.Revision()}, nil
}
