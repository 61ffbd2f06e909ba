package netapply

import (
	"context"
	"log/slog"
)

// Watch sends on the channel soon after links, addresses, routes or rules of
// the kernel changed, whoever changed them; many changes make one wake-up. The
// channel is closed when the context ends.
func Watch(ctx context.Context, log *slog.Logger) <-chan struct{} { return nil }
