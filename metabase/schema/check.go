// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"slices"
	"strings"

	"restante/metabase"
)

// SchemaPath is the key of the schema in the tree; see [Schema.Sync].
const SchemaPath metabase.Path = "/Schema"

// Check is a [metabase.Check] of what the change touches. The class of each key
// must fit its place. Each new or changed property must belong to the class and
// have the schema's type, form, range and secrecy. No secret
// is the asterisks that stand for one. Only the system changes the
// schema's own keys. A key or property that did not change is accepted, as is
// any value of a property that the table does not know.
func (s *Schema) Check(c metabase.Change) []metabase.Problem {
	k := &checker{schema: s, change: c}
	for _, path := range c.Touched {
		k.key(path)
	}
	return k.problems
}

// A checker collects the problems of one change.
type checker struct {
	schema   *Schema
	change   metabase.Change
	problems []metabase.Problem
}

func (k *checker) bad(path metabase.Path, id metabase.ID, err error) {
	p := metabase.Problem{Path: path, ID: id, Err: err}
	if prop, ok := k.schema.ByID(id); ok {
		p.Property = prop.Name
	}
	k.problems = append(k.problems, p)
}

func (k *checker) bySystem() bool { return k.change.Batch == nil || k.change.Batch.Actor == "" }

func (k *checker) key(path metabase.Path) {
	if path.Within(SchemaPath) && !k.bySystem() {
		k.bad(path, 0, invalid("the schema is not to be changed"))
		return
	}
	old, next := k.change.Old, k.change.New
	if path == metabase.Root || !next.Has(path) {
		if path == metabase.Root {
			k.properties(path, "")
		}
		return
	}
	class := next.Class(path)
	isNew := !old.Has(path)
	if isNew || class != old.Class(path) {
		if err := k.schema.checkPlace(next, path, class); err != nil {
			k.bad(path, metabase.KeyType, err)
		}
	}
	if !isNew && class != old.Class(path) {
		k.children(path)
	}
	k.properties(path, class)
}

// children checks the keys below one whose class changed.
func (k *checker) children(path metabase.Path) {
	for name := range k.change.New.Names(path) {
		child := path.Join(name)
		if err := k.schema.checkPlace(k.change.New, child, k.change.New.Class(child)); err != nil {
			k.problems = append(k.problems, metabase.Problem{Path: path, ID: metabase.KeyType, Property: "KeyType", Other: child,
				Err: invalid("its child key %q: %v", name, err)})
			return // one is enough: there may be thousands
		}
	}
}

func (k *checker) properties(path metabase.Path, class string) {
	// A new class applies to all that the key stores.
	all := class != k.change.Old.Class(path)
	for _, item := range k.change.New.Properties(path) {
		was, stored := k.change.Old.Stored(path, item.ID)
		if !all && stored && was.Value.Equal(item.Value) && was.Attr == item.Attr {
			continue
		}
		if item.Attr&metabase.Secure != 0 && isMask(item.Value) {
			k.bad(path, item.ID, invalid("ten asterisks stand for a secret that is not shown; they are not the secret itself: leave it as it is, or set it anew"))
			continue
		}
		prop, known := k.schema.ByID(item.ID)
		if !known || item.ID == metabase.KeyType {
			continue // key checks the class
		}
		if err := k.property(prop, item, class, stored && was.Value.Equal(item.Value)); err != nil {
			k.bad(path, item.ID, err)
		}
	}
}

// isMask reports whether a secret is what stands for one where it is shown.
func isMask(v metabase.Value) bool {
	return slices.Contains(append(v.Strings(), v.Str()), metabase.Asterisks)
}

// property returns an error if a key of the class may not hold item; same means
// that its value did not change.
func (k *checker) property(prop Prop, item metabase.Property, class string, same bool) error {
	if !prop.In(class) {
		if classless(class) {
			return invalid("a key without a class may not hold it; allowed in %s", strings.Join(prop.Classes, ", "))
		}
		return invalid("a key of class %s may not hold it; allowed in %s", class, strings.Join(prop.Classes, ", "))
	}
	if prop.Attr&metabase.Secure != 0 && item.Attr&metabase.Secure == 0 {
		return invalid("holds a secret and must have the attribute %s", metabase.Secure)
	}
	if prop.Attr&metabase.Volatile != 0 && !k.bySystem() && !same {
		return invalid("is set by the service alone")
	}
	if item.Value.IsZero() {
		return nil // a secret that the snapshot hides
	}
	return prop.Valid(item.Value)
}
