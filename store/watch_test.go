package store

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/netquorum/netquorum"
)

func TestAWatcherSeesEveryChangeOnce(t *testing.T) {
	l := newCluster(t, 3)
	first := l.propose(l.leader(), put(record("r", "0"))).Revision
	ctx, cancel := context.WithCancel(l.context())
	defer cancel()
	seen := make(chan string, 100)
	ended := make(chan error, 1)
	go func() {
		next := first
		for change, err := range l.follower().Watch(ctx, first) {
			if err != nil {
				ended <- err
				return
			}
			if change.Revision != next {
				ended <- fmt.Errorf("revision %d, want %d", change.Revision, next)
				return
			}
			next++
			seen <- string(change.Documents[0].After.Name)
		}
	}()
	for i := range 50 {
		l.propose(l.filers[i%3], put(record(fmt.Sprintf("r%d", i), "x")))
	}
	for i := range 51 {
		select {
		case <-seen:
		case err := <-ended:
			t.Fatalf("after %d changes: %v", i, err)
		case <-l.context().Done():
			t.Fatalf("waited in vain for change %d", i)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v, want context.Canceled", err)
	}
}

func TestAWatcherThatAsksForWhatIsForgottenIsTold(t *testing.T) {
	l := newCluster(t, 1)
	f := l.filers[0]
	c := clusterDocument()
	c.Spec.(*netquorum.Cluster).History = 10
	l.propose(f, put(c))
	for i := range 30 {
		l.propose(f, put(record("r", fmt.Sprint(i))))
	}
	for _, err := range f.Watch(l.context(), 2) {
		if !errors.Is(err, ErrCompacted) {
			t.Errorf("%v, want ErrCompacted", err)
		}
	}
	// One that cannot keep up is told as well, wherever it stands.
	var last error
	n := 0
	for _, err := range f.Watch(l.context(), f.State().Oldest()) {
		if last = err; err != nil {
			break
		}
		if n++; n == 1 {
			// These are not in the history that is being read; the next one has
			// forgotten where the watcher stands.
			for i := range 30 {
				l.propose(f, put(record("r", fmt.Sprint("again", i))))
			}
		}
	}
	if !errors.Is(last, ErrCompacted) {
		t.Errorf("a slow watcher: %v, want ErrCompacted", last)
	}
}

func TestAWatchFromZeroBeginsWithTheNextChange(t *testing.T) {
	l := newCluster(t, 1)
	f := l.filers[0]
	l.propose(f, put(record("before", "x")))
	want := f.State().Revision() + 1
	watch := f.Watch(l.context(), 0)
	l.load(1, func(int) *filer { return f })
	for change, err := range watch {
		if err != nil {
			t.Fatal(err)
		}
		if change.Revision < want {
			t.Errorf("revision %d, want %d or later", change.Revision, want)
		}
		return
	}
}
