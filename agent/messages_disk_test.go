package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/netquorum/netquorum/messages"
)

// TestAFullDiskOfMessagesDoesNotEndTheFiler: it did, and with it its leases.
func TestAFullDiskOfMessagesDoesNotEndTheFiler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- outlive(ctx, slog.New(slog.DiscardHandler), func(context.Context) error {
				return fmt.Errorf("%w: no space left on device", messages.ErrDisk)
			})
		}()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		default:
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		strange := errors.New("not the disk")
		if err := outlive(t.Context(), slog.New(slog.DiscardHandler), func(context.Context) error { return strange }); err != strange {
			t.Errorf("another failure is kept quiet: %v", err)
		}
	})
}
