// SPDX-License-Identifier: Apache-2.0

// Package delivery makes one attempt at a destination. It finds the hosts by
// the settings in force, opens a conversation with the first that answers,
// hands over the messages of the lease, and settles an outcome for each
// recipient. Mail for a local domain becomes files in a folder.
//
// The package keeps nothing between attempts: the queue decides when to try
// again and when to give up.
package delivery

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"restante/engine/delivery/transfer"
	"restante/engine/mail"
	"restante/engine/resolver"
	"restante/engine/wire"
	"restante/internal/disk"
)

// A Kind says what a route leads to.
type Kind int

const (
	MX        Kind = iota // to the hosts that DNS names
	SmartHost             // to the hosts of Route.Smart
	Drop                  // into the folder Route.Dir, with the envelope on top
	Archive               // into the folder Route.Dir, the text alone
)

// A Route says where a destination's mail goes and how to talk to the hosts.
type Route struct {
	Kind        Kind
	Dir         string // Drop, Archive: the folder; created if missing
	Quota       int64  // Drop: octets in the folder from which on mail waits; 0: no limit
	Smart       []Hop  // SmartHost: in the order to try them
	DirectFirst bool   // SmartHost: only when the hosts that DNS names are out of reach
	Held        bool   // mail of a held domain is not returned because no host is found
	Client      ClientSettings
}

// A Hop is a smart host.
type Hop struct {
	Host   string // a name, or an address in brackets
	Port   uint16 // 0: that of Client
	Shares bool   // the mail with the hop before it, instead of following it
	Weight int    // among those that share the mail; 0: 1
}

// ClientSettings say how to talk to a host.
type ClientSettings struct {
	Hello       string        // our name
	Port        uint16        // of the hosts that DNS names; 0: 25
	SecurePort  uint16        // where TLS begins with the first octet; 0: nowhere
	TLS         *tls.Config   // base for STARTTLS: roots, least version; nil: the system's roots
	RequireTLS  bool          // no mail without TLS, and the host must prove its name
	DANE        bool          // the TLSA records of a host decide instead (RFC 7672), where DNS has any
	STS         bool          // else the MTA-STS policy of the domain does (RFC 8461), where it has one
	Auth        wire.SignIn   // at a smart host; nil: none
	HELO        bool          // HELO instead of EHLO
	Without     []string      // extensions that are not used, even if the host offers them
	MaxMessages int           // on one connection; 0: no limit
	Patience    time.Duration // with a silent host when the owner of the mail calls; 0: 60 s
	Timeouts    wire.Timeouts
	DNS         resolver.Query
	Own         func(netip.AddrPort) bool // reports whether we listen there; nil: nowhere
	Masquerade  mail.Masquerade
}

// Same reports whether both routes lead to the same hosts in the same way, so
// that what failed on one fails on the other. Time-outs do not count.
func (r Route) Same(o Route) bool {
	return r.Kind == o.Kind && r.Dir == o.Dir && r.Quota == o.Quota && slices.Equal(r.Smart, o.Smart) && r.DirectFirst == o.DirectFirst && r.Client.same(o.Client)
}

func (t ClientSettings) same(o ClientSettings) bool {
	return t.Hello == o.Hello && t.Port == o.Port && t.SecurePort == o.SecurePort && t.RequireTLS == o.RequireTLS && (t.TLS == nil) == (o.TLS == nil) &&
		t.HELO == o.HELO && slices.Equal(t.Without, o.Without) && slices.Equal(t.DNS.Servers, o.DNS.Servers) && t.DNS.Transport == o.DNS.Transport && t.DNS.Names == o.DNS.Names && t.DNS.Loopback == o.DNS.Loopback &&
		t.DANE == o.DANE && t.STS == o.STS && t.DNS.Secure == o.DNS.Secure && t.DNS.Trusted == o.DNS.Trusted &&
		t.Masquerade.Domain == o.Masquerade.Domain && reflect.DeepEqual(t.Auth, o.Auth)
}

// A Router is asked for the route at each attempt: a change of the
// configuration takes effect at the next one.
type Router interface {
	Route(d mail.Domain) Route
}

// A Resolver finds hosts: *resolver.Resolver.
type Resolver interface {
	Hosts(ctx context.Context, d mail.Domain, q resolver.Query) ([]resolver.Host, error)
	Addresses(ctx context.Context, name string, q resolver.Query) ([]resolver.Host, error)
	TLSA(ctx context.Context, next mail.Domain, host string, port uint16, q resolver.Query) (resolver.TLSA, error)
}

// Policies has the MTA-STS policies of domains.
type Policies interface {
	// Policy gives one that is to be enforced: which hosts the domain has. Nil: there is none.
	Policy(ctx context.Context, d mail.Domain, q resolver.Query) (allows func(host string) bool)
}

// A Dialer opens connections: *net.Dialer.
type Dialer interface {
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// Options adjusts New. The zero value is the production setting.
type Options struct {
	Log     *slog.Logger    // diagnostics; nil: none
	Lines   func(wire.Line) // is told of each command and reply; nil: nobody is
	Dialer  Dialer          // nil: net.Dialer
	Connect time.Duration   // for one address to answer; 0: 30 s
	STS     Policies        // of domains; nil: they have none
	FS      disk.FS         // of the drop folders; nil: the system's
}

// A Delivery makes attempts. Its methods may be called concurrently.
type Delivery struct {
	router   Router
	resolver Resolver
	opts     Options
}

// New makes a Delivery. It starts nothing.
func New(router Router, res Resolver, opts Options) *Delivery {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Dialer == nil {
		opts.Dialer = &net.Dialer{}
	}
	if opts.Connect == 0 {
		opts.Connect = 30 * time.Second
	}
	return &Delivery{router: router, resolver: res, opts: opts}
}

// Attempt hands over the messages of l, settles each, and returns when all are
// delivered or deferred. When ctx ends, the remaining messages stay as they
// were; so do they when the owner of the mail takes it over. Attempt does not
// close l.
func (d *Delivery) Attempt(ctx context.Context, dest mail.Domain, l transfer.Lease) {
	ctx, done := l.Until(ctx)
	defer done()
	route := d.router.Route(dest)
	b := transfer.NewBatch(l)
	b.SetPatience(route.Client.Patience)
	b.SetMasquerade(route.Client.Masquerade)
	b.SetHeld(route.Held)
	var err error
	if route.Kind == Drop || route.Kind == Archive {
		err = d.drop(ctx, route, b)
	} else {
		err = d.send(ctx, dest, route, b)
	}
	if err != nil && ctx.Err() == nil {
		d.opts.Log.ErrorContext(ctx, "delivery", "domain", dest, "err", err)
	}
}

// send tries the hosts of the route until no message is left. An error is
// internal, such as a settlement that failed.
func (d *Delivery) send(ctx context.Context, dest mail.Domain, route Route, b *transfer.Batch) error {
	failed := failure{status: mail.Deferred, reply: mail.Reply{Code: 451, Enhanced: "4.4", Text: "there is no route for the domain"}}
	for _, s := range d.stages(dest, route) {
		targets, none := s.find(ctx, route.Held)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if none != nil {
			failed = *none
			continue
		}
		done, f, err := d.tryTargets(ctx, targets, s.client, b)
		if done || err != nil {
			return err
		}
		failed = f
	}
	return b.GiveUp(ctx, failed.status, failed.reply, failed.host)
}

// A failure says why no host took the mail.
type failure struct {
	status mail.Status
	reply  mail.Reply
	host   string
}
