package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/messages/client"
)

func (t *tool) messageServeCommand() *cobra.Command {
	concurrency := 1
	cmd := &cobra.Command{
		Use:   "serve SERVICE [--concurrency N] -- COMMAND [ARG...]",
		Short: "Run a command for each message of a service",
		Long: `Run a command for each message of a service on this filer, until SIGTERM or SIGINT.

The body is the command's standard input. When it exits with 0, the message is
completed with its standard output, of at most 64 KiB, as the answer. With 75
(EX_TEMPFAIL) the message is given back and comes again after a moment. With any
other code it has failed, and the end of its standard error says why to the sender.

What is known of the message is in the environment: NETQUORUM_MESSAGE_ID, _SERVICE,
_FROM, _CLIENT, _STREAM, _VSERVER, _EPOCH, _PRIORITY, _SIZE, _SENT, _REDELIVERED (1
when somebody had it before), and NETQUORUM_TRACE.

A message whose command did not end, because this program or the daemon did, is
given to another consumer: a command may run more than once for a message. Several
may serve a service, and share its messages.`,
		Example: `  netquorum message serve echo -- cat
  netquorum message serve backup --concurrency 4 -- /usr/local/bin/backup-handler --verbose`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("want the name of the service, and a command to run after --")
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	cmd.Flags().IntVar(&concurrency, "concurrency", concurrency, "how many commands run at a time, 256 at most")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := exec.LookPath(args[1])
		if err != nil {
			return api.Refuse(api.ErrUsage, err.Error(), nil)
		}
		if concurrency < 1 || concurrency > 256 {
			return api.Refuse(api.ErrUsage, fmt.Sprintf("--concurrency %d is not between 1 and 256", concurrency), nil)
		}
		c := client.New(client.Config{Socket: t.socket, Log: slog.New(slog.NewTextHandler(t.err, nil))})
		defer c.Close()
		h := &commandHandler{path: path, args: args[2:], stderr: t.err}
		err = c.Serve(cmd.Context(), args[0], concurrency, h.handle)
		if cmd.Context().Err() != nil {
			return nil // it was told to end
		}
		return err
	}
	return cmd
}

// exitLater is the exit code of a command that wants to be run again.
const exitLater = 75

// A commandHandler handles each message by a command.
type commandHandler struct {
	path   string
	args   []string
	mu     sync.Mutex // of stderr
	stderr io.Writer
}

func (h *commandHandler) handle(ctx context.Context, m *client.Incoming) ([]byte, error) {
	body, err := m.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	cmd := exec.CommandContext(ctx, h.path, h.args...)
	// The command may be asked to end, and has some time for that.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), environment(m)...)
	answer, last := &answerBuffer{}, &tail{also: h}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = body, answer, last
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, &exit) && exit.ExitCode() == exitLater:
		return nil, fmt.Errorf("%w: %s", client.ErrLater, last)
	case err != nil && last.String() != "":
		return nil, fmt.Errorf("%w: %s", err, last)
	case err != nil:
		return nil, err
	case answer.over:
		return nil, fmt.Errorf("the handler's answer has more than %d bytes", api.MaxMessageAnswer)
	}
	return answer.Bytes(), nil
}

// Write passes a command's errors on, each piece whole.
func (h *commandHandler) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stderr.Write(p)
}

func environment(m *client.Incoming) []string {
	redelivered := ""
	if m.Redelivered {
		redelivered = "1"
	}
	env := []string{
		"NETQUORUM_MESSAGE_ID=" + m.ID, "NETQUORUM_MESSAGE_SERVICE=" + m.To.Service, "NETQUORUM_MESSAGE_FROM=" + m.From,
		"NETQUORUM_MESSAGE_CLIENT=" + m.Client, "NETQUORUM_MESSAGE_STREAM=" + m.Stream, "NETQUORUM_MESSAGE_VSERVER=" + m.To.VServer,
		fmt.Sprintf("NETQUORUM_MESSAGE_EPOCH=%d", m.Epoch), "NETQUORUM_MESSAGE_PRIORITY=" + string(m.Priority),
		fmt.Sprintf("NETQUORUM_MESSAGE_SIZE=%d", m.Size), "NETQUORUM_MESSAGE_SENT=" + m.Sent.Format(time.RFC3339Nano),
		"NETQUORUM_MESSAGE_REDELIVERED=" + redelivered,
	}
	if m.Trace != 0 {
		env = append(env, "NETQUORUM_TRACE="+m.Trace.String())
	}
	return env
}

// An answerBuffer keeps as much as an answer may have, and reads the rest away.
type answerBuffer struct {
	bytes.Buffer
	over bool
}

func (b *answerBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > api.MaxMessageAnswer {
		b.over = true
		return len(p), nil
	}
	return b.Buffer.Write(p)
}

// A tail keeps the last of what is written to it.
type tail struct {
	also io.Writer
	kept []byte
}

const tailSize = 1 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - tailSize; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return t.also.Write(p)
}

func (t *tail) String() string {
	return strings.TrimSpace(strings.ToValidUTF8(string(t.kept), ""))
}
