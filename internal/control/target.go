// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"restante/metabase"
	"restante/metabase/schema"
)

// Place of the machine in the tree: the part of a path that may be left out.
const machine metabase.Path = "/LM"

// parsePath reads a path as people write it: SMTPSVC/1 is /LM/SMTPSVC/1, and
// nothing at all is the whole tree.
func parsePath(s string) (metabase.Path, error) {
	p, err := metabase.ParsePath("/" + s)
	if err != nil {
		var e *metabase.Error
		if errors.As(err, &e) && e.Err != nil {
			err = e.Err
		}
		return "", usage(join(s, err.Error()), "")
	}
	if p == metabase.Root || p.Within(machine) || p.Within("/Schema") {
		return p, nil
	}
	return metabase.ParsePath(string(machine) + string(p))
}

// A target is a key, or a property of it, with the words that follow.
type target struct {
	path metabase.Path
	prop schema.Prop
	rest []string
}

// key names the property of t for a map.
func (t target) key() string {
	return strings.ToLower(string(t.path)) + "\x00" + number(t.prop.ID)
}

// keyOf finds the key that a word names; it must be there, and the caller may
// read it. Whether there is one is not told to who may not.
func (d *Desk) keyOf(ctx context.Context, who Caller, snap metabase.Snapshot, word string) (metabase.Path, error) {
	p, err := parsePath(word)
	if err != nil {
		return "", err
	}
	if err := d.allow(ctx, who, p, metabase.Read); err != nil {
		return "", err
	}
	key, ok := snap.Key(p)
	if !ok {
		return "", missing(string(p), "not found")
	}
	return key.Path, nil
}

// veil puts a refusal in the place of the answer that something named by word
// is not there, for a caller who may not know.
func (d *Desk) veil(ctx context.Context, who Caller, word string, err error) error {
	if err == nil || AsError(err).Kind != KindNotFound {
		return err
	}
	if p, bad := parsePath(word); bad == nil {
		if no := d.allow(ctx, who, p, metabase.Read); no != nil {
			return no
		}
	}
	return err
}

// find reads PATH PROP, or PATH/PROP in one word where that is not a key and
// its last part names a property. Has says which keys there are.
func (d *Desk) find(has func(metabase.Path) bool, words []string) (target, error) {
	if len(words) == 0 {
		return target{}, usage("PATH and PROP are needed", "")
	}
	p, err := parsePath(words[0])
	if err != nil {
		return target{}, err
	}
	if t, ok := d.oneWord(p, words); ok && !has(p) {
		if !has(t.path) {
			return target{}, missing(string(p), "not found")
		}
		return t, nil
	}
	if !has(p) {
		return target{}, missing(string(p), "not found")
	}
	if len(words) == 1 {
		return target{}, usage(join(string(p), "is a key: a property is needed"), "")
	}
	prop, err := d.schema.Lookup(words[1])
	if err != nil {
		return target{}, missing(string(p), err.Error())
	}
	return target{p, prop, words[2:]}, nil
}

// oneWord reads PATH/PROP. A number that no property has is a key's name, and
// so is one that is followed by the name of a property.
func (d *Desk) oneWord(p metabase.Path, words []string) (target, bool) {
	prop, ok := d.schema.Property(p.Base())
	if !ok || prop.Name == "" && prop.Type == metabase.AnyType {
		return target{}, false
	}
	if _, err := strconv.ParseUint(p.Base(), 0, 32); err == nil && len(words) > 1 {
		if next, ok := d.schema.Property(words[1]); ok && strings.EqualFold(next.Name, words[1]) {
			return target{}, false
		}
	}
	return target{p.Parent(), prop, words[1:]}, true
}

// spelled is p as the tree spells it, or as it is where there is no such key.
func spelled(snap metabase.Snapshot, p metabase.Path) metabase.Path {
	if key, ok := snap.Key(p); ok {
		return key.Path
	}
	return p
}

func isClass(snap metabase.Snapshot, p metabase.Path, class string) bool {
	return strings.EqualFold(snap.Class(p), class)
}
