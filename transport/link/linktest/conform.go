package linktest

import (
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// Conform runs the conformance suite over a kind of carriers.
func Conform(t *testing.T, k Kind) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Kind)
	}{
		{"messages keep their boundaries", boundaries},
		{"each stream keeps its order", order},
		{"a service is agreed upon, or refused", services},
		{"deadlines hold", deadlines},
		{"a stream ends cleanly, half, or within", ends},
		{"what is large arrives whole", large},
		{"io.Copy brings all, and ends as it should", copies},
		{"a copy that cannot go on says why", copiesEnd},
		{"a handler gets what a reader would", handlers},
		{"a reader that stops stops only its stream", backPressure},
		{"a silent peer is lost after a while", silentPeer},
		{"a connection that says nothing is no carrier", halfOpen},
		{"heartbeats do not wait for bulk data", heartbeats},
		{"a cut path costs a moment and no data", cutPath},
		{"a writer hears of room by another path", cutAcks},
		{"what was copied hears of room as well", lostAckOfCopy},
		{"urgent data does not even wait that moment", cutPathUrgent},
		{"a path that is back is used again", pathBack},
		{"paths are cut and healed at random", cycles},
		{"carriers come and go", comeAndGo},
		{"a new incarnation ends the streams of the old", incarnations},
		{"a link that ends says why", goodbye},
		{"doubled, reordered and lost frames are harmless", mischief},
		{"streams leave nothing behind", manyStreams},
	} {
		t.Run(test.name, func(t *testing.T) {
			if k.Virtual { // a bubble waits for its goroutines: that is its check for leaks
				synctest.Test(t, func(t *testing.T) { test.run(t, k) })
				return
			}
			before := runtime.NumGoroutine()
			t.Run("", func(t *testing.T) { test.run(t, k) })
			Eventually(t, "the goroutines of the test to end", func() bool { return runtime.NumGoroutine() <= before })
		})
	}
}

// bound is d for a kind whose time is virtual; on real machines, which may be
// busy with other things, slack is added.
func (k Kind) bound(d, slack time.Duration) time.Duration {
	if k.Virtual {
		return d
	}
	return d + slack
}

// rounds is n where time is virtual, and fewer where a machine is kept waiting.
func (k Kind) rounds(n int) int {
	if k.Virtual || os.Getenv(long) != "" {
		return n
	}
	if k.Slow {
		n = (n + 3) / 4
	}
	return (n + 4) / 5
}

// long is the environment variable that has all rounds run on real machines too:
//
//	NQ_LONG=1 go test -run TestTCP ./transport/link
const long = "NQ_LONG"
