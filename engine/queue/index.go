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
	id       mail.MessageID
	at       *destination
	received int64
	size     int64
	next     int64 // when it may be tried; 0: at once
	place    int32 // in at.due; -1: not there
	attempts uint16
	flags    uint8
}

func (e *entry) is(flag uint8) bool { return e.flags&flag != 0 }

// idle says that e may be handed out.
func (e *entry) idle() bool { return e.flags&(frozen|aside|claimed|gone) == 0 }

// A destination has the entries for one domain, in the order of arrival and by
// the time that each is due.
type destination struct {
	name   mail.Domain
	list   []*entry // by id; entries that are gone stay until enough of them are
	gone   int      // how many of list are
	still  int      // how many are frozen or set aside
	bytes  int64
	due    dueHeap // of those that are idle
	off    backoff
	hold   *hold // who has it leased, or nil
	nudged bool  // to be tried once, held or not
	agenda slot
}

// A slot is a destination's place in the agenda.
type slot struct {
	wake  int64
	place int // -1: not there
}

// live is how many messages there are.
func (d *destination) live() int { return len(d.list) - d.gone }

// count is how many of them may go.
func (d *destination) count() int { return d.live() - d.still }

func compareID(e *entry, id mail.MessageID) int { return cmp.Compare(e.id, id) }

// after is the place in the list of the first entry whose id is above id.
func (d *destination) after(id mail.MessageID) int {
	i, _ := slices.BinarySearchFunc(d.list, id, compareID)
	for i < len(d.list) && d.list[i].id == id {
		i++ // one that is gone, and one that came back under its id
	}
	return i
}

// find gives the entry of message id, or nil.
func (d *destination) find(id mail.MessageID) *entry {
	i, _ := slices.BinarySearchFunc(d.list, id, compareID)
	for ; i < len(d.list) && d.list[i].id == id; i++ {
		if !d.list[i].is(gone) {
			return d.list[i]
		}
	}
	return nil
}

// oldest is the first entry there is, or nil.
func (d *destination) oldest() *entry {
	// Entries that are gone gather at the front; dropping them here keeps the
	// next call short.
	for len(d.list) > 0 && d.list[0].is(gone) {
		d.list[0] = nil
		d.list = d.list[1:]
		d.gone--
	}
	if len(d.list) == 0 {
		return nil
	}
	return d.list[0]
}

// add puts e, which is new, into the list; most often that is its end.
func (d *destination) add(e *entry) {
	e.at, e.place = d, -1
	if n := len(d.list); n == 0 || d.list[n-1].id < e.id {
		d.list = append(d.list, e)
	} else {
		d.list = slices.Insert(d.list, d.after(e.id), e)
	}
	d.bytes += e.size
	if e.is(frozen | aside) {
		d.still++
	}
	d.plan(e)
}

// plan brings e's place among the due ones in line with its state.
func (d *destination) plan(e *entry) {
	switch {
	case e.idle() && e.place < 0:
		heap.Push(&d.due, e)
	case e.idle():
		heap.Fix(&d.due, int(e.place))
	case e.place >= 0:
		heap.Remove(&d.due, int(e.place))
	}
}

// mark sets and clears flags of e.
func (d *destination) mark(e *entry, set, clear uint8) {
	was := e.is(frozen | aside)
	e.flags = e.flags&^clear | set
	if now := e.is(frozen | aside); now != was {
		if now {
			d.still++
		} else {
			d.still--
		}
	}
	d.plan(e)
}

// drop takes e out.
func (d *destination) drop(e *entry) {
	d.mark(e, gone, frozen|aside)
	d.bytes -= e.size
	d.gone++
	if d.gone > 32 && d.gone > len(d.list)/2 {
		// A new list: the old one's room goes back.
		kept := make([]*entry, 0, len(d.list)-d.gone)
		for _, e := range d.list {
			if !e.is(gone) {
				kept = append(kept, e)
			}
		}
		d.list, d.gone = kept, 0
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
	h[i].place, h[j].place = int32(i), int32(j)
}
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.place = int32(len(*h))
	*h = append(*h, e)
}
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.place = -1
	return e
}

// agenda has the destination that wakes first at its front.
type agenda []*destination

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].agenda.wake < a[j].agenda.wake }
func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].agenda.place, a[j].agenda.place = i, j
}
func (a *agenda) Push(x any) {
	d := x.(*destination)
	d.agenda.place = len(*a)
	*a = append(*a, d)
}
func (a *agenda) Pop() any {
	old := *a
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*a = old[:len(old)-1]
	d.agenda.place = -1
	return d
}

// set puts d at wake, or takes it out when that is never.
func (a *agenda) set(d *destination, wake int64) {
	d.agenda.wake = wake
	switch {
	case wake == never && d.agenda.place >= 0:
		heap.Remove(a, d.agenda.place)
	case wake == never:
	case d.agenda.place < 0:
		heap.Push(a, d)
	default:
		heap.Fix(a, d.agenda.place)
	}
}
