package store

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/netquorum/netquorum/store/wal"
)

// A diskStore is what raft keeps on disk: its log, its term and its vote.
type diskStore interface {
	raft.LogStore
	raft.StableStore
}

// Names in a store's directory.
const (
	logName   = "log"     // entries, which are written all the time
	votesName = "raft.db" // term and vote, which are written at elections
)

// files are the two places of a diskStore.
type files struct {
	raft.LogStore
	raft.StableStore
	log                *wal.Log
	votes              *raftboltdb.BoltStore
	logPath, votesPath string
}

// Present reports whether a directory holds a store's log and its votes. A filer
// that has lost either has forgotten what it promised.
func Present(dir string) (bool, error) {
	log, err := wal.Exists(filepath.Join(dir, logName))
	if err != nil || !log {
		return false, err
	}
	_, err = os.Stat(filepath.Join(dir, votesName))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// openFiles opens a store's files, and makes them if neither is there: the votes
// last, so that a filer with votes has had a log.
func openFiles(dir string) (_ *files, err error) {
	f := &files{logPath: filepath.Join(dir, logName), votesPath: filepath.Join(dir, votesName)}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if _, err := os.Stat(f.votesPath); err == nil {
		// Their lock keeps other processes out of the log as well.
		if f.votes, err = openBolt(f.votesPath); err != nil {
			return nil, err
		}
		if there, err := wal.Exists(f.logPath); err != nil {
			return nil, err
		} else if !there {
			return nil, &DamagedError{f.logPath, "the log is missing"}
		}
	}
	if f.log, err = wal.Open(f.logPath); err != nil {
		return nil, damaged(err)
	}
	if f.votes == nil {
		if f.votes, err = openBolt(f.votesPath); err != nil {
			return nil, err
		}
	}
	f.LogStore, f.StableStore = f.log, f.votes
	return f, nil
}

// damaged turns the log's word for damage into the store's.
func damaged(err error) error {
	var d *wal.DamagedError
	if errors.As(err, &d) {
		return &DamagedError{d.Path, d.What}
	}
	return err
}

func (f *files) Close() error {
	var errs []error
	if f.log != nil {
		errs = append(errs, f.log.Close())
	}
	if f.votes != nil {
		errs = append(errs, f.votes.Close())
	}
	return errors.Join(errs...)
}
