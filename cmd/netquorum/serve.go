package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/api"
)

func (t *tool) serveCommand() *cobra.Command {
	cfg := serveConfig{}
	var logFormat, logLevel string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon of this filer",
		Long: `Run the daemon of this filer until SIGTERM or SIGINT; a second signal kills at
once. Kernel state stays when the daemon ends: a restart disturbs nobody.

A filer without a cluster waits for init or join.`,
		Example: `  netquorum serve
  netquorum serve --data /srv/netquorum --listen :7480 --log-format json`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&cfg.DataDir, "data", "/var/lib/netquorum", "directory of the store, the identity and the boot cache")
	f.StringVar(&cfg.Listen, "listen", ":7480", "host:port at which other filers reach this one")
	f.DurationVar(&cfg.Heartbeat, "heartbeat", 0, "time between two signs of life of the leader; 0 for the default")
	f.StringVar(&logFormat, "log-format", "text", "text or json")
	f.StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	cmd.MarkFlagDirname("data")
	cmd.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cfg.Heartbeat < 0 {
			return api.Refuse(api.ErrUsage, fmt.Sprintf("--heartbeat %s is below zero", cfg.Heartbeat), nil)
		}
		log, err := newLog(t.err, logFormat, logLevel)
		if err != nil {
			return err
		}
		cfg.Socket, cfg.Log, cfg.Version = t.socket, log, version
		return runAgent(cmd.Context(), cfg)
	}
	return cmd
}

// newLog returns the daemon's log, which goes to standard error for the service
// manager to keep.
func newLog(w io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, api.Refuse(api.ErrUsage, "--log-level "+level+" is none of debug, info, warn, error", nil)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, api.Refuse(api.ErrUsage, "--log-format "+format+" is neither text nor json", nil)
}

type serveConfig struct {
	DataDir, Socket, Listen string
	Heartbeat               time.Duration
	Log                     *slog.Logger
	Version                 string
}

var runAgent func(context.Context, serveConfig) error
