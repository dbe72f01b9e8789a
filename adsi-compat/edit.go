// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"restante/metabase"
	"restante/metabase/schema"
	"restante/metabase/schema/iplist"
)

// The operations of PutEx.
const (
	OpClear  = 1 // remove what is stored, so that inheritance shows again
	OpUpdate = 2 // replace
	OpAppend = 3 // add members to the list
	OpDelete = 4 // remove members from the list, case ignored
)

// An edit is one call that changed the cache. It is kept as what was asked for,
// not as what came of it: two scripts that each add to one list, or each set a
// bit of one number, both get what they asked for.
type edit struct {
	prop  schema.Prop
	op    int
	value any // see Object.Put; of OpAppend and OpDelete a []string
}

// A state is what a property comes to by the edits so far.
type state struct {
	item  metabase.Property
	known bool // there is a value, if only a default
	set   bool // the value is stored, inherited or in the cache: somebody set it
	own   bool // it is to be stored at the key

	amends bool // own was made of what the tree has
}

// fold gives what the property is in v with the cache's edits made on top.
func (o *Object) fold(v view, id metabase.ID) (state, error) {
	st := v.effective(id)
	for _, e := range o.cache {
		if e.prop.ID != id {
			continue
		}
		if e.op == OpClear {
			st = v.inherited(id)
			continue
		}
		stored, ok := v.stored(id)
		p := typed(e.prop, stored.Value.Type(), e.value)
		value, err := e.make(p, st)
		if err != nil {
			return state{}, err
		}
		amends := e.op != OpUpdate || p.Syntax == schema.Flag
		st = state{item: p.Item(value), known: true, set: true, own: true, amends: amends && (st.amends || !st.own)}
		if ok && e.prop.Type == metabase.AnyType { // what no table knows, the item does
			st.item.Attr, st.item.UserType = stored.Attr, stored.UserType
		}
		st.item.Attr |= stored.Attr & metabase.Locked // a lock outlasts the value
	}
	return st, nil
}

// make gives the value that comes after st.
func (e edit) make(p schema.Prop, st state) (metabase.Value, error) {
	switch {
	case e.op == OpUpdate && p.Syntax == schema.Flag:
		bit, err := parse(p, e.value)
		return p.WithBit(st.item.Value, bit.DWord() != 0), err
	case e.op == OpUpdate:
		return parse(p, e.value)
	}
	if p.Type != metabase.MultiSZType && p.Syntax != schema.IPList {
		return metabase.Value{}, errors.New("is not a list")
	}
	if (p.Attr|st.item.Attr)&metabase.Secure != 0 {
		return metabase.Value{}, errors.New("is a secret that no script can read: set the whole list")
	}
	if p.Syntax == schema.IPList {
		return e.makeList(p, st.item.Value)
	}
	var have []string
	if st.known {
		have = p.Plain(st.item.Value)
	}
	named, err := p.Parse(e.value.([]string))
	if err != nil {
		return metabase.Value{}, err
	}
	words := p.Plain(named) // as they stand in the list
	next := slices.DeleteFunc(have, func(member string) bool { return containsFold(words, member) })
	if e.op == OpAppend {
		next = append(next, words...)
	}
	return p.Parse(next)
}

// makeList adds to who is granted, or takes away.
func (e edit) makeList(p schema.Prop, stored metabase.Value) (metabase.Value, error) {
	l, err := ipListOf(p, stored)
	if err != nil {
		return metabase.Value{}, err
	}
	if l.GrantByDefault {
		return metabase.Value{}, errors.New("grants all but IPDeny and DomainDeny: get the list, change these, put it back")
	}
	named, err := iplist.Parse(e.value.([]string))
	if err != nil {
		return metabase.Value{}, err
	}
	if named.GrantByDefault {
		return metabase.Value{}, errors.New("takes addresses and names of hosts")
	}
	addrs := masked(named.Grant)
	in := func(list []string) func(string) bool { return func(s string) bool { return slices.Contains(list, s) } }
	l.IPGrant, l.DomainGrant = slices.DeleteFunc(l.IPGrant, in(addrs)), slices.DeleteFunc(l.DomainGrant, in(named.GrantNames))
	if e.op == OpAppend {
		l.IPGrant, l.DomainGrant = append(l.IPGrant, addrs...), append(l.DomainGrant, named.GrantNames...)
	}
	return l.value()
}

func containsFold(words []string, s string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, s) })
}

// remember puts e into the cache. What sets the whole value takes the place of
// all before it, and a bit that of its own earlier ones.
func (o *Object) remember(ctx context.Context, op string, e edit) error {
	v, err := o.look(ctx)
	if err != nil {
		return o.dir.wrap(op, o.ADsPath(), err)
	}
	before := o.cache
	whole := e.op == OpClear || e.op == OpUpdate && e.prop.Syntax != schema.Flag
	o.cache = slices.DeleteFunc(slices.Clone(before), func(old edit) bool {
		return old.prop.ID == e.prop.ID && (whole || e.op == OpUpdate && old.prop.Name == e.prop.Name)
	})
	o.cache = append(o.cache, e)
	if _, err := o.fold(v, e.prop.ID); err != nil {
		o.cache = before
		return o.fail(op, CodeInvalid, "%s: %w", e.prop.Label(), err)
	}
	return nil
}

// SetInfo writes what was changed as one batch: all of it, or, with an error,
// nothing; the cache then still holds it. With ErrStored all of it is written, too.
// With nothing changed it does nothing.
// Where others write meanwhile, the changes are made anew on what they wrote,
// until it holds or ctx ends.
func (o *Object) SetInfo(ctx context.Context) error {
	for {
		v, err := o.lookAnew(ctx)
		if err != nil {
			return o.dir.wrap("SetInfo", o.ADsPath(), err)
		}
		ops, err := o.plan(v)
		if err == nil {
			err = o.dir.apply(ctx, v.Rev, ops...)
		}
		if errors.Is(err, metabase.Conflict) && ctx.Err() == nil {
			continue
		}
		if err == nil || errors.Is(err, ErrStored) {
			o.written()
		}
		return o.dir.wrap("SetInfo", o.ADsPath(), err)
	}
}

// written empties the cache, until the transaction fails if one is open.
func (o *Object) written() {
	if fresh, cache := o.fresh, o.cache; o.dir.open {
		o.dir.unwritten = append(o.dir.unwritten, func() {
			o.fresh, o.cache = fresh || o.fresh, slices.Concat(cache, o.cache)
		})
	}
	o.fresh, o.cache = false, nil
}

// plan makes operations of the cache.
func (o *Object) plan(v view) (ops []metabase.Op, err error) {
	if o.fresh {
		ops = append(ops, metabase.AddKey{Path: o.path, Class: o.class})
	}
	done := map[metabase.ID]bool{}
	for _, e := range o.cache {
		id := e.prop.ID
		if done[id] {
			continue
		}
		done[id] = true
		st, err := o.fold(v, id)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.prop.Label(), err)
		}
		if st.amends {
			ops = append(ops, metabase.Amend{Path: o.path, Property: st.item})
		} else if st.own {
			ops = append(ops, metabase.Set{Path: o.path, Property: st.item})
		} else if _, stored := v.stored(id); stored {
			ops = append(ops, metabase.Unset{Path: o.path, ID: id})
		}
	}
	return ops, nil
}
