// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"iter"
	"time"

	"restante/engine/mail"
	"restante/engine/queue/heading"
)

// A CatalogueLine tells what a message is, for a choice among many.
type CatalogueLine struct {
	ID       mail.MessageID `json:"id"`
	From     string         `json:"from"` // of the header, else of the envelope
	Subject  string         `json:"subject"`
	Size     int64          `json:"size"`
	Age      int64          `json:"age"` // seconds since it came
	Priority int8           `json:"priority"`
}

// Catalogue yields a line for each message for d, in the order of arrival. It holds no
// lock between steps, and of each message it reads the header alone. What cannot be read
// has no subject.
func (q *Queue) Catalogue(ctx context.Context, d mail.Domain) iter.Seq2[CatalogueLine, error] {
	return func(yield func(CatalogueLine, error) bool) {
		at := time.Now()
		for _, e := range q.entriesIn(d) {
			if err := context.Cause(ctx); err != nil {
				yield(CatalogueLine{}, err)
				return
			}
			if one, ok := q.catalogueLine(e, at); ok && !yield(one, nil) {
				return
			}
		}
	}
}

func (q *Queue) catalogueLine(e *entry, at time.Time) (c CatalogueLine, ok bool) {
	c = CatalogueLine{ID: e.id, Size: e.size, Age: int64(at.Sub(e.id.Time()) / time.Second), Priority: e.priority}
	if text, err := q.store.Open(e.id); err == nil {
		c.From, c.Subject, _ = heading.Read(text)
		text.Close()
	}
	if c.From == "" {
		if env, err := q.store.Envelope(e.id); err == nil {
			c.From = "<" + env.From.String() + ">"
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return c, !e.is(settled)
}

// Above counts the messages for d that are larger than size.
func (q *Queue) Above(d mail.Domain, size int64) (n int, octets int64) {
	for _, e := range q.entriesIn(d) {
		if e.size > size {
			n, octets = n+1, octets+e.size
		}
	}
	return n, octets
}

// A Summary is what the messages for a destination come to, beside their number.
type Summary struct {
	Largest int64 // octets
	InDoubt int   // messages that a host has had whole, and not answered for
}

// Summary reads the entries of d from the store: it is for one destination that an
// administrator looks at.
func (q *Queue) Summary(ctx context.Context, d mail.Domain) (s Summary, err error) {
	for p, err := range q.db.Scan(ctx, entryKey("", d)) {
		if err != nil {
			return s, err
		}
		rec, err := decodeRecord(p.Value)
		if err != nil || len(rec.open) == 0 {
			continue
		}
		if s.Largest = max(s.Largest, rec.size); rec.last.reply.InDoubt() {
			s.InDoubt++
		}
	}
	return s, nil
}
