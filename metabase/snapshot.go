// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"cmp"
	"hash/fnv"
	"iter"
	"slices"
	"time"

	"restante/metabase/internal/stored"
	"restante/metabase/internal/tree"
	"restante/metabase/internal/unconfirmed"
	"restante/metabase/item"
)

// An image is one state of the whole tree. It never changes.
type image struct {
	root   *tree.Node
	rev    Rev
	time   time.Time
	vol    *tree.Volatiles
	access *access     // nil: of no store
	trail  *tree.Trail // to where a check will look, or nil

	unconfirmed unconfirmed.List // what of it is to be taken back
}

// with returns the image with another list of what is unconfirmed.
func (img *image) with(l unconfirmed.List) *image {
	next := *img
	next.unconfirmed = l
	return &next
}

// lookup returns the node at p, or nil.
func (img *image) lookup(p Path) *tree.Node {
	if steps := img.trail.To(p); steps != nil {
		last := steps[len(steps)-1]
		if last.End == len(p) {
			return last.Node
		}
		return last.Node.Lookup(p[last.End:])
	}
	return img.root.Lookup(p)
}

// A Snapshot is one state of the tree. It never changes and is safe for
// concurrent use. Keeping one costs the memory of what has changed since. The
// zero Snapshot has no keys.
type Snapshot struct{ img *image }

// A Key describes a key without its properties.
type Key struct {
	Path     Path // as spelled in the tree
	Class    string
	Modified time.Time // when its own data changed; a child's does not count
	Children int
}

// A Located is a property with the key that it comes from.
type Located struct {
	Property
	From Path
}

// Rev is the revision of the snapshot.
func (s Snapshot) Rev() Rev {
	if s.img == nil {
		return 0
	}
	return s.img.rev
}

// Time is the time of that revision.
func (s Snapshot) Time() time.Time {
	if s.img == nil {
		return time.Time{}
	}
	return s.img.time
}

func (s Snapshot) node(p Path) *tree.Node {
	if s.img == nil {
		return nil
	}
	return s.img.lookup(p)
}

// Has reports whether there is a key at p.
func (s Snapshot) Has(p Path) bool { return s.node(p) != nil }

// Key describes the key at p; ok is false when there is none.
func (s Snapshot) Key(p Path) (k Key, ok bool) {
	n := s.node(p)
	if n == nil {
		return Key{}, false
	}
	return keyOf(s.img.root.Spell(p), n), true
}

func keyOf(p Path, n *tree.Node) Key {
	return Key{p, n.Class(), time.Unix(0, n.Modified).UTC(), n.Kids.Len()}
}

// Class is the class of the key at p, "" where it has none or there is no key.
// It allocates nothing.
func (s Snapshot) Class(p Path) string {
	if n := s.node(p); n != nil {
		return n.Class()
	}
	return ""
}

// Children yields the names of p's children: numbers first and by value, then
// the rest without case.
func (s Snapshot) Children(p Path) iter.Seq[string] {
	return func(yield func(string) bool) {
		n := s.node(p)
		if n == nil {
			return
		}
		for _, k := range n.Kids.Sorted() {
			if !yield(k.Spelling) {
				return
			}
		}
	}
}

// Names yields the names of p's children in no particular order. It is faster
// than Children.
func (s Snapshot) Names(p Path) iter.Seq[string] {
	return func(yield func(string) bool) {
		if n := s.node(p); n != nil {
			n.Kids.All(func(k *tree.Node) bool { return yield(k.Spelling) })
		}
	}
}

// Walk yields p as spelled in the tree and all keys below it, parents first.
func (s Snapshot) Walk(p Path) iter.Seq[Path] {
	return func(yield func(Path) bool) {
		if n := s.node(p); n != nil {
			n.Walk(s.img.root.Spell(p), func(q Path, _ *tree.Node) bool { return yield(q) })
		}
	}
}

// Stored returns the property that is stored at p itself.
func (s Snapshot) Stored(p Path, id ID) (Property, bool) {
	n := s.node(p)
	if n == nil {
		return Property{}, false
	}
	if v, ok := s.img.vol.Get(p, id); ok {
		return v, true
	}
	return n.Get(id)
}

// Effective returns the property that holds for p: the one stored there,
// whatever its attributes, or else the nearest one above if it has the attribute
// Inherit. A nearest one without Inherit hides those farther up. KeyType is never
// inherited. The Path is that of the key that stores the property, spelled as in
// p. The key p must exist. Effective allocates nothing.
func (s Snapshot) Effective(p Path, id ID) (Property, Path, bool) {
	return s.effective(p, id, false)
}

// EffectivePartial is Effective for the deepest existing key at or above p. IIS
// calls that PARTIAL_PATH.
func (s Snapshot) EffectivePartial(p Path, id ID) (Property, Path, bool) {
	return s.effective(p, id, true)
}

func (s Snapshot) effective(p Path, id ID, partial bool) (Property, Path, bool) {
	if s.img == nil {
		return Property{}, "", false
	}
	n, end := s.img.root, 0 // the key looked at, which stands at p[:end]
	var found *Property
	at, bit := 0, item.BitOf(id) // p[:at] is where found stands
	for _, known := range s.img.trail.To(p) {
		n, end = known.Node, known.End
		if item := n.Items.Find(id); item != nil {
			found, at = item, end
		}
	}
	for {
		if n.Items.MayHave(bit) {
			if item := n.Items.Find(id); item != nil {
				found, at = item, end
			}
		}
		if end == len(p) || p == Root {
			break
		}
		kid, to := n.Step(p, end)
		if kid == nil && partial {
			break
		}
		if kid == nil {
			return Property{}, "", false
		}
		n, end = kid, to
	}
	if vol := s.img.vol.Holding(id); vol != nil {
		found, at = vol.Nearer(p, end, id, found, at)
	}
	return inherit(found, p, at, end)
}

// inherit returns the property found at p[:at] if it holds for p[:end].
func inherit(found *Property, p Path, at, end int) (Property, Path, bool) {
	if found == nil || at != end && (found.Attr&Inherit == 0 || found.ID == KeyType) {
		return Property{}, "", false
	}
	return *found, p.Prefix(at), true
}

// Properties lists the properties that are stored at p itself, by ID. The caller
// must not change the list.
func (s Snapshot) Properties(p Path) []Property { return s.properties(p, s.node(p)) }

func (s Snapshot) properties(p Path, n *tree.Node) []Property {
	if n == nil {
		return nil
	}
	vol := s.img.vol.At(p)
	if len(vol) == 0 {
		return slices.Clip(n.Items.All())
	}
	out := slices.Clone(n.Items.All())
	for _, v := range vol {
		if i, ok := item.Search(out, v.ID); ok {
			out[i] = v
		} else {
			out = slices.Insert(out, i, v)
		}
	}
	return out
}

// AllProperties lists the properties that hold for p by ID, stored there or
// inherited. From is spelled as in the tree. An inherited property has the
// attribute IsInherited.
func (s Snapshot) AllProperties(p Path) []Located {
	if !s.Has(p) {
		return nil
	}
	all := map[ID]Located{}
	own := true
	for q := range p.Parents() {
		from := s.img.root.Spell(q)
		for _, prop := range s.Properties(q) {
			if _, nearer := all[prop.ID]; nearer {
				continue
			}
			if !own {
				prop.Attr |= IsInherited
			}
			all[prop.ID] = Located{prop, from}
		}
		own = false
	}
	out := make([]Located, 0, len(all))
	for _, l := range all {
		if l.Attr&IsInherited == 0 || l.Attr&Inherit != 0 && l.ID != KeyType {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b Located) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// DataPaths lists the keys at and below p that store the property, in the order of
// Walk.
func (s Snapshot) DataPaths(p Path, id ID) []Path {
	n := s.node(p)
	if n == nil {
		return nil
	}
	var out []Path
	n.Walk(s.img.root.Spell(p), func(q Path, n *tree.Node) bool {
		_, ok := n.Get(id)
		if !ok {
			_, ok = s.img.vol.Get(q, id)
		}
		if ok {
			out = append(out, q)
		}
		return true
	})
	return out
}

// DataSet is a hash of the properties that hold for p: keys with the same number
// have the same data, stored or inherited. It is 0 if there is no such key.
func (s Snapshot) DataSet(p Path) uint64 {
	if !s.Has(p) {
		return 0
	}
	h := fnv.New64a()
	for _, l := range s.AllProperties(p) {
		l.Property.Attr &^= IsInherited
		l.Property.Rev = 0
		h.Write(stored.AppendProperty(nil, l.Property))
	}
	return h.Sum64() | 1
}
