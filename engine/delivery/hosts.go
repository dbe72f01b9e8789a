// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"cmp"
	"context"
	"errors"
	"net/netip"

	"restante/engine/mail"
	"restante/engine/resolver"
)

// A target is one address of one host.
type target struct {
	host string
	addr netip.AddrPort
}

// maxTargets bounds the addresses that one attempt tries.
const maxTargets = 10

// A stage finds targets. The next stage is tried when they fail.
type stage func(ctx context.Context) ([]target, error)

// stages returns the stages of a route in order.
func (d *Delivery) stages(dest mail.Domain, route Route) []stage {
	direct := func(ctx context.Context) ([]target, error) {
		hosts, err := d.resolver.Hosts(ctx, dest, route.Client.DNS)
		return targets(hosts, cmp.Or(route.Client.Port, 25)), err
	}
	smart := func(ctx context.Context) ([]target, error) {
		return d.smart(ctx, route)
	}
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
	for _, hop := range route.Smart {
		// A smart host that is this machine under another port is allowed.
		q := route.Client.DNS
		q.Self = nil
		hosts, err := d.resolver.Addresses(ctx, hop.Host, q)
		out = append(out, targets(hosts, cmp.Or(hop.Port, route.Client.Port, 25))...)
		if first == nil {
			first = err
		}
	}
	if len(out) > 0 || first == nil {
		return out, nil
	}
	return nil, &resolver.Error{Name: route.Smart[0].Host, Kind: resolver.Temporary, Err: first}
}

func targets(hosts []resolver.Host, port uint16) (out []target) {
	for _, h := range hosts {
		for _, ip := range h.Addrs {
			out = append(out, target{h.Name, netip.AddrPortFrom(ip, port)})
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
		resolver.Loop:      {Code: 554, Enhanced: "4.6"},
	}
	f := failure{mail.Deferred, mail.Reply{Code: 451, Enhanced: "4.3", Text: string(resolver.Temporary)}, ""}
	var e *resolver.Error
	if errors.As(err, &e) {
		if r, ok := permanent[e.Kind]; ok {
			f.status, f.reply = mail.Failed, r
			f.reply.Text = string(e.Kind)
		}
	}
	f.reply.Cause = err
	return f
}
