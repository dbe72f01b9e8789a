// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"restante/engine/dsn"
	"restante/engine/mail"
	"restante/internal/kv"
)

// Reports is the destination of reports that are not made yet. A message has an
// entry in it while recipients of it have an outcome that its sender is to be
// told, and others may have one soon: the sender gets one report about all of
// them. The entry is stored in one commit with the outcome, and goes in one
// commit with the report. No address has it as its domain, and no setting holds
// it.
const Reports mail.Domain = "@report"

// A recipientStatus is what a report will state about one recipient.
type recipientStatus struct {
	index int // in the To of the envelope
	dsn.RecipientStatus
}

// maxKeptReply bounds the text of a reply that waits for its report: with each
// further outcome, all of them are stored anew.
const maxKeptReply = 300

// Collected is what becomes of the message's entry in Reports.
type collected struct {
	key    []byte
	before []byte // as it is stored; nil: there is none
	rec    record // as it is to be; without told there is nothing to report
	due    bool   // the report is made in this commit
	same   bool   // nothing is added or taken away
}

// kept reports whether the entry is there after the commit.
func (c collected) kept() bool { return len(c.rec.told) > 0 && !c.due }

// entries is by how much the count of the message's entries changes.
func (c collected) entries() int {
	switch {
	case c.kept() && c.before == nil:
		return 1
	case !c.kept() && c.before != nil:
		return -1
	}
	return 0
}

func (c collected) ops() []kv.Op {
	switch {
	case c.same && !c.due:
		return nil
	case c.kept():
		return []kv.Op{kv.Must(c.key, c.before), kv.Put(c.key, c.rec.encode())}
	case c.before != nil:
		return []kv.Op{kv.Must(c.key, c.before), kv.Del(c.key)}
	}
	return nil
}

// collect adds what v has to report to what the message's entry in Reports has.
// The message had was entries, and has left of them without a change of that
// one. The report is made at once where nothing else can come to it; otherwise,
// or where it could not be made, it is due later.
func (q *Queue) collect(t *leasedMessage, v *decision, was, left int, postponed error) (c collected, err error) {
	c.key = entryKey(t.entry.id, Reports)
	c.rec = record{received: t.rec.received, size: t.rec.size, next: now() + int64(q.policy().collect(now()-t.rec.received))}
	if was > 1 {
		before, ok, err := q.db.Get(c.key)
		if err != nil {
			return c, fmt.Errorf("queue %s: %w", t.entry.id, err)
		}
		if ok {
			c.before = before
			left--
			if there, err := decodeRecord(before); err == nil {
				c.rec = there // a damaged one is replaced
			}
		}
	}
	n := len(c.rec.open)
	c.rec = c.rec.with(v)
	c.same = len(v.reportable) == 0 && len(c.rec.open) == n && n > 0
	alone := left == 0 || left == 1 && len(v.rec.open) > 0 && !v.unfinished
	c.due = len(c.rec.told) > 0 && alone && postponed == nil
	if postponed != nil {
		c.rec.next = now() + int64(q.policy().interval(1))
	}
	return c, nil
}

// with adds the statuses that v has to report. That of a recipient whose outcome
// has changed since goes.
func (r record) with(v *decision) record {
	out := r
	out.open, out.told = nil, nil
	for i, n := range r.open {
		if !slices.Contains(v.ended, n) {
			out.open, out.told = append(out.open, n), append(out.told, r.told[i])
		}
	}
	for _, s := range v.reportable {
		s.Reply.Text, s.Reply.Cause = cut(s.Reply.Text, maxKeptReply), nil
		out.open, out.told = append(out.open, s.index), append(out.told, s.RecipientStatus)
		out.last = lastReply{s.Tried.UnixNano(), s.Reply, s.Host}
	}
	return out
}

// enterReports brings the entry in Reports of e's message in line with what was
// committed. The caller holds q.mu.
func (q *Queue) enterReports(e *entry, c collected) {
	if c.before == nil && !c.kept() {
		return
	}
	d := q.destination(Reports)
	there := d.find(e.id)
	switch {
	case !c.kept():
		q.removeEntry(there, false)
	case there == nil:
		q.addEntry(d, &entry{id: e.id, received: e.received, size: e.size, next: c.rec.next, flags: shared})
		e.dest.share(e)
	default:
		there.next = c.rec.next
		q.letGo(there, 0, unreadable)
		q.reschedule(d)
	}
}

// lockMessage keeps other entries of e's message from being settled until unlock
// is called: what is stored and what the index has change in the same order.
func (q *Queue) lockMessage(e *entry) (unlock func()) {
	q.mu.Lock()
	alone := !e.is(shared)
	q.mu.Unlock()
	if alone {
		return func() {}
	}
	mu := &q.settling[int(e.id[len(e.id)-1])%len(q.settling)]
	mu.Lock()
	return mu.Unlock
}

// makeReports makes the reports that are due.
func (q *Queue) makeReports(ctx context.Context, l *Lease) {
	ctx = context.WithoutCancel(ctx)
	for e := l.claim(); e != nil; e = l.claim() {
		err := q.makeReport(ctx, e)
		if q.deps.Stored != nil {
			q.deps.Stored(err)
		}
		q.mu.Lock()
		l.owner.settled++
		q.mu.Unlock()
	}
}

// makeReport makes the report of the claimed entry e of Reports. After an error
// e is tried again later.
func (q *Queue) makeReport(ctx context.Context, e *entry) error {
	defer q.lockMessage(e)()
	for {
		err := q.tryReport(ctx, e)
		if errors.Is(err, kv.ErrMoved) {
			continue
		}
		if err != nil {
			q.markUnreadable(e, err)
		}
		return err
	}
}

func (q *Queue) tryReport(ctx context.Context, e *entry) error {
	q.mu.Lock()
	made := e.is(settled) // with the last of the others
	q.mu.Unlock()
	if made {
		return nil
	}
	rec, env, err := q.load(e)
	if err != nil {
		return err
	}
	was, err := q.entriesLeft(e.id)
	if err != nil {
		return err
	}
	report, err := q.prepareReport(ctx, env, rec)
	if err != nil {
		return err
	}
	ops := append(changeCount(e.id, was, was-1), kv.Must(e.key(), rec.encode()))
	if err := q.storeEntry(ctx, e, record{}, was <= 1, report, ops); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.removeEntry(e, was <= 1)
	return nil
}

// flushReports makes all reports that wait for further outcomes.
func (q *Queue) flushReports(ctx context.Context) error {
	_, err := q.act(ctx, Filter{Domain: Reports}, false, act{name: "report", do: func(ctx context.Context, entries []*entry) error {
		for _, e := range entries {
			if err := q.makeReport(ctx, e); err != nil {
				return err
			}
		}
		return nil
	}})
	return err
}

// A pendingReport is a report that is not stored yet.
type pendingReport struct {
	env   mail.Envelope
	text  []byte
	about mail.MessageID
	told  int // recipients that it is about
}

// prepareReport writes the report of rec on a message to its sender, or on bad mail
// to whom the policy names; nil if there is nobody.
func (q *Queue) prepareReport(ctx context.Context, about mail.Envelope, rec record) (*pendingReport, error) {
	to, copies := about.From, q.policy().Copies
	if to.IsNull() {
		// RFC 5321 §6.1: a copy that cannot be delivered would be bad mail, too.
		to, copies = q.policy().BadMail, mail.Address{}
	}
	if to.IsNull() {
		return nil, nil
	}
	id := mail.NewMessageID(time.Now())
	report := dsn.Report{ID: id, At: time.Now(), To: to, About: about}
	for i, s := range rec.told {
		s.To = about.To[rec.open[i]]
		report.Recipients = append(report.Recipients, s)
	}
	if body, err := q.store.Open(about.ID); err == nil {
		defer body.Close()
		report.Message = body // an unreadable message is reported without its text
	}
	text, err := q.deps.Report(ctx, report)
	if err != nil {
		return nil, fmt.Errorf("queue %s: report: %w", about.ID, err)
	}
	env := mail.Envelope{ID: id, Received: report.At, Size: int64(len(text)),
		Session: about.Session, // grep for it finds the report, too
		// RFC 3461 §6.1: so that no report comes of it.
		To: []mail.Recipient{{Address: to, Notify: "NEVER"}}}
	if !to.ASCII() { // the report names it
		env.UTF8, env.UTF8Header, env.Body8Bit = true, true, true
	}
	failed := slices.ContainsFunc(rec.told, func(s dsn.RecipientStatus) bool { return s.Action == dsn.Failed })
	if failed && !copies.IsNull() && copies != to {
		if err := q.CheckQuota(copies.Domain, env.Size); err != nil { // the sender is told all the same
			q.deps.Journal.Dropped(ctx, env, copies, err.Error())
			return &pendingReport{env, text, about.ID, len(rec.told)}, nil
		}
		env.To = append(env.To, mail.Recipient{Address: copies, Notify: "NEVER"})
	}
	return &pendingReport{env, text, about.ID, len(rec.told)}, nil
}

// write commits ops, together with the report if there is one.
func (q *Queue) write(ctx context.Context, report *pendingReport, ops []kv.Op) error {
	if report == nil {
		return q.db.Commit(ctx, ops...)
	}
	d, err := q.store.Create(ctx)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	defer d.Abort()
	if _, err := d.Write(report.text); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := q.accept(ctx, d, report.env, ops...); err != nil {
		return err
	}
	q.deps.Journal.Report(ctx, report.env, report.about, report.env.To[0].Address, report.told)
	return nil
}
