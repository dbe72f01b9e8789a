// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/d--j/go-milter"

	"restante/engine/mail"
	"restante/engine/session"
)

// New begins with a message. It connects to nothing yet.
func New(c Config, t session.Transaction) session.Filter { return &transaction{config: c, about: t} }

// A transaction shows one message to all filters.
type transaction struct {
	config  Config
	about   session.Transaction
	opened  bool
	links   []*link
	refusal mail.Reply // of the message; zero: none
	discard bool
	bodies  []*newBodyOf
}

// Recipient implements [session.Filter].
func (t *transaction) Recipient(ctx context.Context, to mail.Recipient) mail.Reply {
	if !t.opened {
		t.opened = true
		t.open(ctx)
	}
	for _, l := range t.links {
		if t.refusal.Code != 0 || t.discard {
			break
		}
		if l.ended {
			continue
		}
		l.macros.Set(milter.MacroRcptMailer, "smtp")
		l.macros.Set(milter.MacroRcptHost, string(to.Address.Domain))
		l.macros.Set(milter.MacroRcptAddr, to.Address.String())
		if r := t.ask(ctx, l, func() (*milter.Action, error) { return l.peer.Rcpt(to.Address.String(), "") }); r.Code != 0 {
			return r
		}
	}
	return t.refusal
}

// open connects to the filters, and tells each of the caller and the sender. The first
// that refuses decides.
func (t *transaction) open(ctx context.Context) {
	name := nameOf(t.about)
	for _, f := range t.config.Filters {
		if t.refusal.Code != 0 || t.discard {
			return
		}
		l := &link{Filter: f, macros: macrosOf(t.about, name)}
		t.links = append(t.links, l)
		if err := l.connect(ctx, t.config); err != nil {
			t.refusal = t.down(ctx, l, err)
			continue
		}
		for _, tell := range []func() (*milter.Action, error){
			func() (*milter.Action, error) {
				family, port, address := family(netip.AddrPortFrom(t.about.Envelope.Client, t.about.Remote.Port()))
				return l.peer.Conn(name, family, port, address)
			},
			func() (*milter.Action, error) { return l.peer.Helo(helloOf(t.about)) },
			func() (*milter.Action, error) { return l.peer.Mail(t.about.Envelope.From.String(), "") },
		} {
			if !l.ended && t.refusal.Code == 0 && !t.discard {
				t.refusal = t.ask(ctx, l, tell)
			}
		}
	}
}

// ask puts one question to a filter. The zero Reply: it does not refuse.
func (t *transaction) ask(ctx context.Context, l *link, question func() (*milter.Action, error)) mail.Reply {
	a, err := within(ctx, l, t.config.Command, question)
	if err != nil {
		return t.down(ctx, l, err)
	}
	return t.decide(ctx, l, a, "")
}

// within gives a filter that long for what ask does.
func within(ctx context.Context, l *link, timeout time.Duration, ask func() (*milter.Action, error)) (*milter.Action, error) {
	c := l.conn
	c.phase(timeout)
	defer context.AfterFunc(ctx, func() { _ = c.Conn.Close() })()
	return ask()
}

// decide does what the filter says about the message, or the recipient.
func (t *transaction) decide(ctx context.Context, l *link, a *milter.Action, changes string) (r mail.Reply) {
	switch a.Type {
	case milter.ActionContinue, milter.ActionSkip:
		return r
	case milter.ActionAccept:
		l.close()
		t.log(ctx, l, "accept", changes)
	case milter.ActionDiscard:
		t.discard = true
		t.log(ctx, l, "discard", "")
	case milter.ActionReject:
		r = mail.Reply{Code: 550, Enhanced: "7.1", Text: "Rejected"}
	case milter.ActionTempFail:
		r = mail.Reply{Code: 451, Enhanced: "7.1", Text: "Try again later"}
	case milter.ActionRejectWithCode:
		var err error
		if r, err = parseReply(a.SMTPReply); err != nil {
			return t.down(ctx, l, err)
		}
	default:
		return t.down(ctx, l, fmt.Errorf("answers %d", a.Type))
	}
	if r.Code != 0 {
		r.Cause = fmt.Errorf("milter %s", l)
	}
	t.config.Health.note(place{t.config.Site, l.String()}, nil)
	return r
}

// down does what is set for a filter that does not answer, or not as it should.
func (t *transaction) down(ctx context.Context, l *link, err error) mail.Reply {
	l.close()
	err = fmt.Errorf("milter %s: %w", l, err)
	r := mail.Reply{Code: 451, Enhanced: "7.1", Text: "The message cannot be checked now, try again later", Cause: err}
	if ctx.Err() != nil {
		t.refusal = r // the caller is gone, and the filter may be well
		return r
	}
	t.config.Health.note(place{t.config.Site, l.String()}, err)
	t.log(ctx, l, "down", err.Error())
	switch l.Down {
	case Accept:
		return mail.Reply{}
	case Reject:
		r.Code, r.Text = 550, "The message cannot be checked"
	}
	t.refusal = r
	return r
}

func (t *transaction) log(ctx context.Context, l *link, verdict, changes string) {
	t.about.Journal.Filtered(ctx, t.about.Envelope, l.String(), verdict, changes)
}

// Message implements [session.Filter].
func (t *transaction) Message(ctx context.Context, m session.Arrival) session.Verdict {
	v := session.Verdict{Refuse: t.refusal, Discard: t.discard, From: t.about.Envelope.From, To: m.Envelope.To, Open: m.Open}
	asked := slices.ContainsFunc(t.links, func(l *link) bool { return !l.ended })
	if t.refusal.Code != 0 || t.discard || !asked {
		return v
	}
	if t.config.MaxSize > 0 && m.Size > t.config.MaxSize {
		for _, l := range t.links {
			if !l.ended {
				t.log(ctx, l, "not asked", fmt.Sprintf("the message has %d octets, more than MilterMaxSize", m.Size))
			}
		}
		return v
	}
	now, err := read(m.Open)
	switch {
	case errors.Is(err, errHeader):
		v.Refuse = mail.Reply{Code: 554, Enhanced: "6.0", Text: "Header too long", Cause: err}
	case err != nil:
		v.Refuse = storeFault(err)
	}
	for _, l := range t.links {
		if v.Refuse.Code == 0 && !t.discard && !l.ended {
			v.Refuse = t.show(ctx, l, m, now, &v)
		}
	}
	v.Discard = t.discard || len(v.To) == 0
	if now != nil && now.changed {
		v.Open = now.open
	}
	return v
}

func storeFault(err error) mail.Reply {
	return mail.Reply{Code: 451, Enhanced: "3.0", Text: "Cannot store the message now, try again later", Cause: err}
}

// show shows the message to one filter, and makes the changes that it asks for to now and
// v. What it asks for is done as a whole or not at all.
func (t *transaction) show(ctx context.Context, l *link, m session.Arrival, now *message, v *session.Verdict) mail.Reply {
	var asked []milter.ModifyAction
	body := &newBodyOf{create: m.Create, limit: m.Limit}
	t.bodies = append(t.bodies, body)
	a, err := within(ctx, l, t.config.Content, func() (*milter.Action, error) {
		a, err := l.send(now)
		if err == nil && goesOn(a) {
			l.conn.body = body
			asked, a, err = l.peer.End()
		}
		return a, err
	})
	if own := (storeError{}); errors.As(err, &own) {
		l.close()
		return storeFault(own)
	}
	if err != nil {
		return t.down(ctx, l, err)
	}
	changed, next := *v, *now
	changed.To, next.fields = slices.Clone(v.To), slices.Clone(now.fields)
	spaced := l.peer.ProtocolOption(milter.OptHeaderLeadingSpace)
	done, err := apply(asked, spaced, &next, &changed)
	if err == nil && body.draft != nil {
		if err = body.end(); err == nil {
			next.body, next.changed, done = body.draft.Reader, true, append(done, "a new body")
		}
	}
	if err != nil {
		return t.down(ctx, l, err)
	}
	if a.Type == milter.ActionContinue { // the end of a message is its acceptance
		a = &milter.Action{Type: milter.ActionAccept}
	}
	r := t.decide(ctx, l, a, strings.Join(done, ", "))
	if r.Code == 0 && !t.discard && a.Type == milter.ActionAccept {
		*now, *v = next, changed
	}
	return r
}

// Close implements [session.Filter].
func (t *transaction) Close() {
	for _, l := range t.links {
		l.close()
	}
	for _, b := range t.bodies {
		if b.draft != nil {
			b.draft.Abort()
		}
	}
}
