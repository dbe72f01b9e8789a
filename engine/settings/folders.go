// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"iter"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"restante/metabase"
	"restante/metabase/schema"
)

// The folder of a queue is its site's alone. A second site that worked in it
// would take the mail for its own, and what anybody else writes there would
// pass for mail. So no other folder may be there, in it or above it.

// siteFolders are the folders of a site that the service writes to or takes
// files from.
var siteFolders = []metabase.ID{QueueDirectory, DropDirectory, PickupDirectory, BadMailDirectory}

// Ground is the data folder, and what in it is the service's own: no folder of
// a site may be there. Without Data, absolute folders are nobody's neighbours.
type Ground struct {
	Data string
	Ours []string
}

// A folder is one that a site or a domain has.
type folder struct {
	site int
	key  metabase.Path // of the site or the domain
	from metabase.Path // where it is stored; "" for the schema's default
	id   metabase.ID
	text string // as stored
	at   string // as place gives it
}

// own says that it is stored at the site or the domain itself.
func (f folder) own() bool { return f.from.Equal(f.key) }

// String says whose folder it is.
func (f folder) String() string {
	if f.id == RouteActionString {
		return fmt.Sprintf("the folder of the domain %s of site %d", f.key.Base(), f.site)
	}
	prop, _ := schema.IIS().ByID(f.id)
	return fmt.Sprintf("the %s of site %d", prop.Name, f.site)
}

// place is where a folder of the tree lies: the same text for the same folder.
// Case does not count, as it does not on many file systems. Links are not
// followed: whoever opens the folder sees to them.
func (g Ground) place(text string) string {
	p := strings.ReplaceAll(text, `\`, "/")
	if !absolute(text) {
		p = path.Join(strings.ReplaceAll(g.Data, `\`, "/"), p)
	}
	return strings.ToLower(path.Clean(p))
}

// absolute says that a folder does not begin at the data folder, here or on
// another system.
func absolute(text string) bool {
	return filepath.IsAbs(text) || strings.HasPrefix(text, "/") || strings.HasPrefix(text, `\`)
}

// leadsOut says that a folder that begins at the data folder is not in it.
func leadsOut(text string) bool {
	clean := path.Clean(strings.ReplaceAll(text, `\`, "/"))
	return !absolute(text) && (clean == ".." || strings.HasPrefix(clean, "../"))
}

// above yields the places that a place lies in, from the nearest.
func above(at string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for up := path.Dir(at); up != at; at, up = up, path.Dir(up) {
			if !yield(up) {
				return
			}
		}
	}
}

// in says that place a is b or lies in it.
func in(a, b string) bool {
	for up := range above(a) {
		if up == b {
			return true
		}
	}
	return a == b
}

// folderOf reads a folder of a site.
func (g Ground) folderOf(snap metabase.Snapshot, n int, id metabase.ID) (folder, bool) {
	r := newReader(snap, SitePath(n))
	v, from, _ := r.value(id)
	return folder{n, r.path, from, id, v.Str(), g.place(v.Str())}, v.Str() != "" && snap.Has(r.path)
}

// dropOf reads the folder that the mail of a domain is written to, where it has
// one.
func (g Ground) dropOf(snap metabase.Snapshot, n int, domain metabase.Path) (folder, bool) {
	r := newReader(snap, domain)
	text := r.text(RouteActionString)
	if text == "" || !Action(r.number(RouteAction)).Has(Drop) || !snap.Has(domain) {
		return folder{}, false
	}
	return folder{n, domain, domain, RouteActionString, text, g.place(text)}, true
}

// An atlas finds folders by where they lie.
type atlas struct{ at, below map[string][]folder }

func newAtlas() atlas { return atlas{map[string][]folder{}, map[string][]folder{}} }

func (a atlas) add(f folder) {
	a.at[f.at] = append(a.at[f.at], f)
	for up := range above(f.at) {
		a.below[up] = append(a.below[up], f)
	}
}

// near lists the folders that are at a place, in it or above it.
func (a atlas) near(at string) []folder {
	found := slices.Concat(a.at[at], a.below[at])
	for up := range above(at) {
		found = append(found, a.at[up]...)
	}
	return found
}

// queues maps the queue folders of all sites.
func (g Ground) queues(snap metabase.Snapshot) atlas {
	a := newAtlas()
	for _, n := range Numbers(snap) {
		if f, ok := g.folderOf(snap, n, QueueDirectory); ok {
			a.add(f)
		}
	}
	return a
}

// yields says that f is a site's queue folder by inheritance, or the later one,
// so that o's site has it.
func (f folder) yields(o folder) bool {
	if f.own() != o.own() {
		return o.own()
	}
	return o.site < f.site
}

// Shared tells of each site whose queue folder is, or lies in or above, that of
// a site that goes before it. Such a site must not run.
func (g Ground) Shared(snap metabase.Snapshot) map[int]error {
	shared := map[int]error{}
	queues := g.queues(snap)
	for _, list := range queues.at {
		for _, f := range list {
			first := f
			for _, o := range queues.near(f.at) {
				if first.yields(o) {
					first = o
				}
			}
			if first.site != f.site {
				shared[f.site] = invalid("QueueDirectory %s: give the site folders of its own", f.beside(first))
			}
		}
	}
	return shared
}

// beside says how f lies to o.
func (f folder) beside(o folder) string {
	whose := o.String()
	if o.id == QueueDirectory {
		whose = fmt.Sprintf("that of site %d", o.site)
		if f.id != QueueDirectory {
			whose = fmt.Sprintf("the queue folder of site %d", o.site)
		}
	}
	switch {
	case f.at == o.at:
		return f.text + " is " + whose
	case in(f.at, o.at):
		return fmt.Sprintf("%s lies in %s, %s", f.text, o.text, whose)
	}
	return fmt.Sprintf("%s lies above %s, %s", f.text, o.text, whose)
}
