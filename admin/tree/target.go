// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"strconv"
	"strings"

	"restante/admin"
	"restante/admin/api"
	"restante/metabase"
	"restante/metabase/schema"
)

// A target is a key, or a property of it, with the words that follow.
type target struct {
	path metabase.Path
	prop schema.Prop
	rest []string
}

// key names the property of t for a map.
func (t target) key() string {
	return t.path.Fold() + "\x00" + number(t.prop.ID)
}

// keyOf finds the key that a word names; it must be there, and the caller may
// read it. Whether there is one is not told to who may not.
func (d handlers) keyOf(ctx context.Context, who api.Caller, snap metabase.Snapshot, word string) (metabase.Path, error) {
	p, err := admin.ParsePath(word)
	if err != nil {
		return "", err
	}
	if err := d.AllowNamed(ctx, who, p, metabase.Read); err != nil {
		return "", err
	}
	key, ok := snap.Key(p)
	if !ok {
		return "", api.Missing(string(p), "not found")
	}
	return key.Path, nil
}

// placeOf is keyOf for what is answered with all at and below the key that the
// caller may read: it is enough that there is something.
func (d handlers) placeOf(ctx context.Context, who api.Caller, v *metabase.View, word string) (metabase.Path, error) {
	p, err := admin.ParsePath(word)
	switch {
	case err != nil:
		return "", err
	case !v.Leads(p):
		return "", d.AllowNamed(ctx, who, p, metabase.Read)
	}
	key, ok := v.Key(p)
	if !ok {
		return "", api.Missing(string(p), "not found")
	}
	return key.Path, nil
}

// namesProperty reports whether the last part of a path is the name of a
// property.
func (d handlers) namesProperty(p metabase.Path) bool {
	prop, ok := d.Schema.Property(p.Base())
	return ok && (prop.Name != "" || prop.Type != metabase.AnyType)
}

// find reads PATH PROP, or PATH/PROP in one word where that is not a key and
// its last part names a property. Has says which keys there are.
func (d handlers) find(has func(metabase.Path) bool, words []string) (target, error) {
	if len(words) == 0 {
		return target{}, api.Usage("PATH and PROP are needed", "")
	}
	p, err := admin.ParsePath(words[0])
	if err != nil {
		return target{}, err
	}
	if t, ok := d.oneWord(p, words); ok && !has(p) {
		if !has(t.path) {
			return target{}, api.Missing(string(p), "not found")
		}
		return t, nil
	}
	if !has(p) {
		return target{}, api.Missing(string(p), "not found")
	}
	if len(words) == 1 {
		return target{}, api.Usage(string(p)+": is a key: a property is needed", "")
	}
	prop, err := d.Schema.Lookup(words[1])
	if err != nil {
		return target{}, api.Missing(string(p), err.Error())
	}
	return target{p, prop, words[2:]}, nil
}

// oneWord reads PATH/PROP. A number that no property has is a key's name, and
// so is one that is followed by the name of a property.
func (d handlers) oneWord(p metabase.Path, words []string) (target, bool) {
	if !d.namesProperty(p) {
		return target{}, false
	}
	if _, err := strconv.ParseUint(p.Base(), 0, 32); err == nil && len(words) > 1 {
		if next, ok := d.Schema.Property(words[1]); ok && strings.EqualFold(next.Name, words[1]) {
			return target{}, false
		}
	}
	prop, _ := d.Schema.Property(p.Base())
	return target{p.Parent(), prop, words[1:]}, true
}
