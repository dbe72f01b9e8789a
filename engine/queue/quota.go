// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"restante/engine/mail"
)

// A Quota bounds the mail that waits for a held domain. The zero Quota bounds nothing.
type Quota struct {
	Key      string // example.com, or *.example.com, whose names share the quota
	Messages int    // 0: any number
	Bytes    int64  // 0: any number
	Reserve  int64  // of the disk that the mail leaves free; 0: none
	Warn     int    // percent of Messages or Bytes from which on the log warns; 0: it never does
	Under    any    // identifies the settings that it is from; comparable
}

func (u Quota) bounds() bool { return u.Messages > 0 || u.Bytes > 0 || u.Reserve > 0 }

// ErrQuota is found in the error about mail that would exceed the quota of a held domain.
var ErrQuota = errors.New("no room for more held mail")

// overQuota refuses a message with the reply of a full mailbox (RFC 3463 §3.3).
func overQuota(d mail.Domain, format string, args ...any) error {
	return mail.Reply{
		Code: 452, Enhanced: "2.2", Text: "The mail that waits for " + string(d) + " has reached its quota, try again later",
		Cause: fmt.Errorf("%w: "+format, append([]any{ErrQuota}, args...)...),
	}
}

// A Usage is how much waits, or is being stored.
type Usage struct {
	Messages int   `json:"messages"`
	Bytes    int64 `json:"bytes"`
}

func (u *Usage) add(messages int, bytes int64) {
	u.Messages += messages
	u.Bytes += bytes
}

// A group counts what waits for all names of a wildcard that has a quota.
type group struct {
	Usage
	under any // settings that its destinations were found under
}

// quotas is what a Queue knows of its Quotas, guarded by its mu.
type quotas struct {
	groups   map[string]*group // by the wildcard
	reserved map[string]*Usage // by Key, what is being stored
	warned   map[string]bool   // by Key, that the log has the warning of Quota.Warn
}

// quota asks the settings in force about the mail for d.
func (q *Queue) quota(d mail.Domain) Quota {
	if q.deps.Quota == nil || d == Badmail || d == Reports {
		return Quota{}
	}
	return q.deps.Quota(d)
}

// used is what waits under the key of u, for d among its names, and what is being stored
// for it. The caller holds q.mu.
func (q *Queue) used(d mail.Domain, u Quota) (sum Usage) {
	if r := q.reserved[u.Key]; r != nil {
		sum = *r
	}
	if strings.HasPrefix(u.Key, "*.") {
		g := q.group(u)
		sum.add(g.Messages, g.Bytes)
	} else if dest := q.dests[d]; dest != nil {
		sum.add(dest.live(), dest.bytes)
	}
	return sum
}

// group counts for the wildcard of u. Its destinations are looked for once under each
// settings; then they keep its counts. The caller holds q.mu.
func (q *Queue) group(u Quota) *group {
	g := q.groups[u.Key]
	if g != nil && g.under == u.Under {
		return g
	}
	if g == nil {
		g = &group{}
		q.groups[u.Key] = g
	}
	*g = group{under: u.Under}
	parent := mail.Domain(strings.TrimPrefix(u.Key, "*."))
	for name, d := range q.dests {
		if d.group == g {
			d.group = nil
		}
		if name.Below(parent) && q.quota(name).Key == u.Key {
			d.group = g
			g.add(d.live(), d.bytes)
		}
	}
	return g
}

// joinGroup has the new destination d counted for its wildcard. The caller holds q.mu.
func (q *Queue) joinGroup(d *destination) {
	if len(q.groups) > 0 {
		d.group = q.groups[q.quota(d.name).Key]
	}
}

// CheckQuota says why a message of size octets for d would not be accepted now, or nil.
func (q *Queue) CheckQuota(d mail.Domain, size int64) error {
	u := q.quota(d)
	if !u.bounds() {
		return nil
	}
	free := q.free(u)
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.checkQuota(d, u, max(size, 0), free)
}

// free is how many octets of the disk are free, where that matters to u and is known.
func (q *Queue) free(u Quota) int64 {
	if u.Reserve > 0 && q.deps.Free != nil {
		if free, total, err := q.deps.Free(); err == nil && total > 0 {
			return free
		}
	}
	return math.MaxInt64
}

// checkQuota is CheckQuota for a caller that holds q.mu; free is the result of q.free.
func (q *Queue) checkQuota(d mail.Domain, u Quota, size, free int64) error {
	sum := q.used(d, u)
	switch {
	case u.Messages > 0 && sum.Messages >= u.Messages:
		return overQuota(d, "HoldMaxMessages of %s is %d", u.Key, u.Messages)
	case u.Bytes > 0 && size > u.Bytes-sum.Bytes, u.Bytes > 0 && sum.Bytes >= u.Bytes:
		return overQuota(d, "HoldMaxBytes of %s is %d", u.Key, u.Bytes)
	case u.Reserve > 0 && size > free-u.Reserve-q.beingStored():
		return overQuota(d, "HoldReserveBytes of %s is %d", u.Key, u.Reserve)
	}
	return nil
}

// beingStored is the octets of messages that may not be on the disk yet. The caller holds
// q.mu.
func (q *Queue) beingStored() (n int64) {
	for _, u := range q.reserved {
		n += u.Bytes
	}
	return n
}

// nearFull reports whether sum has come to u.Warn since it was last below. The caller
// holds q.mu.
func (q *Queue) nearFull(u Quota, sum Usage) bool {
	reached := u.Warn > 0 && (u.Messages > 0 && int64(sum.Messages)*100 >= int64(u.Messages)*int64(u.Warn) ||
		u.Bytes > 0 && float64(sum.Bytes)*100 >= float64(u.Bytes)*float64(u.Warn))
	first := reached && !q.warned[u.Key]
	if reached {
		q.warned[u.Key] = true
	} else {
		delete(q.warned, u.Key)
	}
	return first
}

// A reservation counts a message at the quotas of its destinations while it is stored.
type reservation struct {
	keys []string // one for each of its entries
	size int64
}

// reserve makes the reservation for a message, or says which quota it would exceed.
func (q *Queue) reserve(parts map[mail.Domain]record) (r reservation, err error) {
	if q.deps.Quota == nil {
		return r, nil
	}
	bounds, free := map[mail.Domain]Quota{}, int64(math.MaxInt64)
	for d := range parts {
		if u := q.quota(d); u.bounds() {
			bounds[d], free = u, min(free, q.free(u))
		}
	}
	if len(bounds) == 0 {
		return r, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for d, u := range bounds {
		size := parts[d].size
		if err := q.checkQuota(d, u, size, free); err != nil {
			q.cancel(r)
			return reservation{}, err
		}
		r.keys, r.size = append(r.keys, u.Key), size
		if q.reserved[u.Key] == nil {
			q.reserved[u.Key] = &Usage{}
		}
		q.reserved[u.Key].add(1, size)
		if sum := q.used(d, u); q.nearFull(u, sum) {
			q.deps.Journal.NearQuota(context.Background(), u.Key, u.Warn, sum.Messages, sum.Bytes)
		}
	}
	return r, nil
}

// cancel ends the reservation r. The caller holds q.mu.
func (q *Queue) cancel(r reservation) {
	for _, key := range r.keys {
		if u := q.reserved[key]; u != nil {
			if u.add(-1, -r.size); u.Messages == 0 {
				delete(q.reserved, key)
			}
		}
	}
}
