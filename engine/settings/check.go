// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"slices"
	"strconv"
	"strings"

	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

// Check is [Ground.Check] for who knows no data folder.
func Check(c metabase.Change) []metabase.Problem { return Ground{}.Check(c) }

// Check is a [metabase.Check]. It loads each site that the change touches, and
// looks at each domain that it touches, as they would be after it. Problems
// that were there before are let be: a site must be curable step by step.
func (g Ground) Check(c metabase.Change) []metabase.Problem {
	sites := touchedSites(c)
	problems := slices.Concat(g.checkFolders(c, sites), checkAddresses(c, sites), checkForms(c))
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
// are touched outside of their domains and accounts or, when something above
// them is touched, all.
func touchedSites(c metabase.Change) []int {
	var numbers []int
	for _, path := range c.Touched {
		if Service.Within(path) {
			return Numbers(c.New)
		}
		n, rest, ok := siteOf(path)
		if ok && !below(rest, "Domain") && !below(rest, "User") && !slices.Contains(numbers, n) && c.New.Has(SitePath(n)) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

func below(rest, name string) bool {
	first, _, _ := strings.Cut(rest, "/")
	return strings.EqualFold(first, name)
}

// siteOf parts /LM/SMTPSVC/2/Domain/a.test into 2 and "Domain/a.test".
func siteOf(path metabase.Path) (n int, rest string, ok bool) {
	if !path.Within(Service) || len(path) <= len(Service) {
		return 0, "", false
	}
	number, rest, _ := strings.Cut(string(path[len(Service)+1:]), "/")
	n, err := strconv.Atoi(number)
	return n, rest, err == nil
}

// domainOf parts the path of a domain's key into its site and its name.
func domainOf(path metabase.Path) (n int, name string, ok bool) {
	n, rest, ok := siteOf(path)
	container, name, below := strings.Cut(rest, "/")
	return n, name, ok && below && strings.EqualFold(container, "Domain") && !strings.Contains(name, "/")
}

func checkSite(c metabase.Change, n int) []metabase.Problem {
	if !strings.EqualFold(c.New.Class(SitePath(n)), schema.Server) {
		return nil // the schema says what is wrong with that
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

// checkDomains looks at each domain's key that is touched.
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
		return nil // the schema has said so
	}
	action := Action(r.number(RouteAction))
	if action.Has(SmartRoute) && !action.Any(localActions) {
		if _, err := schema.ParseHosts(r.text(RouteActionString)); err != nil {
			r.bad(RouteActionString, err)
		}
	}
	if action.Any(SignInAny|SignInCram|SignInPlain) && r.text(RouteUserName) == "" {
		r.bad(RouteAction, invalid("asks for a sign-in at the next host, and RouteUserName is empty"))
	}
	if action.Has(Alias) && action.Has(Default) {
		r.bad(RouteAction, invalid("a domain is either the default one or an alias of it"))
	}
	return r.problems
}
