package netapply

import (
	"context"
	"log/slog"

	"golang.org/x/sys/unix"
)

// WatchOverflowing is Watch with next to no buffer, which is not read before
// flood returns.
func WatchOverflowing(ctx context.Context, log *slog.Logger, flood func()) <-chan struct{} {
	w := watcher{ctx: ctx, log: log, raw: make(chan struct{}, 1), out: make(chan struct{}, 1),
		protocol: unix.NETLINK_ROUTE, groups: watchGroups}
	s := w.subscribe(1)
	flood()
	go func() {
		w.read(s)
		close(w.raw)
	}()
	go w.forward()
	return w.out
}
