package store

import (
	"context"
	"io"
	"log"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// raftLogger hands raft's messages to slog. Raft calls an error what is daily
// life for it, and says on every heartbeat that a lost peer is lost. So levels
// are lowered by one, and a message that comes again soon goes to debug.
type raftLogger struct {
	log  *slog.Logger
	name string
	args []any
	said *sayings
}

func newRaftLogger(log *slog.Logger) *raftLogger {
	return &raftLogger{log: log, said: &sayings{at: map[string]time.Time{}}}
}

// sayings remembers when each message was last logged. There are as many as
// raft has log calls.
type sayings struct {
	mu sync.Mutex
	at map[string]time.Time
}

const sayAgainAfter = 30 * time.Second

func (s *sayings) again(msg string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.at[msg]; ok && now.Sub(last) < sayAgainAfter {
		return true
	}
	s.at[msg] = now
	return false
}

func (l *raftLogger) level(level hclog.Level) slog.Level {
	switch level {
	case hclog.Error:
		return slog.LevelWarn
	case hclog.Warn:
		return slog.LevelInfo
	case hclog.Trace:
		return slog.LevelDebug - 4
	default:
		return slog.LevelDebug
	}
}

func (l *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	to := l.level(level)
	if to > slog.LevelDebug && l.said.again(msg, time.Now()) {
		to = slog.LevelDebug
	}
	l.log.Log(context.Background(), to, "raft: "+msg, args...)
}

func (l *raftLogger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *raftLogger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *raftLogger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *raftLogger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *raftLogger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *raftLogger) enabled(level hclog.Level) bool {
	return l.log.Enabled(context.Background(), l.level(level))
}

func (l *raftLogger) IsTrace() bool { return l.enabled(hclog.Trace) }
func (l *raftLogger) IsDebug() bool { return l.enabled(hclog.Debug) }
func (l *raftLogger) IsInfo() bool  { return l.enabled(hclog.Info) }
func (l *raftLogger) IsWarn() bool  { return l.enabled(hclog.Warn) }
func (l *raftLogger) IsError() bool { return l.enabled(hclog.Error) }

func (l *raftLogger) ImpliedArgs() []any { return l.args }

func (l *raftLogger) With(args ...any) hclog.Logger {
	return &raftLogger{l.log.With(args...), l.name, append(l.args[:len(l.args):len(l.args)], args...), l.said}
}

func (l *raftLogger) Name() string                        { return l.name }
func (l *raftLogger) Named(name string) hclog.Logger      { return &raftLogger{l.log, name, l.args, l.said} }
func (l *raftLogger) ResetNamed(name string) hclog.Logger { return l.Named(name) }
func (l *raftLogger) SetLevel(hclog.Level)                {} // the slog handler decides
func (l *raftLogger) GetLevel() hclog.Level               { return hclog.NoLevel }

func (l *raftLogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.log.Handler(), slog.LevelDebug)
}

func (l *raftLogger) StandardWriter(o *hclog.StandardLoggerOptions) io.Writer {
	return l.StandardLogger(o).Writer()
}
