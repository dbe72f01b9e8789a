// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"log/slog"
	"strings"

	"restante/engine/mail"
)

// A Trace takes an event and the keys by which it is found later, of which it may keep the
// first alone. It must not wait, and keeps the attributes.
type Trace func(event string, keys []string, attrs []slog.Attr)

// The keys of events: those of a message by its ID; its arrival also by its sender, its
// recipients and its Message-ID; refusals by sender and recipient; and what happened to
// all mail for a domain by that.
func IDKey(id mail.MessageID) string        { return "id " + string(id) }
func AddressKey(a mail.Address) string      { return "address " + a.String() }
func DomainKey(d mail.Domain) string        { return "domain " + string(d) }
func MessageIDKey(inBrackets string) string { return "message-id " + inBrackets }

// extra is what the trace alone gets of an event.
type extra struct {
	keys  []string
	attrs []slog.Attr
}

// allKeys has the keys that the attributes are before those of x, which a Trace may cut.
func (x extra) allKeys(attrs []slog.Attr) (keys []string) {
	for _, a := range attrs {
		if a.Key == "msg_id" || a.Key == "about" {
			keys = append(keys, IDKey(mail.MessageID(a.Value.String())))
		}
	}
	return append(keys, x.keys...)
}

// maxListed bounds the recipients that an event lists; it is found by the others, too.
const maxListed = 100

// arrival is what is found out later about the arrival of a message.
func arrival(env mail.Envelope) (x extra) {
	if env.HeaderID != "" {
		x.keys = append(x.keys, MessageIDKey(env.HeaderID))
		x.attrs = append(x.attrs, slog.String("message_id", clean(env.HeaderID)))
	}
	if !env.From.IsNull() {
		x.keys = append(x.keys, AddressKey(env.From))
	}
	list := make([]string, 0, min(len(env.To), maxListed))
	for _, r := range env.To {
		x.keys = append(x.keys, AddressKey(r.Address))
		if len(list) < maxListed {
			list = append(list, "<"+r.Address.String()+">")
		}
	}
	x.attrs = append([]slog.Attr{slog.String("to", strings.Join(list, " "))}, x.attrs...)
	if env.Helo != "" {
		x.attrs = append(x.attrs, slog.String("helo", clean(env.Helo)))
	}
	return x
}

// refusedMail is what is found out later about mail that was refused.
func refusedMail(env mail.Envelope, verb, what string) (x extra) {
	x = arrival(env)
	if verb == "RCPT" || verb == "MAIL" {
		x.keys = append(x.keys, "address "+what)
	}
	x.attrs = nil // the verb and what followed it are in the line
	if len(env.To) > 0 && verb != "RCPT" || verb == "RCPT" && env.From != (mail.Address{}) {
		x.attrs = append(x.attrs, slog.String("from", "<"+env.From.String()+">"))
	}
	return x
}

// attempt is what is found out later about a conversation.
func attempt(o mail.Outcome) (x extra) {
	if v := o.Via; v.Addr.IsValid() {
		x.attrs = append(x.attrs, slog.String("address", v.Addr.Unmap().String()), slog.String("tls", v.TLS))
		if v.Rule != "" {
			x.attrs = append(x.attrs, slog.String("tls_rule", v.Rule))
		}
		if v.By != "" {
			x.attrs = append(x.attrs, slog.String("by", clean(v.By)))
		}
	}
	if o.Reply.InDoubt() {
		x.attrs = append(x.attrs, slog.Bool("in_doubt", true))
	}
	return x
}
