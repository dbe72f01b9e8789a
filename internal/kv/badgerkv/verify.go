// SPDX-License-Identifier: Apache-2.0

package badgerkv

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

// verify checks the checksums of every table that the manifest names. Badger
// itself skips some broken tables and ends the process over others; here, either
// is an error.
func verify(dir string, opts badger.Options) error {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		return noManifest(dir)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	manifest, err := readManifest(f, opts)
	if err != nil {
		return damaged(fmt.Errorf("%s: %w", badger.ManifestFilename, err))
	}
	var newest uint64
	for id := range manifest.Tables {
		version, err := verifyTable(table.NewFilename(id, dir))
		if err != nil {
			return damaged(fmt.Errorf("%s: %w", table.IDToFilename(id), err))
		}
		newest = max(newest, version)
	}
	return verifyStrays(dir, manifest, newest)
}

func readManifest(f *os.File, opts badger.Options) (m badger.Manifest, err error) {
	defer guard(&err)()
	m, _, err = badger.ReplayManifestFile(f, 0, opts)
	return m, err
}

// verifyStrays checks the tables that the manifest does not name, which Badger is
// about to delete. A crash leaves such tables, but their data is then also in the
// tables they were made from, or in a log. If neither exists, the manifest has
// lost them.
func verifyStrays(dir string, manifest badger.Manifest, newest uint64) error {
	if logs, err := filepath.Glob(filepath.Join(dir, "*.mem")); err != nil || len(logs) > 0 {
		return err
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return err
	}
	for _, name := range tables {
		id, ok := table.ParseFileID(name)
		if _, named := manifest.Tables[id]; !ok || named {
			continue
		}
		if version, err := verifyTable(name); err == nil && version > newest {
			return damaged(fmt.Errorf("%s does not name %s", badger.ManifestFilename, filepath.Base(name)))
		}
	}
	return nil
}

// noManifest accepts a new store, but not one that has lost its manifest: Badger
// would take it for new and delete its tables.
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

// verifyTable returns the newest version in a table that is whole.
func verifyTable(name string) (newest uint64, err error) {
	defer guard(&err)()
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	if info.Size() == 0 {
		return 0, errors.New("is empty")
	}
	mf, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	t, err := table.OpenTable(mf, table.Options{ChkMode: options.OnTableRead})
	if err != nil {
		return 0, err
	}
	return t.MaxVersion(), t.Close(-1)
}

// guard is deferred as guard(&err)(): it turns a panic, and reading a mapped
// file that the disk can't give, into an error.
func guard(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			*err = fmt.Errorf("%v", r)
		}
	}
}
