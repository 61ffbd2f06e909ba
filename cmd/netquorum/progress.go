package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// progress shows at a terminal what has been waited for, once that takes over
// a second. The returned function ends it and clears the line.
func (t *tool) progress(what string) (done func()) {
	return t.progressOf(func() string { return what })
}

// progressOf is progress of something whose words change.
func (t *tool) progressOf(what func() string) (done func()) {
	if !isTerminal(t.err) {
		return func() {}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { showProgress(t.err, what, stop) })
	return sync.OnceFunc(func() {
		close(stop)
		wg.Wait()
	})
}

func showProgress(w io.Writer, what func() string, stop <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-stop:
			if n > 1 {
				fmt.Fprint(w, "\r\x1b[K")
			}
			return
		case <-tick.C:
			fmt.Fprintf(w, "\r\x1b[K%s (%d s)", what(), n)
		}
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
