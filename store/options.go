package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/calls"
	"github.com/netquorum/netquorum/trace"
)

// A Class says what may wait for what: a stream of one class for nothing that goes
// over a stream of a later one.
type Class uint8

// The classes of streams.
const (
	Urgent  Class = iota // heartbeats and votes: tiny, and late ones cost an election
	Control              // log entries
	Bulk                 // snapshots
)

// A Network is what the store needs of the way filers talk. Both sides of every
// connection are authenticated below it.
type Network interface {
	// Raft returns where other filers' raft streams arrive. It is called once, and
	// the store closes what it returns.
	Raft() net.Listener
	// OpenRaft opens a stream that the other filer's Raft listener accepts. It
	// honours read deadlines, and Close ends a Read and a Write that wait. The error
	// of a filer whose host answers and whose process does not wraps
	// syscall.ECONNREFUSED.
	OpenRaft(ctx context.Context, to netquorum.FilerID, class Class) (net.Conn, error)
	// Call sends a request to the Program of another filer's store. An error wraps
	// calls.ErrNotSent when the request certainly had no effect.
	Call(ctx context.Context, to netquorum.FilerID, q calls.Request) (calls.Answer, error)
}

// Options say where a store lives and how it behaves. Dir, ID and Network are
// required; the rest has defaults for production.
type Options struct {
	Dir     string
	ID      netquorum.FilerID
	Network Network
	Log     *slog.Logger
	// Traces remembers what happened to transactions that have a trace id.
	Traces *trace.Ring
	Timing Timing
	Keep   Keep

	// Now is the proposer's clock: it fills in a transaction's time.
	Now func() time.Time
	// Fatal is called when going on would do harm: the disk hangs, or an entry
	// cannot be decoded. By then the store is off the network. It should not
	// return; the default logs the error and exits the process with status 70.
	Fatal func(error)
	// DiskStall is how long one write may take before the disk counts as hung.
	// Heartbeats do not touch the disk: without this limit a leader with a hung
	// disk would lead for ever and nothing would be committed.
	DiskStall time.Duration

	disk func(diskStore) diskStore         // tests put a faulty disk under the log
	logs func(raft.LogStore) raft.LogStore // tests take protections away from it
}

// Timing holds raft's timers. A failed leader is replaced after one to three
// heartbeat timeouts, sooner when its death is proven.
type Timing struct {
	Heartbeat time.Duration // a follower without a leader's sign of life for so long stands for election
	Election  time.Duration // a candidate starts over after so long
	Lease     time.Duration // a leader that has not reached a quorum for so long steps down
	Commit    time.Duration // a leader tells its followers what is committed when no entries follow for so long
}

// DefaultTiming suits filers on one site with disks that sync in a few
// milliseconds.
var DefaultTiming = Timing{
	Heartbeat: 200 * time.Millisecond,
	Election:  200 * time.Millisecond,
	Lease:     150 * time.Millisecond,
	Commit:    5 * time.Millisecond,
}

// minTimeout is the floor for timeouts: below it, an ordinary pause of the disk
// or the scheduler looks like a dead leader.
const minTimeout = 50 * time.Millisecond

// Validate reports every setting that would make elections unreliable.
func (t Timing) Validate() error {
	var errs []error
	for _, f := range []struct {
		name  string
		value time.Duration
	}{{"heartbeat", t.Heartbeat}, {"election", t.Election}, {"lease", t.Lease}} {
		if f.value < minTimeout {
			errs = append(errs, fmt.Errorf("timing: %s %v is below the floor of %v", f.name, f.value, minTimeout))
		}
	}
	if t.Election < t.Heartbeat {
		errs = append(errs, fmt.Errorf("timing: election %v is below heartbeat %v", t.Election, t.Heartbeat))
	}
	if t.Lease > t.Heartbeat {
		errs = append(errs, fmt.Errorf("timing: lease %v is above heartbeat %v: a deposed leader would believe in itself", t.Lease, t.Heartbeat))
	}
	if t.Lease < t.Heartbeat/2 {
		errs = append(errs, fmt.Errorf("timing: lease %v is below half of heartbeat %v: a healthy leader would step down", t.Lease, t.Heartbeat))
	}
	if t.Commit < time.Millisecond {
		errs = append(errs, fmt.Errorf("timing: commit %v is below 1ms", t.Commit))
	}
	return errors.Join(errs...)
}

// Keep says how much of the log is kept.
type Keep struct {
	// Snapshot is after how many entries the log is replaced by a snapshot.
	Snapshot uint64
	// Trailing is how many entries stay behind a snapshot, so that a filer that
	// was away for a short time needs no snapshot.
	Trailing uint64
	// Interval is how often it is considered.
	Interval time.Duration
}

// DefaultKeep keeps the log file at a few tens of megabytes.
var DefaultKeep = Keep{Snapshot: 8192, Trailing: 4096, Interval: 30 * time.Second}

// exitFatal is the status of a process that stopped itself, EX_SOFTWARE.
const exitFatal = 70

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" || o.ID == "" || o.Network == nil {
		return o, errors.New("store: Dir, ID and Network are required")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Timing == (Timing{}) {
		o.Timing = DefaultTiming
	}
	if o.Keep == (Keep{}) {
		o.Keep = DefaultKeep
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.DiskStall == 0 {
		o.DiskStall = 2 * time.Second
	}
	if o.disk == nil {
		o.disk = func(d diskStore) diskStore { return d }
	}
	if o.logs == nil {
		o.logs = func(l raft.LogStore) raft.LogStore { return l }
	}
	if o.Fatal == nil {
		log := o.Log
		o.Fatal = func(err error) {
			log.Error("stopping the daemon", "err", err)
			os.Exit(exitFatal)
		}
	}
	return o, o.Timing.Validate()
}
