// SPDX-License-Identifier: Apache-2.0

// Package journal writes one line for each event in a message's life, from the
// caller that brings it to the host that takes it.
//
// Each event is a method that writes exactly one line, but for refusals, which
// are bounded by session and address. The keys are always the same: session for the session of a caller, also in the lines
// about its messages, msg_id for the message, to for the recipient, domain for the
// destination, client, helo and account for the caller's address, the name of its
// greeting and the account that had signed in. Passwords and bodies are never written. Errors of the service itself
// belong in the diagnostic log.
//
// Each event also goes to a [Trace], if there is one, whatever the level of the log, with
// what is too long for a line.
package journal

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"restante/engine/mail"
)

// maxReply bounds the text of a peer in the log.
const maxReply = 512

// A Journal writes to one logger. The nil Journal writes nothing. Its methods
// may be called concurrently.
type Journal struct {
	log     *slog.Logger
	trace   Trace
	limit   *refusals // of all sessions
	session mail.SessionID
	caller  Caller       // of the session
	refused atomic.Int64 // refusals of the session
}

// A Caller is the other end of a session.
type Caller interface {
	Hello() string   // the name that it greeted with, or ""
	Account() string // that signed in, or ""
}

// New makes a Journal that writes to log at level Info; a nil log writes
// nothing. Attributes of every line, such as the number of the site, are added
// by log.With.
func New(log *slog.Logger) *Journal {
	return &Journal{log: log, limit: &refusals{addresses: map[netip.Prefix]*allowance{}}}
}

// Traced is j with a Trace, which may be nil.
func (j *Journal) Traced(t Trace) *Journal {
	j.trace = t
	return j
}

// Session returns a Journal that writes the ID of a caller's session on each line.
// Who is nil for a caller that is not greeted.
func (j *Journal) Session(id mail.SessionID, who Caller) *Journal {
	if j == nil {
		return nil
	}
	return &Journal{log: j.log, trace: j.trace, limit: j.limit, session: id, caller: who}
}

func (j *Journal) line(ctx context.Context, event string, attrs ...slog.Attr) {
	j.write(ctx, event, extra{}, attrs...)
}

// write is line with more for the trace.
func (j *Journal) write(ctx context.Context, event string, more extra, attrs ...slog.Attr) {
	if j == nil {
		return
	}
	if j.session != "" {
		attrs = append(attrs, session(j.session))
	}
	if j.log != nil {
		j.log.LogAttrs(ctx, slog.LevelInfo, event, attrs...)
	}
	if j.trace != nil {
		j.trace(event, more.allKeys(attrs), append(slices.Clip(attrs), more.attrs...))
	}
}

// about writes a line about a message, with its session.
func (j *Journal) about(ctx context.Context, event string, env mail.Envelope, more extra, attrs ...slog.Attr) {
	attrs = append([]slog.Attr{id(env.ID)}, attrs...)
	if env.Session != "" {
		attrs = append(attrs, session(env.Session))
	}
	j.write(ctx, event, more, attrs...)
}

// Accepted: the message is on stable storage, and 250 may be answered.
func (j *Journal) Accepted(ctx context.Context, env mail.Envelope) {
	j.about(ctx, "accepted", env, arrival(env), slog.String("from", "<"+env.From.String()+">"),
		slog.Int("recipients", len(env.To)), slog.Int64("size", env.Size),
		client(env.Client), slog.String("account", env.Account), slog.Bool("tls", env.TLS))
}

// PickedUp: the accepted message was the file name of the Pickup folder.
func (j *Journal) PickedUp(ctx context.Context, msg mail.MessageID, name string) {
	j.line(ctx, "picked up", id(msg), slog.String("file", clean(name)))
}

// Rewritten: mail for the recipient was of an accepted message is for another address.
func (j *Journal) Rewritten(ctx context.Context, msg mail.MessageID, was, is mail.Address) {
	j.write(ctx, "rewritten", extra{keys: []string{AddressKey(was)}}, id(msg), slog.String("rcpt", "<"+was.String()+">"), to(is))
}

// Refused: a caller was refused at verb, temporarily or permanently, or the
// session failed there; left_out counts the lines of the address that were left
// out before. Verb is "connect" before the greeting, "TLS" for a
// handshake from the first octet, "pickup" for a file of the Pickup folder, and
// "" between commands. About is what was known of the message.
func (j *Journal) Refused(ctx context.Context, caller netip.Addr, about mail.Envelope, verb, what string, r mail.Reply) {
	j.refusal(ctx, caller, r.Code == 421, "refused", refusedMail(about, verb, what), client(caller), j.helo(), j.account(), slog.String("verb", verb), slog.String("what", clean(what)), reply(r))
}

// Filtered: a milter decided about a message, and may have changed it.
func (j *Journal) Filtered(ctx context.Context, env mail.Envelope, filter, verdict, changes string) {
	j.line(ctx, "filtered", id(env.ID), slog.String("filter", filter), slog.String("verdict", clean(verdict)), slog.String("changes", clean(changes)))
}

// Held: an accepted message waits in domain for its host to call.
func (j *Journal) Held(ctx context.Context, env mail.Envelope, domain mail.Domain) {
	j.about(ctx, "held", env, extra{}, dest(domain))
}

// Delivered: the next hop took responsibility for one recipient.
func (j *Journal) Delivered(ctx context.Context, env mail.Envelope, o mail.Outcome) {
	j.about(ctx, "delivered", env, attempt(o), to(o.To), slog.String("host", o.Host), reply(o.Reply))
}

// PutAside: the message, which can be neither delivered nor returned, is a file in the
// Badmail folder.
func (j *Journal) PutAside(ctx context.Context, env mail.Envelope, rcpt mail.Address) {
	j.about(ctx, "in badmail", env, extra{}, to(rcpt))
}

// Deferred: one recipient is tried again at the time again; zero: when its host calls.
func (j *Journal) Deferred(ctx context.Context, env mail.Envelope, o mail.Outcome, again time.Time) {
	j.about(ctx, "deferred", env, attempt(o), append(said(o.Reply, to(o.To), slog.String("host", o.Host)), next(again)...)...)
}

// Unreachable: no message of domain can be tried before the time again, or with a zero
// time before its host calls; messages of them wait.
func (j *Journal) Unreachable(ctx context.Context, domain mail.Domain, r mail.Reply, host string, messages int, again time.Time) {
	attrs := append(said(r, dest(domain), slog.String("host", host)), slog.Int("messages", messages))
	j.write(ctx, "unreachable", extra{keys: []string{DomainKey(domain)}}, append(attrs, next(again)...)...)
}

// Failed: one recipient can never be reached.
func (j *Journal) Failed(ctx context.Context, env mail.Envelope, o mail.Outcome) {
	j.about(ctx, "failed", env, attempt(o), said(o.Reply, to(o.To), slog.String("host", o.Host))...)
}

// Expired: one recipient expired; the outcome is that of the last attempt.
func (j *Journal) Expired(ctx context.Context, env mail.Envelope, o mail.Outcome, age time.Duration) {
	j.about(ctx, "expired", env, attempt(o), append(said(o.Reply, to(o.To), slog.String("host", o.Host)), slog.Duration("age", age))...)
}

// NearQuota: what waits for the held domain has come to percent of its quota.
func (j *Journal) NearQuota(ctx context.Context, domain string, percent, messages int, octets int64) {
	j.line(ctx, "near quota", slog.String("domain", domain), slog.Int("percent", percent), slog.Int("messages", messages), slog.Int64("bytes", octets))
}

// Archived: nobody has called for the held message in time, and it is a file of the archive.
func (j *Journal) Archived(ctx context.Context, env mail.Envelope, rcpt mail.Address, age time.Duration) {
	j.about(ctx, "archived", env, extra{}, to(rcpt), slog.Duration("age", age))
}

// said adds a reply and the phase of its conversation.
func said(r mail.Reply, attrs ...slog.Attr) []slog.Attr {
	if attrs = append(attrs, reply(r)); r.Phase != "" {
		attrs = append(attrs, slog.String("phase", r.Phase))
	}
	return attrs
}

// next is the time of the next attempt, where there is one.
func next(again time.Time) []slog.Attr {
	if again.IsZero() {
		return nil
	}
	return []slog.Attr{slog.Time("again", again)}
}

// A Release is what a host that called was handed.
type Release struct {
	Domain   mail.Domain
	Verb     string // ETRN, TURN, ATRN or queue release
	Account  string
	Caller   netip.Addr
	Messages int   // handed over
	Bytes    int64 // of them
	InDoubt  int   // that the host had whole, and did not answer for
	Left     int
	Outcome  string // why it ended; "": it begins
}

// Released: a host that called in a session was handed mail.
func (j *Journal) Released(ctx context.Context, by mail.SessionID, r Release) {
	attrs := []slog.Attr{dest(r.Domain), slog.String("verb", r.Verb), slog.String("account", r.Account), client(r.Caller),
		slog.Int("messages", r.Messages), slog.Int("left", r.Left)}
	if r.Outcome != "" {
		attrs = append(attrs, slog.Int64("bytes", r.Bytes), slog.Int("in_doubt", r.InDoubt), slog.String("outcome", clean(r.Outcome)))
	}
	j.Session(by, nil).write(ctx, "released", extra{keys: []string{DomainKey(r.Domain)}}, attrs...)
}

// Report: the new message reports to the sender of about.
func (j *Journal) Report(ctx context.Context, report mail.Envelope, about mail.MessageID, sender mail.Address, recipients int) {
	j.about(ctx, "dsn", report, extra{}, slog.String("about", string(about)), to(sender), slog.Int("recipients", recipients))
}

// ReportPostponed: the report about msg could not be made; it is tried again.
func (j *Journal) ReportPostponed(ctx context.Context, about mail.MessageID, cause error, again time.Time) {
	j.line(ctx, "dsn postponed", slog.String("about", string(about)), slog.String("why", clean(cause.Error())), slog.Time("again", again))
}

// Dropped: one recipient is given up without a report, because of why.
func (j *Journal) Dropped(ctx context.Context, env mail.Envelope, rcpt mail.Address, why string) {
	j.about(ctx, "dropped", env, extra{}, to(rcpt), slog.String("why", clean(why)))
}

// SetAside: the stored message cannot be read; it is kept and not tried.
func (j *Journal) SetAside(ctx context.Context, msg mail.MessageID, domain mail.Domain, cause error) {
	j.line(ctx, "set aside", id(msg), dest(domain), slog.String("why", clean(cause.Error())))
}

// Unfreed: the message is settled, but the next start removes it.
func (j *Journal) Unfreed(ctx context.Context, msg mail.MessageID, cause error) {
	j.line(ctx, "unfreed", id(msg), slog.String("why", clean(cause.Error())))
}

// Requeued: the message was in the store without an entry in the queue and has
// one again.
func (j *Journal) Requeued(ctx context.Context, msg mail.MessageID) {
	j.line(ctx, "requeued", id(msg))
}

// Acted: an administrator applied action (freeze, thaw, retry, delete, bounce)
// to one message of domain. By is the account of the system that asked for it.
func (j *Journal) Acted(ctx context.Context, action, by string, msg mail.MessageID, domain mail.Domain) {
	j.line(ctx, "acted", id(msg), dest(domain), slog.String("action", action), slog.String("by", clean(by)))
}

// SignedIn: a caller proved to be account.
func (j *Journal) SignedIn(ctx context.Context, caller netip.Addr, account, mechanism string, tls bool) {
	j.line(ctx, "signed in", client(caller), slog.String("account", clean(account)),
		slog.String("mechanism", clean(mechanism)), slog.Bool("tls", tls))
}

// SignInRefused: a caller did not prove to be account, because of why, which the
// caller is not told; account is "" where the exchange ended before a name was given.
func (j *Journal) SignInRefused(ctx context.Context, caller netip.Addr, account, mechanism string, tls bool, r mail.Reply, why error) {
	r.Cause = nil // or why
	j.refusal(ctx, caller, r.Code == 421, "sign-in refused", extra{}, client(caller), j.helo(), slog.String("account", clean(account)),
		slog.String("verb", "AUTH"), slog.String("mechanism", clean(mechanism)), slog.Bool("tls", tls), reply(r), slog.String("why", clean(why.Error())))
}

// LockedOut: nobody signs in from the caller's address (of IPv6, its /64) before
// until; account and mechanism are those of the last attempt.
func (j *Journal) LockedOut(ctx context.Context, caller netip.Addr, account, mechanism string, until time.Time) {
	j.line(ctx, "address locked out", slog.String("client", mail.CallerNet(caller).String()), slog.String("account", clean(account)),
		slog.String("mechanism", clean(mechanism)), slog.Time("until", until))
}

func (j *Journal) helo() slog.Attr {
	if j == nil || j.caller == nil {
		return slog.String("helo", "")
	}
	return slog.String("helo", clean(j.caller.Hello()))
}

func (j *Journal) account() slog.Attr {
	if j == nil || j.caller == nil {
		return slog.String("account", "")
	}
	return slog.String("account", clean(j.caller.Account()))
}

func id(m mail.MessageID) slog.Attr      { return slog.String("msg_id", string(m)) }
func session(s mail.SessionID) slog.Attr { return slog.String("session", string(s)) }
func to(a mail.Address) slog.Attr        { return slog.String("to", "<"+a.String()+">") }
func dest(d mail.Domain) slog.Attr       { return slog.String("domain", string(d)) }
func reply(r mail.Reply) slog.Attr       { return slog.String("reply", clean(r.Error())) }
func client(a netip.Addr) slog.Attr {
	if !a.IsValid() {
		return slog.String("client", "")
	}
	return slog.String("client", a.String())
}

// clean keeps one event on one line whatever the peer sent: control octets
// become blanks, and long text is cut.
func clean(s string) string {
	cut := len(s) > maxReply
	if cut {
		s = s[:maxReply]
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if cut {
		return s + "..."
	}
	return s
}
