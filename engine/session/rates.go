// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"restante/engine/mail"
)

// maxRates is how many callers are counted at a time, of about 150 octets each. A
// further one takes the place of one that has brought little.
const maxRates = 65536

// Rates counts what callers have brought lately, over all sites of a service. The zero
// Rates is ready; the nil Rates counts nothing.
type Rates struct {
	mu     sync.Mutex // guards what follows
	counts map[rateKey]rate
}

// A rateKey is a caller, and what is counted of it.
type rateKey struct {
	rule    Rule
	from    netip.Prefix // where no account has signed in
	account string
	site    int // of the account
}

// A rate is how much of a limit is used; it sinks by the limit in each period.
type rate struct {
	used float64
	at   time.Time
}

// A rateLimit bounds what one caller brings in a period.
type rateLimit struct {
	limit    int
	period   time.Duration
	property string
}

// exceeded counts one more, and reports whether that is one too many, which is not
// counted.
func (r *Rates) exceeded(key rateKey, l rateLimit) bool {
	if r == nil || l.limit == 0 {
		return false
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	c, known := r.counts[key]
	c.used = max(0, c.used-float64(l.limit)*float64(now.Sub(c.at))/float64(l.period)) + 1
	c.at = now
	if c.used > float64(l.limit) {
		return true
	}
	if !known {
		r.makeRoom()
	}
	r.counts[key] = c
	return false
}

// makeRoom forgets one caller where there are too many: that of a sample, in the
// random order of maps, that has brought least.
func (r *Rates) makeRoom() {
	if r.counts == nil {
		r.counts = map[rateKey]rate{}
	}
	if len(r.counts) < maxRates {
		return
	}
	var least rateKey
	seen := 0
	for key, c := range r.counts {
		if seen == 0 || c.used < r.counts[least].used {
			least = key
		}
		if seen++; seen == 64 {
			break
		}
	}
	delete(r.counts, least)
}

// ConnectionRate is the rule that one more connection from a client breaks, 0 for
// none.
func (p *Policy) ConnectionRate(r *Rates, client netip.Addr) Rule {
	return p.rate(r, ConnectionRate, rateKey{from: mail.CallerNet(client)}, client)
}

// rate counts one more of what rule limits. This machine itself, and what is exempt,
// are not counted by their address.
func (p *Policy) rate(r *Rates, rule Rule, key rateKey, client netip.Addr) Rule {
	client = client.Unmap()
	itself := client == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || client == netip.IPv6Loopback()
	if key.account == "" && (itself || !client.IsValid() || p.Exempt != nil && p.Exempt(client)) {
		return 0
	}
	key.rule = rule
	if r.exceeded(key, p.Limits.rate(rule, key.account != "")) {
		return rule
	}
	return 0
}

// rate is the limit of a rule for callers who have signed in or not.
func (l Limits) rate(rule Rule, signedIn bool) rateLimit {
	switch {
	case rule == ConnectionRate:
		return rateLimit{l.ConnectionRate, time.Minute, "MaxConnectionsPerMinute"}
	case rule == MessageRate && signedIn:
		return rateLimit{l.AccountMessages, time.Hour, "MaxAccountMessagesPerHour"}
	case rule == MessageRate:
		return rateLimit{l.AddressMessages, time.Hour, "MaxMessagesPerHour"}
	case signedIn:
		return rateLimit{l.AccountRecipients, time.Hour, "MaxAccountRecipientsPerHour"}
	}
	return rateLimit{l.AddressRecipients, time.Hour, "MaxRecipientsPerHour"}
}

func (l rateLimit) cause() error { return fmt.Errorf("%s is %d", l.property, l.limit) }

// rate counts one more message or recipient of the caller.
func (s *Session) rate(rule Rule) Rule {
	key := rateKey{from: mail.CallerNet(s.remote)}
	if name := s.caller.Account(); name != "" {
		key = rateKey{account: name, site: s.deps.Site}
	}
	return s.policy.rate(s.deps.Rates, rule, key, s.remote)
}
