package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum/agent"
	"github.com/netquorum/netquorum/api"
)

func (t *tool) serveCommand() *cobra.Command {
	var cfg agent.Config
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
	f.StringVar(&cfg.DataDir, "data", agent.DefaultDataDir, "directory of the store, the identity and the boot cache")
	f.StringVar(&cfg.Listen, "listen", agent.DefaultListen, "host:port at which other filers reach this one")
	f.DurationVar(&cfg.Heartbeat, "heartbeat", agent.DefaultHeartbeat, "how soon silence between filers is noticed: a silent filer is replaced after about seven")
	f.StringSliceVar(&cfg.Advertise, "advertise", nil, "host:port at which other filers may reach this one, beside its mgmt aliases")
	f.StringVar(&logFormat, "log-format", "text", "text or json")
	f.StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	cmd.MarkFlagDirname("data")
	cmd.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cfg.Heartbeat <= 0 {
			return api.Refuse(api.ErrUsage, fmt.Sprintf("--heartbeat %s is not above zero", cfg.Heartbeat), nil)
		}
		var err error
		if cfg.DataDir, err = filepath.Abs(cfg.DataDir); err != nil {
			return err
		}
		if cfg.Log, err = newLog(t.err, logFormat, logLevel); err != nil {
			return err
		}
		cfg.Socket, cfg.Version, cfg.Instant = t.socket, version, labInstant()
		// The daemon's heap is a few megabytes: collecting it half as often costs as
		// much memory again, and saves an eighth of the processor time of a busy filer.
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(200)
		}
		return agent.Run(cmd.Context(), cfg)
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
