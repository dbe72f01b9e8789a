// SPDX-License-Identifier: Apache-2.0

package backup

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
	"time"

	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase"
)

// with is a backup with a password that costs little to try.
func with(password string) Options { return Options{Password: password, WorkFactor: 8} }

// boss may do everything in the stores of the tests.
const boss metabase.Principal = "user:boss"

func open(t testing.TB) *metabase.Store {
	t.Helper()
	s, err := metabase.Open(t.Context(), kv.NewMem(), seal.New(), metabase.Options{Admins: []metabase.Principal{boss}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func apply(t testing.TB, s *metabase.Store, ops ...metabase.Op) metabase.Rev {
	t.Helper()
	rev, err := s.Apply(t.Context(), metabase.Batch{Ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// sound fails the test when the store is not consistent.
func sound(t testing.TB, s *metabase.Store) {
	t.Helper()
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func num(id metabase.ID, n uint32) metabase.Property {
	return metabase.Property{ID: id, Attr: metabase.Inherit, Value: metabase.DWord(n)}
}

func secret(id metabase.ID, s string) metabase.Property {
	return metabase.Property{ID: id, Attr: metabase.Secure, Value: metabase.String(s)}
}

// dump is a tree as lines "path: id=type value/attr ...", secrets in clear.
func dump(s metabase.Snapshot) string {
	var b strings.Builder
	for p := range s.Walk(metabase.Root) {
		fmt.Fprintf(&b, "%s:", p)
		for _, prop := range s.Properties(p) {
			v := prop.Value
			fmt.Fprintf(&b, " %d=%s %d %q %q %x/%d", prop.ID, v.Type(), v.DWord(), v.Str(), v.Strings(), v.Bytes(), prop.Attr)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// exact is dump with times and revisions.
func exact(s metabase.Snapshot) string {
	var b strings.Builder
	b.WriteString(dump(s))
	for p := range s.Walk(metabase.Root) {
		k, _ := s.Key(p)
		fmt.Fprintf(&b, "%s %d", k.Path, k.Modified.UnixNano())
		for _, prop := range s.Properties(p) {
			fmt.Fprintf(&b, " %d", prop.Rev)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func furnished(t testing.TB) *metabase.Store {
	s := open(t)
	apply(t, s, metabase.AddKey{Path: "/LM"}, metabase.AddKey{Path: "/LM/SMTPSVC", Class: "IIsSmtpService"},
		metabase.AddKey{Path: "/LM/SMTPSVC/1", Class: "IIsSmtpServer"}, metabase.AddKey{Path: "/LM/SMTPSVC/1/Domain", Class: "IIsSmtpDomains"})
	apply(t, s, metabase.Set{Path: "/LM", Property: num(1, 1)}, metabase.Set{Path: "/LM/SMTPSVC/1", Property: secret(2, "pw")},
		metabase.Set{Path: "/LM/SMTPSVC/1", Property: metabase.Property{ID: 3, Value: metabase.MultiSZ("a", "")}})
	return s
}

func TestBackup(t *testing.T) {
	s := furnished(t)
	was := dump(s.Snapshot())
	for _, password := range []string{"", "open sesame"} {
		var b bytes.Buffer
		info, err := Write(s, &b, with(password))
		if err != nil || info.Keys != 5 || info.Portable != (password != "") {
			t.Fatalf("Write = %+v, %v", info, err)
		}
		before := s.Snapshot().Rev()
		if info.Rev != before {
			t.Errorf("a backup of revision %d at %d", info.Rev, before)
		}
		if got, err := Verify(s, bytes.NewReader(b.Bytes()), password); err != nil || fmt.Sprint(got) != fmt.Sprint(info) {
			t.Errorf("Verify = %+v, %v; want %+v", got, err, info)
		}
		// On what is the same, restoring changes nothing.
		if rev, _, err := Restore(t.Context(), s, bytes.NewReader(b.Bytes()), password, metabase.Batch{}); rev != before || err != nil {
			t.Errorf("Restore of the present = %d, %v", rev, err)
		}
		made := apply(t, s, metabase.Remove{Path: "/LM/SMTPSVC/1", Recursive: true}, metabase.Set{Path: "/LM", Property: num(1, 2)}, metabase.AddKey{Path: "/new"})
		change, _, err := Try(t.Context(), s, bytes.NewReader(b.Bytes()), password, metabase.Batch{})
		if err != nil || len(change.Touched) != 4 || s.Snapshot().Rev() != made {
			t.Errorf("Try touches %v, %v", change.Touched, err)
		}
		if _, _, err := Restore(t.Context(), s, bytes.NewReader(b.Bytes()), password, metabase.Batch{Actor: "user:x"}); !errors.Is(err, metabase.Denied) {
			t.Errorf("Restore by anybody: %v", err)
		}
		rev, _, err := Restore(t.Context(), s, bytes.NewReader(b.Bytes()), password, metabase.Batch{Actor: boss})
		if err != nil || rev != made+1 || dump(s.Snapshot()) != was {
			t.Fatalf("Restore = %d, %v\n%s", rev, err, dump(s.Snapshot()))
		}
		if p, _ := s.Snapshot().Stored("/LM/SMTPSVC/1", 2); p.Rev != rev || p.Value.Str() != "pw" {
			t.Errorf("what came back is of revision %d", p.Rev)
		}
		sound(t, s)
		if _, err := s.Revert(t.Context(), rev, metabase.Root, metabase.Batch{}); err != nil || !s.Snapshot().Has("/new") {
			t.Errorf("Revert of a restore: %v", err)
		}
		if _, err := s.Revert(t.Context(), made, metabase.Root, metabase.Batch{}); err != nil || dump(s.Snapshot()) != was {
			t.Errorf("Revert of what was before it: %v", err)
		}
	}
}

func TestBackupElsewhere(t *testing.T) {
	s := furnished(t)
	var bound, portable bytes.Buffer
	if _, err := Write(s, &bound, with("")); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(s, &portable, with("pass")); err != nil {
		t.Fatal(err)
	}
	other := open(t)
	tests := []struct {
		b        []byte
		password string
		kind     metabase.Kind
		text     string
	}{
		{bound.Bytes(), "", metabase.Invalid, "another machine key"},
		{portable.Bytes(), "", metabase.Invalid, "needs its password"},
		{portable.Bytes(), "pess", metabase.Denied, "the password is wrong"},
		{portable.Bytes(), "pass", "", ""},
	}
	for _, tt := range tests {
		_, _, err := Restore(t.Context(), other, bytes.NewReader(tt.b), tt.password, metabase.Batch{})
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
	if _, err := Write(s, &b, with("")); err != nil {
		t.Fatal(err)
	}
	refused := func(raw []byte, what string, at int) {
		t.Helper()
		_, _, err := Restore(t.Context(), s, bytes.NewReader(raw), "", metabase.Batch{})
		if err == nil || !errors.Is(err, metabase.Damaged) && !errors.Is(err, metabase.Invalid) {
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

// TestBackupDamagedBehindItsPassword says what is wrong in words of ours, and
// where it is the disk that cannot be read, in the disk's.
func TestBackupDamagedBehindItsPassword(t *testing.T) {
	s := furnished(t)
	var b bytes.Buffer
	if _, err := Write(s, &b, with("pass")); err != nil {
		t.Fatal(err)
	}
	raw := b.Bytes()
	payload := bytes.Index(raw, []byte("\n--- ")) + 60
	changed := func(at int) []byte {
		c := bytes.Clone(raw)
		c[at] ^= 0x41
		return c
	}
	errBroken := errors.New("input/output error")
	tests := []struct {
		name string
		in   io.Reader
		want string
		kind metabase.Kind
	}{
		{"cut in its head", bytes.NewReader(raw[:payload-40]), "damaged or cut off: its head does not read", metabase.Damaged},
		{"changed in its head", bytes.NewReader(changed(payload - 20)), "damaged or cut off: its head does not read", metabase.Damaged},
		{"cut in its payload", bytes.NewReader(raw[:len(raw)-9]), "damaged or cut off: from some place on", metabase.Damaged},
		{"without its payload", bytes.NewReader(raw[:payload+30]), "cut", metabase.Damaged},
		{"changed in its payload", bytes.NewReader(changed(payload + 60)), "damaged or cut off: from some place on", metabase.Damaged},
		{"changed at its end", bytes.NewReader(changed(len(raw) - 1)), "damaged or cut off: from some place on", metabase.Damaged},
		{"longer", bytes.NewReader(append(bytes.Clone(raw), 0)), "damaged or cut off", metabase.Damaged},
		{"on a broken disk", io.MultiReader(bytes.NewReader(raw[:payload+40]), failing{errBroken}), "input/output error", ""},
	}
	for _, tt := range tests {
		_, _, err := Restore(t.Context(), s, tt.in, "pass", metabase.Batch{})
		if err == nil || !strings.Contains(err.Error(), tt.want) || tt.kind != "" && !errors.Is(err, tt.kind) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for _, foreign := range []string{"payload", "chunk", "stanza", " age", "newer version"} {
			if strings.Contains(err.Error(), foreign) {
				t.Errorf("%s: speaks of %q: %v", tt.name, foreign, err)
			}
		}
	}
}

func TestBackupWriteFails(t *testing.T) {
	s := furnished(t)
	errFull := errors.New("disk full")
	if _, err := Write(s, failing{errFull}, with("")); !errors.Is(err, errFull) {
		t.Errorf("Write = %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
func (f failing) Read([]byte) (int, error)  { return 0, f.err }

func TestBackupFiles(t *testing.T) {
	s := furnished(t)
	dir := filepath.Join(t.TempDir(), "backups")
	if list, err := List(dir); err != nil || len(list) != 0 {
		t.Errorf("of no folder: %v, %v", list, err)
	}
	for want := range 3 {
		if b, err := Save(s, dir, "nightly", Newest, with("")); err != nil || b.Version != want || b.Size == 0 {
			t.Errorf("Save = %+v, %v; want version %d", b, err, want)
		}
	}
	if _, err := Save(s, dir, "nightly", 1, with("")); !errors.Is(err, metabase.Exists) {
		t.Errorf("a version is written over: %v", err)
	}
	if _, err := Save(s, dir, "a b.md7", 42, with("")); err != nil {
		t.Error(err)
	}
	if b, err := Save(s, dir, "NightLy", Newest, with("")); err != nil || b.Name != "nightly" || b.Version != 3 {
		t.Errorf("Save in another case = %+v, %v", b, err)
	}
	if f, b, err := Open(dir, "NIGHTLY", Newest); err != nil || b.Version != 3 {
		t.Errorf("Open in another case = %+v, %v", b, err)
	} else {
		f.Close()
	}
	if f, err := Delete(dir, "Nightly", Newest); err != nil || f.Version != 3 {
		t.Errorf("Delete of the newest = %+v, %v", f, err)
	}
	for _, name := range []string{"console", "com", "com10", "lpt", "nul1"} {
		if err := checkName(name); err != nil {
			t.Error(err)
		}
	}
	os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600)
	os.WriteFile(filepath.Join(dir, "x.mdy"), nil, 0o600)
	list, err := List(dir)
	var names []string
	for _, b := range list {
		names = append(names, fmt.Sprint(b.Name, " ", b.Version))
	}
	if want := []string{"a b.md7 42", "nightly 0", "nightly 1", "nightly 2"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("List = %q, %v", names, err)
	}
	f, b, err := Open(dir, "nightly", Newest)
	if err != nil || b.Version != 2 {
		t.Fatalf("Open = %+v, %v", b, err)
	}
	defer f.Close()
	if info, _ := f.Stat(); runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if rev, _, err := Restore(t.Context(), s, f, "", metabase.Batch{}); err != nil || rev != s.Snapshot().Rev() {
		t.Errorf("Restore = %d, %v", rev, err)
	}
	if f, err := Delete(dir, "NIGHTLY", 2); err != nil || f.Name != "nightly" || f.Version != 2 {
		t.Errorf("Delete = %+v, %v", f, err)
	}
	if _, err := Delete(dir, "nightly", 2); !errors.Is(err, metabase.NotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if _, _, err := Open(dir, "weekly", Newest); !errors.Is(err, metabase.NotFound) {
		t.Errorf("Open = %v", err)
	}
	for _, name := range []string{"", "../up", `a\b`, ".hidden", "a:b", "x ", strings.Repeat("n", 101), "a\nb",
		"con", "NUL", "Aux.old", "com1", "LPT9.md3", "com³", "prn .x", "conout$"} {
		if _, err := Save(s, dir, name, Newest, with("")); !errors.Is(err, metabase.Invalid) {
			t.Errorf("Save(%q) = %v", name, err)
		}
	}
	if _, err := Save(s, dir, "n", 10000, with("")); !errors.Is(err, metabase.Invalid) {
		t.Errorf("version 10000: %v", err)
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".tmp") {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

func FuzzRead(f *testing.F) {
	s := open(f)
	apply(f, s, metabase.AddKey{Path: "/A", Class: "K"}, metabase.Set{Path: "/A", Property: secret(1, "x")}, metabase.AddKey{Path: "/A/b"})
	var b bytes.Buffer
	if _, err := Write(s, &b, with("")); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(magic))
	f.Add([]byte(ageMagic + "v1\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		info, err := Verify(s, bytes.NewReader(raw), "")
		if err != nil && kindOf(err) != metabase.Damaged && kindOf(err) != metabase.Invalid {
			t.Errorf("%v has no kind", err)
		}
		if err == nil && info.Keys == 0 {
			t.Error("a backup of nothing is taken")
		}
	})
}

// A backup says what in it is not confirmed, and is restored with that.
func TestBackupOfWhatIsNotConfirmed(t *testing.T) {
	s := furnished(t)
	for _, password := range []string{"", "pass"} {
		at := metabase.Path("/New" + password)
		rev, err := s.Apply(t.Context(), metabase.Batch{Confirm: time.Hour, Ops: []metabase.Op{
			metabase.AddKey{Path: at}, metabase.Set{Path: at, Property: metabase.Property{ID: 7, Value: metabase.DWord(7)}}}})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		made, err := Write(s, &b, with(password))
		read, verr := Verify(s, bytes.NewReader(b.Bytes()), password)
		if err != nil || verr != nil || len(made.Pending) != 2 || fmt.Sprint(read.Pending) != fmt.Sprint(made.Pending) {
			t.Fatalf("%v, %v: %v, read %v", err, verr, made.Pending, read.Pending)
		}
		for i, id := range []metabase.ID{0, 7} {
			if p := read.Pending[i]; p.Path != at || p.ID != id || p.Rev != rev {
				t.Errorf("%d is %v", i, p)
			}
		}
		if _, info, err := Restore(t.Context(), s, bytes.NewReader(b.Bytes()), password, metabase.Batch{}); err != nil || len(info.Pending) != 2 {
			t.Errorf("restore: %v, %v", info.Pending, err)
		}
	}
	if parts := s.Snapshot().PendingParts(); len(parts) > 0 {
		t.Errorf("not confirmed after a restore: %v", parts)
	}
}
