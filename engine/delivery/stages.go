// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"net/netip"

	"restante/engine/mail"
)

// A TLSUse says how a conversation with a host is encrypted.
type TLSUse string

// How conversations are encrypted.
const (
	TLSRequired TLSUse = "required"      // no mail without it, and the host must prove who it is
	TLSImplicit TLSUse = "implicit"      // from the first octet, whatever the certificate
	TLSOffered  TLSUse = "offered"       // where the host offers it; when the handshake fails, another host is tried
	TLSWanted   TLSUse = "opportunistic" // where the host offers it; when the handshake fails, the mail goes in clear
	TLSNone     TLSUse = "none"          // HELO has no STARTTLS
)

// tls is how a conversation with t is encrypted. With a password none goes on in clear
// after a handshake that failed (RFC 7435).
func (t target) tls(talk ClientSettings) TLSUse {
	switch {
	case talk.RequireTLS || t.rule.required:
		return TLSRequired
	case t.addr.Port() == talk.SecurePort:
		return TLSImplicit
	case talk.HELO:
		return TLSNone
	case talk.Auth != nil:
		return TLSOffered
	}
	return TLSWanted
}

// A NextHost is one address that an attempt connects to.
type NextHost struct {
	Name  string
	Addr  netip.AddrPort
	TLS   TLSUse
	Rule  string     // of its owner, that decides about TLS: "dane" or "sts"; "": none does
	Reply mail.Reply // why it is passed over; the zero one: it is not
}

// A Stage has the hosts of a route that an attempt tries in order, before it comes to
// those of the next stage. Without a host, Status and Reply are what the attempt settles.
type Stage struct {
	Smart  bool // these are the route's smart hosts, and not those that DNS names
	SignIn bool // Route.Client.Auth is used
	Hosts  []NextHost
	Status mail.Status
	Reply  mail.Reply
}

// Stages finds the hosts that an attempt at dest would try now, as the attempt does. Those
// that share the mail are in the order of one attempt.
func (d *Delivery) Stages(ctx context.Context, dest mail.Domain) (out []Stage) {
	route := d.router.Route(dest)
	if route.Kind == Drop || route.Kind == Archive {
		return nil
	}
	for _, s := range d.stages(dest, route) {
		one := Stage{Smart: s.smart, SignIn: s.client.Auth != nil}
		found, none := s.find(ctx, route.Held)
		if none != nil {
			one.Status, one.Reply = none.status, none.reply
		}
		rules := d.rules(ctx, found, s.client)
		for _, t := range found {
			rule, err := rules.of(ctx, t)
			t.rule = rule
			next := NextHost{Name: t.host, Addr: t.addr, TLS: t.tls(s.client), Rule: rule.by}
			if err != nil {
				next.Reply = refusal(err, t)
			}
			one.Hosts = append(one.Hosts, next)
		}
		out = append(out, one)
	}
	return out
}

// find resolves the hosts of a stage; none says why there are none.
func (s stage) find(ctx context.Context, held bool) (found []target, none *failure) {
	found, err := s.resolve(ctx)
	if err == nil {
		return found, nil
	}
	f := resolveFailure(err)
	if held {
		f = f.temporary()
	}
	return nil, &f
}
