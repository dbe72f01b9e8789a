// SPDX-License-Identifier: Apache-2.0

package calls

import (
	"slices"
	"sync"

	"restante/engine/mail"
	"restante/engine/release/link"
)

// A Tally counts what a call comes to. Its methods may be called concurrently.
type Tally struct {
	Link *link.Meter // that counts, too, and says why messages stay; nil: none

	mu      sync.Mutex               // guards what follows
	handed  map[mail.MessageID]int64 // sizes of the messages that have no outcome yet
	sum     Call                     // Messages, Bytes, Refused and InDoubt only
	failure string                   // why no message could be tried
}

// Handed is told of each message that is handed out.
func (t *Tally) Handed(it mail.Item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.handed == nil {
		t.handed = map[mail.MessageID]int64{}
	}
	t.handed[it.Env.ID] = it.Env.Size
}

// Settled is told of the outcomes that were stored. A message that is settled in parts
// counts once.
func (t *Tally) Settled(id mail.MessageID, outcomes []mail.Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	size, first := t.handed[id]
	if !first {
		return
	}
	delete(t.handed, id)
	if slices.ContainsFunc(outcomes, func(o mail.Outcome) bool { return o.Status == mail.Delivered || o.Reply.Phase == mail.AfterDot }) {
		t.Link.Sent(size)
	}
	switch {
	case slices.ContainsFunc(outcomes, func(o mail.Outcome) bool { return o.Status == mail.Delivered }):
		t.sum.Messages++
		t.sum.Bytes += size
	case slices.ContainsFunc(outcomes, func(o mail.Outcome) bool { return o.Reply.InDoubt() }):
		t.sum.InDoubt++
	case !slices.ContainsFunc(outcomes, func(o mail.Outcome) bool { return o.Status != mail.Failed }):
		t.sum.Refused++
	}
}

// Deferred is told why no message could be tried.
func (t *Tally) Deferred(r mail.Reply) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failure = r.Error()
}

// Of gives c with the counts; left is what waits on, and broken why it ended early, if
// it did.
func (t *Tally) Of(c Call, left int, broken error) Call {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.Messages, c.Bytes, c.Refused, c.InDoubt, c.Left = t.sum.Messages, t.sum.Bytes, t.sum.Refused, t.sum.InDoubt, left
	switch why := t.Link.Why(); {
	case broken != nil:
		c.Outcome = short("broken off: " + broken.Error())
	case left > 0 && why != "":
		c.Outcome = short(why)
	case t.failure != "":
		c.Outcome = short(t.failure)
	case left > 0:
		c.Outcome = "some stay"
	default:
		c.Outcome = "done"
	}
	return c
}

// short bounds what a peer may have said.
func short(s string) string {
	if len(s) > 300 {
		s = s[:300]
	}
	return string([]rune(s))
}
