// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"slices"
	"strings"

	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

// Check is [Layout.Check] without a data folder.
func Check(c metabase.Change) []metabase.Problem { return Layout{}.Check(c) }

// Check is a [metabase.Check]. It loads each site and each domain that the
// change touches, as they would be after it. A problem that a site had before
// is accepted: a site must be curable step by step.
func (l Layout) Check(c metabase.Change) []metabase.Problem {
	sites := touchedSites(c)
	problems := slices.Concat(l.checkFolders(c, sites), checkAddresses(c, sites), checkValues(c))
	for _, n := range sites {
		problems = append(problems, checkSite(c, n)...)
	}
	if c.Old.Has(defaultSite) && !c.New.Has(defaultSite) && c.Batch != nil && c.Batch.Actor != "" {
		problems = append(problems, metabase.Problem{
			Path: defaultSite, Err: invalid("the default site can be stopped, but not deleted"),
		})
	}
	return append(problems, checkDomains(c)...)
}

// touchedSites lists the sites whose settings the change can alter: those that
// are touched outside of their domains and accounts or, where a key above them
// is touched, all.
func touchedSites(c metabase.Change) []int {
	var numbers []int
	for _, path := range c.Touched {
		if Service.Within(path) {
			return Numbers(c.New)
		}
		n, rest, ok := siteOf(path)
		if ok && !isBelow(rest, "Domain") && !isBelow(rest, "User") && !slices.Contains(numbers, n) && c.New.Has(SitePath(n)) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

func checkSite(c metabase.Change, n int) []metabase.Problem {
	if !strings.EqualFold(c.New.Class(SitePath(n)), schema.Server) {
		return nil // the schema reports that
	}
	_, problems := load(c.New, n)
	if len(problems) == 0 || !c.Old.Has(SitePath(n)) {
		return problems
	}
	_, before := load(c.Old, n)
	return slices.DeleteFunc(problems, func(p metabase.Problem) bool {
		return slices.ContainsFunc(before, func(q metabase.Problem) bool { return p.Error() == q.Error() })
	})
}

// checkDomains checks each domain's key that is touched.
func checkDomains(c metabase.Change) (problems []metabase.Problem) {
	for _, path := range c.Touched {
		n, name, ok := domainOf(path)
		if !ok {
			continue
		}
		if c.New.Has(path) {
			problems = append(problems, checkDomain(c.New, path)...)
			continue
		}
		if own, _, _ := schema.IIS().Effective(c.New, SitePath(n), DefaultDomain); strings.EqualFold(own.Str(), name) && c.New.Has(SitePath(n)) {
			problems = append(problems, metabase.Problem{
				Path: path, Err: invalid("the default domain can't be deleted; make another one the default first, by DefaultDomain of the site"),
			})
		}
	}
	return problems
}

func checkDomain(snap metabase.Snapshot, path metabase.Path) []metabase.Problem {
	r := newReader(snap, path)
	if _, err := mail.ParseDomain(strings.TrimPrefix(path.Base(), "*.")); err != nil {
		return nil // the schema reports that
	}
	action := Action(r.number(RouteAction))
	if action.Has(SmartRoute) && !action.Any(localActions) {
		if _, err := schema.ParseHosts(r.text(RouteActionString)); err != nil {
			r.bad(RouteActionString, err)
		}
	}
	r.routeUser(action)
	if action.Has(Alias) && action.Has(Default) {
		r.bad(RouteAction, invalid("a domain is either the default one or an alias of it"))
	}
	return r.problems
}
