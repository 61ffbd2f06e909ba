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

// openBolt opens the log file, and creates it first if it is not there.
func openBolt(path string) (*raftboltdb.BoltStore, error) {
	if err := createBolt(path); err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	if err := checkBolt(path); err != nil {
		return nil, err
	}
	if err := compactBolt(path); err != nil {
		return nil, fmt.Errorf("compact %s: %w", path, err)
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

// createBolt makes an empty log file in one step. Bolt's file is not safe
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

// A log file that is much larger than what it holds is copied at opening: bolt
// never shrinks a file.
const (
	compactAbove = 32 << 20
	compactRatio = 10
)

func compactBolt(path string) (err error) {
	info, err := os.Stat(path)
	if err != nil || info.Size() < compactAbove {
		return err
	}
	src, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, ReadOnly: true})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil // opening it for use reports that
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	live := int64(0)
	err = src.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			s := b.Stats()
			live += int64(s.LeafInuse + s.BranchInuse)
			return nil
		})
	})
	if err != nil || live*compactRatio > info.Size() {
		return err
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	dst, err := bbolt.Open(tmp, 0o600, boltOptions(tmp).BoltOptions)
	if err != nil {
		return err
	}
	if err := errors.Join(bbolt.Compact(dst, src, 1<<20), dst.Sync(), dst.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
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
