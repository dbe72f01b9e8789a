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
func (h handlers) takeAlong(ctx context.Context, who api.Caller, from, to int, queue admin.Queue) (undo func(), err error) {
	a := along{handlers: h, who: who, from: from, to: to, snap: h.Tree.Snapshot()}
	a.add(queue)
	if len(a.problems) > 0 {
		return nil, &api.Error{Kind: api.KindRefused, Problems: a.problems,
			Text: fmt.Sprintf("site %d: its domains cannot move to site %d", from, to)}
	}
	undo = func() {}
	if len(a.ops) == 0 {
		return undo, nil
	}
	if err := a.keepValues(ctx); err != nil {
		return nil, err
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
func (a *along) add(queue admin.Queue) {
	was, next := settings.Unchecked(a.snap, a.from), settings.Unchecked(a.snap, a.to)
	waits := map[metabase.Path]bool{}
	if queue != nil {
		for _, d := range queue.Destinations() {
			if key, ok := was.DomainFor(d.Domain); ok && d.Messages > 0 {
				waits[key.Path] = true
			}
		}
	}
	for name := range a.snap.Children(settings.DomainsPath(a.from)) {
		d, _ := was.DomainFor(mail.Domain(name))
		if d.Standing != mail.Held && (d.Standing == mail.Local || !waits[d.Path]) {
			continue
		}
		key := settings.DomainPath(a.to, name)
		there, ok := next.DomainFor(mail.Domain(name))
		switch {
		case !ok || !there.Path.Equal(key):
			a.ops = append(a.ops, metabase.Copy{From: d.Path, To: key})
			a.domains = append(a.domains, d.Path)
			a.accounts(d)
		case d.Standing == mail.Held && there.Standing != mail.Held:
			a.refuse(key, "does not hold its mail")
		case !slices.Equal(d.AuthTurnList, there.AuthTurnList):
			a.refuse(key, "gives its mail to other accounts")
		default:
			a.accounts(d)
		}
	}
}

func (a *along) refuse(p metabase.Path, why string) {
	a.problems = append(a.problems, api.Problem{Path: string(p), Why: why})
}

// accounts copies those of the site's own accounts that may collect a domain's mail.
func (a *along) accounts(d settings.Domain) {
	for _, name := range d.AuthTurnList {
		mine, there := settings.UserPath(a.from, name), settings.UserPath(a.to, name)
		cp := metabase.Copy{From: mine, To: there}
		switch {
		case !a.snap.Has(mine) || slices.Contains(a.ops, metabase.Op(cp)):
		case a.snap.Has(there):
			a.refuse(there, fmt.Sprintf("another account has this name, which may collect mail for %s", d.Name))
		default:
			a.ops = append(a.ops, cp)
		}
	}
}

// keepValues gives the copies what the domains have inherited from their site, where
// they would inherit something else.
func (a *along) keepValues(ctx context.Context) error {
	c, err := a.As(a.who).Try(ctx, a.who.Batch(a.ops...))
	if err != nil {
		return err
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
