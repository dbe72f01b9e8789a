// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"restante/engine/mail"
)

// How many refusals are written, so that no caller can fill the log. Those left
// out are counted.
const (
	sessionLines = 20          // of one session
	addressLines = 500         // of one address (of IPv6, its /64) at once
	addressEvery = time.Second // another one of the address
	maxAddresses = 4096        // with a count at a time
)

// An allowance is how many refusals of an address may still be written.
type allowance struct {
	lines   float64
	at      time.Time // when lines was right
	leftOut int       // since the last line
}

// refusals bounds the lines about refused callers.
type refusals struct {
	mu        sync.Mutex // guards what follows
	addresses map[netip.Prefix]*allowance
}

// admit reports whether a line about a caller may be written, and how many were
// left out before it.
func (r *refusals) admit(caller netip.Addr, now time.Time) (leftOut int, ok bool) {
	key := mail.CallerNet(caller) // no address is a key, too
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.addresses[key]
	if a == nil {
		r.evict(now)
		a = &allowance{lines: addressLines, at: now}
		r.addresses[key] = a
	}
	a.lines = min(addressLines, a.lines+float64(now.Sub(a.at))/float64(addressEvery))
	a.at = now
	if a.lines < 1 {
		a.leftOut++
		return 0, false
	}
	leftOut, a.leftOut = a.leftOut, 0
	a.lines--
	return leftOut, true
}

// evict forgets the addresses that may have all their lines again. If there is none,
// it forgets an arbitrary address.
func (r *refusals) evict(now time.Time) {
	if len(r.addresses) < maxAddresses {
		return
	}
	for key, a := range r.addresses {
		if now.Sub(a.at) >= addressLines*addressEvery {
			delete(r.addresses, key)
		}
	}
	for key := range r.addresses {
		if len(r.addresses) < maxAddresses {
			return
		}
		delete(r.addresses, key)
	}
}

// refusal writes a line about a refused caller, unless there were too many.
// One that ends the session is not among those of the session.
func (j *Journal) refusal(ctx context.Context, caller netip.Addr, ends bool, event string, more extra, attrs ...slog.Attr) {
	if j == nil || j.log == nil && j.trace == nil {
		return
	}
	if j.session != "" && !ends && j.refused.Add(1) > sessionLines {
		return // End counts it
	}
	leftOut, ok := j.limit.admit(caller, time.Now())
	if !ok {
		return
	}
	if leftOut > 0 {
		attrs = append(attrs, slog.Int("left_out", leftOut))
	}
	j.write(ctx, event, more, attrs...)
}

// End is the end of the session: it writes how many of its refusals were left
// out, if any.
func (j *Journal) End(ctx context.Context, caller netip.Addr) {
	if j == nil {
		return
	}
	if n := j.refused.Load() - sessionLines; n > 0 {
		j.refusal(ctx, caller, true, "refused", extra{}, client(caller), slog.Int64("more", n))
	}
}
