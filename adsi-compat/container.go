// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"strings"

	"restante/metabase"
)

// Children gives the objects one level below, in order; with class, only those
// of that class.
func (o *Object) Children(class string) ([]*Object, error) {
	if o.fresh {
		return nil, o.fail("Children", CodePathNotFound, "%w", errFresh)
	}
	snap := o.dir.tree.Snapshot()
	var out []*Object
	for name := range snap.Children(o.path) {
		child := o.path.Join(name)
		key, ok := snap.Key(child)
		if ok && (class == "" || strings.EqualFold(key.Class, class)) {
			out = append(out, &Object{dir: o.dir, path: child, class: key.Class})
		}
	}
	return out, nil
}

// child checks a name relative to the object and makes a path of it.
func (o *Object) child(op, name string) (metabase.Path, error) {
	name = strings.Trim(name, "/")
	if name == "" {
		return "", o.fail(op, CodeBadName, "the name is empty")
	}
	path, err := metabase.ParsePath(string(o.path) + "/" + name)
	if err != nil {
		return "", o.fail(op, CodeBadName, "%w", err)
	}
	return path, nil
}

// GetObject binds a key below this one. Class is compared where it is given.
func (o *Object) GetObject(class, name string) (*Object, error) {
	path, err := o.child("GetObject", name)
	if err != nil {
		return nil, err
	}
	found, err := o.dir.bind(path)
	if err != nil {
		return nil, err
	}
	if class != "" && !strings.EqualFold(class, "IIsObject") && !strings.EqualFold(class, found.class) {
		return nil, found.fail("GetObject", CodePathNotFound, "it is of class %s, not %s", found.Class(), class)
	}
	return found, nil
}

// Create makes a child in memory; it exists after its SetInfo. A name that is
// taken is an error at once.
func (o *Object) Create(class, name string) (*Object, error) {
	path, err := o.child("Create", name)
	if err != nil {
		return nil, err
	}
	if _, ok := o.dir.schema.Class(class); !ok {
		return nil, o.fail("Create", CodeInvalid, "there is no class %q", class)
	}
	if o.dir.tree.Snapshot().Has(path) {
		return nil, o.fail("Create", CodeAlreadyExists, "%s exists already", name)
	}
	return &Object{dir: o.dir, path: path, class: class, fresh: true}, nil
}

// Delete removes a child and all below it, at once. Class is compared where it
// is given and is not IIsObject.
func (o *Object) Delete(ctx context.Context, class, name string) error {
	victim, err := o.GetObject(class, name)
	if err != nil {
		return err
	}
	op := metabase.Remove{Path: victim.path, Recursive: true}
	return wrap("Delete", victim.ADsPath(), o.dir.apply(ctx, []metabase.Op{op}))
}

// CopyHere copies a subtree, and MoveHere moves it, at once; both names are
// relative to this object.
func (o *Object) CopyHere(ctx context.Context, from, to string) (*Object, error) {
	return o.transfer(ctx, "CopyHere", from, to, func(a, b metabase.Path) metabase.Op {
		return metabase.Copy{From: a, To: b}
	})
}

// MoveHere is CopyHere, and the source is gone.
func (o *Object) MoveHere(ctx context.Context, from, to string) (*Object, error) {
	return o.transfer(ctx, "MoveHere", from, to, func(a, b metabase.Path) metabase.Op {
		return metabase.Move{From: a, To: b}
	})
}

func (o *Object) transfer(ctx context.Context, op, from, to string, make func(a, b metabase.Path) metabase.Op) (*Object, error) {
	a, err := o.child(op, from)
	if err != nil {
		return nil, err
	}
	b, err := o.child(op, to)
	if err != nil {
		return nil, err
	}
	if err := o.dir.apply(ctx, []metabase.Op{make(a, b)}); err != nil {
		return nil, wrap(op, o.ADsPath(), err)
	}
	return o.dir.bind(b)
}
