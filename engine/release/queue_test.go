// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"restante/engine/delivery/transfer"
	"restante/engine/mail"
	"restante/engine/release/calls"
	"restante/engine/release/link"
)

var errStore = errors.New("the store is gone")

// memQueue holds mail in memory.
type memQueue struct {
	mu        sync.Mutex // guards what follows
	mail      map[mail.Domain][]mail.Item
	leased    map[mail.Domain]bool
	triggered []mail.Domain
	byOwner   []mail.Domain // of triggered
	settled   map[mail.MessageID][]mail.Outcome
	next      int
	fail      map[string]error // by method
}

func newQueue() *memQueue {
	return &memQueue{mail: map[mail.Domain][]mail.Item{}, leased: map[mail.Domain]bool{},
		settled: map[mail.MessageID][]mail.Outcome{}, fail: map[string]error{}}
}

type closer struct{ io.ReadSeeker }

func (closer) Close() error { return nil }

// hold adds messages to users a and b of d.
func (q *memQueue) hold(d mail.Domain, bodies ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, body := range bodies {
		q.next++
		env := mail.Envelope{
			ID: mail.MessageID(fmt.Sprintf("%020d", q.next)), From: mail.Address{Local: "s", Domain: "from.test"}, Size: int64(len(body)),
			To: []mail.Recipient{{Address: mail.Address{Local: "a", Domain: d}}, {Address: mail.Address{Local: "b", Domain: d}}},
		}
		q.mail[d] = append(q.mail[d], mail.Item{Env: env, To: env.To, Open: func() (io.ReadSeekCloser, error) {
			return closer{strings.NewReader(body)}, nil
		}})
	}
}

// left gives the recipients that still wait in d.
func (q *memQueue) left(d mail.Domain) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range q.mail[d] {
		n += len(it.To)
	}
	return n
}

func (q *memQueue) Waiting(d mail.Domain, below bool) (out []Waiting, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, items := range q.mail {
		if len(items) > 0 && (name == d || below && name.Below(d)) {
			out = append(out, Waiting{name, len(items)})
		}
	}
	slices.SortFunc(out, func(a, b Waiting) int { return strings.Compare(string(a.Domain), string(b.Domain)) })
	return out, q.fail["Waiting"]
}

func (q *memQueue) Trigger(d mail.Domain, owner bool, _ calls.Call) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.leased[d] {
		return ErrBusy
	}
	if err := q.fail["Trigger"]; err != nil {
		return err
	}
	q.triggered = append(q.triggered, d)
	if owner {
		q.byOwner = append(q.byOwner, d)
	}
	return nil
}

func (q *memQueue) Lease(_ context.Context, d mail.Domain, _, _ string, limits *link.Meter) (transfer.Lease, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.fail["Lease"]; err != nil {
		return nil, err
	}
	if q.leased[d] {
		return nil, fmt.Errorf("lease %s: %w", d, ErrBusy)
	}
	q.leased[d] = true
	return &memLease{q: q, d: d, todo: slices.Clone(q.mail[d]), limits: limits}, nil
}

type memLease struct {
	q      *memQueue
	d      mail.Domain
	todo   []mail.Item
	limits *link.Meter
	closed bool
}

func (l *memLease) Next() (mail.Item, bool) {
	for len(l.todo) > 0 {
		it := l.todo[0]
		l.todo = l.todo[1:]
		if l.limits.Take(it.Env.Size) {
			return it, true
		}
	}
	return mail.Item{}, false
}

func (l *memLease) Until(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

func (l *memLease) Defer(context.Context, mail.Reply, string) error {
	return errors.New("a handover defers nothing")
}

func (l *memLease) Settle(_ context.Context, id mail.MessageID, outcomes []mail.Outcome) error {
	q := l.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.closed {
		return errors.New("settled after the lease ended")
	}
	if err := q.fail["Settle"]; err != nil {
		return err
	}
	q.settled[id] = append(q.settled[id], outcomes...)
	for i := range q.mail[l.d] {
		it := &q.mail[l.d][i]
		if it.Env.ID != id {
			continue
		}
		it.To = slices.DeleteFunc(slices.Clone(it.To), func(r mail.Recipient) bool {
			return slices.ContainsFunc(outcomes, func(o mail.Outcome) bool { return o.To == r.Address && o.Status != mail.Deferred })
		})
	}
	q.mail[l.d] = slices.DeleteFunc(q.mail[l.d], func(it mail.Item) bool { return len(it.To) == 0 })
	return nil
}

func (l *memLease) Close() {
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	if !l.closed {
		l.closed = true
		delete(l.q.leased, l.d)
	}
}

// busy says whether anything is leased.
func (q *memQueue) busy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.leased) > 0
}

// A hold is what is set for a held domain.
type hold struct {
	Accounts []string // that may collect
	Etrn     bool     // everybody may ETRN; else the accounts
}

func (h hold) has(account string) bool {
	return slices.ContainsFunc(h.Accounts, func(a string) bool { return strings.EqualFold(a, account) })
}

// rules are held domains by key, "*." keys for what is below.
type rules map[mail.Domain]hold

func (r rules) find(d mail.Domain) (hold, bool) {
	if h, ok := r[d]; ok {
		return h, true
	}
	rest := strings.TrimPrefix(string(d), "*.")
	if rest != string(d) {
		return hold{}, false
	}
	for {
		_, up, ok := strings.Cut(rest, ".")
		if !ok {
			return hold{}, false
		}
		if h, ok := r[mail.Domain("*."+up)]; ok {
			return h, true
		}
		rest = up
	}
}

func (r rules) MayEtrn(d mail.Domain, account string, _ netip.Addr) (owner bool, err error) {
	h, ok := r.find(d)
	if !ok || !h.Etrn && !h.has(account) {
		return false, errors.New("not for " + account)
	}
	return h.has(account), nil
}

func (r rules) MayCollect(account string, d mail.Domain) bool {
	h, _ := r.find(d)
	return h.has(account)
}

func (r rules) TurnDomains(account string) (out []mail.Domain) {
	for d, h := range r {
		if h.has(account) {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return out
}
