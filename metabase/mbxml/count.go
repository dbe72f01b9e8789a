// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"slices"
	"strconv"

	"restante/metabase"
	"restante/metabase/internal/casefold"
)

// Counts has each key and property of a report once: in the gravest class that
// a remark puts it in, and in TakenOver where none is about it.
type Counts struct {
	TakenOver  Imported `json:"taken_over"` // unchanged
	Translated int      `json:"translated"`
	Ignored    int      `json:"ignored"`
	Decision   int      `json:"needs_a_decision"`
	NoEffect   int      `json:"without_effect"`
}

// Imported counts what an import stores.
type Imported struct {
	Keys       int `json:"keys"`
	Properties int `json:"properties"`
}

// An itemName names a property, or with property "" a key, without case.
type itemName struct{ path, property string }

func nameItem(path metabase.Path, property string) itemName {
	return itemName{path.Fold(), casefold.Fold(property)}
}

// imports notes a property of the file that is imported, or with id 0 a key. The
// names are those that a remark may have for it.
func (r *Report) imports(path metabase.Path, id metabase.ID, names ...string) {
	r.imported[importedItem{path.Fold(), id}] = true
	for _, name := range names {
		r.names[propertyName{name, id}] = true
	}
}

// A propertyName is one that a property has somewhere in the file, or "" with 0, which
// every key has.
type propertyName struct {
	name string
	id   metabase.ID
}

// item returns a function that finds what the file has by a name, imported or dropped.
func (r *Report) item() func(itemName) (importedItem, bool) {
	ids := map[string][]metabase.ID{}
	for n := range r.names {
		name := casefold.Fold(n.name)
		ids[name] = append(ids[name], n.id)
	}
	return func(n itemName) (importedItem, bool) {
		slices.Sort(ids[n.property])
		for _, id := range ids[n.property] {
			at := importedItem{n.path, id}
			if _, ok := r.imported[at]; ok {
				return at, true
			}
		}
		return importedItem{}, false
	}
}

type importedItem struct {
	path string
	id   metabase.ID
}

// Drop takes what is left out after all off the imported items.
func (r *Report) Drop(path metabase.Path, id metabase.ID) {
	at := importedItem{path.Fold(), id}
	switch {
	case !r.imported[at]:
		return
	case id == 0:
		r.Keys--
	default:
		r.Properties--
	}
	r.imported[at] = false
}

// count fills Counts.
func (r *Report) count() {
	left := Imported{r.Keys, r.Properties}
	told := map[importedItem]bool{}
	gravest := map[itemName]Verdict{}
	order := map[Verdict]int{Ignored: 1, NoEffect: 2, Translated: 3, Decision: 4}
	item := r.item()
	for i, m := range r.Remarks {
		name := nameItem(m.Path, m.Property)
		if m.Path == "" {
			name.property = strconv.Itoa(i) // about a part of the file that has no place
		}
		if at, ok := item(name); ok {
			name = itemName{at.path, strconv.Itoa(int(at.id))}
			switch {
			case !r.imported[at] || told[at]:
			case at.id == 0:
				left.Keys--
			default:
				left.Properties--
			}
			told[at] = true
		}
		if order[m.Verdict] > order[gravest[name]] {
			gravest[name] = m.Verdict
		}
	}
	r.Counts = Counts{TakenOver: left}
	for _, v := range gravest {
		switch v {
		case Translated:
			r.Counts.Translated++
		case NoEffect:
			r.Counts.NoEffect++
		case Ignored:
			r.Counts.Ignored++
		case Decision:
			r.Counts.Decision++
		}
	}
}
