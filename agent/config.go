package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/netquorum/netquorum/messages"
	"github.com/netquorum/netquorum/monitor"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/statistics"
	"github.com/netquorum/netquorum/store"
	"github.com/netquorum/netquorum/trace"
	"github.com/netquorum/netquorum/transport"
)

// Where things are when the firmware does not say.
const (
	DefaultDataDir = "/var/lib/netquorum"
	DefaultSocket  = "/run/netquorum/netquorum.sock"
	DefaultListen  = ":" + transport.DefaultPort
)

// DefaultHeartbeat is how soon silence between filers is noticed. A filer that
// falls silent is replaced after about seven heartbeats.
const DefaultHeartbeat = 200 * time.Millisecond

// A Config is what the firmware decides for one filer. The zero Config is that
// of a filer with the default paths.
type Config struct {
	DataDir string // identity, log and boot cache; made with mode 0700
	Socket  string // of the local API
	Listen  string // TCP address for the other filers
	// Advertise are host:port addresses at which other filers may reach this
	// one beside those of its mgmt aliases. When empty, an init takes the
	// addresses that the machine has and a join those that reach the peer.
	Advertise []string
	// Heartbeat is the unit of all failure detection. Smaller ones notice
	// sooner and mistake a busy disk for a dead filer sooner.
	Heartbeat time.Duration
	Log       *slog.Logger
	Version   string

	// Kernel is what the configuration is applied to: the kernel of this
	// network namespace when nil.
	Kernel netapply.Kernel
	// Features says what that kernel can do; probed when nil.
	Features []netapply.Feature
	// Traffic counts what virtual servers send and receive. When nil it is the
	// kernel of this network namespace, and nothing if Kernel is given.
	Traffic statistics.Kernel
	// Events wake the agent when the kernel changed by itself; subscribed to
	// when nil and Kernel is nil too.
	Events <-chan struct{}
	// Links is what the monitor watches: the kernel's links when nil and Kernel
	// is nil too, and nothing when only Kernel is given.
	Links monitor.Source
	// Prober finds out whether this filer is within reach after its step of a
	// rollout; by the network of this process when nil, and not at all when nil
	// with a Kernel.
	Prober Prober
	// Instant, when set, is called at the instants of a rollout, by name. A lab
	// cuts the power in it.
	Instant func(name string)
	// Messages, when set, is given the filer's outbox and inbox each time they are
	// opened, before messages move: where the firmware's own services begin. The
	// node is closed with the daemon, and when the filer leaves its cluster.
	Messages func(*messages.Node)
	// Now is the clock of leases and proposals.
	Now func() time.Time
	// Fatal is called when the store cannot go on without doing harm. It
	// should not return; the default logs and exits.
	Fatal func(error)

	ownKernel bool        // Kernel was opened here
	traces    *trace.Ring // what this filer lately did, by trace ids
}

func (c Config) withDefaults() (Config, error) {
	set := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	set(&c.DataDir, DefaultDataDir)
	set(&c.Socket, DefaultSocket)
	set(&c.Listen, DefaultListen)
	set(&c.Version, "unknown")
	if c.Heartbeat == 0 {
		c.Heartbeat = DefaultHeartbeat
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Instant == nil {
		c.Instant = func(string) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	var errs []error
	if !filepath.IsAbs(c.DataDir) {
		errs = append(errs, fmt.Errorf("data directory %q is not an absolute path", c.DataDir))
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("listen address: %w", err))
	}
	for _, a := range c.Advertise {
		if _, _, err := net.SplitHostPort(a); err != nil {
			errs = append(errs, fmt.Errorf("advertised address: %w", err))
		}
	}
	if err := c.timing().Validate(); err != nil {
		errs = append(errs, err)
	}
	return c, errors.Join(errs...)
}

func (c Config) timing() store.Timing {
	t := store.DefaultTiming
	t.Heartbeat, t.Election, t.Lease = c.Heartbeat, c.Heartbeat, c.Heartbeat*3/4
	return t
}

// The times of hosting, in heartbeats: a lease outlives four lost reports, and
// the leader waits one heartbeat longer for clocks that run at other speeds.
func (c Config) lease() time.Duration  { return 5 * c.Heartbeat }
func (c Config) margin() time.Duration { return c.Heartbeat }
func (c Config) report() time.Duration { return c.Heartbeat }

func (c Config) identityDir() string { return filepath.Join(c.DataDir, "identity") }
func (c Config) storeDir() string    { return filepath.Join(c.DataDir, "store") }
func (c Config) cacheDir() string    { return filepath.Join(c.DataDir, "boot") }
