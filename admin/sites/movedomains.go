// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"fmt"
	"slices"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/mail"
	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

// A domainMove is what has the domains of a site come to another one, with its mail.
type domainMove struct {
	handlers
	who      api.Caller
	from, to int
	snap     metabase.Snapshot
	ops      []metabase.Op
	domains  []metabase.Path // the keys that are copied
	problems []api.Problem
}

// moveDomains gives site to the domains of site from that are held or have mail, with
// their settings and the accounts that may collect the mail. It refuses where site to
// has the domain or the account already, for others: the mail would be theirs.
func (h handlers) moveDomains(ctx context.Context, who api.Caller, from, to int, mails admin.Queue) (undo func(), err error) {
	m := domainMove{handlers: h, who: who, from: from, to: to, snap: h.Tree.Snapshot()}
	m.add(mails)
	if len(m.problems) == 0 {
		if err := m.keepValues(ctx, mails); err != nil {
			return nil, err
		}
	}
	if len(m.problems) > 0 {
		return nil, &api.Error{Kind: api.KindRefused, Problems: m.problems,
			Text: fmt.Sprintf("site %d: its domains cannot move to site %d", from, to)}
	}
	undo = func() {}
	if len(m.ops) == 0 {
		return undo, nil
	}
	rev, err := h.As(who).Apply(ctx, who.Batch(m.ops...))
	if err != nil && !admin.IsStored(err) {
		return nil, err
	}
	return func() {
		ctx := context.WithoutCancel(ctx)
		if _, err := h.As(who).Revert(ctx, rev, "", who.Batch()); err != nil {
			api.Note(ctx, string(settings.SitePath(to)), fmt.Sprintf("its new domains stay, as revision %d could not be reverted: %v", rev, err))
		}
	}, nil
}

// add finds the domains, and the operations that copy them.
func (m *domainMove) add(mails admin.Queue) {
	was, next := settings.Unchecked(m.snap, m.from), settings.Unchecked(m.snap, m.to)
	waits := map[metabase.Path]bool{}
	if mails != nil {
		for _, d := range mails.Destinations() {
			if key, ok := was.DomainFor(d.Domain); ok && d.Messages > 0 {
				waits[key.Path] = true
			}
		}
	}
	held := false
	for name := range m.snap.Children(settings.DomainsPath(m.from)) {
		d, _ := was.DomainFor(mail.Domain(name))
		if d.Standing != mail.Held && (d.Standing == mail.Local || !waits[d.Path]) {
			continue
		}
		held = held || d.Standing == mail.Held
		key := settings.DomainPath(m.to, name)
		there, ok := next.DomainFor(mail.Domain(name))
		switch {
		case ok && there.Path == "":
			m.refuse(settings.SitePath(m.to), fmt.Sprintf("has %s as its default domain", name))
		case !ok || !there.Path.Equal(key):
			m.ops = append(m.ops, metabase.Copy{From: d.Path, To: key})
			m.domains = append(m.domains, d.Path)
			m.accounts(d)
		case d.Standing == mail.Held && there.Standing != mail.Held:
			m.refuse(key, "does not hold its mail")
		case !slices.Equal(d.AuthTurnList, there.AuthTurnList):
			m.refuse(key, "gives its mail to other accounts")
		default:
			m.accounts(d)
		}
	}
	if held {
		m.settingsOfTheSite()
	}
}

func (m *domainMove) refuse(p metabase.Path, why string) {
	m.problems = append(m.problems, api.Problem{Path: string(p), Why: why})
}

// accounts copies those of the site's own accounts that may collect a domain's mail. At
// the other site, a name in AuthTurnList must mean the same account.
func (m *domainMove) accounts(d settings.Domain) {
	for _, name := range d.AuthTurnList {
		mine, there, everywhere := settings.UserPath(m.from, name), settings.UserPath(m.to, name), settings.UserPath(0, name)
		cp := metabase.Copy{From: mine, To: there}
		own, theirs := m.snap.Has(mine), m.snap.Has(there)
		switch {
		case slices.Contains(m.ops, metabase.Op(cp)):
		case theirs:
			m.refuse(there, fmt.Sprintf("another account has this name, which may collect mail for %s", d.Name))
		case own && m.snap.Has(everywhere):
			m.refuse(everywhere, fmt.Sprintf("an account of all sites has the name of %s, which may collect mail for %s", mine, d.Name))
		case own:
			m.ops = append(m.ops, cp)
		}
	}
}

// forDomains are properties of a site that decide about the held mail of its domains,
// and that a domain cannot have itself.
var forDomains = []metabase.ID{settings.TurnRequireTls, settings.EtrnRequireAuth, settings.EtrnDays}

// settingsOfTheSite refuses where they differ.
func (m *domainMove) settingsOfTheSite() {
	for _, id := range forDomains {
		prop, _ := m.Schema.ByID(id)
		was, _, _ := m.Schema.Effective(m.snap, settings.SitePath(m.from), id)
		next, _, _ := m.Schema.Effective(m.snap, settings.SitePath(m.to), id)
		if !was.Equal(next) {
			m.refuse(settings.SitePath(m.to), fmt.Sprintf("%s differs from that of site %d, which the held domains have now: set it alike first", prop.Name, m.from))
		}
	}
}

// checkMail refuses where the mail of a destination would come under another key.
func (m *domainMove) checkMail(c metabase.Change, mails admin.Queue) {
	was, next := settings.Unchecked(c.Old, m.from), settings.Unchecked(c.New, m.to)
	for _, d := range mails.Destinations() {
		before, had := was.DomainFor(d.Domain)
		after, _ := next.DomainFor(d.Domain)
		if had && before.Path != "" && before.Standing == mail.Held && before.Path.Base() != after.Path.Base() {
			m.refuse(after.Path, fmt.Sprintf("mail that waits for %s by %s would come under this key", d.Domain, before.Path))
		}
	}
}

// keepValues gives the copies what the domains have inherited from their site, where
// they would inherit something else.
func (m *domainMove) keepValues(ctx context.Context, mails admin.Queue) error {
	c, err := m.As(m.who).Try(ctx, m.who.Batch(m.ops...))
	if err != nil {
		return err
	}
	if mails != nil {
		m.checkMail(c, mails)
	}
	for _, p := range m.domains {
		to := settings.DomainPath(m.to, p.Base())
		for prop := range m.Schema.Props() {
			if prop.ID == metabase.KeyType || !prop.In(schema.Domain) {
				continue
			}
			was, _, had := c.Old.Effective(p, prop.ID)
			next, _, has := c.New.Effective(to, prop.ID)
			if had && (!has || !was.Value.Equal(next.Value)) {
				m.ops = append(m.ops, metabase.Set{Path: to, Property: was})
			}
		}
	}
	return nil
}
