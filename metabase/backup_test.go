// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"restante/internal/kv"
)

func furnished(t *testing.T) *Store {
	s := open(t, kv.NewMem(), Options{})
	site(t, s)
	apply(t, s, Set{"/LM", num(1, 1)}, Set{"/LM/SMTPSVC/1", secret(2, "pw")}, Set{"/LM/SMTPSVC/1", Property{ID: 3, Value: MultiSZ("a", "")}})
	return s
}

func TestBackup(t *testing.T) {
	s := furnished(t)
	was := dump(s.Snapshot())
	for _, password := range []string{"", "open sesame"} {
		var b bytes.Buffer
		info, err := s.Backup(&b, password)
		if err != nil || info.Keys != 5 || info.Portable != (password != "") {
			t.Fatalf("Backup = %+v, %v", info, err)
		}
		before := s.Snapshot().Rev()
		if info.Rev != before {
			t.Errorf("a backup of revision %d at %d", info.Rev, before)
		}
		if got, err := s.VerifyBackup(bytes.NewReader(b.Bytes()), password); err != nil || got != info {
			t.Errorf("VerifyBackup = %+v, %v; want %+v", got, err, info)
		}
		// On what is the same, restoring changes nothing.
		if rev, err := s.Restore(t.Context(), bytes.NewReader(b.Bytes()), password, Batch{}); rev != before || err != nil {
			t.Errorf("Restore of the present = %d, %v", rev, err)
		}
		made := apply(t, s, Remove{"/LM/SMTPSVC/1", true}, Set{"/LM", num(1, 2)}, AddKey{"/new", ""})
		change, err := s.TryRestore(t.Context(), bytes.NewReader(b.Bytes()), password, Batch{})
		if err != nil || len(change.Touched) != 4 || s.Snapshot().Rev() != made {
			t.Errorf("TryRestore touches %v, %v", change.Touched, err)
		}
		if _, err := s.Restore(t.Context(), bytes.NewReader(b.Bytes()), password, Batch{Actor: "user:x"}); !errors.Is(err, Denied) {
			t.Errorf("Restore by anybody: %v", err)
		}
		rev, err := s.Restore(t.Context(), bytes.NewReader(b.Bytes()), password, Batch{Actor: boss})
		if err != nil || rev != made+1 || dump(s.Snapshot()) != was {
			t.Fatalf("Restore = %d, %v\n%s", rev, err, dump(s.Snapshot()))
		}
		if p, _ := s.Snapshot().Stored("/LM/SMTPSVC/1", 2); p.Rev != rev || p.Value.Str() != "pw" {
			t.Errorf("what came back is of revision %d", p.Rev)
		}
		sound(t, s)
		if _, err := s.Revert(t.Context(), rev, Root, Batch{}); err != nil || !s.Snapshot().Has("/new") {
			t.Errorf("Revert of a restore: %v", err)
		}
		if _, err := s.Revert(t.Context(), made, Root, Batch{}); err != nil || dump(s.Snapshot()) != was {
			t.Errorf("Revert of what was before it: %v", err)
		}
	}
}

func TestBackupElsewhere(t *testing.T) {
	s := furnished(t)
	var bound, portable bytes.Buffer
	if _, err := s.Backup(&bound, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Backup(&portable, "pass"); err != nil {
		t.Fatal(err)
	}
	other, err := Open(t.Context(), kv.NewMem(), NewMachineKey(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tests := []struct {
		b        []byte
		password string
		kind     Kind
		text     string
	}{
		{bound.Bytes(), "", Invalid, "another machine key"},
		{portable.Bytes(), "", Invalid, "needs its password"},
		{portable.Bytes(), "pess", Denied, "the password is wrong"},
		{portable.Bytes(), "pass", "", ""},
	}
	for _, tt := range tests {
		_, err := other.Restore(t.Context(), bytes.NewReader(tt.b), tt.password, Batch{})
		if tt.kind != "" && (!errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text)) || tt.kind == "" && err != nil {
			t.Errorf("Restore with %q = %v", tt.password, err)
		}
	}
	if dump(other.Snapshot()) != dump(s.Snapshot()) {
		t.Errorf("elsewhere there is\n%s", dump(other.Snapshot()))
	}
	sound(t, other)
}

// TestBackupDamaged changes each octet of a backup, and cuts it at each.
func TestBackupDamaged(t *testing.T) {
	s := furnished(t)
	was := exact(s.Snapshot())
	var b bytes.Buffer
	if _, err := s.Backup(&b, ""); err != nil {
		t.Fatal(err)
	}
	refused := func(raw []byte, what string, at int) {
		t.Helper()
		_, err := s.Restore(t.Context(), bytes.NewReader(raw), "", Batch{})
		if err == nil || !errors.Is(err, Damaged) && !errors.Is(err, Invalid) {
			t.Errorf("%s at %d: %v", what, at, err)
		}
	}
	for i := range b.Len() {
		refused(b.Bytes()[:i], "cut", i)
		raw := bytes.Clone(b.Bytes())
		raw[i] ^= 0x41
		refused(raw, "changed", i)
	}
	refused(append(bytes.Clone(b.Bytes()), 0), "longer", b.Len())
	if exact(s.Snapshot()) != was {
		t.Error("something of a damaged backup was kept")
	}
}

func TestBackupWriteFails(t *testing.T) {
	s := furnished(t)
	errFull := errors.New("disk full")
	if _, err := s.Backup(failing{errFull}, ""); !errors.Is(err, errFull) {
		t.Errorf("Backup = %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestBackupFiles(t *testing.T) {
	s := furnished(t)
	dir := filepath.Join(t.TempDir(), "backups")
	if list, err := Backups(dir); err != nil || len(list) != 0 {
		t.Errorf("of no folder: %v, %v", list, err)
	}
	for want := range 3 {
		if b, err := s.SaveBackup(dir, "nightly", NewestVersion, ""); err != nil || b.Version != want || b.Size == 0 {
			t.Errorf("SaveBackup = %+v, %v; want version %d", b, err, want)
		}
	}
	if _, err := s.SaveBackup(dir, "nightly", 1, ""); !errors.Is(err, Exists) {
		t.Errorf("a version is written over: %v", err)
	}
	if _, err := s.SaveBackup(dir, "a b.md7", 42, ""); err != nil {
		t.Error(err)
	}
	os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600)
	os.WriteFile(filepath.Join(dir, "x.mdy"), nil, 0o600)
	list, err := Backups(dir)
	var names []string
	for _, b := range list {
		names = append(names, fmt.Sprint(b.Name, " ", b.Version))
	}
	if want := []string{"a b.md7 42", "nightly 0", "nightly 1", "nightly 2"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("Backups = %q, %v", names, err)
	}
	f, b, err := OpenBackup(dir, "nightly", NewestVersion)
	if err != nil || b.Version != 2 {
		t.Fatalf("OpenBackup = %+v, %v", b, err)
	}
	defer f.Close()
	if info, _ := f.Stat(); runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if rev, err := s.Restore(t.Context(), f, "", Batch{}); err != nil || rev != s.Snapshot().Rev() {
		t.Errorf("Restore = %d, %v", rev, err)
	}
	if err := DeleteBackup(dir, "nightly", 2); err != nil {
		t.Error(err)
	}
	if err := DeleteBackup(dir, "nightly", 2); !errors.Is(err, NotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if _, _, err := OpenBackup(dir, "weekly", NewestVersion); !errors.Is(err, NotFound) {
		t.Errorf("OpenBackup = %v", err)
	}
	for _, name := range []string{"", "../up", `a\b`, ".hidden", "a:b", "x ", strings.Repeat("n", 101), "a\nb"} {
		if _, err := s.SaveBackup(dir, name, NewestVersion, ""); !errors.Is(err, Invalid) {
			t.Errorf("SaveBackup(%q) = %v", name, err)
		}
	}
	if _, err := s.SaveBackup(dir, "n", 10000, ""); !errors.Is(err, Invalid) {
		t.Errorf("version 10000: %v", err)
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".tmp") {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

func FuzzReadBackup(f *testing.F) {
	s, err := Open(f.Context(), kv.NewMem(), testKey, Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	if _, err := s.Apply(f.Context(), Batch{Ops: []Op{AddKey{"/A", "K"}, Set{"/A", secret(1, "x")}, AddKey{"/A/b", ""}}}); err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := s.Backup(&b, ""); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(backupMagic))
	f.Add([]byte(ageMagic + "v1\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		info, err := s.VerifyBackup(bytes.NewReader(raw), "")
		if err != nil && kindOf(err) != Damaged && kindOf(err) != Invalid {
			t.Errorf("%v has no kind", err)
		}
		if err == nil && info.Keys == 0 {
			t.Error("a backup of nothing is taken")
		}
		io.Discard.Write(raw)
	})
}
