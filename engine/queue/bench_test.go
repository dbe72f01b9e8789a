// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"restante/engine/dsn"
	"restante/engine/mail"
	"restante/engine/spool"
	"restante/internal/kv"
	"restante/internal/kv/badgerkv"
)

// newMemQueue is a queue on a store in memory, everything held.
func newMemQueue(b testing.TB, db kv.DB) *Queue {
	b.Helper()
	q, err := New(context.Background(), &memStore{db: db}, db, Deps{
		Router:  RouterFunc(func(mail.Domain) RouteState { return RouteState{Held: true} }),
		Attempt: func(context.Context, *Lease) {},
		Report:  func(context.Context, dsn.Report) ([]byte, error) { return []byte("report"), nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	return q
}

func fill(b testing.TB, q *Queue, n, domains int) {
	b.Helper()
	start := time.Now()
	for i := range n {
		env := mail.Envelope{ID: mail.NewMessageID(start.Add(time.Duration(i) * time.Millisecond)), Received: start,
			From: mail.Address{Local: "s", Domain: "s.test"}, Size: 1 << 10,
			To: []mail.Recipient{{Address: mail.Address{Local: "x", Domain: mail.Domain(fmt.Sprintf("d%d.test", i%domains))}}}}
		d, err := q.Create(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if err := q.accept(context.Background(), d, env); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAccept(b *testing.B) {
	q := newMemQueue(b, kv.NewMem())
	b.ResetTimer()
	fill(b, q, b.N, 10)
}

func BenchmarkHandOver(b *testing.B) {
	q := newMemQueue(b, kv.NewMem())
	fill(b, q, b.N, 1)
	b.ResetTimer()
	l, err := q.Lease("d0.test", "bench")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for item, ok := l.Next(); ok; item, ok = l.Next() {
		if err := l.Settle(context.Background(), item.Env.ID, outcomes(item, yes, "mx")); err != nil {
			b.Fatal(err)
		}
	}
	if q.Counts().Messages != 0 {
		b.Error("not all were handed over")
	}
}

func BenchmarkLoad100000(b *testing.B) {
	db := kv.NewMem()
	fill(b, newMemQueue(b, db), 100_000, 100)
	for b.Loop() {
		newMemQueue(b, db)
	}
}

// A held message must cost little memory: there may be very many.
func TestMemoryPerHeldMessage(t *testing.T) {
	n := int64(20_000)
	if testing.Short() {
		n = 5_000
	}
	db := kv.NewMem()
	fill(t, newMemQueue(t, db), int(n), 100)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	q := newMemQueue(t, db)
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
	t.Logf("%d bytes a message", per)
	if per > 250 {
		t.Errorf("%d bytes a message, want at most 250", per)
	}
	runtime.KeepAlive(q)
	runtime.KeepAlive(db)
}

// The same on the real spool and store, on a disk.
func BenchmarkLoad100000FromDisk(b *testing.B) {
	dir := b.TempDir()
	db, err := badgerkv.Open(filepath.Join(dir, "index"), badgerkv.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	sp, err := spool.Open(context.Background(), filepath.Join(dir, "mail"), db, spool.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer sp.Close()
	deps := newMemQueue(b, kv.NewMem()).deps
	q, err := New(context.Background(), spoolStore{sp}, db, deps)
	if err != nil {
		b.Fatal(err)
	}
	var senders sync.WaitGroup
	for range 100 {
		senders.Go(func() {
			for i := range 1000 {
				env := mail.Envelope{ID: mail.NewMessageID(time.Now()), Received: time.Now(), From: mail.Address{Local: "s", Domain: "s.test"},
					To: []mail.Recipient{{Address: mail.Address{Local: "x", Domain: mail.Domain(fmt.Sprintf("d%d.test", i%100))}}}}
				w, err := q.Create(context.Background())
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = w.Write([]byte(text))
				if err := q.Accept(context.Background(), w, env); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	senders.Wait()
	for b.Loop() {
		again, err := New(context.Background(), spoolStore{sp}, db, deps)
		if err != nil || again.Counts().Messages != 100_000 {
			b.Fatal(again.Counts(), err)
		}
	}
}
