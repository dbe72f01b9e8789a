// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"

	"restante/engine/mail"
	"restante/engine/mtasts"
	"restante/engine/resolver"
)

// policies has the MTA-STS policies that the sites share.
type policies struct{ engine *Engine }

// Policy implements delivery.Policies.
func (p policies) Policy(ctx context.Context, d mail.Domain, q resolver.Query) func(host string) bool {
	q.Self = nil // the server of a policy may well be this machine under another name
	found, ok := p.engine.sts.Policy(ctx, string(d), network{p.engine.dns.Lookup(q), p.engine.dns, q})
	if !ok || found.Mode != mtasts.Enforce {
		return nil
	}
	return found.Allows
}

// A network is that of one site, for policies: their servers are at addresses at which
// mail hosts may be.
type network struct {
	resolver.Lookup
	dns   *resolver.Resolver
	query resolver.Query
}

// Addrs implements mtasts.Network.
func (n network) Addrs(ctx context.Context, host string) (out []string, err error) {
	addrs, err := n.dns.Usable(ctx, host, n.query)
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out, err
}
