package netapply

import "context"

// Netlink is the kernel of the network namespace in which it was opened.
type Netlink struct{}

// Open connects to the kernel.
func Open() (*Netlink, error) { return &Netlink{}, nil }

// Close ends the connection.
func (k *Netlink) Close() error { return nil }

// Observe implements Kernel.
func (k *Netlink) Observe(ctx context.Context) (Observed, error) { return Observed{}, nil }

// Do implements Kernel.
func (k *Netlink) Do(ctx context.Context, s Step) error { return nil }

// Writes implements Kernel.
func (k *Netlink) Writes() uint64 { return 0 }
