// SPDX-License-Identifier: Apache-2.0

package boltkv_test

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"restante/internal/kv"
	"restante/internal/kv/boltkv"
	"restante/internal/kv/kvtest"
	"restante/internal/testpeer"
	"restante/internal/testpeer/winetest"
)

func mustOpen(t *testing.T, dir string) kv.DB {
	t.Helper()
	db, err := boltkv.Open(dir, boltkv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestFolders(t *testing.T) {
	kvtest.RunFolders(t, func(dir string, readOnly bool) (kv.DB, error) {
		return boltkv.Open(dir, boltkv.Options{ReadOnly: readOnly})
	})
}

func TestContract(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.DB { return mustOpen(t, t.TempDir()) })
}

func TestUnderWine(t *testing.T) {
	winetest.RunTests(t, "^Test(Contract|WhatWasCommittedOutlivesACrash|SecondOpenIsToldSo|StoreOfBadgerIsNotReplaced)$")
}

// commitsVariable has the number of commits for TestCommits, which
// TestSyncsOfACommit traces.
const commitsVariable = "RESTANTE_TEST_COMMITS"

func TestCommits(t *testing.T) {
	n, err := strconv.Atoi(cmp.Or(os.Getenv(commitsVariable), "1"))
	if err != nil {
		t.Fatal(err)
	}
	db := mustOpen(t, t.TempDir())
	for i := range n {
		if err := db.Commit(t.Context(), kv.Put(fmt.Append(nil, i), []byte("v"))); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(kvtest.All(t, db, "")); got != n {
		t.Errorf("%d commits left %d pairs", n, got)
	}
}

// The file as it is after each commit, which is what a killed process leaves, has
// all of them.
func TestWhatWasCommittedOutlivesACrash(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	for i := range 50 {
		if err := db.Commit(t.Context(), kv.Put(fmt.Append(nil, i), []byte("v"))); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 {
			crashed := mustOpen(t, copyOf(t, dir, nil))
			if n := len(kvtest.All(t, crashed, "")); n != i+1 {
				t.Errorf("after %d commits and a crash: %d pairs", i+1, n)
			}
		}
	}
}

// copyOf copies a store, its file changed by harm.
func copyOf(t *testing.T, dir string, harm func([]byte) []byte) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	if harm != nil {
		b = harm(b)
	}
	to := t.TempDir()
	if err := os.WriteFile(filepath.Join(to, "store.db"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestSecondOpenIsToldSo(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, dir)
	if _, err := boltkv.Open(dir, boltkv.Options{}); !errors.Is(err, kv.ErrInUse) || !strings.Contains(err.Error(), dir) ||
		!strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("Open = %v", err)
	}
}

func TestStoreOfBadgerIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "MANIFEST"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := boltkv.Open(dir, boltkv.Options{}); err == nil || !strings.Contains(err.Error(), "store of Badger") {
		t.Errorf("Open = %v", err)
	}
}

// Whatever octet of the file is wrong, Open says so or the store gives out what was
// put in, and nothing else; it does not panic.
func TestDamage(t *testing.T) {
	if testpeer.WithoutRace(t) {
		return
	}
	const n = 300
	dir := t.TempDir()
	db := mustOpen(t, dir)
	var ops []kv.Op
	for i := range n {
		ops = append(ops, kv.Put(fmt.Appendf(nil, "k%06d", i), fmt.Appendf(nil, "value of %06d", i)))
	}
	if err := errors.Join(db.Commit(t.Context(), ops...), db.Close()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	try := func(what string, harm func([]byte) []byte) {
		hurt := copyOf(t, dir, harm)
		db, err := boltkv.Open(hurt, boltkv.Options{})
		if err != nil {
			refused++
			if !errors.Is(err, kv.ErrDamaged) || !strings.Contains(err.Error(), hurt) || !strings.Contains(err.Error(), "backup") {
				t.Errorf("%s: %v", what, err)
			}
			return
		}
		defer db.Close()
		all := kvtest.All(t, db, "")
		for i, pair := range all {
			if want := fmt.Sprintf("k%06d=value of %06d", i, i); pair != want {
				t.Errorf("%s: %q, want %q", what, pair, want)
				return
			}
		}
		if len(all) != n {
			t.Errorf("%s: %d pairs and no error", what, len(all))
		}
	}
	for _, at := range testpeer.FaultSteps(t, int(info.Size())-1, 200) {
		try(fmt.Sprintf("octet %d", at), func(b []byte) []byte { b[at] ^= 0x40; return b })
	}
	for at := range os.Getpagesize() / 32 { // both pages that lead to the pairs
		for _, page := range []int{0, os.Getpagesize()} {
			if at%4 == 0 {
				try(fmt.Sprintf("octet %d", page+at), func(b []byte) []byte { b[page+at] ^= 0x40; return b })
			}
		}
	}
	for _, at := range branches(t, dir) { // the pages that lead to the pages of pairs
		for _, bit := range []byte{1, 0x80} {
			try(fmt.Sprintf("octet %d of a branch, bit %#x", at, bit), func(b []byte) []byte { b[at] ^= bit; return b })
		}
	}
	try("cut", func(b []byte) []byte { return b[:len(b)/2] })
	try("emptied in the middle", func(b []byte) []byte { clear(b[len(b)/4:]); return b })
	if refused < 10 {
		t.Errorf("only %d of the damaged stores are refused", refused)
	}
}

// branches gives the octets that are in use of a store's branch pages: the header of
// bbolt's page (number, flags, count, overflow), an element of 16 octets for each
// page below, and the first key of each.
func branches(t *testing.T, dir string) (octets []int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	const header, element, isBranch = 16, 16, 1
	size := os.Getpagesize()
	for page := 0; page < len(b); page += size {
		p := b[page : page+size]
		if binary.LittleEndian.Uint64(p) != uint64(page/size) || binary.LittleEndian.Uint16(p[8:]) != isBranch {
			continue
		}
		end := header
		for i := range int(binary.LittleEndian.Uint16(p[10:])) {
			at := header + i*element
			end = max(end, at+int(binary.LittleEndian.Uint32(p[at:])+binary.LittleEndian.Uint32(p[at+4:])))
		}
		for at := range end {
			octets = append(octets, page+at)
		}
	}
	if len(octets) == 0 {
		t.Fatal("the store has no branch page")
	}
	return octets
}
