// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"slices"
	"strings"
	"sync/atomic"

	"restante/admin/api"
	"restante/metabase"
)

// A View is what a caller may see of one state of the tree.
type View struct {
	metabase.Snapshot
	who   []metabase.Principal
	lists *lists                 // nil: not looked for yet
	known *atomic.Pointer[lists] // those of the present state, or nil
}

// lists are the keys that have an access list, by each key at or above them, in
// small letters. Whoever sees a key sees what is below it, but for those.
type lists struct {
	rev   metabase.Rev
	below map[string][]metabase.Path
}

// Look gives the caller's View of a state.
func Look(snap metabase.Snapshot, who api.Caller) *View {
	return &View{Snapshot: snap, who: who.Who}
}

// View gives the caller's View of the present state.
func (d *API) View(who api.Caller) *View {
	v := Look(d.Tree.Snapshot(), who)
	v.known = &d.lists
	return v
}

// Sees says whether the caller may read p, which need not exist.
func (v *View) Sees(p metabase.Path) bool { return v.Allows(v.who, p, metabase.Read) }

// Hidden finds a key at or below p that the caller may not read. Only where a
// list stands can that begin.
func (v *View) Hidden(p metabase.Path) (metabase.Path, bool) {
	if !v.Sees(p) {
		return p, true
	}
	for _, q := range v.listsAt(p) {
		if !v.Sees(q) {
			return q, true
		}
	}
	return "", false
}

// Leads says whether there is something at or below p that the caller may read.
func (v *View) Leads(p metabase.Path) bool {
	return v.Sees(p) || slices.ContainsFunc(v.listsAt(p), v.Sees)
}

// Count counts the children of p that lead to something that the caller may
// read.
func (v *View) Count(p metabase.Path) int {
	key, ok := v.Key(p)
	if !ok {
		return 0
	}
	n := key.Children
	if !v.Sees(p) {
		n = 0
	}
	told := map[string]bool{}
	for _, q := range v.listsAt(p) {
		child := below(p, q)
		if child == "" || told[strings.ToLower(child)] {
			continue
		}
		told[strings.ToLower(child)] = true
		switch leads := v.Leads(p.Join(child)); {
		case v.Sees(p) && !leads:
			n--
		case !v.Sees(p) && leads:
			n++
		}
	}
	return n
}

// listsAt gives the keys at and below p that have an access list.
func (v *View) listsAt(p metabase.Path) []metabase.Path {
	if v.lists == nil && v.known != nil {
		v.lists = v.known.Load()
	}
	if v.lists == nil || v.lists.rev != v.Rev() {
		v.lists = listsOf(v.Snapshot)
		if v.known != nil {
			v.known.Store(v.lists)
		}
	}
	return v.lists.below[fold(p)]
}

func listsOf(snap metabase.Snapshot) *lists {
	l := &lists{snap.Rev(), map[string][]metabase.Path{}}
	for _, q := range snap.DataPaths(metabase.Root, metabase.AccessList) {
		for up := q; ; up = up.Parent() {
			l.below[fold(up)] = append(l.below[fold(up)], q)
			if up == metabase.Root {
				break
			}
		}
	}
	return l
}

func fold(p metabase.Path) string { return strings.ToLower(string(p)) }

// below is the name of p's child that q, which is at or below p, stands at or
// below; "" for p itself.
func below(p, q metabase.Path) string {
	rest := strings.TrimPrefix(string(q[len(p):]), "/")
	name, _, _ := strings.Cut(rest, "/")
	return name
}
