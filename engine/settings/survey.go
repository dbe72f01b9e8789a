// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"restante/metabase"
	"restante/metabase/schema"
)

// QueueFolder is the folder of a site's queue as stored; "" where there is no
// such site.
func QueueFolder(snap metabase.Snapshot, n int) string {
	f, ok := Ground{}.folderOf(snap, n, QueueDirectory)
	if !ok || !strings.EqualFold(snap.Class(SitePath(n)), schema.Server) {
		return ""
	}
	return f.text
}

// ErrMailWaits is what stands against taking a site away from the mail in its
// queue: that is for site delete to see to.
var ErrMailWaits = errors.New("mail waits")

// Moved lists the sites that a change takes away, or whose queue it gives
// another folder.
func Moved(c metabase.Change) (numbers []int) {
	for _, path := range c.Touched {
		if Service.Within(path) {
			numbers = Numbers(c.Old)
			break
		}
		if n, rest, ok := siteOf(path); ok && rest == "" {
			numbers = append(numbers, n)
		}
	}
	return slices.DeleteFunc(numbers, func(n int) bool {
		was := QueueFolder(c.Old, n)
		return was == "" || was == QueueFolder(c.New, n)
	})
}

// A survey looks at the folders of the sites as a change would leave them.
type survey struct {
	Ground
	metabase.Change
	problems []metabase.Problem
}

// checkFolders refuses folders that would endanger a queue, and those that are
// not the caller's to name.
func (g Ground) checkFolders(c metabase.Change, sites []int) []metabase.Problem {
	s := &survey{Ground: g, Change: c}
	s.outside()
	moved := s.moved(sites)
	if len(moved) == 0 {
		return s.problems
	}
	all, fresh := g.queues(c.New), newAtlas()
	for _, f := range moved {
		s.ours(f)
		if f.id != QueueDirectory {
			s.apart(f, all)
			continue
		}
		fresh.add(f)
		s.alone(f, all)
	}
	if len(fresh.at) > 0 {
		s.others(moved, fresh)
	}
	return s.problems
}

func (s *survey) bad(f folder, format string, args ...any) {
	prop, _ := schema.IIS().ByID(f.id)
	p := metabase.Problem{Path: f.key, ID: f.id, Property: prop.Name, Err: invalid(format, args...)}
	if f.from != "" {
		p.Path = f.from
	}
	s.problems = append(s.problems, p)
}

// beside says how f lies to o, whose site the caller may not be meant to see.
func (s *survey) beside(f, o folder) string {
	if !s.may(o.key, metabase.Read) {
		return f.text + " is not free"
	}
	return f.beside(o)
}

// may says that whoever makes the change has a right.
func (s *survey) may(p metabase.Path, r metabase.Right) bool {
	return s.Batch == nil || s.Old.Allows(append([]metabase.Principal{s.Batch.Actor}, s.Batch.Also...), p, r)
}

// moved lists the folders that are new, lie elsewhere than before, or are
// stored where they were inherited; not those that lead out, which is enough.
func (s *survey) moved(sites []int) (list []folder) {
	for _, n := range sites {
		for _, id := range siteFolders {
			was, had := s.folderOf(s.Old, n, id)
			if f, ok := s.folderOf(s.New, n, id); ok && !leadsOut(f.text) && (!had || was.at != f.at || f.own() && !was.own()) {
				list = append(list, f)
			}
		}
	}
	for _, key := range s.Touched {
		n, _, ok := domainOf(key)
		if !ok {
			continue
		}
		f, ok := s.dropOf(s.New, n, key)
		if !ok || leadsOut(f.text) {
			continue
		}
		if was, had := s.dropOf(s.Old, n, key); !had || was.at != f.at {
			list = append(list, f)
		}
	}
	return list
}

// alone looks at a queue folder beside those of the other sites. A new site
// that names no folder shares what it inherits, and is let be: it does not run
// before it has its own. See Shared.
func (s *survey) alone(f folder, all atlas) {
	for _, o := range all.near(f.at) {
		second := o
		if f.yields(o) {
			second = f
		}
		if o.site == f.site || !second.own() && (!s.Old.Has(second.key) || s.wereNear(f, o)) {
			continue
		}
		s.bad(f, "%s; give site %d a folder of its own%s", s.beside(f, o), f.site, s.suggest(f.site, all))
	}
}

// suggest names a queue folder for a site, if what it would be called is free.
func (s *survey) suggest(n int, all atlas) string {
	name := fmt.Sprintf("Mailroot-%d/Queue", n)
	if len(all.near(s.place(name))) > 0 {
		return ""
	}
	return ", such as " + name
}

func (s *survey) wereNear(f, o folder) bool {
	a, had := s.folderOf(s.Old, f.site, f.id)
	b, too := s.folderOf(s.Old, o.site, o.id)
	return had && too && (in(a.at, b.at) || in(b.at, a.at))
}

// apart looks at another folder beside the queues'.
func (s *survey) apart(f folder, queues atlas) {
	for _, q := range queues.near(f.at) {
		s.bad(f, "%s; name another folder", s.beside(f, q))
	}
}

// others looks at the folders that stay where they are, beside the queues that
// are fresh.
func (s *survey) others(moved []folder, fresh atlas) {
	look := func(f folder, ok bool) {
		for _, q := range fresh.near(f.at) {
			if ok && !slices.ContainsFunc(moved, func(m folder) bool { return m.key.Equal(f.key) && m.id == f.id }) {
				s.bad(q, "%s; name another folder", s.beside(q, f))
			}
		}
	}
	for _, n := range Numbers(s.New) {
		for _, id := range siteFolders[1:] {
			look(s.folderOf(s.New, n, id))
		}
		for name := range s.New.Names(DomainsPath(n)) {
			look(s.dropOf(s.New, n, DomainPath(n, name)))
		}
	}
}

// ours keeps a folder away from what the service has in the data folder.
func (s *survey) ours(f folder) {
	for _, name := range s.Ours {
		at := s.place(name)
		if in(f.at, at) || in(at, f.at) {
			s.bad(f, "%s: the service itself has %s in the data folder; name another folder", f.text, name)
		}
	}
}

// outside looks at the folders that the change stores: none leads out of the
// data folder by its name, and only who has control over all may name one that
// lies elsewhere. The service may write where its callers may not.
func (s *survey) outside() {
	for t := range s.PropertyChanges() {
		if !stores(t) || t.ID != RouteActionString && !slices.Contains(siteFolders, t.ID) {
			continue
		}
		text := t.New.Value.Str()
		if t.ID == RouteActionString && isHosts(text) {
			continue
		}
		f := folder{key: t.Path, from: t.Path, id: t.ID, text: text, at: s.place(text)}
		switch {
		case leadsOut(text):
			s.bad(f, "%s leads out of the data folder", text)
		case absolute(text) && !in(f.at, s.place(".")) && !s.may(metabase.Root, metabase.Control):
			s.bad(f, "%s lies outside of the data folder: that takes the right %s at %s", text, metabase.Control, metabase.Root)
		}
	}
}

// isHosts says that what a domain's mail is routed by names hosts, and so no
// folder elsewhere.
func isHosts(text string) bool {
	_, err := schema.ParseHosts(text)
	return err == nil
}
