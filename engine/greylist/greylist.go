// SPDX-License-Identifier: Apache-2.0

// Package greylist has callers that nobody knows try again later (RFC 6647): most
// senders of spam do not.
//
// Who has tried again is kept in memory alone: a message costs no write, a flood fills
// no disk, and what a restart forgets is one more wait for each sender. Both the
// triplets that wait and those that have passed are bounded, each by itself, so that a
// flood of new ones takes no place of those that are known.
package greylist

import (
	"container/list"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"restante/engine/mail"
)

const (
	waitFor  = 48 * time.Hour      // for a caller to try again
	knownFor = 36 * 24 * time.Hour // since a triplet was seen last
	most     = 200_000             // triplets of each kind
)

// A Triplet is who sends to whom: the network of the caller, 24 bits of IPv4 or 64 of
// IPv6, as large senders try again from a neighbour, and the two addresses.
type Triplet struct {
	Site     int
	Client   netip.Addr
	From, To mail.Address
}

// A List knows triplets. Its methods may be called concurrently. The zero List is empty.
type List struct {
	mu      sync.Mutex // guards what follows
	seed    maphash.Seed
	waiting *triplets // since they were seen first
	known   *triplets // since they were seen last
}

// Wait gives how long a triplet has to wait yet; 0: it may pass. With record it is
// remembered, and without, nothing changes.
func (l *List) Wait(t Triplet, delay time.Duration, record bool) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil {
		l.seed, l.waiting, l.known = maphash.MakeSeed(), newTriplets(waitFor), newTriplets(knownFor)
	}
	now, key := time.Now(), l.key(t)
	_, passed := l.known.get(key, now)
	first, waits := l.waiting.get(key, now)
	left := delay - now.Sub(first)
	switch {
	case passed, waits && left <= 0:
		if record {
			l.waiting.remove(key)
			l.known.put(key, now)
		}
		return 0
	case waits:
		return left
	case record:
		l.waiting.put(key, now)
	}
	return delay
}

func (l *List) key(t Triplet) uint64 {
	bits := 64
	if t.Client = t.Client.Unmap().WithZone(""); t.Client.Is4() {
		bits = 24
	}
	network, _ := t.Client.Prefix(bits)                                                 // of no address: the zero one
	t.From.Local, t.To.Local = mail.FoldLocal(t.From.Local), mail.FoldLocal(t.To.Local) // as recipients are found
	return maphash.Comparable(l.seed, Triplet{t.Site, network.Addr(), t.From, t.To})
}

// triplets are the times of keys, the oldest first.
type triplets struct {
	life  time.Duration
	order *list.List // of triplet
	at    map[uint64]*list.Element
}

type triplet struct {
	key  uint64
	time time.Time
}

func newTriplets(life time.Duration) *triplets {
	return &triplets{life, list.New(), map[uint64]*list.Element{}}
}

func (s *triplets) get(key uint64, now time.Time) (time.Time, bool) {
	e, ok := s.at[key]
	if !ok || now.Sub(e.Value.(triplet).time) > s.life {
		return time.Time{}, false
	}
	return e.Value.(triplet).time, true
}

// put makes a key the newest, and forgets those that are too old or too many.
func (s *triplets) put(key uint64, now time.Time) {
	s.remove(key)
	for e := s.order.Front(); e != nil; e = s.order.Front() {
		if oldest := e.Value.(triplet); len(s.at) < most && now.Sub(oldest.time) <= s.life {
			break
		}
		s.remove(e.Value.(triplet).key)
	}
	s.at[key] = s.order.PushBack(triplet{key, now})
}

func (s *triplets) remove(key uint64) {
	if e, ok := s.at[key]; ok {
		s.order.Remove(e)
		delete(s.at, key)
	}
}
