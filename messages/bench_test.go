package messages

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// BenchmarkDurable compares sending by 64 senders with what bolt alone does: the
// same bytes put by 64 callers into transactions that are grouped the same way.
// Both are measured in turns, so that a noisy disk is noisy for both:
//
//	go test -run '^$' -bench Durable -benchtime 5s ./messages
func BenchmarkDurable(b *testing.B) {
	w := newWorld(b)
	w.tune = func(c *Config) { c.Limits.MaxPending = 1 << 30 }
	a := w.open("a") // to a filer that is not there: the outbox alone
	box := box(b, a, "client")
	body := make([]byte, 256)
	size := len((&outRecord{env: sampleEnv, at: "b", inline: body}).encode())
	db := w.open("bolt")
	bolt := func(i uint64) error {
		done := make(chan error, 1)
		key, value := binary.BigEndian.AppendUint64(nil, i), make([]byte, size)
		db.commits.submit(Control, &op{
			do:    func(tx *bbolt.Tx) error { return tx.Bucket(bucketOut).Put(key, value) },
			done:  func(err error) { done <- err },
			bytes: size,
		})
		return <-done
	}
	send := func(uint64) error {
		_, err := box.Send(b.Context(), Message{To: Target{Service: "work", Filer: "b"}, Body: Bytes(body)})
		return err
	}
	var rates [2]float64
	var counts [2]int
	var took [2]time.Duration
	var next atomic.Uint64
	b.ResetTimer()
	for round := 0; round < b.N; round++ {
		for i, do := range []func(uint64) error{bolt, send} {
			const each = 50
			begin := time.Now()
			var wg sync.WaitGroup
			for range 64 {
				wg.Go(func() {
					for range each {
						if err := do(next.Add(1)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			took[i] += time.Since(begin)
			counts[i] += 64 * each
		}
	}
	for i := range rates {
		rates[i] = float64(counts[i]) / took[i].Seconds()
	}
	for i, n := range []*Node{db, a} {
		c := n.Status().Counts
		b.ReportMetric(float64(c.Operations)/float64(c.Syncs), []string{"bolt-group", "sent-group"}[i])
	}
	b.ReportMetric(rates[0], "bolt/s")
	b.ReportMetric(rates[1], "sent/s")
	b.ReportMetric(rates[1]/rates[0], "ratio")
}

// BenchmarkDelivered is the whole way, from Send to the completion, between two
// filers in one process and on one disk.
func BenchmarkDelivered(b *testing.B) {
	for _, form := range []string{"transaction", "handler"} {
		b.Run(form, func(b *testing.B) {
			w := newWorld(b)
			x, y := w.start("a"), w.start("b")
			var err error
			if form == "handler" {
				_, err = y.Serve("work", func(context.Context, *Message) ([]byte, error) { return nil, nil })
			} else {
				_, err = y.ServeTx("work", func(tx *Tx, m *Message) ([]byte, error) {
					return nil, tx.Bucket().Put([]byte("last"), []byte(m.Stream))
				})
			}
			if err != nil {
				b.Fatal(err)
			}
			box := box(b, x, "client")
			body := make([]byte, 256)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range 64 {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := box.Call(b.Context(), Message{To: Target{Service: "work", Filer: "b"}, Stream: fmt.Sprint(i), Body: Bytes(body)}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}
