// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"restante/admin/api"
	"restante/metabase"
)

// As gives the tree to change in the caller's name. A change is in force when it
// is acknowledged. A refusal names no key that the caller may not read, unless
// the caller has named it.
func (d *API) As(who api.Caller) Tree { return discreet{barrier{d.Tree, d, who}, who} }

type discreet struct {
	Tree
	who api.Caller
}

func (t discreet) Apply(ctx context.Context, b metabase.Batch) (metabase.Rev, error) {
	rev, err := t.Tree.Apply(ctx, b)
	return rev, t.quiet(b.Ops, err)
}

func (t discreet) Try(ctx context.Context, b metabase.Batch) (metabase.Change, error) {
	c, err := t.Tree.Try(ctx, b)
	return c, t.quiet(b.Ops, err)
}

func (t discreet) Revert(ctx context.Context, rev metabase.Rev, below metabase.Path, b metabase.Batch) (metabase.Rev, error) {
	made, err := t.Tree.Revert(ctx, rev, below, b)
	return made, t.quiet(nil, err)
}

// Why a batch is refused for what its author may not see.
var (
	errBelow     = fmt.Errorf("%w: the right to all that is below it is missing", metabase.Denied)
	errElsewhere = fmt.Errorf("%w: a key that you may not read stands against it", metabase.Denied)
)

func (t discreet) quiet(ops []metabase.Op, err error) error {
	var no *metabase.Refused
	if !errors.As(err, &no) {
		return err
	}
	view := Look(t.Snapshot(), t.who)
	var named []metabase.Path
	for _, op := range ops {
		named = append(named, subjects(op)...)
	}
	out := &metabase.Refused{}
	for _, p := range no.Problems {
		if view.Sees(p.Path) || slices.ContainsFunc(named, func(q metabase.Path) bool { return q.Within(p.Path) }) {
			out.Problems = append(out.Problems, p)
			continue
		}
		told := metabase.Problem{Err: errElsewhere}
		if i := slices.IndexFunc(named, p.Path.Within); i >= 0 {
			told = metabase.Problem{Path: named[i], Err: errBelow}
		}
		if !slices.Contains(out.Problems, told) {
			out.Problems = append(out.Problems, told)
		}
	}
	return out
}

// subjects are the paths that an op names.
func subjects(op metabase.Op) []metabase.Path {
	switch op := op.(type) {
	case metabase.Set:
		return []metabase.Path{op.Path}
	case metabase.Unset:
		return []metabase.Path{op.Path}
	case metabase.AddKey:
		return []metabase.Path{op.Path}
	case metabase.Remove:
		return []metabase.Path{op.Path}
	case metabase.RemoveChildren:
		return []metabase.Path{op.Path}
	case metabase.Clear:
		return []metabase.Path{op.Path}
	case metabase.Touch:
		return []metabase.Path{op.Path}
	case metabase.Copy:
		return []metabase.Path{op.From, op.To}
	case metabase.Move:
		return []metabase.Path{op.From, op.To}
	case metabase.CopyData:
		return []metabase.Path{op.From, op.To}
	}
	return nil
}
