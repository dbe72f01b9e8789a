// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"restante/engine/delivery/transfer"
	"restante/engine/mail"
	"restante/engine/resolver"
	"restante/engine/wire"
)

// A target is one address of one host.
type target struct {
	host string
	addr netip.AddrPort
	next mail.Domain // whose MX records name the host; "": a setting does
	rule tlsRule
}

// maxTargets bounds the addresses that one attempt tries.
const maxTargets = 10

// A stage finds targets, and says how to talk to them. The next stage is tried
// when they fail.
type stage struct {
	resolve func(ctx context.Context) ([]target, error)
	client  ClientSettings
	smart   bool
}

// stages returns the stages of a route in order. The password is for the smart
// hosts: DNS names the hosts that the owner of the destination wants.
func (d *Delivery) stages(dest mail.Domain, route Route) []stage {
	direct := stage{func(ctx context.Context) ([]target, error) {
		hosts, err := d.resolver.Hosts(ctx, dest, route.Client.DNS)
		return targets(hosts, cmp.Or(route.Client.Port, 25), dest), err
	}, route.Client, false}
	direct.client.Auth = nil
	smart := stage{func(ctx context.Context) ([]target, error) { return d.smart(ctx, route) }, route.Client, true}
	smart.client.STS = false // RFC 8461 §2: a policy is about the hosts that DNS names
	switch {
	case route.Kind != SmartHost:
		return []stage{direct}
	case route.DirectFirst:
		return []stage{direct, smart}
	}
	return []stage{smart}
}

// smart returns the targets of the smart hosts. A smart host that cannot be
// found is a mistake in the settings and never a reason to return mail: the
// error is always temporary.
func (d *Delivery) smart(ctx context.Context, route Route) ([]target, error) {
	var out []target
	var first error
	for _, hop := range shuffled(route.Smart) {
		// A smart host that is this machine under another port is allowed.
		q := route.Client.DNS
		q.Self = nil
		hosts, err := d.resolver.Addresses(ctx, hop.Host, q)
		name, _ := mail.ParseDomain(hop.Host)
		found := targets(hosts, cmp.Or(hop.Port, route.Client.Port, 25), name)
		for i := range found {
			if found[i].host == string(name) {
				found[i].next = "" // the setting's own
			}
		}
		others := slices.DeleteFunc(slices.Clone(found), func(t target) bool { return route.Client.Own != nil && route.Client.Own(t.addr) })
		if len(others) == 0 && len(found) > 0 {
			err = &resolver.Error{Name: hop.Host, Kind: resolver.Loop}
		}
		out = append(out, others...)
		if first == nil {
			first = err
		}
	}
	if len(out) > 0 || first == nil {
		return out, nil
	}
	return nil, &resolver.Error{Name: route.Smart[0].Host, Kind: resolver.Temporary, Err: first}
}

// shuffled gives the hops in the order to try them now: those that share the mail at
// random by their weights.
func shuffled(hops []Hop) (out []Hop) {
	for len(hops) > 0 {
		n := 1
		for n < len(hops) && hops[n].Shares {
			n++
		}
		group := slices.Clone(hops[:n])
		for hops = hops[n:]; len(group) > 0; {
			total := 0
			for _, h := range group {
				total += max(h.Weight, 1)
			}
			i, at := 0, rand.IntN(total)
			for at -= max(group[0].Weight, 1); at >= 0; at -= max(group[i].Weight, 1) {
				i++
			}
			out = append(out, group[i])
			group = slices.Delete(group, i, i+1)
		}
	}
	return out
}

// targets lists the addresses of the hosts that were found for a domain, or for a name
// that is the host's own.
func targets(hosts []resolver.Host, port uint16, of mail.Domain) (out []target) {
	for _, h := range hosts {
		for _, ip := range h.Addrs {
			out = append(out, target{host: h.Name, addr: netip.AddrPortFrom(ip, port), next: of})
		}
	}
	return out[:min(len(out), maxTargets)]
}

// temporary makes a permanent failure temporary. DNS need not know a host that
// only calls, and any caller can start a delivery by ETRN.
func (f failure) temporary() failure {
	if f.status == mail.Failed {
		f.status, f.reply.Code, f.reply.Enhanced = mail.Deferred, 451, "4.4"
	}
	return f
}

// resolveFailure is the failure of mail whose hosts cannot be resolved.
func resolveFailure(err error) failure {
	permanent := map[resolver.Kind]mail.Reply{
		resolver.NotFound:  {Code: 550, Enhanced: "1.2"},
		resolver.NullMX:    {Code: 556, Enhanced: "1.10"}, // RFC 7505 §5
		resolver.NoAddress: {Code: 550, Enhanced: "4.4"},
		resolver.Unusable:  {Code: 550, Enhanced: "4.4"},
		resolver.Loop:      {Code: 554, Enhanced: "4.6"},
	}
	f := failure{mail.Deferred, mail.Reply{Code: 451, Enhanced: "4.3", Text: string(resolver.Temporary), Cause: err}, ""}
	var e *resolver.Error
	if errors.As(err, &e) {
		if r, ok := permanent[e.Kind]; ok {
			f.status, f.reply = mail.Failed, r
			f.reply.Text, f.reply.Cause = string(e.Kind), err
		}
		if e.Err == nil {
			f.reply.Cause = nil // the text says it
		}
		if why := (*resolver.Error)(nil); errors.As(e.Err, &why) { // of a smart host
			f.reply.Text = why.Name + ": " + string(why.Kind)
		}
	}
	return f
}

// maxBreaks is how often in a row a host may break conversations without
// accepting a message, before the next host is tried.
const maxBreaks = 3

// tryTargets tries the targets until no message of b is left. If it is not
// done, f is what the last target said. An error is internal.
func (d *Delivery) tryTargets(ctx context.Context, targets []target, talk ClientSettings, b *transfer.Batch) (done bool, f failure, err error) {
	f = failure{mail.Deferred, mail.Reply{Code: 451, Enhanced: "4.4", Text: "there is no host to send to"}, ""}
	rules := d.rules(ctx, targets, talk)
	for _, t := range targets {
		var cause error
		if t.rule, cause = rules.of(ctx, t); cause == nil {
			cause = d.sendTo(ctx, t, talk, b)
		}
		switch {
		case b.Err() != nil:
			return false, f, b.Err()
		case cause == nil:
			return true, f, nil
		case ctx.Err() != nil:
			return false, f, context.Cause(ctx)
		}
		d.opts.Log.WarnContext(ctx, "conversation", "host", t.host, "addr", t.addr, "err", cause)
		f = failure{mail.Deferred, refusal(cause, t), t.host}
	}
	return false, f, nil
}

// sendTo holds as many conversations with one target as it takes: some hosts
// hang up after a number of messages. It returns nil if no message of b is
// left, and otherwise why this target is of no further use.
func (d *Delivery) sendTo(ctx context.Context, t target, talk ClientSettings, b *transfer.Batch) error {
	for breaks := 0; ; {
		c, err := d.open(ctx, t, talk)
		if err != nil {
			d.logCut(ctx, t, err)
			return err
		}
		limit := talk.MaxMessages
		if _, most := c.Limits(); most > 0 && (limit == 0 || most < limit) {
			limit = most
		}
		b.SetVia(mail.Via{Addr: t.addr.Addr(), TLS: tlsVersion(c), Rule: t.rule.by})
		res := b.Send(ctx, c, t.host, limit)
		if res.Err == nil {
			_ = c.Quit(ctx) // all is settled: the answer to QUIT changes nothing
			if res.Done {
				return nil
			}
			continue // the limit of one connection
		}
		transfer.End(ctx, c, res)
		if res.Cut != "" {
			d.logCut(ctx, t, res.Err, "msg_id", res.Cut)
		}
		if breaks++; res.Taken > 0 {
			breaks = 0
		}
		if c.Stuck() {
			talk.Without = append(slices.Clip(talk.Without), "PIPELINING")
		}
		if leaves := (mail.Reply{}); errors.As(res.Err, &leaves) && leaves.Code == 421 && breaks > 0 && !c.Stuck() {
			breaks = maxBreaks // RFC 5321 §3.8: it is not available now
		}
		switch {
		case breaks == maxBreaks || b.Err() != nil || ctx.Err() != nil:
			return res.Err
		case !b.More():
			return nil
		}
	}
}

// tlsVersion names what encrypts a conversation, or is "none".
func tlsVersion(c *wire.Client) string {
	if state, ok := c.TLS(); ok {
		return tls.VersionName(state.Version)
	}
	return "none"
}

// logCut logs err if it is that of a conversation which a stop has cut.
func (d *Delivery) logCut(ctx context.Context, t target, err error, more ...any) {
	if stop := (*mail.Stopping)(nil); errors.As(err, &stop) {
		d.opts.Log.With("host", t.host, "addr", t.addr).With(more...).WarnContext(ctx, "the stop cuts a conversation", "err", err)
	}
}

// open connects and greets. If TLS is optional and its handshake fails, it
// connects once more without TLS (RFC 7435), but never with a password.
func (d *Delivery) open(ctx context.Context, t target, talk ClientSettings) (*wire.Client, error) {
	c, err := d.connect(ctx, t, talk, false)
	if errors.Is(err, wire.ErrTLS) && t.tls(talk) == TLSWanted && ctx.Err() == nil {
		d.opts.Log.WarnContext(ctx, "TLS handshake; sending in clear", "host", t.host, "addr", t.addr, "err", err)
		return d.connect(ctx, t, talk, true)
	}
	return c, err
}

func (d *Delivery) connect(ctx context.Context, t target, talk ClientSettings, clear bool) (*wire.Client, error) {
	dial, cancel := context.WithTimeout(ctx, d.opts.Connect)
	conn, err := d.opts.Dialer.DialContext(dial, "tcp", t.addr.String())
	cancel()
	if err != nil {
		return nil, cutAt(ctx, mail.AtConnect, err)
	}
	opts := wire.ClientOptions{
		Hello: talk.Hello, TLS: tlsConfig(talk, t), UseHELO: talk.HELO,
		Without: talk.Without, Proved: proof(talk.TLS, t.host), Timeouts: talk.Timeouts, Auth: talk.Auth, Log: d.opts.Lines,
	}
	switch {
	case t.rule.required:
		opts.TLSPolicy, opts.Proved = wire.TLSRequired, t.rule.verify
	case talk.RequireTLS:
		opts.TLSPolicy = wire.TLSRequired
	case clear:
		opts.TLSPolicy = wire.TLSNever
	}
	if t.addr.Port() == talk.SecurePort {
		conn, err = secure(ctx, conn, opts.TLS, opts.Timeouts.Greeting)
		if err != nil {
			return nil, cutAt(ctx, mail.AtTLS, err)
		}
	}
	return wire.NewClient(ctx, conn, opts)
}

// cutAt prefers the end of ctx to what came of it.
func cutAt(ctx context.Context, phase string, err error) error {
	if ctx.Err() != nil {
		return &wire.PhaseError{Phase: phase, Err: context.Cause(ctx)}
	}
	return err
}

// secure begins TLS with the first octet (RFC 8314 §3.3).
func secure(ctx context.Context, conn net.Conn, cfg *tls.Config, wait time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(wait, 5*time.Minute))
	defer cancel()
	c := tls.Client(conn, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("%w: %w", wire.ErrTLS, &wire.PhaseError{Phase: mail.AtTLS, Err: err})
	}
	return c, nil
}

// tlsConfig completes the TLS settings for one host. Where TLS is optional any
// certificate is accepted: the alternative is no encryption.
func tlsConfig(talk ClientSettings, t target) *tls.Config {
	cfg := talk.TLS.Clone()
	if cfg == nil {
		cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	cfg.ServerName = t.host
	if t.rule.required {
		cfg.ServerName, cfg.InsecureSkipVerify, cfg.VerifyConnection = t.rule.name, true, t.rule.verify
		return cfg
	}
	// A base that skips the verification has one of its own in VerifyConnection.
	cfg.InsecureSkipVerify = cfg.InsecureSkipVerify || !talk.RequireTLS
	return cfg
}

// proof checks that the certificate of a connection comes from a trusted authority and
// names the host. The handshake does so only where the route requires TLS, and then as
// its settings say; RFC 8689 §4.2.1 asks for both.
func proof(base *tls.Config, host string) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		opts := x509.VerifyOptions{DNSName: host, Intermediates: x509.NewCertPool()}
		if base != nil {
			opts.Roots = base.RootCAs
		}
		for _, c := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		_, err := state.PeerCertificates[0].Verify(opts)
		return err
	}
}

// refusal is the reply for messages that the target did not accept: the peer's
// words, or what became of the connection, and in which phase. Senders read the text:
// addresses within our network and the like are in the cause.
func refusal(cause error, t target) mail.Reply {
	var r mail.Reply
	r.Cause = cause
	at := &wire.PhaseError{Phase: mail.AtConnect, Err: cause}
	errors.As(cause, &at)
	switch said := (mail.Reply{}); {
	case errors.As(cause, &said):
		if r = said; !r.Peer {
			r.Text = t.host + " " + r.Text
		}
	case errors.Is(cause, wire.ErrTLS):
		r.Code, r.Enhanced, r.Text, r.Cause = 454, "7.5", "no trusted TLS connection to "+t.host+t.rule.words(), at.Err
	case at.Phase == mail.AtConnect && timedOut(cause):
		r.Code, r.Enhanced, r.Text = 451, "4.1", "no answer from "+t.host
	case at.Phase == mail.AtConnect:
		r.Code, r.Enhanced, r.Text = 451, "4.1", "no connection to "+t.host
	case timedOut(cause):
		r.Code, r.Enhanced, r.Text = 451, "4.2", "no answer from "+t.host+" in time"
	default:
		r.Code, r.Enhanced, r.Text, r.Cause = 451, "4.2", "the conversation with "+t.host+" broke", at.Err
	}
	r.Phase = cmp.Or(r.Phase, at.Phase)
	return r
}

func timedOut(err error) bool {
	var network net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}
