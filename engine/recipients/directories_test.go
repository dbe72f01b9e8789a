// SPDX-License-Identifier: Apache-2.0

package recipients

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
)

// fakeDirectory has the mailbox joe@held.test.
type fakeDirectory struct {
	id    string
	cache time.Duration
	down  atomic.Bool
	asked atomic.Int32
}

func (f *fakeDirectory) ID() string               { return f.id }
func (f *fakeDirectory) CacheTime() time.Duration { return f.cache }

func (f *fakeDirectory) Has(ctx context.Context, a mail.Address) (bool, error) {
	f.asked.Add(1)
	if f.down.Load() {
		return false, errors.New("connection refused")
	}
	return a.Local == "joe", ctx.Err()
}

// Answers are kept for their time, and a directory that is down is asked again, by one
// caller after a time: recipients never wait for it in between.
func TestDirectoriesRemember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, changed := &fakeDirectory{id: "one", cache: 5 * time.Minute}, 0
		d := &Directories{Changed: func() { changed++ }}
		who := User{Site: 1, Domain: "held.test"}
		for _, step := range []struct {
			what       string
			wait       time.Duration
			down       bool
			local      string
			there, bad bool
			asked      int32
		}{
			{what: "first", local: "joe", there: true, asked: 1},
			{what: "in another spelling", local: "JOE", there: true, asked: 1},
			{what: "unknown", local: "ann", asked: 2},
			{what: "unknown again", local: "ann", asked: 2},
			{what: "unknown, a minute later", wait: time.Minute, local: "ann", asked: 3},
			{what: "known, a minute later", local: "joe", there: true, asked: 3},
			{what: "down, remembered", down: true, local: "joe", there: true, asked: 3},
			{what: "down", down: true, local: "eve", bad: true, asked: 4},
			{what: "down, at once", down: true, local: "max", bad: true, asked: 4},
			{what: "up, at once", local: "max", bad: true, asked: 4},
			{what: "up", wait: 5 * time.Second, local: "max", asked: 5},
			{what: "known no longer", wait: 5 * time.Minute, down: true, local: "joe", bad: true, asked: 6},
		} {
			time.Sleep(step.wait)
			f.down.Store(step.down)
			there, err := d.Has(t.Context(), f, who, mail.Address{Local: step.local, Domain: "held.test"})
			if there != step.there || (err != nil) != step.bad || f.asked.Load() != step.asked {
				t.Errorf("%s: %v, %v, asked %d times; want %v, an error %v, %d", step.what, there, err, f.asked.Load(), step.there, step.bad, step.asked)
			}
		}
		if got := d.Err(1); got == nil || !strings.Contains(got.Error(), "directory of recipients: connection refused (since ") {
			t.Errorf("the site is told %v", got)
		}
		if got := d.Err(2); got != nil {
			t.Errorf("another site is told %v", got)
		}
		if changed != 3 {
			t.Errorf("%d changes are told, want 3: down, up, down", changed)
		}
		d.Keep(1, func(id string, domain mail.Domain) bool { return id == "one" && domain == "held.test" })
		if d.Err(1) == nil {
			t.Error("a directory that is still used is forgotten")
		}
		d.Keep(1, func(string, mail.Domain) bool { return false })
		if got := d.Err(1); got != nil {
			t.Errorf("of a directory that is no longer used: %v", got)
		}
	})
}

// A caller who leaves says nothing about the directory.
func TestDirectoriesAndCallersWhoLeave(t *testing.T) {
	f, d := &fakeDirectory{id: "one", cache: time.Minute}, &Directories{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if there, err := d.Has(ctx, f, User{Site: 1}, mail.Address{Local: "joe", Domain: "held.test"}); there || err == nil || d.Err(1) != nil {
		t.Errorf("%v, %v; the site is told %v", there, err, d.Err(1))
	}
}

// Strangers who name addresses do not fill the memory.
func TestDirectoriesAreBounded(t *testing.T) {
	f, d := &fakeDirectory{id: "one", cache: time.Hour}, &Directories{}
	for i := range maxAnswers + 10 {
		local := strings.Repeat("x", i%50) + string(rune('a'+i%26)) + time.Duration(i).String()
		if _, err := d.Has(t.Context(), f, User{Site: 1}, mail.Address{Local: local, Domain: "held.test"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.known["one"].answers); n > maxAnswers {
		t.Errorf("%d answers are kept, at most %d may be", n, maxAnswers)
	}
}
