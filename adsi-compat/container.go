// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"restante/metabase/schema"
	"slices"
	"strconv"
	"strings"

	"restante/metabase"
)

// Children gives the objects one level below that may be read, in order; with
// class, only those of that class, and else those that the filter lets through.
func (o *Object) Children(ctx context.Context, class string) ([]*Object, error) {
	if o.fresh {
		return nil, o.fail("Children", CodePathNotFound, "%w", errFresh)
	}
	keys, err := o.dir.tree.Children(ctx, o.path)
	if err != nil {
		return nil, o.dir.wrap("Children", o.ADsPath(), err)
	}
	classes := o.filter
	if class != "" {
		classes = []string{class}
	}
	out := make([]*Object, 0, len(keys))
	for _, key := range keys {
		child := o.dir.object(key)
		if len(classes) == 0 || containsFold(classes, child.Class()) {
			out = append(out, child)
		}
	}
	return out, nil
}

// Filter gives the classes that Children is kept to; none is all.
func (o *Object) Filter() []string { return slices.Clone(o.filter) }

// SetFilter keeps Children to some classes.
func (o *Object) SetFilter(classes []string) error {
	for _, class := range classes {
		if _, ok := o.dir.schema.Class(class); !ok {
			return o.fail("Filter", CodeInvalid, "there is no class %q", class)
		}
	}
	o.filter = slices.Clone(classes)
	return nil
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
func (o *Object) GetObject(ctx context.Context, class, name string) (*Object, error) {
	path, err := o.child("GetObject", name)
	if err != nil {
		return nil, err
	}
	found, err := o.dir.bind(ctx, path)
	if err != nil {
		return nil, err
	}
	if class != "" && !strings.EqualFold(class, schema.Object) && !strings.EqualFold(class, found.class) {
		return nil, found.fail("GetObject", CodePathNotFound, "it is of class %s, not %s", found.Class(), class)
	}
	return found, nil
}

// Create makes a child in memory; it exists after its SetInfo. A name that is
// taken is an error at once.
func (o *Object) Create(ctx context.Context, class, name string) (*Object, error) {
	path, err := o.child("Create", name)
	if err != nil {
		return nil, err
	}
	if _, ok := o.dir.schema.Class(class); !ok {
		return nil, o.fail("Create", CodeInvalid, "there is no class %q", class)
	}
	key, err := o.dir.tree.Key(ctx, path)
	if err != nil {
		return nil, o.dir.wrap("Create", o.ADsPath(), err)
	}
	if key.Exists {
		return nil, o.fail("Create", CodeAlreadyExists, "%s exists already", name)
	}
	child := o.dir.object(key)
	child.class, child.fresh = class, true
	return child, nil
}

// Delete removes a child and all below it, at once. Class is compared where it
// is given and is not IIsObject.
func (o *Object) Delete(ctx context.Context, class, name string) error {
	victim, err := o.GetObject(ctx, class, name)
	if err != nil {
		return err
	}
	op := metabase.Remove{Path: victim.path, Recursive: true}
	return o.dir.wrap("Delete", victim.ADsPath(), o.dir.apply(ctx, 0, op))
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
	if err := o.dir.apply(ctx, 0, make(a, b)); err != nil {
		return nil, o.dir.wrap(op, o.ADsPath(), err)
	}
	return o.dir.bind(ctx, b)
}

// Commands of a site object, as ServerCommand takes them.
const (
	commandStart    = 1
	commandStop     = 2
	commandPause    = 3
	commandContinue = 4
)

// Start, Stop, Pause and Continue act on a site at once. Whether it came to
// that shows in Status.
func (o *Object) Start(ctx context.Context) error { return o.command(ctx, "Start", commandStart) }
func (o *Object) Stop(ctx context.Context) error  { return o.command(ctx, "Stop", commandStop) }
func (o *Object) Pause(ctx context.Context) error { return o.command(ctx, "Pause", commandPause) }
func (o *Object) Continue(ctx context.Context) error {
	return o.command(ctx, "Continue", commandContinue)
}

func (o *Object) command(ctx context.Context, op string, n int) error {
	p, err := o.prop(op, "ServerCommand")
	if err != nil {
		return err
	}
	v, err := p.Parse([]string{strconv.Itoa(n)})
	if err != nil {
		return o.fail(op, CodeInvalid, "%w", err)
	}
	set := metabase.Set{Path: o.path, Property: p.Item(v)}
	return o.dir.wrap(op, o.ADsPath(), o.dir.apply(ctx, 0, set))
}

// Status is the site's ServerState: 1 starting, 2 started, 3 stopping,
// 4 stopped, 5 pausing, 6 paused, 7 continuing.
func (o *Object) Status(ctx context.Context) (any, error) { return o.Get(ctx, "ServerState") }
