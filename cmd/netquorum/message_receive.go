package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/api"
)

func (t *tool) messageReceiveCommand() *cobra.Command {
	hold := time.Minute
	body := ""
	cmd := &cobra.Command{
		Use:   "receive SERVICE [--hold DURATION] [--body FILE]",
		Short: "Take the next message of a service",
		Long: `Wait for the next message of a service on this filer, and print it. It is yours
for as long as --hold says: end it with "message complete" or "message fail", or
give it back with "message release". When the time is over it is given to another
consumer. The exit code is 4 when none came within --timeout.

"message serve" is the simpler way to run a command for each.`,
		Example: `  netquorum message receive backup --body request.json
  delivery=$(netquorum message receive backup -o json | jq -r .delivery)`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().DurationVar(&hold, "hold", hold, "how long the message is yours")
	cmd.Flags().StringVar(&body, "body", "", "file to write the body to; - for standard output, and then nothing else")
	_ = cmd.MarkFlagFilename("body")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var d api.MessageDelivery
		err := t.call(cmd, "waiting for a message", func(ctx context.Context, c *api.Client) (err error) {
			if d, err = c.ReceiveMessage(ctx, args[0], hold); err != nil || body == "" {
				return err
			}
			if err := t.writeBody(cmd.Context(), c, d, body); err != nil {
				return fmt.Errorf("the body of delivery %s: %w", d.Delivery, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if body == "-" {
			fmt.Fprintf(t.err, "delivery %s\n", d.Delivery)
			return nil
		}
		return t.print(d, func() error { t.showDelivery(d); return nil })
	}
	return cmd
}

// writeBody writes a body of any size to a file.
func (t *tool) writeBody(ctx context.Context, c *api.Client, d api.MessageDelivery, file string) error {
	r, err := c.DeliveryBody(ctx, d)
	if err != nil {
		return err
	}
	defer r.Close()
	if file == "-" {
		_, err := io.Copy(t.out, r)
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func (t *tool) showDelivery(d api.MessageDelivery) {
	m := d.Message
	for _, l := range [][2]string{
		{"delivery", d.Delivery}, {"until", instantOf(d.Until)}, {"message", m.ID}, {"from", m.From}, {"client", m.Client}, {"to", m.To.String()},
		{"stream", m.Stream}, {"priority", string(m.Priority)}, {"sent", m.Sent.Format(time.RFC3339)}, {"size", fmt.Sprint(m.Size)},
	} {
		if l[1] != "" {
			t.printf("%-12s %s\n", l[0], l[1])
		}
	}
	if m.Epoch != 0 {
		t.printf("%-12s %d\n", "epoch", m.Epoch)
	}
	if m.Trace != 0 {
		t.printf("%-12s %s\n", "trace", m.Trace)
	}
	if m.Redelivered {
		t.printf("%-12s yes\n", "redelivered")
	}
}

func instantOf(at *time.Time) string {
	if at == nil {
		return ""
	}
	return at.Format(time.RFC3339)
}

// delivered makes a command that does something with a delivery.
func (t *tool) delivered(cmd *cobra.Command, do func(ctx context.Context, c *api.Client, delivery string) error) *cobra.Command {
	if cmd.Args == nil {
		cmd.Args = cobra.ExactArgs(1)
	}
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return t.call(cmd, "asking the daemon", func(ctx context.Context, c *api.Client) error { return do(ctx, c, args[0]) })
	}
	return cmd
}

func (t *tool) messageCompleteCommand() *cobra.Command {
	var l letter
	cmd := t.delivered(&cobra.Command{
		Use:   "complete DELIVERY [-f FILE | --answer TEXT]",
		Short: "End a message that was received, with an answer",
		Long: `End a message that was received: it has been handled. Its sender gets the answer,
of at most 64 KiB. That is on disk when this returns.`,
		Example: `  netquorum message complete "$delivery" --answer done
  netquorum message complete "$delivery" -f answer.json`,
	}, func(ctx context.Context, c *api.Client, delivery string) error {
		r, _, err := t.openBody(l)
		if err != nil {
			return err
		}
		defer r.Close()
		answer, err := io.ReadAll(io.LimitReader(r, api.MaxMessageAnswer+1))
		if err != nil {
			return err
		}
		return c.CompleteMessage(ctx, delivery, answer)
	})
	cmd.Flags().StringVarP(&l.file, "file", "f", "", "file with the answer; - for standard input")
	cmd.Flags().StringVar(&l.text, "answer", "", "the answer itself")
	cmd.MarkFlagsMutuallyExclusive("file", "answer")
	_ = cmd.MarkFlagFilename("file")
	return cmd
}

func (t *tool) messageFailCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "fail DELIVERY REASON",
		Short:   "End a message that was received, with a failure",
		Long:    "End a message that was received: it failed, for a reason that its sender is told. It\nis not handled again.",
		Example: `  netquorum message fail "$delivery" "volume vol1 does not exist"`,
		Args:    cobra.MinimumNArgs(2), ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return t.call(cmd, "asking the daemon", func(ctx context.Context, c *api.Client) error {
			return c.FailMessage(ctx, args[0], strings.Join(args[1:], " "))
		})
	}
	return cmd
}

func (t *tool) messageReleaseCommand() *cobra.Command {
	return t.delivered(&cobra.Command{
		Use:     "release DELIVERY",
		Short:   "Give a message back that was received",
		Long:    "Give a message back that was received: the next consumer gets it.",
		Example: `  netquorum message release "$delivery"`,
	}, func(ctx context.Context, c *api.Client, delivery string) error {
		return c.ReleaseMessage(ctx, delivery)
	})
}

func (t *tool) messageExtendCommand() *cobra.Command {
	hold := time.Minute
	cmd := t.delivered(&cobra.Command{
		Use:     "extend DELIVERY [--hold DURATION]",
		Short:   "Hold a message for longer that was received",
		Long:    "Hold a message that was received for so long from now on.",
		Example: `  netquorum message extend "$delivery" --hold 10m`,
	}, func(ctx context.Context, c *api.Client, delivery string) error {
		e, err := c.ExtendMessage(ctx, delivery, hold)
		if err != nil {
			return err
		}
		return t.print(e, func() error { t.printf("until %s\n", e.Until.Format(time.RFC3339)); return nil })
	})
	cmd.Flags().DurationVar(&hold, "hold", hold, "how long the message is yours from now on")
	return cmd
}
