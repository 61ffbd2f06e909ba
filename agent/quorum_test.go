package agent

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestAQuorumThatIsBackIsNoticedByTheFirstRequest: the request was refused until
// the next look, a heartbeat later.
func TestAQuorumThatIsBackIsNoticedByTheFirstRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var leads atomic.Bool
		q := newQuorum(leads.Load, 200*time.Millisecond, time.Now)
		waiting, release := q.While(t.Context())
		defer release()
		go q.Run(t.Context())
		<-waiting.Done() // a deadlock, were it not told
		refused, release := q.While(t.Context())
		defer release()
		synctest.Wait()
		if refused.Err() == nil {
			t.Error("without a leader, a request is let wait")
		}
		leads.Store(true)
		served, release := q.While(t.Context())
		defer release()
		synctest.Wait()
		if served.Err() != nil {
			t.Error("there is a leader, and a request is refused")
		}
		leads.Store(false)
		<-time.After(q.patience - q.interval)
		if served.Err() != nil {
			t.Error("an election that takes its time is no lost quorum")
		}
		<-served.Done()
	})
}
