// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"restante/metabase"
)

// A Transactor is a Tree that can collect batches into one. Between Begin and
// Commit or Rollback it applies nothing, and reads as if it had.
type Transactor interface {
	Begin() error
	Commit(ctx context.Context) error
	Rollback()
}

// Transaction makes one batch of all that do changes. With an error of do nothing is
// changed, nor if do panics, and nor if others have changed the tree meanwhile. What
// each SetInfo would have written is then in the cache of its object again, below what
// was put there since.
func (d *Directory) Transaction(ctx context.Context, do func() error) error {
	t, ok := d.tree.(Transactor)
	if !ok {
		return errors.New("the tree has no transactions")
	}
	if err := t.Begin(); err != nil {
		return d.wrap("transaction", "IIS://LocalHost", err)
	}
	d.open = true
	finished, stored := false, false
	defer func() {
		if !finished {
			t.Rollback()
		}
		if !stored {
			for _, restore := range slices.Backward(d.unwritten) {
				restore()
			}
		}
		d.open, d.unwritten = false, nil
		d.edits++ // what objects have read is old either way
	}()
	if err := do(); err != nil {
		return err
	}
	finished = true
	err := t.Commit(ctx)
	stored = err == nil || errors.Is(err, ErrStored)
	if errors.Is(err, metabase.Conflict) {
		err = fmt.Errorf("nothing is changed, as others changed the tree meanwhile: run it again: %w", err)
	}
	return d.wrap("transaction", "IIS://LocalHost", err)
}

// InTransaction reports whether a transaction is open.
func (d *Directory) InTransaction() bool { return d.open }
