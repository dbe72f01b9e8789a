// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"strings"
	"time"

	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

// A Link is a link profile: limits of releases over one kind of line; 0 is no limit.
type Link struct {
	Name    string // of its key; "": none is asked for
	Missing bool   // there is no such key
	Of      string // whose budget of a day is used: "account NAME" or "domain NAME"

	LinkSessionBytes   int64
	LinkSessionMinutes time.Duration
	LinkDayBytes       int64
	LinkDayMinutes     time.Duration
	LinkSizeCeiling    int64
	LinkOrder          string
	ReleaseIdleTimeout time.Duration
}

func (l *Link) fields() []field {
	return []field{
		{LinkSessionBytes, &l.LinkSessionBytes},
		{LinkSessionMinutes, &l.LinkSessionMinutes},
		{LinkDayBytes, &l.LinkDayBytes},
		{LinkDayMinutes, &l.LinkDayMinutes},
		{LinkSizeCeiling, &l.LinkSizeCeiling},
		{LinkOrder, &l.LinkOrder},
		{ReleaseIdleTimeout, &l.ReleaseIdleTimeout},
	}
}

// The values of LinkOrder.
const (
	PriorityFirst = "priority"
	SmallestFirst = "size"
)

func checkLinkOrder(text string) error {
	if text != PriorityFirst && text != SmallestFirst {
		return invalid("%q is neither %s nor %s", text, PriorityFirst, SmallestFirst)
	}
	return nil
}

// LinksPath is the container of site n's link profiles.
func LinksPath(n int) metabase.Path { return SitePath(n).Join("Links") }

// LinkOf is the profile that holds when account, "" for none, calls for the mail of a
// domain: the account's, else the domain's. The names of a wildcard share its key's budget.
func (s *Site) LinkOf(account string, name mail.Domain) (l Link) {
	if account != "" {
		at, ok := AccountPath(s.snap, s.Number, account)
		if !ok { // a directory's
			at = UsersPath(s.Number)
		}
		if profile := newReader(s.snap, at).text(LinkProfile); profile != "" {
			return s.link(profile, "account "+strings.ToLower(account))
		}
	}
	at, ok := s.domainKey(name)
	if !ok || at == "" {
		return l
	}
	if profile := newReader(s.snap, at).text(LinkProfile); profile != "" {
		return s.link(profile, "domain "+strings.ToLower(at.Base()))
	}
	return l
}

// CeilingOf is the size above which a message for a held domain goes to none of its
// accounts; 0: there is none. MissingLink is a profile that one of them names in vain.
func (s *Site) CeilingOf(name mail.Domain) (ceiling int64, missing string) {
	d, _ := s.DomainFor(name)
	callers := d.AuthTurnList
	if len(callers) == 0 {
		callers = []string{""}
	}
	for i, account := range callers {
		l := s.LinkOf(account, name)
		if l.Missing {
			missing = l.Name
		}
		if i == 0 || ceiling > 0 && (l.LinkSizeCeiling == 0 || l.LinkSizeCeiling > ceiling) {
			ceiling = l.LinkSizeCeiling
		}
	}
	return ceiling, missing
}

func (s *Site) link(profile, of string) Link {
	l := Link{Name: profile, Of: of}
	at := LinksPath(s.Number).Join(profile)
	if l.Missing = !isLink(s.snap, at); !l.Missing {
		newReader(s.snap, at).read(l.fields()...)
	}
	return l
}

// isLink reports whether at is the key of a profile.
func isLink(snap metabase.Snapshot, at metabase.Path) bool {
	return snap.Has(at) && strings.EqualFold(snap.Class(at), schema.Link)
}

// checkLinkProfiles refuses the name of a profile that the site has not. For an account of
// all sites, one site must have it.
func checkLinkProfiles(c metabase.Change, t metabase.PropertyChange) error {
	profile := t.New.Value.Str()
	if t.ID != LinkProfile || profile == "" {
		return nil
	}
	n, _, ok := siteOf(t.Path)
	sites := []int{n}
	if !ok {
		sites = Numbers(c.New)
	}
	for _, n := range sites {
		if !strings.Contains(profile, "/") && isLink(c.New, LinksPath(n).Join(profile)) {
			return nil
		}
	}
	if !ok {
		return invalid("no site has a link profile %q: add the key %s first", profile, LinksPath(DefaultSite).Join(profile))
	}
	var names []string
	for name := range c.New.Names(LinksPath(n)) {
		names = append(names, name)
	}
	return invalid("there is no link profile %q below %s%s", profile, LinksPath(n), schema.Suggest(profile, names))
}

// readyLinks are the profiles that each new site gets. docs/links.md has the reasons.
var readyLinks = []struct {
	name   string
	values map[metabase.ID]string
}{
	{"lan", nil},
	{"vsat", map[metabase.ID]string{LinkSizeCeiling: "26214400", LinkDayBytes: "524288000", ReleaseIdleTimeout: "120"}},
	{"iridium", map[metabase.ID]string{
		LinkSizeCeiling: "51200", LinkSessionBytes: "153600", LinkSessionMinutes: "10", LinkDayBytes: "512000", LinkDayMinutes: "60", ReleaseIdleTimeout: "180",
	}},
	{"hf", map[metabase.ID]string{
		LinkSizeCeiling: "20480", LinkSessionBytes: "102400", LinkSessionMinutes: "30", LinkDayMinutes: "240", LinkOrder: SmallestFirst, ReleaseIdleTimeout: "300",
	}},
}

// links makes the container of a site's link profiles with the ready ones, unless it has
// one.
func (b *builder) links(site metabase.Path) {
	container := site.Join("Links")
	if !b.key(container, schema.Link) {
		return
	}
	for _, one := range readyLinks {
		b.key(container.Join(one.name), schema.Link)
		var l Link
		for _, row := range l.fields() {
			if value, ok := one.values[row.id]; ok {
				b.set(container.Join(one.name), row.id, value)
			}
		}
	}
}
