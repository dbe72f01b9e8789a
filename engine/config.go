// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"

	"restante/engine/account"
	"restante/engine/delivery"
	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/release"
	"restante/engine/resolver"
	"restante/engine/session"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/engine/wire"
)

// config says to each room of a site what is set for it.
func (e *Engine) config(set *settings.Site) *site.Config {
	w := &world{Site: set, dir: e.opts.DataDir, own: sync.OnceValue(ownAddresses)}
	cfg := &site.Config{
		Name: set.Name, Rev: uint64(set.Rev),
		TLS:     site.TLSFiles{Cert: w.path(set.TLS.CertFile), Key: w.path(set.TLS.KeyFile)},
		Callers: set.Limits.Connections,
		Admits:  set.MayConnect,
		Wire:    w.wire(),
		Session: w.session(),
		Release: w.release(),
		Mail: site.Mail{
			Folder: w.path(set.Folders.Queue),
			Owner:  fmt.Sprintf("site %d of %s as %s", set.Number, w.dir, plain(w.dir, set.Folders.Queue)),
			DB:     indexOf(e.opts.IndexDB, w.dir, set.Number, set.Folders.Queue),
			Note: func(ctx context.Context) error {
				return note(ctx, e.opts.IndexDB, w.dir, set.Number, set.Folders.Queue)
			},
			Badmail: w.path(set.Folders.Badmail),
			Holds:   queue.RouterFunc(w.hold),
			Routes:  routes{w},
			Policy:  w.patience(),
		},
	}
	for _, b := range set.Bindings {
		cfg.Bindings = append(cfg.Bindings, site.Binding(b))
	}
	return cfg
}

// ownAddresses are this machine's. None, where they cannot be read: then mail
// that comes back to us ends by its hop count.
func ownAddresses() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				out = append(out, ip.Unmap())
			}
		}
	}
	return out
}

// world answers from the settings of one revision. It implements the
// interfaces of the rooms.
type world struct {
	*settings.Site
	dir string
	own func() []netip.Addr
}

func (w *world) path(p string) string { return onDisk(w.dir, p) }

func (w *world) wire() wire.Config {
	return wire.Config{
		Hostname: w.FQDN, Greeting: w.Greeting, RequireTLS: w.TLS.Required,
		Verbs: wire.Verbs{
			ETRN: w.Verbs.ETRN, TURN: w.Verbs.TURN, ATRN: w.Verbs.ATRN,
			Chunking: w.Verbs.Chunking, EightBit: w.Verbs.EightBit, DSN: w.Verbs.DSN,
			Pipelining: w.Verbs.Pipelining, EnhancedCodes: w.Verbs.EnhancedCodes,
		},
		MaxSize: w.Limits.MessageSize, MaxErrors: w.Limits.Errors,
		AcceptBareLF: w.Limits.BareLF, IdleTimeout: w.Limits.Idle,
	}
}

func (w *world) session() session.Policy {
	p := session.Policy{
		Hostname: w.FQDN, Default: w.Domain, Domains: domains{w},
		Limits: session.Limits{
			Size: w.Limits.MessageSize, Session: w.Limits.SessionSize,
			Recipients: w.Limits.Recipients, Hops: w.Limits.Hops,
		},
		SignIn: session.SignIn{
			Lookup: w.Account, Plain: w.SignIn.Basic, Clear: w.SignIn.Clear,
			Scram: w.SignIn.Challenge, Required: w.SignIn.Required,
		},
	}
	if w.SignIn.Challenge {
		p.SignIn.Cram = w.HasCram
	}
	return p
}

// domains is the site as a session asks it.
type domains struct{ *world }

func (d domains) Standing(name mail.Domain) session.Standing {
	switch d.Site.Standing(name) {
	case settings.Local:
		return session.Local
	case settings.Held:
		return session.Held
	case settings.Relayed:
		return session.Relayed
	}
	return session.Foreign
}

func (d domains) MayRelay(name mail.Domain, client netip.Addr, who string) bool {
	if key, ok := d.DomainFor(name); ok {
		return key.Relay.Allows(client, who)
	}
	return d.Relay.Allows(client, who)
}

func (w *world) release() release.Policy {
	return release.Policy{
		ETRN: w.Verbs.ETRN, TURN: w.Verbs.TURN, ATRN: w.Verbs.ATRN,
		RequireTLS: w.Release.TurnTLS, RequireAuth: w.Release.EtrnSignIn,
		Subdomains: w.Release.Subdomains, Counts: w.Release.Counts, Interval: w.Release.Interval,
		Hello: w.FQDN, Timeouts: w.timeouts(), Rules: w,
	}
}

// Hold is what release asks of a domain.
func (w *world) Hold(d mail.Domain) (release.Hold, bool) {
	key, ok := w.DomainFor(d)
	if !ok || key.Standing != settings.Held {
		return release.Hold{}, false
	}
	return release.Hold{Accounts: key.Accounts, NoETRN: key.NoETRN()}, true
}

func (w *world) hold(d mail.Domain) queue.RouteState {
	return queue.RouteState{Held: w.Site.Standing(d) == settings.Held}
}

// manyConversations stands for no limit.
const manyConversations = 10000

func (w *world) patience() queue.Policy {
	unlimited := func(n int) int {
		if n == 0 {
			return manyConversations
		}
		return n
	}
	return queue.Policy{
		Ladder: w.Retry.Ladder, Expire: w.Retry.Expire, DelayNotice: w.Retry.Delay,
		Conversations: unlimited(w.Out.Connections), PerDestination: unlimited(w.Out.PerDomain),
	}
}

// timeouts bounds each wait for a peer by the configured one, where that is
// shorter than what RFC 5321 §4.5.3.2 gives.
func (w *world) timeouts() wire.Timeouts {
	shorter := func(rfc time.Duration) time.Duration {
		if t := w.Out.Timeout; t > 0 && t < rfc {
			return t
		}
		return 0
	}
	return wire.Timeouts{
		Greeting: shorter(5 * time.Minute), Command: shorter(5 * time.Minute), DataInit: shorter(2 * time.Minute),
		DataBlock: shorter(3 * time.Minute), DataDone: shorter(10 * time.Minute),
	}
}

// routes is the site as delivery asks it.
type routes struct{ *world }

func (r routes) Route(d mail.Domain) delivery.Route {
	set := r.Site.Route(d)
	out := delivery.Route{Dir: r.path(set.Folder), DirectFirst: set.DirectFirst, Held: set.Held, Talk: r.talk(set)}
	switch set.Way {
	case settings.ToFolder:
		out.Kind = delivery.Drop
	case settings.BySmartHost:
		out.Kind = delivery.SmartHost
		for _, h := range set.Hosts {
			out.Smart = append(out.Smart, delivery.Hop{Host: h.Name, Port: h.Port})
		}
	}
	return out
}

func (r routes) talk(set settings.Route) delivery.Talk {
	t := delivery.Talk{
		Hello: r.FQDN, Port: r.Out.Port, RequireTLS: set.NeedTLS, HELO: set.Helo,
		NoPipelining: set.NoPipeline, MaxMessages: r.Out.Messages, Timeouts: r.timeouts(),
		DNS: resolver.Query{Self: r.self}, TLS: demands(set.NeedTLS, r.Out),
	}
	for _, s := range r.Out.DNS {
		t.DNS.Servers = append(t.DNS.Servers, s.String())
	}
	if in := set.SignIn; in != nil {
		t.Auth = func() sasl.Client { return signIn(in) }
	}
	return t
}

func signIn(in *settings.RouteSignIn) sasl.Client {
	mech := account.Cram
	if in.Plain {
		mech = account.Plain
	}
	c, err := account.Client(mech, in.User, in.Password)
	if err != nil {
		return nil // not for these two
	}
	return c
}

// self says that a host is this site: by its name, whatever the port (others
// may reach us through one that is forwarded), or by an address of this machine
// that it listens on, at the port that we should call.
func (r routes) self(name string, addrs []netip.Addr) bool {
	name = strings.TrimSuffix(name, ".")
	if strings.EqualFold(name, r.FQDN) || r.Domain != "" && strings.EqualFold(name, string(r.Domain)) {
		return true
	}
	for _, b := range r.Bindings {
		if b.Addr.Port() != r.Out.Port {
			continue
		}
		at := b.Addr.Addr()
		for _, a := range addrs {
			a = a.Unmap()
			if a == at || at.IsUnspecified() && slices.Contains(r.own(), a) {
				return true
			}
		}
	}
	return false
}
