// SPDX-License-Identifier: Apache-2.0

package iisimport

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/mbxml"
	"restante/metabase/schema"
)

// A Batch is an import that is being adapted to this tree. Each adaptation is a
// remark in the report.
type Batch struct {
	Ops     []metabase.Op
	schema  *schema.Schema
	snap    metabase.Snapshot
	report  *mbxml.Report
	chosen  func(metabase.Path, metabase.Property) bool // nil: nothing is merged
	shadows []mbxml.Shadow
	stays   map[item]bool // of the shadows: those that are not removed
}

// New makes a Batch of the operations that a file was planned to on snap.
func New(s *schema.Schema, snap metabase.Snapshot, ops []metabase.Op, report *mbxml.Report) *Batch {
	return &Batch{Ops: ops, schema: s, snap: snap, report: report, stays: map[item]bool{}}
}

// Merge makes what the file says by inheritance hold beside what the tree keeps.
// A value that hides it is removed unless somebody has chosen it.
func (b *Batch) Merge(chosen func(metabase.Path, metabase.Property) bool) { b.chosen = chosen }

// Adapt adds what a foreign file leaves unsaid.
func (b *Batch) Adapt() {
	b.containers()
	b.ownFolders()
	b.onlyIPv4()
}

// containers completes a new site by the keys that every site has.
func (b *Batch) containers() {
	added := map[item]bool{}
	for _, op := range b.Ops {
		if add, ok := op.(metabase.AddKey); ok {
			added[itemAt(add.Path, 0)] = true
		}
	}
	for _, op := range slices.Clone(b.Ops) {
		site, ok := op.(metabase.AddKey)
		if !ok || !strings.EqualFold(site.Class, schema.Server) {
			continue
		}
		parts, err := settings.SiteParts(b.snap, site.Path)
		if err != nil {
			continue // a check says what is wrong with the place
		}
		for _, part := range parts {
			if key, ok := part.(metabase.AddKey); ok && !added[itemAt(key.Path, 0)] {
				b.Ops = append(b.Ops, key)
				b.remark(mbxml.Translated, key.Path, 0, "is not in the file, and is added: every site has it")
			}
		}
	}
}

// remark adds a remark about a property, or with id 0 about a key.
func (b *Batch) remark(v mbxml.Verdict, p metabase.Path, id metabase.ID, text string) {
	r := mbxml.Remark{Verdict: v, Path: p, Text: text}
	r.Line, _ = b.report.Line(p, id)
	if prop, ok := b.schema.ByID(id); ok && id != 0 {
		r.Property = prop.Label()
	} else if id != 0 {
		r.Property = strconv.FormatUint(uint64(id), 10)
	}
	b.report.Remarks = append(b.report.Remarks, r)
}

// sets reports whether the batch stores id at p.
func (b *Batch) sets(p metabase.Path, id metabase.ID) bool {
	return slices.ContainsFunc(b.Ops, func(op metabase.Op) bool {
		set, ok := op.(metabase.Set)
		return ok && set.Property.ID == id && set.Path.Equal(p)
	})
}

// ownFolders gives each new site without folders its own: two sites must not
// share an inherited one.
func (b *Batch) ownFolders() {
	for _, op := range slices.Clone(b.Ops) {
		add, ok := op.(metabase.AddKey)
		if !ok || !strings.EqualFold(add.Class, schema.Server) {
			continue
		}
		n, _ := place(add.Path)
		for _, id := range settings.SiteFolders {
			prop, ok := b.schema.ByID(id)
			if !ok || b.sets(add.Path, prop.ID) {
				continue
			}
			folder := settings.FolderIn(settings.Mailroot(n), id)
			b.Ops = append(b.Ops, metabase.Set{Path: add.Path, Property: prop.Item(metabase.String(folder))})
			b.remark(mbxml.Translated, add.Path, prop.ID, "was inherited; the site has a folder of its own here: "+folder)
		}
	}
}

// onlyIPv4 lets no IPv6 address relay where the file has a list: IIS's list has
// none, and those granted here at a key above must not be inherited.
func (b *Batch) onlyIPv4() {
	prop, ok := b.schema.ByID(settings.RelayIpv6List)
	if !ok {
		return
	}
	for _, op := range slices.Clone(b.Ops) {
		set, ok := op.(metabase.Set)
		if !ok || set.Property.ID != settings.RelayIpList || b.sets(set.Path, prop.ID) {
			continue
		}
		if was, stored := b.snap.Stored(set.Path, prop.ID); stored && len(was.Value.Strings()) == 0 {
			continue
		}
		b.Ops = append(b.Ops, metabase.Set{Path: set.Path, Property: prop.Item(metabase.MultiSZ())})
		b.remark(mbxml.Translated, set.Path, prop.ID, "no IPv6 address may relay: RelayIpList has none")
	}
}

// TellAccounts reports the names in AuthTurnList that are no accounts here: a file
// has no passwords. It leaves out accounts whose keys the caller may not read.
func (b *Batch) TellAccounts(sees func(metabase.Path) bool) {
	prop, ok := b.schema.Property("AuthTurnList")
	if !ok {
		return
	}
	names := map[string]string{}
	for _, op := range b.Ops {
		set, ok := op.(metabase.Set)
		if !ok || set.Property.ID != prop.ID {
			continue
		}
		site, _ := place(set.Path)
		for _, name := range set.Property.Value.Strings() {
			known := sees(settings.UserPath(site, name)) && sees(settings.UserPath(0, name))
			if known && !settings.HasAccount(b.snap, site, name) {
				names[strings.ToLower(name)] = name
			}
		}
	}
	if len(names) == 0 {
		return
	}
	const most = 20
	list := slices.Sorted(maps.Values(names))
	text := fmt.Sprintf("%d names that may collect mail have no account here yet: restante account add: ", len(list))
	if len(list) > most {
		list = append(list[:most:most], "...")
	}
	b.report.Remarks = append(b.report.Remarks, mbxml.Remark{ // without a line: it is one remark for all
		Verdict: mbxml.Decision, Path: settings.Service, Property: prop.Name, Text: text + strings.Join(list, ", "),
	})
}
