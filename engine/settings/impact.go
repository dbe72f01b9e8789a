// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

// An Impact says what a change affects beyond the keys that it names.
type Impact struct {
	Inheritors []Inheritors // for each changed property that is inherited, in the order of the change
	Sites      []SiteImpact // the sites whose settings the change may alter, in order
}

// Inheritors are the keys below Path that inherit a changed property from
// there, before the change or after it.
type Inheritors struct {
	Path     metabase.Path
	ID       metabase.ID
	Property string          // "" where the schema has no name for it
	Keys     []metabase.Path // of sites, domains and accounts, in the order of the tree
	Sites    []int           // the sites among them
	Domains  int             // how many of them are domains
	Accounts int
}

// A SiteImpact says what a change does to one site.
type SiteImpact struct {
	Number     int
	Relay      Reach // who may relay
	Connect    Reach // who may connect
	ToDomain   []DomainReach
	RelayAuth  bool     // any account may relay and could not before
	ForAuth    [2]bool  // whether any account could relay before, and may after
	OpenDomain []string // touched domains and default domains that accept mail from every client and did not before
	Summary    []string // what the site does: starts, stops, listens elsewhere
	old, new   *Site
}

// Reroutes reports whether mail for a domain would take another route than
// before: held or not, to other hosts, or by another conversation.
func (i SiteImpact) Reroutes(d mail.Domain) bool {
	if i.old == nil || i.new == nil {
		return i.old != i.new
	}
	before, after := i.old.Route(d), i.new.Route(d)
	before.Why, after.Why = nil, nil
	before.Quota, after.Quota = 0, 0
	return !reflect.DeepEqual(before, after)
}

// IsNew reports whether there was no such site before.
func (i SiteImpact) IsNew() bool { return i.old == nil }

// Assess computes the impact of a change. It takes longer than Check: it visits
// every key below the changed ones.
func (l Layout) Assess(c metabase.Change) Impact {
	var impact Impact
	for _, path := range c.Touched {
		impact.Inheritors = append(impact.Inheritors, inheritors(c, path, changedIDs(c, path))...)
	}
	numbers := Numbers(c.New)
	for _, n := range Numbers(c.Old) {
		if !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		if touches(c, n) {
			i := assessSite(c, n)
			i.Summary = l.summary(c, i)
			impact.Sites = append(impact.Sites, i)
		}
	}
	return impact
}

// touches reports whether a key at, above or below the site is touched.
func touches(c metabase.Change, n int) bool {
	site := SitePath(n)
	return slices.ContainsFunc(c.Touched, func(p metabase.Path) bool { return p.Within(site) || site.Within(p) })
}

// changedIDs lists the properties of a key whose value or attributes differ.
func changedIDs(c metabase.Change, path metabase.Path) (ids []metabase.ID) {
	for _, item := range c.New.Properties(path) {
		was, ok := c.Old.Stored(path, item.ID)
		if !ok || !was.Value.Equal(item.Value) || was.Attr != item.Attr {
			ids = append(ids, item.ID)
		}
	}
	for _, was := range c.Old.Properties(path) {
		if _, ok := c.New.Stored(path, was.ID); !ok {
			ids = append(ids, was.ID)
		}
	}
	return ids
}

// inheritors lists the inheritors of each property at path that has some.
func inheritors(c metabase.Change, path metabase.Path, ids []metabase.ID) []Inheritors {
	list := make([]Inheritors, len(ids))
	props := make([]schema.Prop, len(ids))
	for i, id := range ids {
		props[i], _ = schema.IIS().ByID(id)
		list[i] = Inheritors{Path: path, ID: id, Property: props[i].Name}
	}
	for below := range c.New.Walk(path) {
		class := c.New.Class(below)
		if len(ids) == 0 || below.Equal(path) || !isInheritor(c.New, below, class) {
			continue
		}
		for i, p := range props {
			if ids[i] != metabase.KeyType && (p.Name == "" || p.In(class)) && inheritsFrom(c, below, path, ids[i]) {
				list[i].add(below, class)
			}
		}
	}
	return slices.DeleteFunc(list, func(h Inheritors) bool { return len(h.Keys) == 0 })
}

func (h *Inheritors) add(path metabase.Path, class string) {
	h.Keys = append(h.Keys, path)
	switch n, _, _ := siteOf(path); {
	case strings.EqualFold(class, schema.Server):
		h.Sites = append(h.Sites, n)
	case strings.EqualFold(class, schema.Domain):
		h.Domains++
	default:
		h.Accounts++
	}
}

// Names lists the keys of a class, domains or accounts: each after the number of
// its site, an account of all sites without one.
func (h Inheritors) Names(class string) []string {
	names := []string{}
	for _, key := range h.Keys {
		n, rest, ok := siteOf(key)
		_, name, _ := strings.Cut(rest, "/")
		switch {
		case ok && name != "" && isBelow(rest, "Domain") == (class == schema.Domain):
			names = append(names, strconv.Itoa(n)+"/"+name)
		case class == schema.User && key.Parent().Equal(UsersPath(0)):
			names = append(names, key.Base())
		}
	}
	return names
}

// isInheritor reports whether a key is that of a site, a domain or an account.
func isInheritor(snap metabase.Snapshot, path metabase.Path, class string) bool {
	if strings.EqualFold(class, schema.Server) {
		return true
	}
	if !strings.EqualFold(class, schema.Domain) && !strings.EqualFold(class, schema.User) {
		return false
	}
	return strings.EqualFold(snap.Class(path.Parent()), class) // not their container
}

// inheritsFrom reports whether the key below has its value from path, before
// the change or after it.
func inheritsFrom(c metabase.Change, below, path metabase.Path, id metabase.ID) bool {
	for _, snap := range []metabase.Snapshot{c.Old, c.New} {
		if _, from, ok := snap.Effective(below, id); ok && from.Equal(path) {
			return true
		}
	}
	return false
}

func assessSite(c metabase.Change, n int) SiteImpact {
	i := SiteImpact{Number: n, Relay: nobody(), Connect: nobody()}
	// Check reports the problems; here a site counts with what could be read.
	i.old, _ = load(c.Old, n)
	i.new, _ = load(c.New, n)
	if i.new == nil {
		return i
	}
	before := Relay{}
	mayConnect := i.new.Access.clients() // a new site is said to be one
	if i.old != nil {
		before, mayConnect = i.old.Relay, i.old.Access.clients()
	}
	i.Relay = reach(before.clients(), i.new.Relay.clients())
	i.Connect = reach(mayConnect, i.new.Access.clients())
	i.ForAuth = [2]bool{before.RelayForAuth, i.new.Relay.RelayForAuth}
	i.RelayAuth = i.new.Relay.RelayForAuth && !before.RelayForAuth
	i.OpenDomain, i.ToDomain = opened(c, i), reachOfDomains(c, i)
	return i
}

// opened lists the domains of a site that accept mail from every client and did
// not before, of the touched ones and the default one, which needs no key.
func opened(c metabase.Change, i SiteImpact) (names []string) {
	seen := map[mail.Domain]bool{}
	add := func(text string) {
		name := mail.Domain(strings.ToLower(text))
		if name != "" && !seen[name] && i.new.Standing(name) != mail.Foreign && (i.old == nil || i.old.Standing(name) == mail.Foreign) {
			names = append(names, text)
		}
		seen[name] = true
	}
	for _, path := range c.Touched {
		if path.Parent().Equal(DomainsPath(i.Number)) && c.New.Has(path) {
			add(path.Base())
		}
	}
	add(string(i.new.DefaultDomain))
	return names
}

// commandVerbs say what a site does on a ServerCommand.
var commandVerbs = map[uint32]string{1: "starts", 2: "stops", 3: "pauses", 4: "continues"}

// summary says what a change does to a site as a whole: that it is added or
// removed, starts or stops, listens elsewhere or has its queue elsewhere.
func (l Layout) summary(c metabase.Change, i SiteImpact) (out []string) {
	switch {
	case i.new == nil:
		return []string{"is removed"}
	case i.old == nil:
		return []string{"is new", l.startOf(c, i.new)}
	}
	if item, ok := c.New.Stored(SitePath(i.Number), ServerCommand); ok {
		out = append(out, commandVerbs[item.Value.DWord()])
	}
	if item, ok := c.New.Stored(SitePath(i.Number), EndSession); ok {
		out = append(out, "has the session "+item.Value.Str()+" ended")
	}
	if listens(c.New, i.Number) {
		if added := missing(i.new.Bindings, i.old.Bindings); added != "" {
			out = append(out, "listens on "+added)
		}
		if removed := missing(i.old.Bindings, i.new.Bindings); removed != "" {
			out = append(out, "listens no longer on "+removed)
		}
	}
	out = append(out, names(i.old.Access.clients(), i.new.Access.clients(), "connect")...)
	out = append(out, names(i.old.Relay.clients(), i.new.Relay.clients(), "relay")...)
	if was, to := i.old.Folders.QueueDirectory, i.new.Folders.QueueDirectory; l.place(was) != l.place(to) {
		out = append(out, fmt.Sprintf("has its queue in %s instead of %s from its next start on", to, was))
	}
	if i.new.Log.empty() && !i.old.Log.empty() {
		out = append(out, "writes no line into its log file: LogExtFileFlags names no field")
	}
	return out
}

// startOf says whether a new site starts.
func (l Layout) startOf(c metabase.Change, s *Site) string {
	why := l.Shared(c.New)[s.Number]
	switch {
	case why != nil:
		return "does not start: " + why.Error()
	case !s.ServerAutoStart:
		return "does not start by itself"
	case !HasAddress(c.New, s.Number):
		return "starts with the service"
	}
	return "starts"
}

// missing lists the addresses of a that are not in b.
func missing(a, b []Binding) string {
	var out []string
	for _, one := range a {
		if !slices.ContainsFunc(b, func(other Binding) bool { return other.Addr == one.Addr }) {
			out = append(out, one.Addr.String())
		}
	}
	return strings.Join(out, ", ")
}
