// SPDX-License-Identifier: Apache-2.0

package adsitree

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"restante/admin/api"
	"restante/metabase"

	adsi "restante/adsi-compat"
)

// A transaction collects batches, and shows keys as if they had been applied. Each
// key is read once: a call for each object, with all that was collected, would make
// a thousand objects slow.
type transaction struct {
	lines     []api.Line
	rev       metabase.Rev        // of the first read
	keys      map[string]adsi.Key // as they would be, by folded path
	handsDown map[string]bool     // keys that got or lost a property to inherit
	moved     []metabase.Path     // at and below these the service must say what there is
	added     map[string]bool     // below these, too
}

// sees notes the revision that was read.
func (tx *transaction) sees(rev metabase.Rev) { tx.rev = cmp.Or(tx.rev, rev) }

// Begin starts a transaction: until Commit or Rollback nothing is applied.
func (t *Tree) Begin() error {
	if t.open != nil {
		return errors.New("a transaction is open already")
	}
	t.open = &transaction{keys: map[string]adsi.Key{}, handsDown: map[string]bool{}, added: map[string]bool{}}
	return nil
}

// Rollback drops what was collected.
func (t *Tree) Rollback() { t.open = nil }

// Commit applies what was collected as one batch. Where others have changed the tree
// since its first read, the error is metabase.Conflict and nothing is changed.
func (t *Tree) Commit(ctx context.Context) error {
	tx := t.open
	t.open = nil
	if len(tx.lines) == 0 {
		return nil
	}
	return t.commit(ctx, tx.rev, tx.lines)
}

// collect takes the lines of a batch into the transaction.
func (t *Tree) collect(ctx context.Context, lines []api.Line, ops []metabase.Op) error {
	tx := t.open
	for _, op := range ops {
		if err := t.show(ctx, op); err != nil {
			return err
		}
	}
	tx.lines = append(tx.lines, lines...)
	return nil
}

// show makes the keys of the transaction what they are after op.
func (t *Tree) show(ctx context.Context, op metabase.Op) error {
	tx := t.open
	switch op := op.(type) {
	case metabase.AddKey:
		k, known := tx.keys[op.Path.Fold()]
		if !known {
			tx.moved = append(tx.moved, op.Path)
			return nil
		}
		k.Class, k.Exists = op.Class, true
		k.Stored = append(k.Stored, metabase.Property{ID: metabase.KeyType, Value: metabase.String(op.Class)})
		tx.keys[op.Path.Fold()], tx.added[op.Path.Fold()] = k, true
	case metabase.Set:
		return t.showProperty(ctx, op.Path, op.Property.ID, op.Property)
	case metabase.Amend:
		return t.showProperty(ctx, op.Path, op.Property.ID, op.Property)
	case metabase.Unset:
		return t.showProperty(ctx, op.Path, op.ID)
	case metabase.Remove:
		tx.forget(op.Path)
	case metabase.Copy:
		tx.forget(op.To)
	case metabase.Move:
		tx.forget(op.From)
		tx.forget(op.To)
	}
	return nil
}

// showProperty replaces what the key stores of a property by the items given.
func (t *Tree) showProperty(ctx context.Context, p metabase.Path, id metabase.ID, items ...metabase.Property) error {
	k, err := t.keyWithin(ctx, p)
	if err != nil {
		return err
	}
	for _, item := range slices.Concat(k.Stored, items) {
		if item.ID == id && item.Attr&metabase.Inherit != 0 {
			t.open.handsDown[p.Fold()] = true
		}
	}
	k.Stored = slices.DeleteFunc(slices.Clone(k.Stored), func(item metabase.Property) bool { return item.ID == id })
	for _, item := range items {
		k.Stored = append(k.Stored, item.Redacted().Marked())
	}
	t.open.keys[p.Fold()] = k
	return nil
}

// forget drops what is known of the keys at and below p.
func (tx *transaction) forget(p metabase.Path) {
	tx.moved = append(tx.moved, p)
	for at, k := range tx.keys {
		if k.Path.Within(p) {
			delete(tx.keys, at)
		}
	}
}

// keyWithin is Key within a transaction.
func (t *Tree) keyWithin(ctx context.Context, p metabase.Path) (adsi.Key, error) {
	tx := t.open
	k, known := tx.keys[p.Fold()]
	if !known {
		after := t.tried
		if tx.rebuilt(p) {
			after = slices.Concat(t.tried, tx.lines)
		}
		keys, err := t.readAfter(ctx, api.ReadRequest{Path: string(p)}, after)
		if err != nil {
			return adsi.Key{}, err
		}
		k = keys[0]
		tx.keys[p.Fold()] = k
	}
	for above := p; above != metabase.Root; {
		if above = above.Parent(); tx.handsDown[above.Fold()] {
			parent, err := t.keyWithin(ctx, p.Parent())
			if err != nil {
				return adsi.Key{}, err
			}
			if k.Inherited = nil; parent.Exists {
				k.Inherited = parent.HandsDown()
			}
			break
		}
	}
	return k, nil
}

// rebuilt reports whether the service must say what is at p after the transaction so
// far.
func (tx *transaction) rebuilt(p metabase.Path) bool {
	if slices.ContainsFunc(tx.moved, p.Within) {
		return true
	}
	for p != metabase.Root {
		if p = p.Parent(); tx.added[p.Fold()] {
			return true
		}
	}
	return false
}
