// SPDX-License-Identifier: Apache-2.0

package recipients

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine/session":  "the session asks, by its own interface",
		"/engine/settings": "a list knows no settings",
		"/metabase":        "a list knows no settings",
		"/engine/wire":     "a list speaks no SMTP",
	})
}

func address(t testing.TB, text string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRead(t *testing.T) {
	l, err := Read(strings.NewReader("\ufeff# of held.test\r\n\r\n  Joe@HELD.test \r\nann\n\"q q\"@held.test\njoe@held.test\n\"a@b\"\nJürgen@bücher.test\nzoe\u0308\n"))
	if err != nil || l.Len() != 6 {
		t.Fatal(l, err)
	}
	for _, tt := range []struct {
		address string
		want    bool
	}{
		{"joe@held.test", true},
		{"JOE@held.test", true},
		{"joe@other.test", false},
		{"ann@held.test", true}, // a local part holds in each domain
		{"ANN@other.test", true},
		{`"q q"@held.test`, true},
		{`"a@b"@held.test`, true},
		{"a@b", false}, // the local part alone is no address
		{"jo@held.test", false},
		{"ju\u0308rgen@BÜCHER.test", true},
		{"JÜRGEN@xn--bcher-kva.test", true},
		{"jurgen@bücher.test", false},
		{"Zoë@held.test", true},
		{"# of held.test@held.test", false},
	} {
		if !strings.HasPrefix(tt.address, "#") && l.Has(address(t, tt.address)) != tt.want {
			t.Errorf("has %s: %v", tt.address, !tt.want)
		}
	}
}

func TestUnreadableLists(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "has no address"},
		{"with comments alone", "# nobody\n\n", "has no address"},
		{"half written", "joe@held.test\nann@he", "half written"},
		{"no addresses", "joe@held.test\nan@n@held..test\n", "line 2 is no address"},
		{"a table", "joe OK\n", "line 1 is no address"},
		{"two in a line", "joe\nbob;zed\n", "line 2 is no address: is more than one address"},
		{"with a comma", "ann,joe\n", "line 1 is no address: is more than one address"},
		{"everybody", "*\n", "line 1 is no address: * is not everybody"},
		{"Latin-1", "j\xfcrgen@held.test\n", "line 1 is no address: is not UTF-8"},
		{"no text", "\x00\x01\n", "line 1 is no address"},
		{"a very long line", "joe" + strings.Repeat("x", 70<<10) + "\n", "line 1 is longer"},
	} {
		if l, err := Read(strings.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) || l != nil {
			t.Errorf("%s: %v, %v; want %q", tt.name, l, err, tt.want)
		}
	}
}

// TestFilesAreReadAgain: each step writes the file or removes it; what was read
// before stays in use where it cannot be read.
func TestFilesAreReadAgain(t *testing.T) {
	joe, ann := address(t, "joe@held.test"), address(t, "ann@held.test")
	changes := 0
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		name := filepath.Join(dir, "list.txt")
		files := Files{Dir: dir, Changed: func() { changes++ }}
		who := User{1, "held.test"}
		for i, step := range []struct {
			text     string // "": removed
			joe, ann bool
			none     bool   // there is no list at all
			trouble  string // "": none
		}{
			{text: "", none: true, trouble: "list of recipients list.txt: "},
			{text: "joe@held.te", none: true, trouble: "half written"},
			{text: "joe@held.test\n", joe: true},
			{text: "ann@held.test\n", ann: true},
			{text: "", ann: true, trouble: "list of recipients list.txt: "},
			{text: "ann@held.test\n", ann: true},
			{text: "joe@held.test\nann@held.te", ann: true, trouble: "half written"},
			{text: "joe@held.test\nann@held.test\n", joe: true, ann: true},
		} {
			if step.text == "" {
				_ = os.Remove(name) // it is not there at first
			} else if err := os.WriteFile(name, []byte(step.text), 0o600); err != nil {
				t.Fatal(err)
			}
			stamp := time.Now().Add(time.Duration(i) * time.Second)
			if err := os.Chtimes(name, stamp, stamp); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			time.Sleep(2 * checkInterval) // of the bubble
			l, err := files.Find("list.txt", who)
			if (err != nil) != step.none || l != nil && (l.Has(joe) != step.joe || l.Has(ann) != step.ann) {
				t.Fatalf("step %d: %v, %v", i, l, err)
			}
			trouble := fmt.Sprint(files.Err(1))
			if step.trouble == "" && trouble != "<nil>" || !strings.Contains(trouble, step.trouble) {
				t.Fatalf("step %d: status has %q, want %q", i, trouble, step.trouble)
			}
			if files.Err(2) != nil {
				t.Fatalf("step %d: another site has the trouble, too", i)
			}
		}
	})
	if changes != 6 {
		t.Errorf("%d changes of the state, want 6", changes)
	}
}

// A list that its domain does not name any more is forgotten, with its trouble.
func TestKeep(t *testing.T) {
	files := Files{Dir: t.TempDir()}
	_, err := files.Find("none.txt", User{1, "held.test"})
	if err == nil || files.Err(1) == nil {
		t.Fatal(err, files.Err(1))
	}
	files.Keep(2, func(string, mail.Domain) bool { return false })
	files.Keep(1, func(path string, d mail.Domain) bool { return path == "none.txt" && d == "held.test" })
	if files.Err(1) == nil {
		t.Error("forgotten too early")
	}
	files.Keep(1, func(string, mail.Domain) bool { return false })
	if files.Err(1) != nil || len(files.files) != 0 {
		t.Error("not forgotten")
	}
}

// TestLargeLists: a large list takes eight octets for each address.
func TestLargeLists(t *testing.T) {
	var text strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&text, "user%d@held.test\n", i)
	}
	var before, after runtime.MemStats
	in := strings.NewReader(text.String())
	runtime.GC()
	runtime.ReadMemStats(&before)
	l, err := Read(in)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if l.Len() != 200_000 || !l.Has(address(t, "User199999@held.test")) || l.Has(address(t, "user200000@held.test")) {
		t.Error("the list is not what was written")
	}
	if mib := int64(after.HeapAlloc-before.HeapAlloc) >> 20; mib > 3 {
		t.Errorf("200,000 addresses take %d MiB", mib)
	}
}

func BenchmarkHas(b *testing.B) {
	var text strings.Builder
	for i := range 1_000_000 {
		fmt.Fprintf(&text, "user%d@held.test\n", i)
	}
	l, err := Read(strings.NewReader(text.String()))
	if err != nil {
		b.Fatal(err)
	}
	a := address(b, "someone.else@held.test")
	b.ReportAllocs()
	for b.Loop() {
		l.Has(a)
	}
}
