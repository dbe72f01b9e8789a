// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"restante/engine/dsn"
	"restante/engine/mail"
	"restante/internal/kv"
)

var (
	errFault = errors.New("injected fault")
	errLost  = fmt.Errorf("the test's store has it no longer: %w", mail.ErrLost)
)

// faulty is a DB whose failAt-th call fails, counting from 0; -1: none.
type faulty struct {
	kv.DB

	mu     sync.Mutex
	calls  int
	failAt int
	broken bool // all commits fail
}

// failCommits has all commits fail, or none.
func (f *faulty) failCommits(fail bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = fail
}

// count is how often the store was asked.
func (f *faulty) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func (f *faulty) step() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.calls-1 == f.failAt {
		return errFault
	}
	return nil
}

func (f *faulty) Get(key []byte) ([]byte, bool, error) {
	if err := f.step(); err != nil {
		return nil, false, err
	}
	return f.DB.Get(key)
}

func (f *faulty) Commit(ctx context.Context, ops ...kv.Op) error {
	if err := f.step(); err != nil {
		return err
	}
	f.mu.Lock()
	fail := f.broken
	f.mu.Unlock()
	if fail {
		return errFault
	}
	return f.DB.Commit(ctx, ops...)
}

// memStore keeps bodies and envelopes in the DB that the queue uses.
type memStore struct {
	db kv.DB

	mu   sync.Mutex
	lost map[mail.MessageID]bool
}

// A memDraft is a message that is not committed yet.
type memDraft struct {
	bytes.Buffer
	store *memStore
	over  bool
}

func (d *memDraft) Size() int64       { return int64(d.Len()) }
func (d *memDraft) Reader() io.Reader { return bytes.NewReader(d.Bytes()) }
func (d *memDraft) Abort()            { d.over = true }

func (d *memDraft) Commit(ctx context.Context, env mail.Envelope, extra ...kv.Op) error {
	if d.over {
		return errors.New("the draft was used already")
	}
	d.over = true
	text, err := json.Marshal(env)
	if err != nil {
		return err
	}
	ops := []kv.Op{kv.Put([]byte("v/"+env.ID), text), kv.Put([]byte("b/"+env.ID), append([]byte(env.Top), d.Bytes()...))}
	if _, there, err := d.store.db.Get(ops[0].Key); err != nil || there {
		return errors.Join(err, errors.New("a message with this ID exists already"))
	}
	return d.store.db.Commit(ctx, append(ops, extra...)...)
}

type memReader struct{ *bytes.Reader }

func (memReader) Close() error { return nil }

func (m *memStore) Create(context.Context) (Draft, error) { return &memDraft{store: m}, nil }

func (m *memStore) read(kind string, id mail.MessageID) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lost[id] {
		return nil, errLost
	}
	text, ok, err := m.db.Get([]byte(kind + string(id)))
	if err == nil && !ok {
		err = errLost
	}
	return text, err
}

func (m *memStore) Open(id mail.MessageID) (io.ReadSeekCloser, error) {
	text, err := m.read("b/", id)
	if err != nil {
		return nil, err
	}
	return memReader{bytes.NewReader(text)}, nil
}

func (m *memStore) Envelope(id mail.MessageID) (env mail.Envelope, err error) {
	text, err := m.read("v/", id)
	if err != nil {
		return env, err
	}
	return env, json.Unmarshal(text, &env)
}

func (m *memStore) Scan(ctx context.Context) iter.Seq2[mail.Envelope, error] {
	return func(yield func(mail.Envelope, error) bool) {
		for p, err := range m.db.Scan(ctx, []byte("v/")) {
			var env mail.Envelope
			if err == nil {
				err = json.Unmarshal(p.Value, &env)
			}
			if !yield(env, err) || err != nil {
				return
			}
		}
	}
}

func (m *memStore) Remove(ctx context.Context, ids []mail.MessageID, extra ...kv.Op) error {
	ops := slices.Clone(extra)
	for _, id := range ids {
		ops = append(ops, kv.Del([]byte("v/"+id)), kv.Del([]byte("b/"+id)))
	}
	return m.db.Commit(ctx, ops...)
}

func (m *memStore) Messages() (n int) {
	for range m.db.Scan(context.Background(), []byte("v/")) {
		n++
	}
	return n
}

// A fixture is a queue with all that it needs, most of it fake.
type fixture struct {
	t     *testing.T
	db    *faulty
	store *memStore
	q     *Queue
	dep   Deps

	mu        sync.Mutex // guards what follows
	held      map[mail.Domain]bool
	frozen    map[mail.Domain]bool
	local     mail.Domain
	policy    Policy
	answer    func(l *Lease) // what an attempt does
	reports   []dsn.Report
	reportErr error
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	h := &fixture{t: t, db: &faulty{DB: kv.NewMem(), failAt: -1},
		held: map[mail.Domain]bool{}, frozen: map[mail.Domain]bool{}}
	h.store = &memStore{db: h.db, lost: map[mail.MessageID]bool{}}
	h.dep = Deps{
		Router: RouterFunc(func(d mail.Domain) RouteState {
			h.mu.Lock()
			defer h.mu.Unlock()
			return RouteState{Held: h.held[d], Local: d == h.local, Frozen: h.frozen[d]}
		}),
		Attempt: func(_ context.Context, l *Lease) {
			h.mu.Lock()
			answer := h.answer
			h.mu.Unlock()
			if answer != nil {
				answer(l)
			}
		},
		Report: func(_ context.Context, r dsn.Report) ([]byte, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.reportErr != nil {
				return nil, h.reportErr
			}
			r.MTA = "hub.test"
			text := dsn.Build(r)
			r.Message = nil
			h.reports = append(h.reports, r)
			return text, nil
		},
		Policy: func() Policy {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.policy
		},
	}
	h.reopen()
	return h
}

// countReports counts the reports so far, also while the queue runs.
// reportedFirst is what report n says of its first recipient.
func (h *fixture) reportedFirst(n int) dsn.RecipientStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reports[n].Recipients[0]
}

func (h *fixture) countReports() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.reports)
}

// reopen is a crash and a new start on what is on the disk.
func (h *fixture) reopen() {
	h.t.Helper()
	q, err := New(context.Background(), h.store, h.db, h.dep)
	if err != nil {
		h.t.Fatal(err)
	}
	h.q = q
}

// run makes attempts until the test's stop is called; in a bubble.
func (h *fixture) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.q.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			h.t.Errorf("Run = %v", err)
		}
	}
}

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var arrivals atomic.Int64

// envelope makes one from from, the rest are recipients; "x@y NOTIFY" gives
// one its NOTIFY.
func envelope(t testing.TB, from string, to ...string) mail.Envelope {
	t.Helper()
	at := time.Now()
	// Ordered also within one millisecond, which a real queue need not be.
	env := mail.Envelope{ID: mail.NewMessageID(at.Add(time.Duration(arrivals.Add(1)) * time.Millisecond)), From: address(t, from), Received: at}
	for _, s := range to {
		a, notify, _ := strings.Cut(s, " ")
		env.To = append(env.To, mail.Recipient{Address: address(t, a), Notify: notify})
	}
	return env
}

const text = "Subject: hello\r\n\r\nhello\r\n"

func (h *fixture) try(env mail.Envelope) error {
	d := &memDraft{store: h.store}
	d.WriteString(text)
	return h.q.Accept(context.Background(), d, env)
}

func (h *fixture) accept(from string, to ...string) mail.MessageID {
	h.t.Helper()
	env := envelope(h.t, from, to...)
	if err := h.try(env); err != nil {
		h.t.Fatal(err)
	}
	return env.ID
}

func (h *fixture) setAnswer(f func(l *Lease)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = f
}

// always gives an answer that settles everything with one reply.
func always(r mail.Reply, host string) func(l *Lease) {
	return func(l *Lease) {
		for item, ok := l.Next(); ok; item, ok = l.Next() {
			_ = l.Settle(context.Background(), item.Env.ID, outcomes(item, r, host))
		}
	}
}

func outcomes(item mail.Item, r mail.Reply, host string) (out []mail.Outcome) {
	for _, to := range item.To {
		out = append(out, mail.OutcomeOf(to.Address, r, host))
	}
	return out
}

var (
	yes   = mail.Reply{Code: 250, Text: "queued"}
	later = mail.Reply{Code: 451, Enhanced: "3.0", Text: "try again later"}
	no    = mail.Reply{Code: 550, Enhanced: "1.1", Text: "no such user"}
)

func (d *destination) countShared() (n int) {
	for _, e := range d.entries {
		if e.is(shared) && !e.is(settled) {
			n++
		}
	}
	return n
}

// check holds the index to the disk and to itself.
func (h *fixture) check() {
	h.t.Helper()
	if err := checkQueue(h.q); err != nil {
		h.t.Fatal(err)
	}
}

func checkQueue(q *Queue) error {
	stored := map[string]record{}
	for p, err := range q.db.Scan(context.Background(), []byte(entryPrefix)) {
		if err != nil {
			return err
		}
		rec, err := decodeRecord(p.Value)
		if err != nil {
			return fmt.Errorf("%q: %w", p.Key, err)
		}
		if len(rec.open) > 0 {
			stored[string(p.Key)] = rec
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	ids := map[mail.MessageID]int{}
	var total int64
	for name, d := range q.dests {
		if d.name != name || d.live() == 0 && d.owner == nil {
			return fmt.Errorf("destination %s stands without reason", name)
		}
		live, gones, still, due := 0, 0, 0, 0
		var size int64
		for i, e := range d.entries {
			if i > 0 && d.entries[i-1].id > e.id {
				return fmt.Errorf("%s: list out of order", name)
			}
			if e.is(settled) {
				gones++
				continue
			}
			live++
			size += e.size
			if ids[e.id]++; ids[e.id] == 1 {
				total += e.size
			}
			if e.is(frozen | unreadable) {
				still++
			}
			if e.idle() {
				due++
			}
			if e.idle() != (e.heapIndex >= 0) || e.heapIndex >= 0 && d.due[e.heapIndex] != e {
				return fmt.Errorf("%s %s: place %d, flags %b", name, e.id, e.heapIndex, e.flags)
			}
			rec, ok := stored[string(entryKey(e.id, name))]
			if !ok && !e.is(unreadable) {
				return fmt.Errorf("%s %s: not stored", name, e.id)
			}
			if ok && (rec.flags&frozen != e.flags&frozen || rec.attempts != int(e.attempts) || rec.size != e.size) {
				return fmt.Errorf("%s %s: stored %+v, index %+v", name, e.id, rec, *e)
			}
			delete(stored, string(entryKey(e.id, name)))
		}
		if shared := d.countShared(); shared != d.shared {
			return fmt.Errorf("%s: %d shared entries, kept %d", name, shared, d.shared)
		}
		if live != d.live() || gones != d.settled || still != d.parked || size != d.bytes || due != len(d.due) {
			return fmt.Errorf("%s: counted %d %d %d %d %d, kept %d %d %d %d %d",
				name, live, gones, still, size, due, d.live(), d.settled, d.parked, d.bytes, len(d.due))
		}
	}
	if len(stored) > 0 {
		return fmt.Errorf("stored, not in the index: %v", stored)
	}
	if len(ids) != q.total.Messages || total != q.total.Bytes {
		return fmt.Errorf("%d messages of %d octets, kept %+v", len(ids), total, q.total)
	}
	for p, err := range q.db.Scan(context.Background(), []byte(countPrefix)) {
		if err != nil {
			return err
		}
		id := mail.MessageID(p.Key[len(countPrefix):])
		if n := decodeCount(p.Value); n < 2 || ids[id] != n {
			return fmt.Errorf("%s: %d entries, stored count %d", id, ids[id], n)
		}
		delete(ids, id)
	}
	for id, n := range ids {
		if n > 1 {
			return fmt.Errorf("%s: %d entries and no stored count", id, n)
		}
	}
	return nil
}
