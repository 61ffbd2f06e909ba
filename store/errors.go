package store

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/netquorum/netquorum"
)

// Callers compare with these by errors.Is. Errors of the raft library do not
// leave the package as themselves.
var (
	// ErrNoQuorum: no filer leads, or the one that did cannot be reached. Nothing
	// was changed.
	ErrNoQuorum = errors.New("no quorum: no reachable filer leads the cluster")
	// ErrUnknownOutcome: the transaction was handed to a leader and its answer
	// never came. It may take effect yet; ask again with the same request id.
	ErrUnknownOutcome = errors.New("outcome unknown: the transaction may have been committed")
	// ErrNotMember: this filer is in no cluster, or was removed from its cluster.
	ErrNotMember = errors.New("this filer is not a member of a cluster")
	// ErrCompacted: the asked revision is no longer in the history.
	ErrCompacted = errors.New("the revision is older than the kept history")
	// ErrNotLeader: only the leader can answer this.
	ErrNotLeader = errors.New("this filer does not lead the cluster")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrTooLarge: the transaction or dump exceeds what one change may hold.
	ErrTooLarge = errors.New("too large")
	// ErrMembership: the change of members is not allowed in this state.
	ErrMembership = errors.New("membership change refused")
	// ErrDamaged: a file of the store is damaged; the error is a *DamagedError.
	ErrDamaged = errors.New("damaged file")
	// ErrDiskFailed: a write to the log failed, and no later one is trusted until
	// the process restarts; the error is a *DiskError.
	ErrDiskFailed = errors.New("the disk failed a write")
)

// A DamagedError names a file that cannot be used and what to do about it. The
// store never deletes such a file: it may be all that is left for a repair.
type DamagedError struct {
	Path   string
	Reason string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s is damaged: %s. It was left as it is. To recover, stop the daemon, move the whole directory %s away "+
		"and join this filer to the cluster again: the other filers hold everything that was acknowledged", e.Path, e.Reason, e.store())
}

// store is the directory of the store, which is of use only as a whole.
func (e *DamagedError) store() string {
	dir := filepath.Dir(e.Path)
	if filepath.Base(dir) == logName {
		return filepath.Dir(dir)
	}
	return dir
}

// Is makes errors.Is(err, ErrDamaged) hold.
func (e *DamagedError) Is(target error) bool { return target == ErrDamaged }

// A DiskError is the first failed write of the log. Linux may report a later
// sync as good although the data of the failed one is gone, so every later write
// fails with this error too.
type DiskError struct {
	Path string
	Op   string
	Err  error
}

func (e *DiskError) Error() string {
	return fmt.Sprintf("%s: %s failed, this filer takes no part in the cluster's decisions until the daemon is restarted: %v", e.Path, e.Op, e.Err)
}

// Unwrap gives the cause, so that errors.Is(err, syscall.ENOSPC) tells a full disk.
func (e *DiskError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrDiskFailed) hold.
func (e *DiskError) Is(target error) bool { return target == ErrDiskFailed }

// notLeaderError says who leads instead, as far as the answering filer knows.
type notLeaderError struct{ leader netquorum.FilerID }

func (e *notLeaderError) Error() string {
	if e.leader == "" {
		return ErrNotLeader.Error()
	}
	return fmt.Sprintf("%v; %s does", ErrNotLeader, e.leader)
}

func (e *notLeaderError) Is(target error) bool { return target == ErrNotLeader }
