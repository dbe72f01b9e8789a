// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"restante/engine/delivery/transfer"
	"restante/engine/mail"
	"restante/internal/disk"
	"restante/internal/disk/disktest"
)

var errFault = disktest.ErrFault

func dropping(d disk.FS, dir string) *Delivery {
	return New(fixed(Route{Kind: Drop, Dir: dir}), nil, Options{FS: d})
}

func TestDropWritesTheEnvelopeOnTop(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Mailroot", "Drop") // made when missing
	body := "Received: x\r\nSubject: hi\r\n\r\n.dot\r\n\xff8 bit\r\n"
	l := newLease(
		message(1, body, "a@local.test", `"b c"@local.test`),
		message(1, body, "d@alias.test"), // the same message, another domain
	)
	dropping(nil, dir).Attempt(t.Context(), "local.test", l)
	if got := l.outcomes(1); got != `"b c"@local.test delivered, a@local.test delivered, d@alias.test delivered` {
		t.Errorf("settled %q", got)
	}
	want := map[string]bool{
		"x-sender: s@from.test\r\nx-receiver: a@local.test\r\nx-receiver: \"b c\"@local.test\r\n" + body: true,
		"x-sender: s@from.test\r\nx-receiver: d@alias.test\r\n" + body:                                   true,
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 2 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range names {
		raw, err := os.ReadFile(filepath.Join(dir, name.Name()))
		if err != nil || !want[string(raw)] || filepath.Ext(name.Name()) != ".eml" {
			t.Errorf("%s: %q, %v", name.Name(), raw, err)
		}
	}
}

func testDrop(t *testing.T, d *disktest.Disk) dropFolder {
	t.Helper()
	f, err := openDrop(d, ".", false)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDropOfTheNullSender(t *testing.T) {
	d := &disktest.Disk{}
	it := message(1, "x", "a@local.test")
	it.Env.From = mail.Address{}
	if err := testDrop(t, d).write(it); err != nil {
		t.Fatal(err)
	}
	for _, got := range d.Files() {
		if got != "x-sender: \r\nx-receiver: a@local.test\r\nx" {
			t.Errorf("%q", got)
		}
	}
}

// A message in an archive is the text alone, under its ID.
func TestArchive(t *testing.T) {
	d := &disktest.Disk{}
	l := newLease(message(1, "Subject: lost\r\n", "a@b.test", "c@b.test"))
	New(fixed(Route{Kind: Archive, Dir: "bad/mail"}), nil, Options{FS: d}).Attempt(t.Context(), "@badmail", l)
	id := string(message(1, "").Env.ID)
	want := map[string]string{filepath.Join("bad", "mail", id+".eml"): "Subject: lost\r\n"}
	if got := d.Files(); !maps.Equal(got, want) {
		t.Errorf("wrote %v, want %v", got, want)
	}
	if got := l.outcomes(1); got != "a@b.test delivered, c@b.test delivered" {
		t.Errorf("settled %q", got)
	}
}

func TestSecondDropAfterACrashReplacesTheFirst(t *testing.T) {
	d := &disktest.Disk{}
	for range 2 {
		if err := testDrop(t, d).write(message(1, "x", "a@local.test")); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.Files(); len(got) != 1 {
		t.Errorf("%d files", len(got))
	}
}

func TestDropLeavesNoTraceOnFailure(t *testing.T) {
	for n := 1; ; n++ {
		d := &disktest.Disk{FailAt: n}
		err := testDrop(t, d).write(message(1, "hello", "a@local.test"))
		if err == nil {
			if got := strings.Join(d.Log(), ", "); got != "create, write, sync, close, rename, sync folder" {
				t.Errorf("steps %q", got)
			}
			return // every step has had its turn
		}
		if !errors.Is(err, errFault) || !strings.HasPrefix(err.Error(), "drop 00000000000000000001: ") {
			t.Errorf("step %d: error %q", n, err)
		}
		if got := d.Files(); len(got) != 0 {
			t.Errorf("step %d: left behind %v", n, got)
		}
	}
}

func TestDropThatCannotBeWrittenIsDeferred(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&os.PathError{Op: "write", Err: syscall.ENOSPC}, "452 4.3.1 Insufficient system storage"},
		{errFault, "451 4.3.0 the message cannot be stored now"},
	} {
		for n := 1; n <= 8; n++ {
			d := &disktest.Disk{FailAt: n, Err: tt.err}
			l := newLease(message(1, "x", "a@local.test"))
			dropping(d, "drop").Attempt(t.Context(), "local.test", l)
			if l.outcomes(1) != "a@local.test deferred" || l.reply(1).String() != tt.want {
				t.Errorf("step %d: settled %q with %q, want %q", n, l.outcomes(1), l.reply(1), tt.want)
			}
		}
	}
}

func TestOneBadBodyDoesNotStopTheDrop(t *testing.T) {
	bad := message(1, "x", "a@local.test")
	bad.Open = func() (io.ReadSeekCloser, error) { return nil, errFault }
	l, d := newLease(bad, message(2, "x", "a@local.test")), &disktest.Disk{}
	dropping(d, "drop").Attempt(context.Background(), "local.test", l)
	if l.outcomes(1) != "a@local.test deferred" || l.outcomes(2) != "a@local.test delivered" || len(d.Files()) != 1 {
		t.Errorf("settled %q and %q, %d files", l.outcomes(1), l.outcomes(2), len(d.Files()))
	}
}

var _ transfer.Lease = (*lease)(nil)

// A folder that has its quota gets no further message: they wait with 4.2.2, and come into
// the folder when files have been taken from it.
func TestDropQuota(t *testing.T) {
	for _, tt := range []struct {
		name  string
		quota int64
		there int // octets in the folder
		want  string
	}{
		{"no quota", 0, 5000, "delivered delivered"},
		{"room for both", 5000, 0, "delivered delivered"},
		{"full after the first", 100, 10, "delivered deferred 452 4.2.2"},
		{"full before", 100, 100, "deferred 452 4.2.2 deferred 452 4.2.2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "Drop")
			if err := os.MkdirAll(filepath.Join(dir, "folder"), 0o700); err != nil {
				t.Fatal(err)
			}
			there := filepath.Join(dir, "there.eml")
			if err := os.WriteFile(there, make([]byte, tt.there), 0o600); err != nil {
				t.Fatal(err)
			}
			body := strings.Repeat("x", 100)
			items := []mail.Item{message(1, body, "a@local.test"), message(2, body, "a@local.test")}
			attempt := func(items ...mail.Item) *lease {
				l := newLease(items...)
				New(fixed(Route{Kind: Drop, Dir: dir, Quota: tt.quota}), nil, Options{}).Attempt(t.Context(), "local.test", l)
				return l
			}
			l := attempt(items...)
			var got []string
			var waits []mail.Item
			for _, it := range items {
				o := l.settled[it.Env.ID][0]
				if got = append(got, o.Status.String()); o.Status == mail.Deferred {
					got = append(got, o.Reply.String()[:len("452 4.2.2")])
					waits = append(waits, it)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%v, want %s", got, tt.want)
			}
			files, err := filepath.Glob(filepath.Join(dir, "*.eml"))
			if err != nil || len(files) != 1+len(items)-len(waits) {
				t.Errorf("%v, %v", files, err)
			}
			for _, it := range waits { // a program takes the files
				for _, name := range files {
					if err := os.Remove(name); err != nil {
						t.Fatal(err)
					}
				}
				l := attempt(it)
				if list := l.settled[it.Env.ID]; len(list) != 1 || list[0].Status != mail.Delivered {
					t.Errorf("in an empty folder: %+v", list)
				}
				files, _ = filepath.Glob(filepath.Join(dir, "*.eml"))
			}
		})
	}
}
