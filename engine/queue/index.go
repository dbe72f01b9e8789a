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

// An entry is one message on its way to one destination, as far as deciding
// about it needs memory: what else there is stays in the store. Kept small,
// for there may be a million.
type entry struct {
	id        mail.MessageID
	dest      *destination
	received  int64
	size      int64
	next      int64 // when it may be tried; 0: at once
	heapIndex int32 // in at.due; -1: not there
	attempts  uint16
	flags     uint8
}

func (e *entry) is(flag uint8) bool { return e.flags&flag != 0 }

// idle says that e may be handed out.
func (e *entry) idle() bool { return e.flags&(frozen|unreadable|claimed|settled) == 0 }

// A destination has the entries for one domain, in the order of arrival and by
// the time that each is due.
type destination struct {
	name      mail.Domain
	entries   []*entry // by id; entries that are gone stay until enough of them are
	settled   int      // how many of list are
	parked    int      // how many are frozen or set aside
	bytes     int64
	due       dueHeap // of those that are idle
	backoff   backoff
	owner     *ownership // who has it leased, or nil
	triggered bool       // seek be tried once, held or not
	agenda    schedule
}

// A slot is a destination's place in the agenda.
type schedule struct {
	wake  int64
	index int // -1: not there
}

// live is how many messages there are.
func (d *destination) live() int { return len(d.entries) - d.settled }

// count is how many of them may go.
func (d *destination) count() int { return d.live() - d.parked }

func compareID(e *entry, id mail.MessageID) int { return cmp.Compare(e.id, id) }

// after is the place in the list of the first entry whose id is above id.
func (d *destination) after(id mail.MessageID) int {
	i, _ := slices.BinarySearchFunc(d.entries, id, compareID)
	for i < len(d.entries) && d.entries[i].id == id {
		i++ // one that is gone, and one that came back under its id
	}
	return i
}

// find gives the entry of message id, or nil.
func (d *destination) find(id mail.MessageID) *entry {
	i, _ := slices.BinarySearchFunc(d.entries, id, compareID)
	for ; i < len(d.entries) && d.entries[i].id == id; i++ {
		if !d.entries[i].is(settled) {
			return d.entries[i]
		}
	}
	return nil
}

// oldest is the first entry there is, or nil.
func (d *destination) oldest() *entry {
	// Entries that are gone gather at the front; dropping them here keeps the
	// next call short.
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

// add puts e, which is new, into the list; most often that is its end.
func (d *destination) add(e *entry) {
	e.dest, e.heapIndex = d, -1
	if n := len(d.entries); n == 0 || d.entries[n-1].id < e.id {
		d.entries = append(d.entries, e)
	} else {
		d.entries = slices.Insert(d.entries, d.after(e.id), e)
	}
	d.bytes += e.size
	if e.is(frozen | unreadable) {
		d.parked++
	}
	d.updateDue(e)
}

// updateDue brings e's place among the due ones in line with its state.
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

// setFlags sets and clears flags of e.
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

// remove takes e out.
func (d *destination) remove(e *entry) {
	d.setFlags(e, settled, frozen|unreadable)
	d.bytes -= e.size
	d.settled++
	if d.settled > 32 && d.settled > len(d.entries)/2 {
		// A new list: the old one's room goes back.
		kept := make([]*entry, 0, len(d.entries)-d.settled)
		for _, e := range d.entries {
			if !e.is(settled) {
				kept = append(kept, e)
			}
		}
		d.entries, d.settled = kept, 0
	}
}

// dueHeap has the entry that is due first at its front; of equals the older.
type dueHeap []*entry

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if h[i].next != h[j].next {
		return h[i].next < h[j].next
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

// agenda has the destination that wakes first at its front.
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

// set puts d at wake, or takes it out when that is never.
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
