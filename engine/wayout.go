// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"net/netip"

	"restante/engine/delivery"
	"restante/engine/mail"
	"restante/engine/policy"
	"restante/engine/queue"
	"restante/engine/recipients"
	"restante/engine/resolver"
	"restante/engine/settings"
)

// NextHosts gives the hosts that an attempt at a domain would try under the settings of a
// site, which need not be those in force, as DNS names them now; none for mail that goes
// into a folder.
func (e *Engine) NextHosts(ctx context.Context, set *settings.Site, d mail.Domain) []delivery.Stage {
	return nextHosts(ctx, newAdapter(set, e.opts.DataDir), d, e.opts.Resolver, delivery.Options{STS: policies{e}})
}

// Schedule says when mail for a domain would be tried again under the settings of a site.
func (e *Engine) Schedule(set *settings.Site, d mail.Domain) queue.Schedule {
	return schedule(newAdapter(set, e.opts.DataDir), d)
}

func nextHosts(ctx context.Context, a *siteAdapter, d mail.Domain, by delivery.Resolver, opts delivery.Options) []delivery.Stage {
	return delivery.New(routes{a}, by, opts).Stages(ctx, d)
}

func schedule(a *siteAdapter, d mail.Domain) queue.Schedule {
	return a.queuePolicy(manyConversations).Schedule(d, a.routeState(d))
}

// Offline answers for a data folder that no service runs on, as an Engine does.
type Offline struct{ DataDir string }

// NextHosts is that of Engine, without MTA-STS.
func (o Offline) NextHosts(ctx context.Context, set *settings.Site, d mail.Domain) []delivery.Stage {
	return nextHosts(ctx, newAdapter(set, o.DataDir), d, resolver.New(resolver.Options{}), delivery.Options{})
}

// Schedule is that of Engine.
func (o Offline) Schedule(set *settings.Site, d mail.Domain) queue.Schedule {
	return schedule(newAdapter(set, o.DataDir), d)
}

// Sources are what can be found without the service.
func (o Offline) Sources() policy.Sources {
	return policy.Sources{Lists: &recipients.Files{Dir: o.DataDir}}
}

// HostNames is that of Engine.
func (o Offline) HostNames(ctx context.Context, addr netip.Addr) ([]string, error) {
	return resolver.New(resolver.Options{}).Names(ctx, addr, resolver.Query{})
}
