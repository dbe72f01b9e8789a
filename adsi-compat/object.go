// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"restante/metabase"
	"restante/metabase/schema"
)

// An Object is one key with its property cache. What Put changes is in the
// cache only, until SetInfo.
type Object struct {
	dir   *Directory
	path  metabase.Path
	class string
	fresh bool // made by Create, not yet in the tree

	cache []change // in the order of the calls; one per property
}

// A change is what SetInfo will write for one property; a nil value removes
// what is stored.
type change struct {
	prop  schema.Prop
	value *metabase.Value
}

// Name is the last part of the path, Class the key's type, and ADsPath the
// path as GetObject takes it.
func (o *Object) Name() string    { return o.path.Base() }
func (o *Object) ADsPath() string { return adsPath(o.path) }

// Class is the key's KeyType; IIsObject for a key without one.
func (o *Object) Class() string {
	if o.class == "" {
		return "IIsObject"
	}
	return o.class
}

// Parent is the ADsPath of the key above.
func (o *Object) Parent() string { return adsPath(o.path.Parent()) }

// Schema is the ADsPath of the class.
func (o *Object) Schema() string { return "IIS://LocalHost/Schema/Classes/" + o.Class() }

func (o *Object) fail(op string, code uint32, format string, args ...any) error {
	return &Error{Code: code, Op: op, On: o.ADsPath(), Err: fmt.Errorf(format, args...)}
}

// prop finds a property by name, in any case, and checks that the object's
// class has it.
func (o *Object) prop(op, name string) (schema.Prop, error) {
	p, err := o.dir.schema.Lookup(name)
	if err != nil {
		return schema.Prop{}, &Error{Code: CodeUnknownProp, Op: op, On: o.ADsPath(), Err: err}
	}
	if c, ok := o.dir.schema.Class(o.class); ok && p.Name != "" && !p.In(c.Name) {
		return schema.Prop{}, o.fail(op, CodeUnknownProp, "a key of class %s has no %s", c.Name, p.Name)
	}
	return p, nil
}

// value is what the cache holds or else what the tree does: stored, inherited,
// or the schema's default.
func (o *Object) value(id metabase.ID) (metabase.Value, bool) {
	for _, c := range o.cache {
		if c.prop.ID == id && c.value != nil {
			return *c.value, true
		}
	}
	at := o.path
	if o.fresh {
		at = o.path.Parent() // what it will inherit
	}
	v, _, ok := o.dir.schema.Effective(o.dir.tree.Snapshot(), at, id)
	return v, ok
}

// Get gives a property's value: a uint32, bool, string, []string or []byte by
// its syntax; a []string where a list is meant. A secure property gives
// asterisks. A property with no value at all is an error.
func (o *Object) Get(name string) (any, error) {
	p, err := o.prop("Get", name)
	if err != nil {
		return nil, err
	}
	if p.ID == metabase.KeyType {
		return o.Class(), nil
	}
	v, ok := o.value(p.ID)
	if !ok {
		return nil, o.fail("Get", CodeNotSet, "%s is not set", p.Name)
	}
	return native(p, v), nil
}

// GetEx is Get as a list, whatever the property's syntax.
func (o *Object) GetEx(name string) ([]any, error) {
	v, err := o.Get(name)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]string)
	if !ok {
		return []any{v}, nil
	}
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out, nil
}

// Put sets a property in the cache, from text as the command line takes it: one
// word, or one for each member of a list.
func (o *Object) Put(name string, words ...string) error {
	p, err := o.prop("Put", name)
	if err != nil {
		return err
	}
	if p.ID == metabase.KeyType {
		return o.putClass(words)
	}
	base, _ := o.value(p.ID) // a flag is a bit of what is there
	v, err := parse(p, base, words)
	if err != nil {
		return o.fail("Put", CodeInvalid, "%s: %w", p.Name, err)
	}
	o.remember(p, &v)
	return nil
}

// putClass lets scripts set KeyType again after Create, as Microsoft's do.
func (o *Object) putClass(words []string) error {
	if len(words) != 1 {
		return o.fail("Put", CodeInvalid, "KeyType takes one word")
	}
	if _, ok := o.dir.schema.Class(words[0]); !ok {
		return o.fail("Put", CodeInvalid, "there is no class %q", words[0])
	}
	if !o.fresh && !strings.EqualFold(words[0], o.class) {
		return o.fail("Put", CodeInvalid, "the class of a key that exists cannot be changed: it is %s", o.Class())
	}
	o.class = words[0]
	return nil
}

func (o *Object) remember(p schema.Prop, v *metabase.Value) {
	for i := range o.cache {
		if o.cache[i].prop.ID == p.ID {
			o.cache[i].value = v
			return
		}
	}
	o.cache = append(o.cache, change{p, v})
}

// The operations of PutEx.
const (
	OpClear  = 1 // remove what is stored, so that inheritance shows again
	OpUpdate = 2 // replace
	OpAppend = 3 // add members to the list
	OpDelete = 4 // remove members from the list, case ignored
)

// PutEx changes a list in the cache.
func (o *Object) PutEx(op int, name string, words ...string) error {
	p, err := o.prop("PutEx", name)
	if err != nil {
		return err
	}
	switch op {
	case OpClear:
		o.remember(p, nil)
		return nil
	case OpUpdate:
		return o.Put(name, words...)
	case OpAppend, OpDelete:
	default:
		return o.fail("PutEx", CodeInvalid, "operation %d: 1 clears, 2 updates, 3 appends, 4 deletes", op)
	}
	var have []string
	if v, ok := o.value(p.ID); ok {
		have, ok = native(p, v).([]string)
		if !ok {
			return o.fail("PutEx", CodeInvalid, "%s is not a list", p.Name)
		}
	}
	var next []string
	for _, member := range have {
		if !containsFold(words, member) {
			next = append(next, member)
		}
	}
	if op == OpAppend {
		next = append(next, words...)
	}
	return o.Put(name, next...)
}

func containsFold(words []string, s string) bool {
	for _, w := range words {
		if strings.EqualFold(w, s) {
			return true
		}
	}
	return false
}

// SetInfo writes what was changed as one batch: all of it, or, with an error,
// nothing; the cache then still holds it. With nothing changed it does nothing.
func (o *Object) SetInfo(ctx context.Context) error {
	var ops []metabase.Op
	if o.fresh {
		ops = append(ops, metabase.AddKey{Path: o.path, Class: o.class})
	}
	snap := o.dir.tree.Snapshot()
	for _, c := range o.cache {
		was, stored := snap.Stored(o.path, c.prop.ID)
		if c.value != nil {
			item := c.prop.Item(*c.value)
			item.Attr |= was.Attr & metabase.Locked // a lock outlasts the value
			ops = append(ops, metabase.Set{Path: o.path, Property: item})
		} else if stored {
			ops = append(ops, metabase.Unset{Path: o.path, ID: c.prop.ID})
		}
	}
	if err := o.dir.apply(ctx, ops); err != nil {
		return wrap("SetInfo", o.ADsPath(), err)
	}
	o.fresh, o.cache = false, nil
	return nil
}

func (d *Directory) apply(ctx context.Context, ops []metabase.Op) error {
	if len(ops) == 0 {
		return nil
	}
	b := d.as
	b.Ops = ops
	_, err := d.tree.Apply(ctx, b)
	return err
}

// GetInfo drops what was changed and not written.
func (o *Object) GetInfo() error {
	if o.fresh {
		return o.fail("GetInfo", CodePathNotFound, "the object was created and not yet written: call SetInfo first")
	}
	if !o.dir.tree.Snapshot().Has(o.path) {
		return o.fail("GetInfo", CodePathNotFound, "it is gone")
	}
	o.cache = nil
	return nil
}

// GetDataPaths gives the ADsPaths of all keys at and below this one that store
// the property.
func (o *Object) GetDataPaths(name string) ([]string, error) {
	p, err := o.prop("GetDataPaths", name)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, path := range o.dir.tree.Snapshot().DataPaths(o.path, p.ID) {
		out = append(out, adsPath(path))
	}
	return out, nil
}

var errFresh = errors.New("it does not exist before its SetInfo")
