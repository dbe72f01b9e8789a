// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/site/ports"
	"restante/internal/kv"
	"restante/internal/testpeer"
)

var errFault = errors.New("injected fault")

// A failing DB fails its commits while it is told to.
type failing struct {
	kv.DB
	fails atomic.Bool
}

func (f *failing) Commit(ctx context.Context, ops ...kv.Op) error {
	if f.fails.Load() {
		return errFault
	}
	return f.DB.Commit(ctx, ops...)
}

// collect turns the connection round and gives the subjects of what comes.
func (h *harness) collect(each func()) (subjects []string) {
	h.t.Helper()
	l := h.dial()
	if err := l.SignIn("joe", "pw"); err != nil {
		h.t.Fatal(err)
	}
	if err := l.Say("TURN", "250"); err != nil {
		return nil // nothing waits
	}
	_ = l.Receive(func(m testpeer.Received) error { // it ends when the storage fails
		_, rest, _ := strings.Cut(string(m.Data), "Subject: ")
		subject, _, _ := strings.Cut(rest, "\r\n")
		subjects = append(subjects, subject)
		each()
		return nil
	})
	return subjects
}

// A site whose storage fails says so, opens it again by itself, and hands over
// no message twice.
func TestStorageThatFails(t *testing.T) {
	for _, kind := range []string{"settle of a release", "message"} {
		t.Run(kind, func(t *testing.T) {
			set := newSettings(t)
			db := &failing{DB: set.db}
			set.db = db
			h := runSite(t, set.make(1, loopback), set, &ports.Set{})
			h.must(Start)
			const n = 4
			l := h.dial()
			var sent []string
			for i := range n {
				sent = append(sent, fmt.Sprint(i))
				if err := l.Send("a@b.test", "x@held.test", fmt.Appendf(nil, "Subject: %d\r\n\r\n.\r\n", i)); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			if kind == "message" {
				db.fails.Store(true)
				if err := l.Send("a@b.test", "x@held.test", []byte("Subject: refused\r\n\r\n.\r\n")); err == nil || !strings.Contains(err.Error(), "45") {
					t.Errorf("a message that cannot be stored: %v", err)
				}
			} else {
				got = h.collect(func() { db.fails.Store(true) })
			}
			st := h.until(func() bool { st := h.Status(); return st.State == Stopped && st.Why != "" })
			if !strings.Contains(st.Why, "queue") || !strings.Contains(st.Why, errFault.Error()) {
				t.Errorf("%+v", st)
			}
			db.fails.Store(false)
			if st := h.until(func() bool { return h.Status().State == Started }); st.Why != "" {
				t.Errorf("opened again: %+v", st)
			}
			got = append(got, h.collect(func() {})...)
			if slices.Sort(got); !slices.Equal(got, sent) {
				t.Errorf("handed over %q, want %q", got, sent)
			}
			eventually(t, "the queue is empty", func() bool { return h.Status().Messages == 0 })
		})
	}
}

// Why tells a disk that is too full for a message until something is stored again.
func TestWhyTellsAFullDisk(t *testing.T) {
	set := newSettings(t)
	full := set.make(1, loopback)
	full.Mail.Limits.Reserve = 1 << 60
	h := runSite(t, full, set, &ports.Set{})
	h.must(Start)
	l := h.dial()
	send := func() error { return l.Send("a@b.test", "x@held.test", []byte("Subject: x\r\n\r\n.\r\n")) }
	if err := send(); err == nil || !strings.Contains(err.Error(), "452") {
		t.Errorf("on a full disk: %v", err)
	}
	if st := h.Status(); st.State != Started || !strings.Contains(st.Why, "must stay free (DiskReserve)") {
		t.Errorf("%+v", st)
	}
	h.settle(set.make(2, loopback))
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if st := h.Status(); st.Why != "" {
		t.Errorf("%+v", st)
	}
}

// A fullStore has room for the beginning of a message alone.
type fullStore struct{ queue.Store }

type fullDraft struct{ queue.Draft }

func (s fullStore) Create(ctx context.Context) (queue.Draft, error) {
	d, err := s.Store.Create(ctx)
	return fullDraft{d}, err
}

func (fullDraft) Write([]byte) (int, error) { return 0, fmt.Errorf("%w: within a message", kv.ErrFull) }

func TestWhyTellsADiskThatFillsUp(t *testing.T) {
	set := newSettings(t)
	cfg := set.make(1, loopback)
	open := cfg.Mail.Open
	cfg.Mail.Open = func(ctx context.Context, limits func() StorageLimits) (Storage, error) {
		s, err := open(ctx, limits)
		s.Messages = fullStore{s.Messages}
		return s, err
	}
	h := runSite(t, cfg, set, &ports.Set{})
	h.must(Start)
	if err := h.dial().Send("a@b.test", "x@held.test", []byte("Subject: x\r\n\r\n.\r\n")); err == nil || !strings.Contains(err.Error(), "452") {
		t.Error(err)
	}
	if st := h.Status(); !strings.Contains(st.Why, "within a message") {
		t.Errorf("%+v", st)
	}
}

// Why tells a failure to store until something is stored again.
func TestWhyTellsAFailureToStore(t *testing.T) {
	h := started(t)
	h.noteStorage(mail.Reply{Code: 452, Text: "full", Cause: errFault})
	if st := h.Status(); st.State != Started || !strings.Contains(st.Why, "full") {
		t.Errorf("%+v", st)
	}
	if err := h.dial().Send("a@b.test", "x@held.test", []byte("Subject: x\r\n\r\n.\r\n")); err != nil {
		t.Fatal(err)
	}
	if st := h.Status(); st.Why != "" {
		t.Errorf("%+v", st)
	}
}
