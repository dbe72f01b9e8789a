// SPDX-License-Identifier: Apache-2.0

package account

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"restante/engine/mail"
)

// What guesses cost. An address (of IPv6, its /64) is slowed after a few and
// then locked out. An account is only slowed, and by strangers never for longer
// than accountMost: a caller who guesses must not shut its owner out.
const (
	spacing       = 20 * time.Millisecond // between two sign-ins of an address that guessed nothing
	addressFree   = 5                     // wrong passwords without a delay
	addressMost   = 15 * time.Second      // between two sign-ins of an address
	lockAfter     = 20                    // wrong passwords of an address
	lockTime      = 15 * time.Minute
	accountFree   = 10 // wrong passwords from anywhere without a delay
	accountStep   = 500 * time.Millisecond
	accountMost   = 5 * time.Second
	forgetAfter   = time.Hour        // without another wrong password
	longestWait   = 30 * time.Second // in line; longer ones are refused
	throttleLimit = 16384            // entries of each kind, of about 100 octets
)

// A guesser is an address or a name with wrong passwords.
type guesser struct {
	failures int
	last     time.Time // of the failures
	next     time.Time // when the next sign-in may be tried
	locked   time.Time // until then
	name     string    // that was tried last; of an address
	site     int       // at which it was
}

// A throttle makes guesses slow, over all connections and mechanisms, for
// known and unknown names alike. It forgets with the process.
type throttle struct {
	mu        sync.Mutex // guards what follows
	addresses map[netip.Prefix]*guesser
	names     map[[sha256.Size]byte]*guesser
}

func nameKey(name string) [sha256.Size]byte { return sha256.Sum256([]byte(fold(name))) }

// sampled is how many entries are looked at to make room for one.
const sampled = 64

// entry returns the guesser at key, a new one where it is forgotten. Where all are
// in use, one that is not locked out makes room or, if a sample has none, that
// whose lock-out ends first: maps are read in random order.
func entry[K comparable](m map[K]*guesser, key K, now time.Time) *guesser {
	if e := m[key]; e != nil && (now.Before(e.locked) || now.Sub(e.last) < forgetAfter) {
		return e
	}
	if len(m) >= throttleLimit {
		delete(m, leastLocked(m, now))
	}
	e := &guesser{last: now}
	m[key] = e
	return e
}

func leastLocked[K comparable](m map[K]*guesser, now time.Time) (least K) {
	var until time.Time
	seen := 0
	for k, e := range m {
		if !now.Before(e.locked) {
			return k
		}
		if seen == 0 || e.locked.Before(until) {
			least, until = k, e.locked
		}
		if seen++; seen == sampled {
			break
		}
	}
	return least
}

// tooMany is the answer to an address, whatever the name: it tells nothing of
// accounts.
var tooMany = mail.Reply{Code: 454, Enhanced: "7.0", Text: "Too many failed sign-ins from your address, try again later"}

// Admit waits until a sign-in by name may be tried from an address; for the zero
// Addr, only the name counts. An error means that it may not, and is the reply.
func (g *Authenticator) Admit(ctx context.Context, from netip.Addr, name string) error {
	for {
		wait, failures, err := g.guesses.reserve(from, name, time.Now())
		if err != nil || wait <= 0 {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return mail.Reply{Code: 454, Enhanced: "7.0", Text: "Temporary authentication failure", Cause: context.Cause(ctx)}
		}
		if !g.guesses.worse(from, failures) {
			return nil
		}
	}
}

// worse reports whether an address has guessed wrong while a sign-in waited, so
// that it must wait anew: otherwise a burst of connections would get through.
func (t *throttle) worse(from netip.Addr, failures int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.addresses[mail.CallerNet(from)] // none for an exempt address
	return e != nil && e.failures != failures && e.failures >= addressFree
}

// reserve gives a sign-in its place in the line of its address.
func (t *throttle) reserve(from netip.Addr, name string, now time.Time) (wait time.Duration, failures int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := &guesser{}
	if from.IsValid() {
		e = entry(t.addresses, mail.CallerNet(from), now)
	}
	wait = max(0, e.next.Sub(now))
	if now.Before(e.locked) || wait > longestWait {
		r := tooMany
		r.Cause = fmt.Errorf("%s: %d failed sign-ins, the last at %s", mail.CallerNet(from), e.failures, e.last.Format(time.RFC3339))
		return 0, 0, r
	}
	e.next = now.Add(wait + e.interval())
	if n := t.names[nameKey(name)]; n != nil && now.Sub(n.last) < forgetAfter && n.failures >= accountFree {
		wait = max(wait, min(accountMost, time.Duration(n.failures-accountFree+1)*accountStep))
	}
	return wait, e.failures, nil
}

// interval is the time between two sign-ins of an address.
func (e *guesser) interval() time.Duration {
	if e.failures < addressFree {
		return spacing
	}
	return min(addressMost, time.Second<<min(e.failures-addressFree, 10))
}

// Failed counts a wrong password of name from an address at a site. It returns the
// end of a lock-out that this begins, or the zero Time.
func (g *Authenticator) Failed(from netip.Addr, site int, name string) (until time.Time) {
	return g.guesses.failed(from, site, name, time.Now())
}

// A LockOut is an address that may not sign in for now.
type LockOut struct {
	Address netip.Prefix `json:"address"`
	Site    int          `json:"site,omitempty"`    // at which it tried last
	Account string       `json:"account,omitempty"` // that it tried last
	Until   time.Time    `json:"until"`
}

// LockOuts lists the addresses that are locked out, by their end.
func (g *Authenticator) LockOuts() (out []LockOut) {
	now, t := time.Now(), &g.guesses
	t.mu.Lock()
	defer t.mu.Unlock()
	for address, e := range t.addresses {
		if now.Before(e.locked) {
			out = append(out, LockOut{address, e.site, e.name, e.locked})
		}
	}
	slices.SortFunc(out, func(a, b LockOut) int {
		return cmp.Or(a.Until.Compare(b.Until), strings.Compare(a.Address.String(), b.Address.String()))
	})
	return out
}

// failed returns the end of a lock-out that begins.
func (t *throttle) failed(from netip.Addr, site int, name string, now time.Time) (until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := entry(t.names, nameKey(name), now)
	n.failures, n.last = n.failures+1, now
	if !from.IsValid() {
		return time.Time{}
	}
	e := entry(t.addresses, mail.CallerNet(from), now)
	e.failures, e.last, e.site, e.name = e.failures+1, now, site, name
	if e.next = now.Add(e.interval()); e.failures >= lockAfter && !now.Before(e.locked) {
		e.locked, e.failures = now.Add(lockTime), lockAfter-addressFree // the next lock-out comes sooner
		return e.locked
	}
	return time.Time{}
}
