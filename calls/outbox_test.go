package calls

import (
	"io"
	"testing"
)

func TestDrainWaitsForWhatAnotherWrites(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	o := newOutbox(w)
	defer o.flushes.Wait()
	if _, err := o.post(kindHello, 0, nil, nil); err != nil { // its goroutine writes, and nobody reads yet
		t.Fatal(err)
	}
	if err := o.add(kindAnswer, 1, nil, nil, false); err != nil { // left to that goroutine
		t.Fatal(err)
	}
	drained := make(chan struct{})
	go func() {
		o.drain()
		close(drained)
	}()
	one := make([]byte, frameHeader)
	for range 2 {
		select {
		case <-drained:
			t.Fatal("drained before all was written")
		default:
		}
		if _, err := io.ReadFull(r, one); err != nil {
			t.Fatal(err)
		}
	}
	<-drained
}
