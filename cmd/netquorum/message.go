package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/trace"
)

// shellClient is who sends when nobody says.
const shellClient = "shell"

func (t *tool) messageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "message",
		Short: "Send and handle reliable messages",
		Long: `Send and handle reliable messages between programs on filers.

A message goes to a service on a filer, SERVICE@filer:NAME, or on the filer that
hosts a virtual server at the time, SERVICE@VSERVER. Once it is sent it will be
delivered, whatever happens to programs, filers and paths, and its completion is
kept for its sender: it says that the handler has returned. See docs/message-api.md.`,
		Example: `  netquorum message call backup@vsvra -f request.json
  netquorum message serve backup -- /usr/local/bin/backup-handler`,
	}
	cmd.AddCommand(t.messageSendCommand(), t.messageCallCommand(), t.messageServeCommand(), t.messageReceiveCommand(),
		t.messageCompleteCommand(), t.messageFailCommand(), t.messageReleaseCommand(), t.messageExtendCommand(),
		t.messagePendingCommand(), t.messageResultCommand(), t.messageCompletionsCommand(), t.messageAcknowledgeCommand(),
		t.messageWithdrawCommand(), t.messageTargetCommand(), t.messageStatusCommand())
	return cmd
}

// A letter is what the flags of send and call say of a message.
type letter struct {
	client, file, text, key, stream, trace string
	bulk, discard                          bool
}

func (t *tool) letterFlags(cmd *cobra.Command, l *letter) {
	f := cmd.Flags()
	f.StringVar(&l.client, "client", shellClient, "who sends: completions are kept under this name")
	f.StringVarP(&l.file, "file", "f", "", "file with the body, of any size; - for standard input")
	f.StringVar(&l.text, "body", "", "the body itself")
	f.StringVar(&l.key, "key", "", "your own name for the message: sent again with it, it is still one message")
	f.StringVar(&l.stream, "stream", "", "messages of one stream are handled one after the other")
	f.StringVar(&l.trace, "trace", "", "id that follows the message through filers")
	f.BoolVar(&l.bulk, "bulk", false, "it may take its time, and never delays others")
	cmd.MarkFlagsMutuallyExclusive("file", "body")
	_ = cmd.MarkFlagFilename("file")
	cmd.ValidArgsFunction = t.completeTarget
}

// completeTarget completes the place after the service.
func (t *tool) completeTarget(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	service, _, ok := strings.Cut(part, "@")
	if !ok || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, kind := range []netquorum.Kind{netquorum.KindVirtualServer, netquorum.KindService} {
		for _, name := range t.documentNames(cmd, kind) {
			out = append(out, service+"@"+name)
		}
	}
	for _, name := range t.documentNames(cmd, netquorum.KindFiler) {
		out = append(out, service+"@filer:"+name)
	}
	return withPrefix(out, part), cobra.ShellCompDirectiveNoFileComp
}

func (t *tool) messageSendCommand() *cobra.Command {
	var l letter
	cmd := &cobra.Command{
		Use:   "send TARGET [-f FILE | --body TEXT]",
		Short: "Send a message and do not wait for its handler",
		Long: `Send a message and print its id. It is on this filer's disk then, and will be
delivered. "message result" waits for its completion, which is kept until it is
acknowledged.`,
		Example: `  netquorum message send audit@mgmt --body "volume vol1 created" --discard
  netquorum message send replica@filer:filer2 -f /dump.tar --bulk
  id=$(netquorum message send backup@vsvra --client nightly --key "$(date +%F)")`,
		Args: cobra.ExactArgs(1),
	}
	t.letterFlags(cmd, &l)
	cmd.Flags().BoolVar(&l.discard, "discard", false, "keep no completion")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		sent, err := t.sendLetter(cmd, args[0], l)
		if err != nil {
			return err
		}
		return t.print(sent, func() error { t.printf("%s\n", sent.ID); return nil })
	}
	return cmd
}

func (t *tool) messageCallCommand() *cobra.Command {
	var l letter
	cmd := &cobra.Command{
		Use:   "call TARGET [-f FILE | --body TEXT]",
		Short: "Send a message and wait for the handler's answer",
		Long: `Send a message, wait until it has been handled, and print the answer as it is.

The exit code is 0 when the handler succeeded, 1 when it failed, and 4 when the
time was over before: the message stays, and "message result" with the id that is
printed then waits on.`,
		Example: `  netquorum message call echo@filer:filer2 --body hello
  netquorum message call backup@vsvra -f request.json --timeout 10m > answer.json`,
		Args: cobra.ExactArgs(1),
	}
	t.letterFlags(cmd, &l)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		sent, err := t.sendLetter(cmd, args[0], l)
		if err != nil {
			return err
		}
		return t.result(cmd, sent.ID, l.client, true)
	}
	return cmd
}

// result waits for a message's completion and shows it; it is acknowledged then.
func (t *tool) result(cmd *cobra.Command, id, client string, acknowledge bool) error {
	var done api.Completion
	err := t.call(cmd, "waiting for the handler", func(ctx context.Context, c *api.Client) (err error) {
		done, err = c.Completion(ctx, id)
		if err == nil && acknowledge {
			err = c.AcknowledgeCompletions(ctx, api.Acknowledgement{Client: client, IDs: []string{id}})
		}
		return err
	})
	if e := api.ErrorOf(err); e != nil && e.Code == api.ErrTimeout {
		return api.Refuse(api.ErrTimeout, fmt.Sprintf("message %s is sent and not completed yet: `netquorum message result %s` waits on", id, id), nil)
	}
	if err != nil {
		return err
	}
	if err := t.print(done, func() error { _, err := t.out.Write(done.Answer); return err }); err != nil {
		return err
	}
	return done.Err()
}

// sendLetter sends what the flags say. The time-out is for a time in which nothing
// goes on: a large body may take longer.
func (t *tool) sendLetter(cmd *cobra.Command, target string, l letter) (api.SentMessage, error) {
	to, err := api.ParseMessageTarget(target)
	if err != nil {
		return api.SentMessage{}, err
	}
	m := api.OutgoingMessage{To: to, Key: l.key, Stream: l.stream, Discard: l.discard}
	if l.bulk {
		m.Priority = api.PriorityBulk
	}
	if l.trace != "" {
		if m.Trace, err = trace.Parse(l.trace); err != nil {
			return api.SentMessage{}, api.Refuse(api.ErrUsage, "--trace: "+err.Error(), nil)
		}
	}
	if m.Key == "" {
		m.Key = uuid.NewString() // so that the error of a lost answer can say how to find out
	}
	body, size, err := t.openBody(l)
	if err != nil {
		return api.SentMessage{}, err
	}
	defer body.Close()
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	r := &sending{r: body, patience: t.timeout}
	r.stalled = time.AfterFunc(t.timeout, func() { cancel(api.ErrTimeout) })
	defer r.stalled.Stop()
	m.Body, m.Size = r, size
	c := api.NewClient(t.socket)
	defer c.Close()
	defer t.progressOf(func() string { return r.progress(size) })()
	sent, err := c.SendMessage(ctx, l.client, m)
	switch code := api.ErrorOf(err); {
	case err == nil:
		return sent, nil
	case cmd.Context().Err() == nil && ctx.Err() != nil:
		return sent, api.Refuse(api.ErrTimeout, fmt.Sprintf("nothing went on for %s; the message may be sent or not: send it again with --key %s", t.timeout, m.Key), nil)
	case code.Code == api.ErrUnknownOutcome:
		return sent, fmt.Errorf("%w; send it again with --key %s to have it sent once", err, m.Key)
	}
	return sent, err
}

// openBody returns the message's body and its size, -1 when that is not known.
func (t *tool) openBody(l letter) (io.ReadCloser, int64, error) {
	switch l.file {
	case "":
		return io.NopCloser(strings.NewReader(l.text)), int64(len(l.text)), nil
	case "-":
		return io.NopCloser(t.in), -1, nil
	}
	f, err := os.Open(l.file)
	if err != nil {
		return nil, 0, api.Refuse(api.ErrUsage, err.Error(), nil)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		f.Close()
		return nil, 0, err
	case info.IsDir():
		f.Close()
		return nil, 0, api.Refuse(api.ErrUsage, l.file+" is a directory", nil)
	case !info.Mode().IsRegular():
		return f, -1, nil
	}
	return f, info.Size(), nil
}

// A sending counts what has gone of a body, and keeps a time-out off while it goes.
type sending struct {
	r        io.Reader
	patience time.Duration
	stalled  *time.Timer
	gone     atomic.Int64
}

func (s *sending) Read(p []byte) (int, error) {
	s.stalled.Reset(s.patience)
	n, err := s.r.Read(p)
	s.gone.Add(int64(n))
	return n, err
}

func (s *sending) progress(size int64) string {
	gone := amount(uint64(s.gone.Load()))
	if size > 0 {
		return fmt.Sprintf("sending: %s of %s bytes", gone, amount(uint64(size)))
	}
	return fmt.Sprintf("sending: %s bytes", gone)
}
