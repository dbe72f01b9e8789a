// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"restante/engine/delivery/transfer"
	"restante/engine/mail"
)

var errFault = errors.New("fault")

// memDisk keeps files in memory and fails at its n-th step.
type memDisk struct {
	files  map[string]*memFile
	dirs   map[string]bool
	step   int
	failAt int // 0: never
	err    error
	log    []string
}

func newMemDisk() *memDisk {
	return &memDisk{files: map[string]*memFile{}, dirs: map[string]bool{}, err: errFault}
}

func (d *memDisk) do(what string) error {
	d.log = append(d.log, what)
	if d.step++; d.step == d.failAt {
		return d.err
	}
	return nil
}

type memFile struct {
	bytes.Buffer
	d    *memDisk
	name string
}

func (f *memFile) Write(p []byte) (int, error) {
	if err := f.d.do("write"); err != nil {
		return 0, err
	}
	return f.Buffer.Write(p)
}
func (f *memFile) Sync() error  { return f.d.do("sync") }
func (f *memFile) Close() error { return f.d.do("close") }

func (d *memDisk) MkdirAll(dir string) error {
	d.dirs[dir] = true
	return d.do("mkdir")
}

func (d *memDisk) Create(name string) (file, error) {
	if err := d.do("create"); err != nil {
		return nil, err
	}
	d.files[name] = &memFile{d: d, name: name}
	return d.files[name], nil
}

func (d *memDisk) Rename(from, to string) error {
	if err := d.do("rename"); err != nil {
		return err
	}
	d.files[to] = d.files[from]
	delete(d.files, from)
	return nil
}

func (d *memDisk) Remove(name string) error {
	delete(d.files, name)
	return nil
}
func (d *memDisk) SyncDir(string) error { return d.do("sync folder") }

func dropping(d folder, dir string) *Delivery {
	return New(fixed(Route{Kind: Drop, Dir: dir}), nil, Options{folder: d})
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

func TestDropOfTheNullSender(t *testing.T) {
	d := newMemDisk()
	it := message(1, "x", "a@local.test")
	it.Env.From = mail.Address{}
	if err := writeDrop(d, "drop", it); err != nil {
		t.Fatal(err)
	}
	for _, f := range d.files {
		if got := f.String(); got != "x-sender: \r\nx-receiver: a@local.test\r\nx" {
			t.Errorf("%q", got)
		}
	}
}

func TestSecondDropAfterACrashReplacesTheFirst(t *testing.T) {
	d := newMemDisk()
	for range 2 {
		if err := writeDrop(d, "drop", message(1, "x", "a@local.test")); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.files) != 1 {
		t.Errorf("%d files", len(d.files))
	}
}

func TestDropLeavesNoTraceOnFailure(t *testing.T) {
	for n := 1; ; n++ {
		d := newMemDisk()
		d.failAt = n
		err := writeDrop(d, "drop", message(1, "hello", "a@local.test"))
		if err == nil {
			if got := strings.Join(d.log, ", "); got != "create, write, sync, close, rename, sync folder" {
				t.Errorf("steps %q", got)
			}
			return // every step has had its turn
		}
		if !errors.Is(err, errFault) || !strings.HasPrefix(err.Error(), "drop 00000000000000000001: ") {
			t.Errorf("step %d: error %q", n, err)
		}
		if len(d.files) != 0 {
			t.Errorf("step %d: left behind %v", n, d.files)
		}
	}
}

func TestDropThatCannotBeWrittenIsDeferred(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&os.PathError{Op: "write", Err: syscall.ENOSPC}, "452 4.3.1 there is no room for the message"},
		{errFault, "451 4.3.0 the message cannot be stored now"},
	} {
		for n := 1; n <= 7; n++ {
			d := newMemDisk()
			d.failAt, d.err = n, tt.err
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
	l, d := newLease(bad, message(2, "x", "a@local.test")), newMemDisk()
	dropping(d, "drop").Attempt(context.Background(), "local.test", l)
	if l.outcomes(1) != "a@local.test deferred" || l.outcomes(2) != "a@local.test delivered" || len(d.files) != 1 {
		t.Errorf("settled %q and %q, %d files", l.outcomes(1), l.outcomes(2), len(d.files))
	}
}

var _ transfer.Lease = (*lease)(nil)
