package link

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var woken atomic.Int64
		var d deadline
		d.wake = func() { woken.Add(1) }
		check := func(what string, passed bool, wakes int64) {
			t.Helper()
			synctest.Wait()
			if d.passed() != passed || woken.Load() != wakes {
				t.Errorf("%s: passed %v, woken %d times", what, d.passed(), woken.Load())
			}
		}
		check("never set", false, 0)
		d.set(time.Now().Add(time.Second))
		d.set(time.Now().Add(time.Minute))
		<-time.After(2 * time.Second) // virtual
		check("put off", false, 0)
		<-time.After(time.Minute)
		check("come", true, 1)
		d.set(time.Time{})
		check("taken back", false, 1)
		d.set(time.Now().Add(-time.Second))
		check("set in the past", true, 2)
		d.set(time.Now().Add(time.Second))
		check("set anew", false, 2)
		d.come(d.turn - 1) // the timer of an earlier one, late
		check("an earlier one's timer", false, 2)
		d.set(time.Time{})
	})
}
