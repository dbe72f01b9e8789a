// SPDX-License-Identifier: Apache-2.0

package indoubt

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"restante/internal/deptest"
)

// open opens the file of one holder, and closes it with the test.
func open(t *testing.T, dir string, now time.Time) *File {
	t.Helper()
	f, err := Open(dir, "hub.test:366", "anna", func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func key(from, to, body string) Key {
	h := NewHash()
	_, _ = h.Write([]byte(body))
	return h.Key(from, to)
}

func add(t *testing.T, f *File, keys ...Key) {
	t.Helper()
	if err := f.Add("<1@x test>\n", keys...); err != nil {
		t.Fatal(err)
	}
}

func TestMessagesAreKnownUntilTheyAreConfirmed(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1_800_000_000, 0)
	a, b := key("s@x", "a@y", "one"), key("s@x", "b@y", "one")
	f := open(t, dir, now)
	add(t, f, a, b)
	add(t, f, a) // the same once more
	if f.Known(a) || f.Sender("s@x") {
		t.Error("a message of this session is known in it: two that are alike would be one")
	}
	f.Close()

	f = open(t, dir, now)
	if f.Known(key("s@x", "a@y", "two")) || f.Known(key("other@x", "a@y", "one")) || f.Sender("other@x") {
		t.Error("other messages are known")
	}
	if !f.Sender("s@x") || !f.Known(a) || !f.Known(a) || f.Known(a) {
		t.Error("a message that was taken twice is not known twice")
	}
	f.Close() // this session breaks, too

	f = open(t, dir, now)
	if !f.Known(a) || !f.Known(b) {
		t.Error("messages of a session that broke twice are not known")
	}
	add(t, f, key("s@x", "a@y", "three"))
	if err := f.Confirm(); err != nil {
		t.Fatal(err)
	}
	f.Close()

	f = open(t, dir, now)
	defer f.Close()
	if f.Known(b) || f.Known(key("s@x", "a@y", "three")) || !f.Known(a) || f.Sender("s@x") {
		t.Error("what was confirmed is known, or what was not is forgotten")
	}
}

func TestDamageAndAgeLoseLittle(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1_800_000_000, 0)
	f := open(t, dir, now)
	var keys []Key
	for i := range 3 {
		keys = append(keys, key("s@x", "a@y", fmt.Sprint(i)))
		add(t, f, keys[i])
	}
	f.Close()
	name, err := filepath.Glob(filepath.Join(dir, "*.taken"))
	if err != nil || len(name) != 1 {
		t.Fatal(name, err)
	}
	text, err := os.ReadFile(name[0])
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), "\n") != 3 || !strings.Contains(string(text), " <1@x_test>_\n") {
		t.Errorf("%q", text)
	}
	for cut := range len(text) { // a power cut at each octet
		if err := os.WriteFile(name[0], text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		f := open(t, dir, now)
		whole := strings.Count(string(text[:cut]), "\n")
		for i, k := range keys {
			if f.Known(k) != (i < whole) && i != whole { // the last line may lack its Message-ID
				t.Fatalf("cut at %d: message %d", cut, i)
			}
		}
		f.Close()
	}
	if err := os.WriteFile(name[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	f = open(t, dir, now.Add(MaxAge))
	defer f.Close()
	if f.Sender("s@x") {
		t.Error("messages are known for ever")
	}
}

func TestOneCallAtATime(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, time.Now())
	if _, err := Open(dir, "HUB.test:366", "ANNA", time.Now); err == nil || !strings.Contains(err.Error(), "another call") {
		t.Error(err)
	}
	other, err := Open(dir, "hub.test:366", "bert", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
	f.Close()
	open(t, dir, time.Now()).Close()
}

func TestEntriesAreBounded(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1_800_000_000, 0)
	f := open(t, dir, now)
	var keys []Key
	for i := range 2*MaxEntries + 1 {
		keys = append(keys, key("s@x", "a@y", fmt.Sprint(i)))
	}
	add(t, f, keys...)
	add(t, f, key("s@x", "a@y", "last"))
	f.Close()
	f = open(t, dir, now)
	defer f.Close()
	if n := len(f.earlier); n != MaxEntries || !f.Known(key("s@x", "a@y", "last")) {
		t.Errorf("%d entries, or the last is not among them", n)
	}
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":   "it knows keys, and no SMTP",
		"/metabase": "a host that collects has no tree",
	})
}
