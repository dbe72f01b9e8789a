// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase"
	"restante/metabase/backup"
	"restante/metabase/mbxml"
	"restante/metabase/schema"
)

// TestWhatWritersTakeReadsBack makes random batches of odd names and values. What a
// writer accepted is read back by everything that reads: the store, its history, an
// export, a backup, a revert.
func TestWhatWritersTakeReadsBack(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := plainStore(t)
	g := edges{rand.New(rand.NewPCG(seed, 0)), s}
	change(t, s, metabase.AddKey{Path: "/LM"})
	taken := 0
	for range 1500 {
		var ops []metabase.Op
		for range 1 + g.IntN(8)/6 {
			ops = append(ops, g.op())
		}
		b := metabase.Batch{Ops: ops, Comment: g.word()}
		_, tried := s.Try(t.Context(), b)
		_, err := s.Apply(t.Context(), b)
		if (err == nil) != (tried == nil) {
			t.Fatalf("%#v: the dry run says %v, the batch %v", ops, tried, err)
		}
		if err == nil {
			taken++
		}
	}
	if taken < 100 {
		t.Errorf("only %d batches were accepted", taken)
	}
	snap := s.Snapshot()
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if log, err := s.Log(t.Context(), metabase.Root, 0); err != nil || len(log) != int(snap.Rev()) {
		t.Errorf("the log has %d of %d revisions: %v", len(log), snap.Rev(), err)
	}
	same := func(by string, got, want metabase.Snapshot) {
		t.Helper()
		for _, line := range (metabase.Change{Old: want, New: got}).Diff() {
			t.Errorf("%s differs: %+q %s %.100q, %.100q", by, line.Path, line.Kind, line.Old, line.New)
		}
	}
	if _, err := s.At(t.Context(), 0); err != nil {
		t.Error(err)
	}

	var whole bytes.Buffer
	if _, err := backup.Write(s, &whole, backup.Options{}); err != nil {
		t.Fatal(err)
	}
	change(t, s, metabase.RemoveChildren{Path: metabase.Root})
	gone := s.Snapshot().Rev()
	if _, _, err := backup.Restore(t.Context(), s, &whole, "", metabase.Batch{}); err != nil {
		t.Fatal(err)
	}
	same("the restored tree", s.Snapshot(), snap)
	change(t, s, metabase.RemoveChildren{Path: metabase.Root})
	if _, err := s.Revert(t.Context(), s.Snapshot().Rev(), metabase.Root, metabase.Batch{}); err != nil {
		t.Errorf("revert: %v (removed first in %d)", err, gone)
	}
	same("the reverted tree", s.Snapshot(), snap)

	var file bytes.Buffer
	if _, err := mbxml.Write(&file, snap, metabase.Root, schema.IIS(), mbxml.Scope{}); err != nil {
		t.Fatal(err)
	}
	f, err := mbxml.Read(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	other := plainStore(t)
	ops, _, err := mbxml.Plan(f, other.Snapshot(), schema.IIS(), mbxml.Options{Class: schema.IIS().ClassBelow})
	if err != nil {
		t.Fatal(err)
	}
	change(t, other, ops...)
	same("the imported tree", other.Snapshot(), snap)
}

func plainStore(t *testing.T) *metabase.Store {
	t.Helper()
	db := kv.NewMem()
	t.Cleanup(func() { db.Close() })
	s, err := metabase.Open(t.Context(), db, seal.New(), metabase.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// edges makes operations at the edges of what is allowed, and beyond them.
type edges struct {
	*rand.Rand
	store *metabase.Store
}

func (g edges) word() string {
	words := []string{
		"a", "B", "\u017f", "\u00e9", "e\u0301", "\u202e", "\uffff", "\ufffe", "\ufffd", "\u200b", "\x1b[31m", "\x7f", "\u0085", "\u00a0", "<&>\"'", "]]>", "-", " ",
		"a b", " a", "a\tb", "a\nb", "\r\n", "", "\xff", "\xed\xa0\x80", "\U0001f600", "\u2028", "%41", "_x0041_", "1", "0",
		strings.Repeat("n", 255), strings.Repeat("\u1e9e", 85), strings.Repeat("x", 256),
	}
	return words[g.IntN(len(words))]
}

// path is that of a key that is there, or of one below it.
func (g edges) path() metabase.Path {
	all := slices.Collect(g.store.Snapshot().Walk("/LM"))
	p := all[g.IntN(len(all))]
	if g.IntN(4) == 0 {
		return p
	}
	for range 1 + g.IntN(8)/7 {
		p = p.Join(g.word())
	}
	return p
}

func (g edges) value() metabase.Value {
	switch g.IntN(6) {
	case 0:
		return metabase.DWord(g.Uint32())
	case 1:
		return metabase.ExpandSZ(g.word() + g.word())
	case 2:
		return metabase.Binary([]byte(g.word()))
	case 3:
		var list []string
		for range g.IntN(4) {
			list = append(list, g.word())
		}
		return metabase.MultiSZ(list...)
	case 4:
		return metabase.String(strings.Repeat(g.word(), 1+g.IntN(3000)))
	}
	return metabase.String(g.word())
}

func (g edges) op() metabase.Op {
	switch g.IntN(8) {
	case 0:
		return metabase.Copy{From: g.path(), To: g.path(), Overwrite: g.IntN(2) == 0}
	case 1:
		return metabase.Move{From: g.path(), To: g.path(), Overwrite: g.IntN(2) == 0}
	case 2, 3:
		return metabase.Set{Path: g.path(), Property: metabase.Property{ID: metabase.ID(70000 + g.IntN(5)), Attr: metabase.Inherit, UserType: metabase.UserType(g.IntN(3)), Value: g.value()}}
	case 4:
		return metabase.CopyData{From: g.path(), To: g.path()}
	}
	return metabase.AddKey{Path: g.path()}
}
