// SPDX-License-Identifier: Apache-2.0

package site

import (
	"cmp"
	"context"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"restante/engine/mail"
	"restante/engine/session"
	"restante/engine/wire"
)

// A Caller is one connection as an administrator sees it.
type Caller struct {
	ID      uint64         `json:"id"`
	Remote  netip.AddrPort `json:"remote"`
	Local   netip.AddrPort `json:"local"`
	Account string         `json:"account,omitempty"`
	Hello   string         `json:"hello,omitempty"`
	TLS     bool           `json:"tls"`
	Doing   string         `json:"doing"` // idle, envelope, body, release
	Since   time.Time      `json:"since"`
}

// Counters count since the site was made.
type Counters struct {
	Connections uint64 `json:"connections"` // taken
	TurnedAway  uint64 `json:"turned_away"` // paused, too many, or not let in
	Accepted    uint64 `json:"accepted"`    // messages
	Delivered   uint64 `json:"delivered"`   // recipients taken by a next hop or dropped
}

type counters struct{ connections, turnedAway, accepted, delivered atomic.Uint64 }

func (c *counters) read() Counters {
	return Counters{c.connections.Load(), c.turnedAway.Load(), c.accepted.Load(), c.delivered.Load()}
}

// registry knows who is there.
type registry struct {
	mu      sync.Mutex // guards what follows
	last    uint64
	callers map[uint64]*call
	count   int // admitted, which is before they are in callers
}

type call struct {
	id    uint64
	wire  *wire.Caller
	doing atomic.Pointer[string]
}

// admit makes room for one more, if limit (0: none) has it.
func (r *registry) admit(limit int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if limit > 0 && r.count >= limit {
		return false
	}
	r.count++
	return true
}

func (r *registry) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count--
}

func (r *registry) add(c *wire.Caller) *call {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.callers == nil {
		r.callers = map[uint64]*call{}
	}
	r.last++
	one := &call{id: r.last, wire: c}
	one.does("idle")
	r.callers[one.id] = one
	return one
}

func (r *registry) remove(c *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.callers, c.id)
}

func (r *registry) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// list gives the callers in the order in which they came.
func (r *registry) list() []Caller {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Caller, 0, len(r.callers))
	for _, c := range r.callers {
		_, secure := c.wire.TLS()
		out = append(out, Caller{
			ID: c.id, Remote: c.wire.Remote, Local: c.wire.Local, Account: c.wire.Account(),
			Hello: c.wire.Hello(), TLS: secure, Doing: *c.doing.Load(), Since: c.wire.Started,
		})
	}
	slices.SortFunc(out, func(a, b Caller) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// end ends the callers that pick says, and says how many.
func (r *registry) end(pick func(id uint64) bool) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, c := range r.callers {
		if pick(id) {
			c.wire.Kick(mail.Reply{Code: 421, Enhanced: "3.2", Text: "this connection was ended by an administrator"})
			n++
		}
	}
	return n
}

func (c *call) does(what string) { c.doing.Store(&what) }

// watched is a session whose doings show in the registry.
type watched struct {
	*session.Session
	call *call
	gone func()
}

func (w *watched) Mail(ctx context.Context, m wire.MailArgs) mail.Reply {
	w.call.does("envelope")
	return w.Session.Mail(ctx, m)
}

func (w *watched) Data(ctx context.Context, body io.Reader) mail.Reply {
	w.call.does("body")
	return w.Session.Data(ctx, body)
}

func (w *watched) Turn(ctx context.Context, atrn bool, d []mail.Domain) (mail.Reply, wire.Handover) {
	r, hand := w.Session.Turn(ctx, atrn, d)
	if hand != nil {
		w.call.does("release")
	}
	return r, hand
}

func (w *watched) Reset() {
	w.call.does("idle")
	w.Session.Reset()
}

func (w *watched) Close() {
	w.Session.Close()
	w.gone()
}
