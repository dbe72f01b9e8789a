// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/engine/delivery/transfer"
	"restante/engine/dsn"
	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/release/calls"
	"restante/engine/release/link"
	"restante/engine/spool"
	"restante/internal/kv/badgerkv"
	"restante/internal/testpeer"
)

// diskQueue is the real queue, with every domain held.
type diskQueue struct {
	*queue.Queue
}

// spoolStore is a spool as a queue's Store.
type spoolStore struct{ *spool.Spool }

func (s spoolStore) Create(ctx context.Context) (queue.Draft, error) { return s.Spool.Create(ctx) }

func (q diskQueue) Waiting(d mail.Domain, _ bool) ([]Waiting, error) {
	if n := q.Count(d); n > 0 {
		return []Waiting{{d, n}}, nil
	}
	return nil, nil
}

func (q diskQueue) Lease(ctx context.Context, d mail.Domain, verb, account string, _ *link.Meter) (transfer.Lease, error) {
	l, err := q.TakeOver(ctx, d, verb, account)
	if busy := (queue.ErrBusy{}); errors.As(err, &busy) {
		return nil, ErrBusy
	}
	return l, err
}

func (q diskQueue) Trigger(d mail.Domain, _ bool, _ calls.Call) error {
	q.Queue.Trigger(d)
	return nil
}

func onDisk(t testing.TB) diskQueue {
	t.Helper()
	dir := t.TempDir()
	db, err := badgerkv.Open(dir+"/index", badgerkv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sp, err := spool.Open(t.Context(), dir+"/queue", db, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(sp.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	q, err := queue.New(t.Context(), spoolStore{sp}, db, queue.Deps{
		Router:  queue.RouterFunc(func(mail.Domain) queue.RouteState { return queue.RouteState{Held: true} }),
		Attempt: func(context.Context, *queue.Lease) { t.Error("a held domain was tried") },
		Report:  func(context.Context, dsn.Report) ([]byte, error) { return nil, errors.New("no report is due") },
	})
	if err != nil {
		t.Fatal(err)
	}
	return diskQueue{q}
}

// fill takes in n messages for a.test, many at a time.
func (q diskQueue) fill(t testing.TB, n int, body func(int) string) {
	t.Helper()
	var writers sync.WaitGroup
	for w := range 32 {
		writers.Go(func() {
			for i := w; i < n; i += 32 {
				if err := q.take(t.Context(), body(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
}

func (q diskQueue) take(ctx context.Context, body string) error {
	w, err := q.Create(ctx)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, body); err != nil {
		return err
	}
	now := time.Now()
	return q.Accept(ctx, w, mail.Envelope{
		ID: mail.NewMessageID(now), Received: now, Size: int64(len(body)),
		From: mail.Address{Local: "s", Domain: "from.test"},
		To:   []mail.Recipient{{Address: mail.Address{Local: "a", Domain: "a.test"}}},
	})
}

func TestBrokenLineOverTheRealQueueLosesAndRepeatsNothing(t *testing.T) {
	q := onDisk(t)
	const n = 300
	q.fill(t, n, func(i int) string { return fmt.Sprintf("message %d\r\n", i) })
	d := New(q, Options{})
	seen := map[string]int{}
	for calls := 1; q.Count("a.test") > 0; calls++ {
		if calls > n {
			t.Fatal("the queue does not empty")
		}
		dots := 0
		mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
			if line == "." {
				if dots++; dots == 71 {
					return "HANGUP"
				}
			}
			return ""
		}})
		call(t, d, "anna", mx.Serve)
		for _, m := range mx.Messages() {
			seen[string(m.Body)]++
		}
	}
	for body, times := range seen {
		if times != 1 {
			t.Errorf("%q came %d times", body, times)
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d messages came", len(seen), n)
	}
}

// BenchmarkTurnFromDisk is the whole way out: queue and spool on the disk, each
// message settled durably.
func BenchmarkTurnFromDisk(b *testing.B) {
	q := onDisk(b)
	q.fill(b, b.N, func(int) string { return benchBody })
	d := New(q, Options{})
	b.ResetTimer()
	call(b, d, "anna", func(c net.Conn) {
		l := &testpeer.Client{Conn: c, R: bufio.NewReader(c)}
		if err := l.Receive(nil); err != nil {
			b.Error(err)
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	if left := q.Count("a.test"); left != 0 || strings.Count(benchBody, "\n") != 64 {
		b.Errorf("%d left", left)
	}
}
