// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

// checkWaiting refuses a change that lets waiting mail go, or gives it to others, and
// does not say that it may.
//
// What is to be confirmed never does so, and what is taken back for want of that lets
// none go: nobody has decided it, and nothing brings the mail back.
func (s Backlog) checkWaiting(c metabase.Change) (problems []metabase.Problem) {
	var b metabase.Batch
	if c.Batch != nil {
		b = *c.Batch
	}
	pending := b.Confirm > 0 || b.Origin == metabase.FromSystem
	if !pending && b.Waiting == settings.ReleaseWaiting {
		return nil
	}
	action, _ := schema.IIS().ByID(settings.RouteAction)
	for n, list := range s.letGo(c) {
		was, next := settings.Unchecked(c.Old, n), settings.Unchecked(c.New, n)
		for _, d := range list {
			key, _ := was.DomainFor(d.Domain)
			p := metabase.Problem{Path: settings.DomainPath(n, key.Name), ID: action.ID, Property: action.Name}
			switch {
			case b.Origin == metabase.FromSystem && next.Route(d.Domain).Held:
				continue // it waits for those whom somebody has confirmed
			case pending:
				p.Err = refuse(metabase.Invalid, "held mail for %s would go at once (messages: %d), and no roll-back brings it back: change that without a time to confirm", d.Domain, d.Messages)
			case b.Waiting == "":
				p.Err = refuse(settings.ErrMailWaits, "mail waits for %s (messages: %d): --waiting release, return or keep says what becomes of it", d.Domain, d.Messages)
			case s.Queue == nil:
				p.Err = refuse(metabase.Invalid, "mail waits for %s (messages: %d): only a running service can return or keep it", d.Domain, d.Messages)
			case next.Route(d.Domain).Held:
				p.Err = refuse(metabase.Invalid, "mail for %s (messages: %d) would wait for other accounts: it can't be returned or kept then, only released to them; queue export takes it out before", d.Domain, d.Messages)
			default:
				continue
			}
			problems = append(problems, p)
		}
	}
	return problems
}

// LetGo lists, by site, the destinations whose mail waits and would not, or would wait
// for others, after a change.
func (e *Engine) LetGo(c metabase.Change) map[int][]mail.Domain {
	out := map[int][]mail.Domain{}
	for n, list := range e.backlog().letGo(c) {
		for _, d := range list {
			out[n] = append(out[n], d.Domain)
		}
	}
	return out
}

// letGo gives what LetGo does, with the counts.
func (s Backlog) letGo(c metabase.Change) map[int][]queue.DestinationState {
	out := map[int][]queue.DestinationState{}
	for _, n := range settings.Numbers(c.Old) {
		if !c.New.Has(settings.SitePath(n)) || !mayLetGo(c, n) {
			continue
		}
		was, next := settings.Unchecked(c.Old, n), settings.Unchecked(c.New, n)
		for _, d := range s.waiting(c, n) {
			if d.Messages > 0 && d.State != queue.Frozen && goes(was, next, d.Domain) {
				out[n] = append(out[n], d)
			}
		}
	}
	return out
}

// goes reports whether a domain's mail is held no more, or held for other accounts, or
// the domain's key is gone.
func goes(was, next *settings.Site, name mail.Domain) bool {
	before, had := was.DomainFor(name)
	after, has := next.DomainFor(name)
	switch {
	case had && !has:
		return true
	case !was.Route(name).Held:
		return false
	case !next.Route(name).Held:
		return true
	}
	return before.Path != after.Path && !slices.Equal(before.AuthTurnList, after.AuthTurnList)
}

// mayLetGo reports whether a change is one of those that can let mail of site n go.
// It saves most changes the look at all destinations.
func mayLetGo(c metabase.Change, n int) bool {
	site, domains := settings.SitePath(n), settings.DomainsPath(n)
	differs := func(p metabase.Path, id metabase.ID) bool {
		a, _, had := c.Old.Effective(p, id)
		b, _, has := c.New.Effective(p, id)
		return had != has || !a.Value.Equal(b.Value)
	}
	was := sync.OnceValue(func() *settings.Site { return settings.Unchecked(c.Old, n) })
	return slices.ContainsFunc(c.Touched, func(p metabase.Path) bool {
		switch {
		case site.Within(p):
			return differs(site, settings.RouteAction) || differs(site, settings.DefaultDomain)
		case !p.Within(domains):
			return false
		case !c.Old.Has(p): // a new key takes mail from a wildcard, or from the site as a whole
			name := mail.Domain(strings.ToLower(strings.TrimPrefix(p.Base(), "*.")))
			return strings.HasPrefix(p.Base(), "*.") || was().Route(name).Held
		case !c.New.Has(p):
			return true
		}
		return differs(p, settings.RouteAction)
	})
}

// waiting lists the destinations of site n, from its queue or, where that is not open,
// from the index.
func (s Backlog) waiting(c metabase.Change, n int) (out []queue.DestinationState) {
	if s.Queue != nil {
		if q, ok := s.Queue(n); ok {
			return q.Destinations()
		}
	}
	db, err := s.Index()
	if err != nil {
		return nil // checked by folders
	}
	counts, err := queue.CountEntries(context.Background(), queueIndex(db, s.Data, n, settings.QueueFolder(c.Old, n)))
	if err != nil {
		return nil // the queue does not open, either
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, queue.DestinationState{Domain: name, Messages: counts[name]})
	}
	return out
}
