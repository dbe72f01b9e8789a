// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"errors"
	"fmt"

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
// changed, nor if do panics, and nor if others have changed the tree meanwhile.
func (d *Directory) Transaction(ctx context.Context, do func() error) error {
	t, ok := d.tree.(Transactor)
	if !ok {
		return errors.New("the tree has no transactions")
	}
	if err := t.Begin(); err != nil {
		return d.wrap("transaction", "IIS://LocalHost", err)
	}
	finished := false
	defer func() {
		if d.edits++; !finished { // what objects have read is old either way
			t.Rollback()
		}
	}()
	if err := do(); err != nil {
		return err
	}
	finished = true
	err := t.Commit(ctx)
	if errors.Is(err, metabase.Conflict) {
		err = fmt.Errorf("nothing is changed, as others changed the tree meanwhile: run it again: %w", err)
	}
	return d.wrap("transaction", "IIS://LocalHost", err)
}
