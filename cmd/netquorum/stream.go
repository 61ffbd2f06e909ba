package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/api"
)

func (t *tool) streamCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stream",
		Short: "Send a stream of bytes to a process of another cluster, or receive one",
		Long: `Send a stream of bytes to a process of another cluster, or receive one. It arrives
whole and in order, over every path there is; what was cut off is an error on both
sides. Programs use the same by the local API: see docs/partners.md.`,
	}
	cmd.AddCommand(t.streamSendCommand(), t.streamReceiveCommand())
	return cmd
}

func (t *tool) streamSendCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "send PARTNER SERVICE",
		Short: "Send standard input to whoever receives the service at a partner",
		Long: `Send standard input to whoever receives the service at a partner. It waits for the
receiver for as long as --timeout says, and is done when the receiver has taken all.`,
		Example:           "  zfs send tank/a@now | netquorum stream send berlin tank-a",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: t.completePartner,
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := t.openStream(cmd, "waiting for "+args[0], func(ctx context.Context, c *api.Client) (api.Stream, error) {
				return c.OpenStream(ctx, args[0], args[1])
			})
			if err != nil {
				return err
			}
			defer st.Close()
			if err := copyStream(st, t.in, st); err != nil {
				return fmt.Errorf("%w: sending: %w", api.ErrUnreachable, err)
			}
			// The receiver ends its side when it has taken everything.
			if _, err := io.Copy(io.Discard, st); err != nil {
				return fmt.Errorf("%w: the receiver has not taken everything: %w", api.ErrUnreachable, err)
			}
			return nil
		},
	}
}

func (t *tool) streamReceiveCommand() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "receive SERVICE",
		Short: "Receive one stream of a service, to standard output",
		Long: `Receive one stream of a service, to standard output. It waits for one for as long as
--timeout says.`,
		Example: `  netquorum stream receive tank-a --from munich | zfs receive tank/a
  netquorum stream receive logs --timeout 24h > logs`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&from, "from", "", "only from this partner; from any without it")
	cmd.RegisterFlagCompletionFunc("from", t.completePartner)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		st, err := t.openStream(cmd, "waiting for a stream", func(ctx context.Context, c *api.Client) (api.Stream, error) {
			st, _, err := c.AcceptStream(ctx, args[0], from)
			return st, err
		})
		if err != nil {
			return err
		}
		defer st.Close()
		if err := copyStream(t.out, st, st); err != nil {
			return fmt.Errorf("%w: receiving: %w", api.ErrUnreachable, err)
		}
		return nil
	}
	return cmd
}

// openStream opens a stream within the time-out; the stream may last longer.
func (t *tool) openStream(cmd *cobra.Command, what string, open func(context.Context, *api.Client) (api.Stream, error)) (st api.Stream, err error) {
	err = t.call(cmd, what, func(ctx context.Context, c *api.Client) error {
		st, err = open(ctx, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	if cmd.Context().Done() != nil {
		context.AfterFunc(cmd.Context(), func() { st.Abort(errors.New("interrupted")) })
	}
	return st, nil
}

// copyStream copies all of from and says so to the other side of the stream, or
// that it was cut.
func copyStream(to io.Writer, from io.Reader, st api.Stream) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 256<<10))
	if err == nil {
		err = st.CloseWrite()
	}
	if err != nil {
		err = whyCut(st, err)
		st.Abort(err)
	}
	return err
}

// whyCut is the daemon's word on a stream to which it takes nothing any more:
// the failed writing says only that.
func whyCut(st api.Stream, failed error) error {
	var written *net.OpError
	if !errors.As(failed, &written) || written.Op == "read" {
		return failed
	}
	_ = st.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := io.Copy(io.Discard, st); errors.Is(err, api.ErrCut) {
		return err
	}
	return failed
}
