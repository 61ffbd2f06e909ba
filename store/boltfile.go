package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// openBolt opens the file for term and vote, and creates it first if it is not
// there.
func openBolt(path string) (*raftboltdb.BoltStore, error) {
	if err := createBolt(path); err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	if err := checkBolt(path); err != nil {
		return nil, err
	}
	var store *raftboltdb.BoltStore
	err := guard(path, func() (err error) {
		store, err = raftboltdb.New(boltOptions(path))
		return err
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%s is in use: another netquorum runs with this directory", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return store, nil
}

// boltOptions: the free list is rebuilt at opening rather than written at every
// commit. A lock that is held is reported rather than waited for.
func boltOptions(path string) raftboltdb.Options {
	return raftboltdb.Options{
		Path:                    path,
		MsgpackUseNewTimeFormat: true,
		BoltOptions:             &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
	}
}

// createBolt makes an empty file in one step. Bolt's file is not safe
// against a power cut while it is first created, so that is done beside.
func createBolt(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	store, err := raftboltdb.New(boltOptions(tmp))
	if err != nil {
		return err
	}
	if err := errors.Join(store.Sync(), store.Close()); err != nil {
		return err
	}
	return replace(tmp, path)
}

// replace renames a synced file over another and syncs the directory, so that
// after a power cut there is the old one or the new one.
func replace(tmp, path string) error {
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
