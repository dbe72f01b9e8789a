// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"cmp"
	"container/heap"
	"math"
	"slices"

	"restante/engine/mail"
)

// never is later than any time.
const never int64 = math.MaxInt64

// An entry is one message on its way to one destination. It has only what
// decisions need, because a queue may have a million; the rest is in the store.
type entry struct {
	id        mail.MessageID
	dest      *destination
	received  int64
	size      int64
	next      int64 // when it may be tried; 0: at once
	heapIndex int32 // in dest.due; -1: none
	attempts  uint16
	flags     uint8
	priority  int8
}

func (e *entry) is(flag uint8) bool { return e.flags&flag != 0 }

// idle reports whether a lease may take e.
func (e *entry) idle() bool { return e.flags&(frozen|unreadable|claimed|settled) == 0 }

// ages reports whether e leaves the queue in time: what waits for an administrator does
// not, unless it is kept until then.
func (e *entry) ages() bool { return !e.is(frozen|unreadable) || e.is(kept) }

// onHold reports whether the time that the sender has asked for (RFC 4865) is still to
// come.
func (e *entry) onHold() bool { return e.is(postdated) && e.attempts == 0 && e.next > now() }

// setEnvelope takes from an envelope what decides about the order and the time. The entry
// has its destination.
func (e *entry) setEnvelope(env *mail.Envelope) {
	e.priority = env.Priority
	if e.priority > 0 {
		e.dest.urgent = max(e.dest.urgent, e.id.Time().UnixNano())
	}
	if !env.HoldUntil.IsZero() {
		e.flags |= postdated
	}
	d := e.dest
	if env.By.At.IsZero() || d.name == Badmail || d.name == Reports {
		return
	}
	if d.deadlines == nil {
		d.deadlines = map[*entry]mail.Deadline{}
	}
	d.deadlines[e] = env.By
}

// deadline is that of e, or none.
func (e *entry) deadline() mail.Deadline { return e.dest.deadlines[e] }

// A destination has the entries for one domain, in the order of arrival and by
// due time.
type destination struct {
	name      mail.Domain
	entries   []*entry // by ID; settled ones stay until they are enough to compact
	settled   int      // of entries
	parked    int      // of entries, those that are frozen or unreadable
	shared    int      // of entries, those that are live and shared
	bytes     int64
	group     *group                   // that counts its entries, too; nil: none does
	due       dueHeap                  // the idle entries
	overdue   int64                    // when an entry is late or expires next; 0: not known
	urgent    int64                    // arrival of the newest entry, settled or not, of a positive priority
	wait      int64                    // how long an entry may wait, by the settings that were seen last
	graceEnd  int64                    // see Policy.graceEnd
	deadlines map[*entry]mail.Deadline // of the entries that have one
	backoff   backoff
	pause     int64      // no attempt is made before, also for mail that expires: one has come to nothing
	owner     *ownership // nil: not leased
	triggered bool       // to be attempted once, held or not
	byOwner   bool       // triggered by the owner of the mail
	agenda    schedule
}

// A schedule is a destination's place in the agenda.
type schedule struct {
	wake  int64
	index int // -1: none
}

// live is the number of entries that are not settled.
func (d *destination) live() int { return len(d.entries) - d.settled }

// count is the number of live entries that are not parked.
func (d *destination) count() int { return d.live() - d.parked }

// newest is the last entry that is not settled, or nil.
func (d *destination) newest() *entry {
	for _, e := range slices.Backward(d.entries) {
		if !e.is(settled) {
			return e
		}
	}
	return nil
}

func compareID(e *entry, id mail.MessageID) int { return cmp.Compare(e.id, id) }

// after is the index of the first entry whose ID is above id.
func (d *destination) after(id mail.MessageID) int {
	i, _ := slices.BinarySearchFunc(d.entries, id, compareID)
	for i < len(d.entries) && d.entries[i].id == id {
		i++ // a settled entry may precede a new one with the same ID
	}
	return i
}

// find returns the entry of message id, or nil.
func (d *destination) find(id mail.MessageID) *entry {
	i, _ := slices.BinarySearchFunc(d.entries, id, compareID)
	for ; i < len(d.entries) && d.entries[i].id == id; i++ {
		if !d.entries[i].is(settled) {
			return d.entries[i]
		}
	}
	return nil
}

// oldest returns the first live entry, or nil.
func (d *destination) oldest() *entry {
	// Settled entries gather at the front; dropping them here keeps the next
	// call short.
	for len(d.entries) > 0 && d.entries[0].is(settled) {
		d.entries[0] = nil
		d.entries = d.entries[1:]
		d.settled--
	}
	if len(d.entries) == 0 {
		return nil
	}
	return d.entries[0]
}

// add inserts the new entry e, most often at the end.
func (d *destination) add(e *entry) {
	e.dest, e.heapIndex = d, -1
	if n := len(d.entries); n == 0 || d.entries[n-1].id < e.id {
		d.entries = append(d.entries, e)
	} else {
		d.entries = slices.Insert(d.entries, d.after(e.id), e)
	}
	d.bytes += e.size
	if d.group != nil {
		d.group.add(1, e.size)
	}
	if e.is(frozen | unreadable) {
		d.parked++
	}
	if e.is(shared) {
		d.shared++
	}
	d.updateDue(e)
}

// share marks the live entry e as shared.
func (d *destination) share(e *entry) {
	if !e.is(shared) {
		e.flags |= shared
		d.shared++
	}
}

// updateDue brings the place of e among the due entries in line with its flags.
func (d *destination) updateDue(e *entry) {
	switch {
	case e.idle() && e.heapIndex < 0:
		heap.Push(&d.due, e)
	case e.idle():
		heap.Fix(&d.due, int(e.heapIndex))
	case e.heapIndex >= 0:
		heap.Remove(&d.due, int(e.heapIndex))
	}
}

// setFlags sets and clears flags of e. What lets e go is for [Queue.letGo].
func (d *destination) setFlags(e *entry, set, clear uint8) {
	was := e.is(frozen | unreadable)
	e.flags = e.flags&^clear | set
	if now := e.is(frozen | unreadable); now != was {
		if now {
			d.parked++
		} else {
			d.parked--
		}
	}
	d.updateDue(e)
}

// remove marks e as settled and drops it.
func (d *destination) remove(e *entry) {
	d.setFlags(e, settled, frozen|unreadable)
	delete(d.deadlines, e)
	d.bytes -= e.size
	if d.group != nil {
		d.group.add(-1, -e.size)
	}
	if e.is(shared) {
		d.shared--
	}
	d.settled++
	if d.settled > 32 && d.settled > len(d.entries)/2 {
		// A new slice, so that the memory of the old one is freed.
		kept := make([]*entry, 0, len(d.entries)-d.settled)
		for _, e := range d.entries {
			if !e.is(settled) {
				kept = append(kept, e)
			}
		}
		d.entries, d.settled = kept, 0
	}
}

// A dueHeap has the entry that is due first at its front; of entries due at the
// same time, the one of the higher priority, and of these the older.
type dueHeap []*entry

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if h[i].next != h[j].next {
		return h[i].next < h[j].next
	}
	if h[i].priority != h[j].priority {
		return h[i].priority > h[j].priority
	}
	return h[i].id < h[j].id
}
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapIndex, h[j].heapIndex = int32(i), int32(j)
}
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.heapIndex = int32(len(*h))
	*h = append(*h, e)
}
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.heapIndex = -1
	return e
}

// An agenda has the destination with the earliest wake time at its front.
type agenda []*destination

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].agenda.wake < a[j].agenda.wake }
func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].agenda.index, a[j].agenda.index = i, j
}
func (a *agenda) Push(x any) {
	d := x.(*destination)
	d.agenda.index = len(*a)
	*a = append(*a, d)
}
func (a *agenda) Pop() any {
	old := *a
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*a = old[:len(old)-1]
	d.agenda.index = -1
	return d
}

// set puts d at wake, or removes it if wake is never.
func (a *agenda) set(d *destination, wake int64) {
	d.agenda.wake = wake
	switch {
	case wake == never && d.agenda.index >= 0:
		heap.Remove(a, d.agenda.index)
	case wake == never:
	case d.agenda.index < 0:
		heap.Push(a, d)
	default:
		heap.Fix(a, d.agenda.index)
	}
}
