// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
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

	read view // what was last read of the key
	at   int  // the directory's edits by then

	cache  []edit   // in the order of the calls
	filter []string // the classes that Children gives; none for all
}

// Name is the last part of the path, Class the key's type, and ADsPath the
// path as GetObject takes it.
func (o *Object) Name() string    { return o.path.Base() }
func (o *Object) ADsPath() string { return adsPath(o.path) }

// Class is the key's KeyType; IIsObject for a key without one.
func (o *Object) Class() string {
	if o.class == "" {
		return schema.Object
	}
	return o.class
}

// Parent is the ADsPath of the key above.
func (o *Object) Parent() string { return adsPath(o.path.Parent()) }

// Schema is the ADsPath of the class.
func (o *Object) Schema() string { return schemaPath + o.Class() }

// Allowed lists the names of the properties that the object's class has.
func (o *Object) Allowed() (names []string) {
	for p := range o.dir.schema.Props() {
		if p.In(o.class) {
			names = append(names, p.Name)
		}
	}
	return names
}

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

// Get gives a property's value: a uint32, bool, string, []string, []byte or
// IPList by its syntax. It is the cache's, else what is stored, inherited, or the
// schema's default. A secure property gives asterisks. A property with no value
// at all gives 0, false, "" or an empty list; it is an error of a strict Directory
// and of a number without a name.
func (o *Object) Get(ctx context.Context, name string) (any, error) {
	p, st, err := o.value(ctx, "Get", name)
	if err != nil {
		return nil, err
	}
	if p.ID == metabase.KeyType {
		return o.Class(), nil
	}
	if p.Syntax == schema.IPList {
		list, err := ipListOf(p, st.item.Value)
		return list, o.dir.wrap("Get", o.ADsPath(), err)
	}
	return st.native(p), nil
}

// GetEx is Get as a list, whatever the property's syntax; of an IPList it is
// what is granted.
func (o *Object) GetEx(ctx context.Context, name string) ([]any, error) {
	v, err := o.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	var list []string
	switch v := v.(type) {
	case []string:
		list = v
	case IPList:
		list = v.IPGrant
	default:
		return []any{v}, nil
	}
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out, nil
}

// value finds a property by its name, with the cache's edits.
func (o *Object) value(ctx context.Context, op, name string) (schema.Prop, state, error) {
	p, err := o.prop(op, name)
	if err != nil {
		return p, state{}, err
	}
	look := o.look
	if p.Attr&metabase.Volatile != 0 { // the service sets it
		look = o.lookAnew
	}
	v, err := look(ctx)
	if err != nil {
		return p, state{}, o.dir.wrap(op, o.ADsPath(), err)
	}
	st, err := o.fold(v, p.ID)
	if err != nil {
		return p, state{}, o.fail(op, CodeInvalid, "%s: %w", p.Label(), err)
	}
	if !st.known && p.ID != metabase.KeyType {
		if empty, ok := emptyOf(p.Type); ok && !o.dir.Strict && op == "Get" {
			st.item = p.Item(empty)
			return p, st, nil
		}
		return p, state{}, o.fail(op, CodeNotSet, "%s is not set", p.Label())
	}
	return p, st, nil
}

// emptyOf is what a property of a type is to a script where nothing says what it
// is.
func emptyOf(t metabase.Type) (v metabase.Value, ok bool) {
	switch t {
	case metabase.DWordType:
		return metabase.DWord(0), true
	case metabase.StringType, metabase.ExpandSZType:
		return metabase.String(""), true
	case metabase.MultiSZType:
		return metabase.MultiSZ(), true
	case metabase.BinaryType:
		return metabase.Binary(nil), true
	}
	return v, false
}

// IsSet reports whether a property has a value that is stored or inherited, or
// that the cache holds.
func (o *Object) IsSet(ctx context.Context, name string) (bool, error) {
	p, err := o.prop("Get", name)
	if err != nil {
		return false, nil // there is none of that name
	}
	names, err := o.PropertyNames(ctx)
	return slices.Contains(names, p.Label()), err
}

// PropertyNames gives the properties that are stored or inherited, or that the
// cache holds, in order; of a number without a name, the number. Inherited ones
// are those of the class.
func (o *Object) PropertyNames(ctx context.Context) (names []string, err error) {
	v, err := o.look(ctx)
	if err != nil {
		return nil, o.dir.wrap("Get", o.ADsPath(), err)
	}
	var ids []metabase.ID
	for _, item := range slices.Concat(v.Stored, v.Inherited) {
		ids = append(ids, item.ID)
	}
	for _, e := range o.cache {
		ids = append(ids, e.prop.ID)
	}
	for p := range o.dir.schema.Props() { // the service sets them while it runs
		if p.Attr&metabase.Volatile != 0 && p.HasDefault() && p.In(o.class) {
			ids = append(ids, p.ID)
		}
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		p, known := o.dir.schema.ByID(id)
		if !known {
			p, _ = o.dir.schema.Lookup(labelOf(id))
		}
		if _, err := o.prop("Get", p.Label()); err != nil {
			continue // inherited, and of another class
		}
		_, inherited := find(v.Inherited, id)
		_, stored := v.stored(id)
		edited := slices.ContainsFunc(o.cache, func(e edit) bool { return e.prop.ID == id })
		if st, err := o.fold(v, id); err == nil && (st.own || inherited || stored && !edited || st.item.Attr&metabase.Volatile != 0) {
			names = append(names, p.Label())
		}
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return names, nil
}

// Close drops what was changed and not written.
func (o *Object) Close() { o.cache = nil }

// Remove removes the key and all below it, at once.
func (o *Object) Remove(ctx context.Context, op string) error {
	return o.dir.wrap(op, o.ADsPath(), o.dir.apply(ctx, 0, metabase.Remove{Path: o.path, Recursive: true}))
}

// GUID is the same for the same path. Keys of the metabase have none of their own.
func (o *Object) GUID() string {
	sum := sha256.Sum256([]byte(o.path.Fold()))
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80 // version 8, RFC 9562
	return fmt.Sprintf("{%X-%X-%X-%X-%X}", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Put sets a property in the cache. The value is a string as the command line
// takes it, a float64, a bool, a []string, or an IPList.
func (o *Object) Put(ctx context.Context, name string, value any) error {
	p, err := o.prop("Put", name)
	if err != nil {
		return err
	}
	if p.ID == metabase.KeyType {
		return o.putClass(value)
	}
	return o.remember(ctx, "Put", edit{p, OpUpdate, value})
}

// putClass lets scripts set KeyType again after Create, as Microsoft's do.
func (o *Object) putClass(value any) error {
	class, ok := value.(string)
	if !ok {
		return o.fail("Put", CodeInvalid, "KeyType takes one word")
	}
	if _, ok := o.dir.schema.Class(class); !ok {
		return o.fail("Put", CodeInvalid, "there is no class %q", class)
	}
	if !o.fresh && !strings.EqualFold(class, o.class) {
		return o.fail("Put", CodeInvalid, "the class of a key that exists cannot be changed: it is %s", o.Class())
	}
	o.class = class
	return nil
}

// PutEx changes a list in the cache; OpUpdate is Put.
func (o *Object) PutEx(ctx context.Context, op int, name string, value any) error {
	p, err := o.prop("PutEx", name)
	if err != nil {
		return err
	}
	switch op {
	case OpUpdate:
		return o.Put(ctx, name, value)
	case OpClear:
	case OpAppend, OpDelete:
		if value, err = texts(p, value); err != nil {
			return o.fail("PutEx", CodeInvalid, "%s: %w", p.Label(), err)
		}
	default:
		return o.fail("PutEx", CodeInvalid, "operation %d: 1 clears, 2 updates, 3 appends, 4 deletes", op)
	}
	return o.remember(ctx, "PutEx", edit{p, op, value})
}

// GetInfo drops what was changed and not written, and reads the key anew.
func (o *Object) GetInfo(ctx context.Context) error {
	if o.fresh {
		return o.fail("GetInfo", CodePathNotFound, "the object was created and not yet written: call SetInfo first")
	}
	v, err := o.lookAnew(ctx)
	if err != nil {
		return o.dir.wrap("GetInfo", o.ADsPath(), err)
	}
	if !v.Exists {
		return o.fail("GetInfo", CodePathNotFound, "it is gone")
	}
	o.cache = nil
	return nil
}

// GetDataPaths gives the ADsPaths of all keys at and below this one that store
// the property and may be read. With inheritable, a property that no key hands
// on is an error.
func (o *Object) GetDataPaths(ctx context.Context, name string, inheritable bool) ([]string, error) {
	p, err := o.dir.schema.Lookup(name) // of any class: it is asked for below, too
	if err != nil {
		return nil, &Error{Code: CodeUnknownProp, Op: "GetDataPaths", On: o.ADsPath(), Err: err}
	}
	if inheritable && p.Name != "" && p.Attr&metabase.Inherit == 0 {
		return nil, o.fail("GetDataPaths", CodeNotSet, "%s is not inheritable", p.Label())
	}
	paths, err := o.dir.tree.DataPaths(ctx, o.path, p.ID)
	if err != nil {
		return nil, o.dir.wrap("GetDataPaths", o.ADsPath(), err)
	}
	var out []string
	for _, path := range paths {
		out = append(out, adsPath(path))
	}
	return out, nil
}

var errFresh = errors.New("it does not exist before its SetInfo")
