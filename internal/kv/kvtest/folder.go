// SPDX-License-Identifier: Apache-2.0

package kvtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"restante/internal/kv"
)

// RunFolders holds what open makes of a folder to what several processes rely on.
// Each call of open stands for one of them.
func RunFolders(t *testing.T, open func(dir string, readOnly bool) (kv.DB, error)) {
	f := folders{open}
	t.Run("who opens for reading only writes nothing", f.writesNothing)
	t.Run("a store to read only is that of its folder", f.mustBeThere)
	t.Run("readers share a store, and a writer has it alone", f.shared)
	t.Run("of openers that race, each has the store or is told that another has", f.race)
}

type folders struct {
	open func(dir string, readOnly bool) (kv.DB, error)
}

// made makes a store of one pair.
func (f folders) made(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	db, err := f.open(dir, false)
	if err == nil {
		err = errors.Join(db.Commit(t.Context(), kv.Put([]byte("k"), []byte("v"))), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func (f folders) writesNothing(t *testing.T) {
	dir := f.made(t)
	before := listing(t, dir)
	db, err := f.open(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok, err := db.Get([]byte("k")); !ok || err != nil || string(v) != "v" {
		t.Errorf("k is %q, %v, %v", v, ok, err)
	}
	if n := len(All(t, db, "")); n != 1 {
		t.Errorf("%d pairs", n)
	}
	if err := db.Commit(t.Context(), kv.Put([]byte("k"), nil)); !errors.Is(err, kv.ErrReadOnly) {
		t.Errorf("Commit: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("the folder was\n%sand is\n%s", before, after)
	}
}

func (f folders) mustBeThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if _, err := f.open(dir, true); err == nil || errors.Is(err, kv.ErrDamaged) {
		t.Errorf("a folder that is not there: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
	if _, err := f.open(t.TempDir(), true); !errors.Is(err, kv.ErrUnclean) {
		t.Errorf("an empty folder: %v", err)
	}
}

func (f folders) shared(t *testing.T) {
	dir := f.made(t)
	first, err := f.open(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	second, err := f.open(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.open(dir, false); !errors.Is(err, kv.ErrInUse) {
		t.Errorf("a writer beside readers: %v", err)
	}
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		t.Error(err)
	}
	writer, err := f.open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	var by *kv.InUse
	if _, err := f.open(dir, true); !errors.Is(err, kv.ErrInUse) || !errors.As(err, &by) || by.PID != os.Getpid() {
		t.Errorf("a reader beside a writer: %v", err)
	}
	if err := writer.Close(); err != nil {
		t.Error(err)
	}
}

// What a process does to the files of its store is no damage to another one.
func (f folders) race(t *testing.T) {
	dir := f.made(t)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for opened, tries := 0, 0; opened < 4 && tries < 100_000; tries++ {
				db, err := f.open(dir, i == 0)
				if errors.Is(err, kv.ErrInUse) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				opened++
				if _, ok, err := db.Get([]byte("k")); !ok || err != nil {
					t.Errorf("k: %v, %v", ok, err)
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, e.Name(), info.Size(), info.ModTime())
	}
	return out.String()
}
