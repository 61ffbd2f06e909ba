package partner_test

import (
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport/transporttest"
)

// TestAStreamFillsALongWay: between sites a tenth of a second apart, what is enough under
// way for a local network would leave most of the way empty. Beside TLS alone over the
// same way, in turn.
func TestAStreamFillsALongWay(t *testing.T) {
	mirror, plain := lanes(t, transporttest.Way{Delay: 50 * time.Millisecond, Rate: 40e6})
	const bar = 0.8
	var ratio float64
	for i := range 3 { // the window grows in the first
		s, p := mirror.send(t), plain.send(t)
		ratio = p.Seconds() / s.Seconds()
		t.Logf("%d MiB: %v, TLS alone %v", round>>20, s, p)
		if i > 0 && ratio >= bar {
			return
		}
	}
	t.Errorf("a stream has %.2f of the throughput of TLS alone, want %.2f", ratio, bar)
}
