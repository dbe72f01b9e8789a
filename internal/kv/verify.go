// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// verify reads every table that the manifest names and checks its checksums.
// Badger itself leaves out a table that is broken in one way and ends the
// process over one broken in another; here, either is an error.
func verify(dir string, opts badger.Options) (err error) {
	defer guard(&err)()
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		return noManifest(dir)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, 0, opts)
	if err != nil {
		return damaged(fmt.Errorf("%s: %w", badger.ManifestFilename, err))
	}
	for id := range manifest.Tables {
		if err := verifyTable(table.NewFilename(id, dir)); err != nil {
			return damaged(fmt.Errorf("%s: %w", table.IDToFilename(id), err))
		}
	}
	return nil
}

// noManifest lets a new store pass, but not one that has lost its manifest:
// Badger would take it for new and delete its tables.
func noManifest(dir string) error {
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return err
	}
	if len(tables) > 0 {
		return damaged(fmt.Errorf("%s is missing", badger.ManifestFilename))
	}
	return nil
}

func verifyTable(name string) (err error) {
	defer guard(&err)()
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return errors.New("is empty")
	}
	mf, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	t, err := table.OpenTable(mf, table.Options{ChkMode: options.OnTableRead})
	if err != nil {
		return err
	}
	return t.Close(-1)
}

// guard is deferred as guard(&err)(): it turns a panic, and reading a mapped
// file that the disk can't give, into an error.
func guard(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			*err = damaged(fmt.Errorf("%v", r))
		}
	}
}
