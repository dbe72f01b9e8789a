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

// An along is what goes to another site together with the mail of one.
type along struct {
	handlers
	who      api.Caller
	from, to int
	snap     metabase.Snapshot
	ops      []metabase.Op
	domains  []metabase.Path // the keys that are copied
	problems []api.Problem
}

// takeAlong gives site to the domains of site from that are held or have mail, with
// their settings and the accounts that may collect the mail. It refuses where site to
// has the domain or the account already, for others: the mail would be theirs.
func (h handlers) takeAlong(ctx context.Context, who api.Caller, from, to int, mails admin.Queue) (undo func(), err error) {
	a := along{handlers: h, who: who, from: from, to: to, snap: h.Tree.Snapshot()}
	a.add(mails)
	if len(a.problems) == 0 {
		if err := a.keepValues(ctx, mails); err != nil {
			return nil, err
		}
	}
	if len(a.problems) > 0 {
		return nil, &api.Error{Kind: api.KindRefused, Problems: a.problems,
			Text: fmt.Sprintf("site %d: its domains cannot move to site %d", from, to)}
	}
	undo = func() {}
	if len(a.ops) == 0 {
		return undo, nil
	}
	rev, err := h.As(who).Apply(ctx, who.Batch(a.ops...))
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
func (a *along) add(mails admin.Queue) {
	was, next := settings.Unchecked(a.snap, a.from), settings.Unchecked(a.snap, a.to)
	waits := map[metabase.Path]bool{}
	if mails != nil {
		for _, d := range mails.Destinations() {
			if key, ok := was.DomainFor(d.Domain); ok && d.Messages > 0 {
				waits[key.Path] = true
			}
		}
	}
	held := false
	for name := range a.snap.Children(settings.DomainsPath(a.from)) {
		d, _ := was.DomainFor(mail.Domain(name))
		if d.Standing != mail.Held && (d.Standing == mail.Local || !waits[d.Path]) {
			continue
		}
		key := settings.DomainPath(a.to, name)
		there, ok := next.DomainFor(mail.Domain(name))
		switch {
		case ok && there.Path == "":
			a.refuse(settings.SitePath(a.to), fmt.Sprintf("has %s as its default domain", name))
		case !ok || !there.Path.Equal(key):
			a.ops = append(a.ops, metabase.Copy{From: d.Path, To: key})
			a.domains = append(a.domains, d.Path)
			held = held || d.Standing == mail.Held
			a.accounts(d)
		case d.Standing == mail.Held && there.Standing != mail.Held:
			a.refuse(key, "does not hold its mail")
		case !slices.Equal(d.AuthTurnList, there.AuthTurnList):
			a.refuse(key, "gives its mail to other accounts")
		default:
			a.accounts(d)
		}
	}
	if held {
		a.settingsOfTheSite()
	}
}

func (a *along) refuse(p metabase.Path, why string) {
	a.problems = append(a.problems, api.Problem{Path: string(p), Why: why})
}

// accounts copies those of the site's own accounts that may collect a domain's mail. At
// the other site, a name in AuthTurnList must mean the same account.
func (a *along) accounts(d settings.Domain) {
	for _, name := range d.AuthTurnList {
		mine, there, everywhere := settings.UserPath(a.from, name), settings.UserPath(a.to, name), settings.UserPath(0, name)
		cp := metabase.Copy{From: mine, To: there}
		own, theirs := a.snap.Has(mine), a.snap.Has(there)
		switch {
		case slices.Contains(a.ops, metabase.Op(cp)):
		case theirs:
			a.refuse(there, fmt.Sprintf("another account has this name, which may collect mail for %s", d.Name))
		case own && a.snap.Has(everywhere):
			a.refuse(everywhere, fmt.Sprintf("an account of all sites has the name of %s, which may collect mail for %s", mine, d.Name))
		case own:
			a.ops = append(a.ops, cp)
		}
	}
}

// forDomains are properties of a site that decide about the held mail of its domains,
// and that a domain cannot have itself.
var forDomains = []metabase.ID{settings.TurnRequireTls, settings.EtrnRequireAuth, settings.EtrnDays}

// settingsOfTheSite refuses where they differ.
func (a *along) settingsOfTheSite() {
	for _, id := range forDomains {
		prop, _ := a.Schema.ByID(id)
		was, _, _ := a.Schema.Effective(a.snap, settings.SitePath(a.from), id)
		next, _, _ := a.Schema.Effective(a.snap, settings.SitePath(a.to), id)
		if !was.Equal(next) {
			a.refuse(settings.SitePath(a.to), fmt.Sprintf("%s differs from that of site %d, which the held domains have now: set it alike first", prop.Name, a.from))
		}
	}
}

// checkMail refuses where the mail of a destination would come under another key.
func (a *along) checkMail(c metabase.Change, mails admin.Queue) {
	was, next := settings.Unchecked(c.Old, a.from), settings.Unchecked(c.New, a.to)
	for _, d := range mails.Destinations() {
		before, had := was.DomainFor(d.Domain)
		after, _ := next.DomainFor(d.Domain)
		if had && before.Path != "" && before.Standing == mail.Held && before.Path.Base() != after.Path.Base() {
			a.refuse(after.Path, fmt.Sprintf("mail that waits for %s by %s would come under this key", d.Domain, before.Path))
		}
	}
}

// keepValues gives the copies what the domains have inherited from their site, where
// they would inherit something else.
func (a *along) keepValues(ctx context.Context, mails admin.Queue) error {
	c, err := a.As(a.who).Try(ctx, a.who.Batch(a.ops...))
	if err != nil {
		return err
	}
	if mails != nil {
		a.checkMail(c, mails)
	}
	for _, p := range a.domains {
		to := settings.DomainPath(a.to, p.Base())
		for prop := range a.Schema.Props() {
			if prop.ID == metabase.KeyType || !prop.In(schema.Domain) {
				continue
			}
			was, _, had := c.Old.Effective(p, prop.ID)
			next, _, has := c.New.Effective(to, prop.ID)
			if had && (!has || !was.Value.Equal(next.Value)) {
				a.ops = append(a.ops, metabase.Set{Path: to, Property: was})
			}
		}
	}
	return nil
}
