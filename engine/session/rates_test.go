// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
	"restante/engine/wire/params"
)

// TestRates brings more than each limit allows, from the caller that it is for and
// from others, and again when the time is over.
func TestRates(t *testing.T) {
	const stranger = "192.0.2.1"
	tests := []struct {
		property string
		limits   Limits
		account  string
		from     string
		reply    string // "": it does not hold
		bring    func(setup, *Policy) mail.Reply
		period   time.Duration
	}{
		{"MaxConnectionsPerMinute", Limits{ConnectionRate: 3}, "", stranger, "421 4.7.0", connectAgain, time.Minute},
		{"MaxConnectionsPerMinute", Limits{ConnectionRate: 3}, "", "127.0.0.1", "", connectAgain, time.Minute},
		{"MaxConnectionsPerMinute", Limits{ConnectionRate: 3}, "", "::1", "", connectAgain, time.Minute},
		{"MaxConnectionsPerMinute", Limits{ConnectionRate: 3}, "", "198.51.100.1", "", connectAgain, time.Minute}, // exempt
		{"MaxMessagesPerHour", Limits{AddressMessages: 3}, "", stranger, "450 4.7.0", mailAgain, time.Hour},
		{"MaxMessagesPerHour", Limits{AddressMessages: 3}, "joe", stranger, "", mailAgain, time.Hour},
		{"MaxRecipientsPerHour", Limits{AddressRecipients: 3}, "", stranger, "450 4.7.0", rcptAgain, time.Hour},
		{"MaxRecipientsPerHour", Limits{AddressRecipients: 3}, "", "198.51.100.1", "", rcptAgain, time.Hour},
		{"MaxAccountMessagesPerHour", Limits{AccountMessages: 3}, "joe", stranger, "450 4.7.0", mailAgain, time.Hour},
		{"MaxAccountMessagesPerHour", Limits{AccountMessages: 3}, "", stranger, "", mailAgain, time.Hour},
		{"MaxAccountMessagesPerHour", Limits{AccountMessages: 3}, "joe", "127.0.0.1", "450 4.7.0", mailAgain, time.Hour},
		{"MaxAccountRecipientsPerHour", Limits{AccountRecipients: 3}, "joe", stranger, "450 4.7.0", rcptAgain, time.Hour},
		{"none", Limits{}, "joe", stranger, "", rcptAgain, time.Hour},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprint(i, tt.property), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := testPolicy()
				p.Limits = tt.limits
				p.Exempt = func(a netip.Addr) bool { return a.String() == "198.51.100.1" }
				rates := &Rates{}
				caller := func(from, account string) setup {
					s := open(p, from)
					s.deps.Rates = rates
					s.caller.account = account
					return s
				}
				s := caller(tt.from, tt.account)
				for n := range 3 {
					if r := tt.bring(s, p); !r.Positive() {
						t.Fatalf("number %d: %v", n+1, r)
					}
				}
				r := tt.bring(s, p)
				if tt.reply == "" {
					if !r.Positive() {
						t.Errorf("it is answered %v", r)
					}
					return
				}
				if !strings.HasPrefix(r.String(), tt.reply) || r.Cause == nil || r.Cause.Error() != tt.property+" is 3" {
					t.Errorf("it is answered %v, because of %v", r, r.Cause)
				}
				other := ""
				if tt.account != "" {
					other = "ann"
				}
				if r := tt.bring(caller("192.0.2.2", other), p); !r.Positive() {
					t.Errorf("another caller: %v", r)
				}
				time.Sleep(tt.period / 3)
				if r := tt.bring(s, p); !r.Positive() {
					t.Errorf("after a third of the time: %v", r)
				}
				if r := tt.bring(s, p); r.Positive() {
					t.Errorf("a third of the time allows more than one: %v", r)
				}
			})
		})
	}
}

func connectAgain(s setup, p *Policy) mail.Reply {
	q := Question{Client: s.remote, Exceeds: p.ConnectionRate(s.deps.Rates, s.remote)}
	if d := p.Decide(context.Background(), AtConnect, AtConnect, q); !d.Accepted() || d.AtConnect() {
		return d.Reply
	}
	return ok
}

func mailAgain(s setup, _ *Policy) mail.Reply {
	return s.Mail(context.Background(), params.Mail{From: mail.Address{Local: "a", Domain: "b.test"}})
}

func rcptAgain(s setup, p *Policy) mail.Reply {
	if r := mailAgain(s, p); !r.Positive() {
		return r
	}
	return s.Rcpt(context.Background(), params.Rcpt{To: mail.Address{Local: "x", Domain: "hub.test"}})
}

// Callers are forgotten when there are too many, and not those who bring most.
func TestRatesAreBounded(t *testing.T) {
	r, l := &Rates{}, rateLimit{limit: 10, period: time.Hour}
	busy := rateKey{account: "busy"}
	for range 10 {
		r.exceeded(busy, l)
	}
	for i := range 2 * maxRates {
		r.exceeded(rateKey{site: i}, l)
	}
	if len(r.counts) != maxRates || !r.exceeded(busy, l) {
		t.Errorf("%d callers are counted; the busy one may go on: %v", len(r.counts), !r.exceeded(busy, l))
	}
}
