// SPDX-License-Identifier: Apache-2.0

package site

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"restante/engine/mail"
	"restante/engine/session"
	"restante/engine/wire"
	"restante/engine/wire/params"
)

// A Session is one connection as an administrator sees it.
type Session struct {
	ID       mail.SessionID `json:"id"`
	Remote   netip.AddrPort `json:"remote"`
	Local    netip.AddrPort `json:"local"`
	Hello    string         `json:"hello,omitempty"`
	Account  string         `json:"account,omitempty"`
	TLS      bool           `json:"tls"`
	Since    time.Time      `json:"since"`
	Activity string         `json:"doing,omitempty"` // idle, envelope, body, release
}

// Counters count since the service started.
type Counters struct {
	Connections uint64 `json:"connections"` // accepted
	Refused     uint64 `json:"refused"`     // connections: paused, too many, or by address
	Handshakes  uint64 `json:"handshakes_failed"`
	Accepted    uint64 `json:"accepted"`  // messages
	Delivered   uint64 `json:"delivered"` // recipients accepted by a next hop or dropped
	Archived    uint64 `json:"archived"`  // messages that nobody called for in time
}

type counters struct{ connections, refused, handshakes, accepted, delivered, archived atomic.Uint64 }

func (c *counters) read() Counters {
	return Counters{c.connections.Load(), c.refused.Load(), c.handshakes.Load(), c.accepted.Load(), c.delivered.Load(), c.archived.Load()}
}

// A sessionRegistry holds the sessions of a site.
type sessionRegistry struct {
	mu      sync.Mutex // guards what follows
	entries map[mail.SessionID]*sessionEntry
	count   int                    // admitted, which is before they are in entries
	from    map[netip.Prefix]int   // of these, by mail.CallerNet
	at      map[netip.AddrPort]int // and by binding
}

type sessionEntry struct {
	id       mail.SessionID
	wire     *wire.Caller
	session  *session.Session
	ended    bool // by endVoid, and counted; guarded by the registry's mu
	activity atomic.Pointer[string]
}

// admit counts a session, if decide accepts one more from client at a binding beside
// the connections that there are.
func (r *sessionRegistry) admit(client netip.Addr, at netip.AddrPort, decide func(connections, fromAddress, atEndpoint int) session.Decision) (d session.Decision) {
	net := mail.CallerNet(client)
	r.mu.Lock()
	defer r.mu.Unlock()
	if d = decide(r.count, r.from[net], r.at[at]); d.Accepted() {
		if r.from == nil {
			r.from, r.at = map[netip.Prefix]int{}, map[netip.AddrPort]int{}
		}
		r.count++
		r.from[net]++
		r.at[at]++
	}
	return d
}

func (r *sessionRegistry) leave(client netip.Addr, at netip.AddrPort) {
	net := mail.CallerNet(client)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count--
	if r.from[net]--; r.from[net] == 0 {
		delete(r.from, net)
	}
	if r.at[at]--; r.at[at] == 0 {
		delete(r.at, at)
	}
}

// CountFrom counts the sessions from a client's address, as the limit of one
// address does.
func CountFrom(list []Session, client netip.Addr) (n int) {
	net := mail.CallerNet(client)
	for _, s := range list {
		if mail.CallerNet(s.Remote.Addr()) == net {
			n++
		}
	}
	return n
}

func (r *sessionRegistry) add(id mail.SessionID, c *wire.Caller, s *session.Session) *sessionEntry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries == nil {
		r.entries = map[mail.SessionID]*sessionEntry{}
	}
	one := &sessionEntry{id: id, wire: c, session: s}
	one.setActivity("idle")
	r.entries[one.id] = one
	return one
}

func (r *sessionRegistry) remove(c *sessionEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.entries, c.id)
}

func (r *sessionRegistry) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// list gives the sessions in the order in which they began.
func (r *sessionRegistry) list() []Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Session, 0, len(r.entries))
	for _, c := range r.entries {
		_, secure := c.wire.TLS()
		out = append(out, Session{
			ID: c.id, Remote: c.wire.Remote, Local: c.wire.Local, Account: c.wire.Account(),
			Hello: c.wire.Hello(), TLS: secure, Activity: *c.activity.Load(), Since: c.wire.Started,
		})
	}
	slices.SortFunc(out, func(a, b Session) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// end ends the sessions that pick chooses, and gives their number.
func (r *sessionRegistry) end(pick func(id mail.SessionID) bool) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, c := range r.entries {
		if pick(id) {
			c.wire.Disconnect(mail.Reply{Code: 421, Enhanced: "3.2", Text: "Connection closed by the administrator"})
			n++
		}
	}
	return n
}

// endVoid ends the sessions whose sign-in is void under p, and gives their
// number. A release ends by itself, behind the message that is under way.
func (r *sessionRegistry) endVoid(p *session.Policy) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.entries {
		if c.ended || !c.session.SignInVoid(p) {
			continue
		}
		n++
		c.ended = true
		if *c.activity.Load() != "release" {
			c.wire.Disconnect(mail.Reply{Code: 421, Enhanced: "7.0", Text: "The sign-in is no longer valid, closing connection"})
		}
	}
	return n
}

func (c *sessionEntry) setActivity(what string) { c.activity.Store(&what) }

// A trackedSession records what a session does in its sessionEntry.
type trackedSession struct {
	*session.Session
	entry    *sessionEntry
	counters *counters // of the site
	onClose  func()
}

func (w *trackedSession) Refused(ctx context.Context, verb, arg string, r mail.Reply) {
	if bad := (*wire.HandshakeError)(nil); errors.As(r.Cause, &bad) {
		w.counters.handshakes.Add(1)
	}
	w.Session.Refused(ctx, verb, arg, r)
}

func (w *trackedSession) Mail(ctx context.Context, m params.Mail) mail.Reply {
	w.entry.setActivity("envelope")
	return w.Session.Mail(ctx, m)
}

func (w *trackedSession) Data(ctx context.Context, body io.Reader) mail.Reply {
	w.entry.setActivity("body")
	return w.Session.Data(ctx, body)
}

func (w *trackedSession) Turn(ctx context.Context, atrn bool, d []mail.Domain) (mail.Reply, wire.Handover) {
	r, hand := w.Session.Turn(ctx, atrn, d)
	if hand != nil {
		w.entry.setActivity("release")
	}
	return r, hand
}

func (w *trackedSession) Reset() {
	w.entry.setActivity("idle")
	w.Session.Reset()
}

func (w *trackedSession) Close() {
	w.Session.Close()
	w.onClose()
}
