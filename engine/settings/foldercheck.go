// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"restante/internal/disk"
	"restante/metabase"
	"restante/metabase/schema"
)

// QueueFolder is the folder of a site's queue as stored; "" where there is no
// such site.
func QueueFolder(snap metabase.Snapshot, n int) string {
	f, ok := Layout{}.folderOf(snap, n, QueueDirectory)
	if !ok || !strings.EqualFold(snap.Class(SitePath(n)), schema.Server) {
		return ""
	}
	return f.text
}

// ErrMailWaits is the cause of a refusal to separate a site from the mail in its
// queue; site delete can do that.
var ErrMailWaits = errors.New("mail waits")

// Moved lists the sites that a change removes, or whose queue it gives another
// folder.
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

// A folderCheck checks the folders of the sites as a change would leave them.
type folderCheck struct {
	Layout
	metabase.Change
	root     bool                 // the actor has control over the whole tree
	others   *folderIndex         // see foreign
	taken    *folderIndex         // see pickups
	logs     map[bool]folderIndex // see checkLog: of the logs, and of what they are not in
	problems []metabase.Problem
}

// checkFolders refuses folders that would endanger a queue, and those that the
// actor has no right to name.
func (l Layout) checkFolders(c metabase.Change, sites []int) []metabase.Problem {
	k := &folderCheck{Layout: l, Change: c, root: allows(c, metabase.Root, metabase.Control)}
	k.checkNames()
	moved := k.moved(sites)
	if len(moved) == 0 {
		return k.problems
	}
	queues, added := l.queues(c.New), newFolderIndex()
	for _, f := range moved {
		k.checkReserved(f)
		k.checkForeign(f)
		if f.id != QueueDirectory {
			k.checkApart(f, queues)
			if k.checkLog(f) {
				k.checkPickup(f)
			}
			continue
		}
		added.add(f)
		k.checkQueue(f, queues)
	}
	if len(added.at) > 0 {
		k.checkUnmoved(moved, added)
	}
	return k.problems
}

func (k *folderCheck) bad(f folder, format string, args ...any) {
	path := f.key
	if f.from != "" {
		path = f.from
	}
	k.problems = append(k.problems, problem(path, f.id, invalid(format, args...)))
}

// badBeside refuses f for where it lies relative to o. It does not name a site
// that the actor may not read.
func (k *folderCheck) badBeside(f, o folder, advice string) {
	if !allows(k.Change, o.key, metabase.Read) {
		k.bad(f, "%s is not free; %s", f.text, advice)
		return
	}
	k.bad(f, "%s; %s", f.beside(o), advice)
	k.problems[len(k.problems)-1].Other = o.key
}

// moved lists the folders that are new, lie elsewhere than before, or are now
// stored where they were inherited. A folder whose name checkNames refuses is
// left out.
func (k *folderCheck) moved(sites []int) (list []folder) {
	for _, n := range sites {
		for _, id := range siteFolders {
			was, had := k.folderOf(k.Old, n, id)
			if f, ok := k.folderOf(k.New, n, id); ok && named(f.text) == nil && (!had || was.at != f.at || f.own() && !was.own()) {
				list = append(list, f)
			}
		}
	}
	for _, key := range k.Touched {
		n, _, ok := domainOf(key)
		if !ok {
			continue
		}
		f, ok := k.dropOf(k.New, n, key)
		was, had := k.dropOf(k.Old, n, key)
		if !ok || had && was.at == f.at {
			continue
		}
		if err := disk.CheckPath(f.text); err != nil {
			k.bad(f, "%s %v", f.text, err) // checkNames does not know that it is a folder
		} else if named(f.text) == nil {
			list = append(list, f)
		}
	}
	return list
}

// checkQueue compares a queue folder with those of the other sites. A new site
// that names no folder shares what it inherits. It is accepted, and does not run
// before it has its own; see Shared.
func (k *folderCheck) checkQueue(f folder, queues folderIndex) {
	for _, o := range queues.near(f.at) {
		second := o
		if f.yields(o) {
			second = f
		}
		if o.site == f.site || !second.own() && (!k.Old.Has(second.key) || k.wereNear(f, o)) {
			continue
		}
		k.badBeside(f, o, fmt.Sprintf("give site %d a folder of its own%s", f.site, k.suggest(f.site, queues)))
	}
}

// suggest names a queue folder for a site, if the usual name is free.
func (k *folderCheck) suggest(n int, queues folderIndex) string {
	name := FolderIn(Mailroot(n), QueueDirectory)
	if len(queues.near(k.place(name))) > 0 {
		return ""
	}
	return ", such as " + name
}

func (k *folderCheck) wereNear(f, o folder) bool {
	a, had := k.folderOf(k.Old, f.site, f.id)
	b, too := k.folderOf(k.Old, o.site, o.id)
	return had && too && (in(a.at, b.at) || in(b.at, a.at))
}

// checkApart compares a folder that is no queue's with the queues'.
func (k *folderCheck) checkApart(f folder, queues folderIndex) {
	for _, q := range queues.near(f.at) {
		k.badBeside(f, q, "name another folder")
	}
}

// checkLog refuses a log in another folder of a site, and such a folder above a
// log: other programs take what is in it. It reports whether f may stay.
func (k *folderCheck) checkLog(f folder) bool {
	if f.id == PickupDirectory && !f.taken() {
		return true
	}
	log := f.id == LogFileDirectory
	others, ok := k.logs[!log]
	if !ok {
		others = k.index(func(o folder) bool {
			return (o.id == LogFileDirectory) != log && (o.id != PickupDirectory || o.taken())
		})
		if k.logs == nil {
			k.logs = map[bool]folderIndex{}
		}
		k.logs[!log] = others
	}
	for _, o := range others.near(f.at) {
		if log && in(f.at, o.at) || !log && in(o.at, f.at) {
			k.badBeside(f, o, "name another folder")
			return false
		}
	}
	return true
}

// checkPickup refuses one folder for the files that a site takes from it and the
// files that the service or another site puts into it or takes: they would be sent
// twice, or in circles.
func (k *folderCheck) checkPickup(f folder) {
	if k.taken == nil {
		i := k.index(folder.taken)
		k.taken = &i
	}
	near := k.taken.at[f.at]
	if f.taken() {
		near = slices.Concat(near, k.index(func(o folder) bool { return o.id != PickupDirectory }).at[f.at])
	}
	if f.id == PickupDirectory && !f.taken() {
		return
	}
	for _, o := range near {
		if o.id != f.id || !o.key.Equal(f.key) {
			k.badBeside(f, o, "name another folder")
			return
		}
	}
}

// index has those folders of the sites and their domains that are chosen, but for
// queues.
func (k *folderCheck) index(chosen func(folder) bool) folderIndex {
	i := newFolderIndex()
	add := func(f folder, ok bool) {
		if ok && chosen(f) {
			i.add(f)
		}
	}
	for _, n := range Numbers(k.New) {
		for _, id := range siteFolders[1:] {
			add(k.folderOf(k.New, n, id))
		}
		for name := range k.New.Names(DomainsPath(n)) {
			add(k.dropOf(k.New, n, DomainPath(n, name)))
		}
	}
	return i
}

// checkUnmoved compares the folders that stay where they are with the added
// queues.
func (k *folderCheck) checkUnmoved(moved []folder, added folderIndex) {
	compare := func(f folder, ok bool) {
		for _, q := range added.near(f.at) {
			if ok && !slices.ContainsFunc(moved, func(m folder) bool { return m.key.Equal(f.key) && m.id == f.id }) {
				k.badBeside(q, f, "name another folder")
			}
		}
	}
	for _, n := range Numbers(k.New) {
		for _, id := range siteFolders[1:] {
			compare(k.folderOf(k.New, n, id))
		}
		for name := range k.New.Names(DomainsPath(n)) {
			compare(k.dropOf(k.New, n, DomainPath(n, name)))
		}
	}
}

// checkReserved refuses a folder or file that the service itself uses.
func (k *folderCheck) checkReserved(f folder) {
	if k.Data != "" && in(k.place("."), f.at) {
		k.bad(f, "%s has the service's own files in it; name another %s", f.text, f.kind())
		return
	}
	for _, name := range append(slices.Clone(k.Reserved), k.Certificates) {
		switch at := k.place(name); {
		case name == "" || !in(f.at, at) && !in(at, f.at):
		case name != k.Certificates || f.kind() == "folder":
			k.bad(f, "%s: the service itself has %s in the data folder; name another %s", f.text, name, f.kind())
		case !k.root:
			k.bad(f, "%s: the service itself has %s in the data folder: that takes the right %s at %s", f.text, name, metabase.Control, metabase.Root)
		}
	}
}

// checkForeign refuses a folder or file of a site that the actor may not write,
// but for the queues, which checkApart and checkQueue compare.
func (k *folderCheck) checkForeign(f folder) {
	if k.root || !f.own() || f.id == QueueDirectory {
		return
	}
	for _, o := range k.foreign().near(f.at) {
		if o.site != f.site {
			k.badBeside(f, o, "name another "+f.kind())
			return
		}
	}
}

// foreign indexes what belongs to the sites that the actor may not write.
func (k *folderCheck) foreign() *folderIndex {
	if k.others != nil {
		return k.others
	}
	i := newFolderIndex()
	add := func(f folder, ok bool) {
		if ok && f.text != "" {
			i.add(f)
		}
	}
	for _, n := range Numbers(k.New) {
		if allows(k.Change, SitePath(n), metabase.Write) {
			continue
		}
		for _, id := range siteFolders[1:] {
			add(k.folderOf(k.New, n, id))
		}
		for _, f := range k.filesOf(k.New, n) {
			add(f, true)
		}
		for name := range k.New.Names(DomainsPath(n)) {
			add(k.dropOf(k.New, n, DomainPath(n, name)))
			add(k.listOf(k.New, n, DomainPath(n, name)))
		}
	}
	k.others = &i
	return k.others
}

// checkNames checks the folders and files that the change stores. None may lead
// out of the data folder by its name, and one elsewhere takes control over the
// whole tree: the service may write, and read, where its callers may not.
func (k *folderCheck) checkNames() {
	for t := range k.PropertyChanges() {
		file := slices.Contains(siteFiles, t.ID)
		if !stores(t) || t.ID != RouteActionString && !file && !slices.Contains(siteFolders, t.ID) {
			continue
		}
		for _, text := range textsOf(t.New.Value) {
			k.checkName(t.Path, t.ID, text, file)
		}
	}
}

func (k *folderCheck) checkName(path metabase.Path, id metabase.ID, text string, file bool) {
	if id == RouteActionString && (isHosts(text) || disk.CheckPath(text) != nil) {
		return // a folder only by its domain's RouteAction: see moved
	}
	n, _, _ := siteOf(path)
	f := folder{site: n, key: path, from: path, id: id, text: text, at: k.place(text)}
	switch err := named(text); {
	case err != nil:
		k.bad(f, "%s %v", text, err)
	case disk.IsAbs(text) && !in(f.at, k.place(".")) && !k.root:
		k.bad(f, "%s lies outside of the data folder: that takes the right %s at %s", text, metabase.Control, metabase.Root)
	case file && text != "":
		k.checkReserved(f)
		k.checkForeign(f)
	}
}

// named returns an error where text can't be the name of a folder or a file.
func named(text string) error {
	if err := cmp.Or(disk.CheckPath(text), disk.CheckHere(text)); err != nil {
		return reason(err.Error())
	}
	if !disk.IsAbs(text) && !disk.IsLocal(text) {
		return reason("leads out of the data folder")
	}
	return nil
}

// isHosts reports whether a RouteActionString names hosts, and so no folder
// elsewhere.
func isHosts(text string) bool {
	_, err := schema.ParseHosts(text)
	return err == nil
}
