// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"archive/zip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"restante/internal/kv"
	"restante/internal/kv/badgerkv"
	"restante/internal/record"
	"restante/internal/seal"
	"restante/metabase/internal/stored"
	"restante/metabase/internal/tree"
)

// deep gives a path of n octets below top.
func deep(top Path, n int) Path {
	p := top
	for len(p) < n {
		p = p.Join(strings.Repeat("x", min(200, n-len(p)-1)))
	}
	return p
}

// chain lists what makes all keys from below top to p.
func chain(top, p Path) (ops []Op) {
	for up := range p.Parents() {
		if up.Equal(top) {
			break
		}
		ops = append(ops, AddKey{Path: up})
	}
	slices.Reverse(ops)
	return ops
}

// No writer makes a key that the map has no room for.
func TestLongPathsAreRefused(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	longest := deep("/LM", stored.MaxPath)
	apply(t, s, AddKey{Path: "/LM"}, AddKey{Path: "/LMx"})
	apply(t, s, chain("/LM", longest)...)
	apply(t, s, Set{longest, num(1, 1)})
	if n := len(stored.NodeKey(longest)); n > kv.MaxKey {
		t.Fatalf("the longest path has a key of %d octets", n)
	}
	clear, _ := s.Replace(nil)
	deepest := slices.Collect(deep("/LM", stored.MaxPath+300).Parents())
	for _, p := range slices.Backward(deepest) {
		if err := clear.Add(stored.AppendClear(record.AppendText(nil, string(p)), &tree.Node{Spelling: p.Base()})); err != nil {
			t.Fatal(err)
		}
	}
	for name, ops := range map[string][]Op{
		"add":     {AddKey{Path: longest.Join("y")}},
		"import":  chain("/LM", deep("/LM", stored.MaxPath+300)),
		"copy":    {Copy{From: "/LM", To: "/LMxyz"}},
		"move":    {Move{From: "/LM", To: "/LMx/LM"}},
		"restore": {clear},
	} {
		was := exact(s.Snapshot())
		_, err := s.Apply(t.Context(), Batch{Ops: ops})
		if !errors.Is(err, Invalid) || !strings.Contains(fmt.Sprint(err), "octets, at most 1900 can be stored") {
			t.Errorf("%s: %.300v", name, err)
		}
		if _, err := s.Try(t.Context(), Batch{Ops: ops}); !errors.Is(err, Invalid) {
			t.Errorf("%s, tried: %.300v", name, err)
		}
		if exact(s.Snapshot()) != was {
			t.Errorf("%s: something was kept", name)
		}
	}
	// What is folded to fewer octets has room.
	kelvin := Path("/LMx/" + strings.Repeat("\u017f", 120))
	apply(t, s, AddKey{Path: kelvin})
	sound(t, s)
}

// unzip gives the folder of a store that an earlier version has made, and its
// machine key.
func unzip(t *testing.T, name string) (dir string, key seal.Key) {
	t.Helper()
	z, err := zip.OpenReader(name)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	dir = t.TempDir()
	if err := os.CopyFS(dir, z); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "machine.key")
	if err := os.Chmod(file, 0o600); err != nil { // the archive has no modes
		t.Fatal(err)
	}
	if key, err = seal.Read(file); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "metabase"), key
}

// The store is of version 8aaba67: four revisions, the last of which is to be
// confirmed, a secure value, and a path longer than is taken now.
func TestStoreOfAnEarlierVersion(t *testing.T) {
	dir, key := unzip(t, "testdata/store-8aaba67.zip")
	var last string
	for round := range 2 {
		db, err := badgerkv.Open(dir, badgerkv.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), db, key, Options{Admins: []Principal{boss}})
		if err != nil {
			t.Fatal(err)
		}
		sound(t, s)
		if round == 0 {
			lookAtEarlierVersion(t, s)
		} else if got := exact(s.Snapshot()); got != last {
			t.Errorf("opened again, the store has\n%s\nwant\n%s", got, last)
		}
		last = exact(s.Snapshot())
		s.Close()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func lookAtEarlierVersion(t *testing.T, s *Store) {
	snap := s.Snapshot()
	for id, want := range map[ID]Value{1013: DWord(900), 1015: String("Grüße"), 1023: MultiSZ(":25:", ":366:"), 36999: String("correct-horse")} {
		if p, ok := snap.Stored("/LM/SMTPSVC/1", id); !ok || !p.Value.Equal(want) {
			t.Errorf("property %d is %v, %v; want %v", id, p.Value, ok, want)
		}
	}
	log, err := s.Log(t.Context(), Root, 0)
	if err != nil || len(log) != 4 || log[3].Comment != "made by 8aaba67" || log[3].Actor != boss || log[0].Until.IsZero() {
		t.Errorf("Log = %+v, %v", log, err)
	}
	if back, err := s.At(t.Context(), 1); err != nil || back.Rev() != 1 {
		t.Errorf("At(1) = %v", err)
	} else if p, _ := back.Stored("/LM/SMTPSVC/1", 1013); p.Value.DWord() != 600 {
		t.Errorf("at revision 1, property 1013 is %v", p.Value)
	}
	if rev, err := s.Confirm(t.Context(), 0); rev != 4 || err != nil {
		t.Errorf("Confirm = %d, %v", rev, err)
	}
	long := Path("/LM/SMTPSVC/1" + strings.Repeat("/"+strings.Repeat("x", 240), 9))
	if p, ok := snap.Stored(long, 1); !ok || p.Value.DWord() != 7 {
		t.Errorf("the long path holds %v, %v", p.Value, ok)
	}
	// A long path stays, may not be written to, and may be moved.
	if _, err := s.Apply(t.Context(), Batch{Ops: []Op{Set{long, num(1, 8)}}}); !errors.Is(err, Invalid) || !strings.Contains(err.Error(), "at most 1900") {
		t.Errorf("a change of the long path: %.200v", err)
	}
	apply(t, s, Move{From: long, To: "/LM/short"})
	apply(t, s, Set{"/LM/short", num(1, 8)}, Set{"/LM/SMTPSVC/1", num(1013, 1)})
}
