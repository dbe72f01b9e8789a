// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"restante/engine/mail"
	"restante/internal/kv"
)

// toFormat1 gives the queue in db the keys that it had before there was a
// format.
func toFormat1(t *testing.T, db kv.DB) {
	t.Helper()
	ops := []kv.Op{kv.Del([]byte(formatKey))}
	for p, err := range db.Scan(t.Context(), []byte("q/")) {
		if err != nil {
			t.Fatal(err)
		}
		key := bytes.Clone(p.Key)
		switch {
		case bytes.HasPrefix(key, []byte(countPrefix)):
			ops = append(ops, kv.Del(key))
		case bytes.HasPrefix(key, []byte(entryPrefix)):
			d, id, err := splitEntryKey(key)
			if err != nil {
				t.Fatal(err)
			}
			ops = append(ops, kv.Del(key), kv.Put([]byte(entryPrefix+string(id)+"/"+string(d)), bytes.Clone(p.Value)))
		}
	}
	if err := db.Commit(t.Context(), ops...); err != nil {
		t.Fatal(err)
	}
}

// formatOne is a queue in format 1 with one message of each sort, and what it
// shows of them.
func formatOne(t *testing.T) (*fixture, []Detail) {
	h := newFixture(t)
	for _, d := range []mail.Domain{"a.test", "b.test", "c.test", "s.test"} {
		h.held[d] = true
	}
	var want []Detail
	several := h.accept("s@s.test", "x@b.test", "y@b.test", "x@c.test", "x@a.test")
	for _, id := range []mail.MessageID{h.accept("s@s.test", "x@b.test"), several, h.accept("", "x@c.test")} {
		if _, err := h.q.Freeze(t.Context(), Filter{IDs: []mail.MessageID{several}}, false); err != nil {
			t.Fatal(err)
		}
		d, err := h.q.Show(id)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, d)
	}
	if err := h.db.Commit(t.Context(), kv.Put(backoffKey("b.test"), backoff{failures: 2, next: now() + 1e12}.encode())); err != nil {
		t.Fatal(err)
	}
	toFormat1(t, h.db.DB)
	return h, want
}

func TestMigrateAtEveryStep(t *testing.T) {
	for n := 0; ; n++ {
		h, want := formatOne(t)
		h.db.calls, h.db.failAt = 0, n
		_, err := New(context.Background(), h.store, h.db, h.dep)
		done := h.db.calls <= n
		if !done && !errors.Is(err, errFault) {
			t.Errorf("step %d: %v", n, err)
		}
		h.db.failAt = -1
		for range 2 { // the second start finds the new format
			h.reopen()
			h.check()
			for _, d := range want {
				if got, err := h.q.Show(d.Envelope.ID); err != nil || !reflect.DeepEqual(got, d) {
					t.Errorf("step %d: %+v, %v; want %+v", n, got, err, d)
				}
			}
		}
		for _, d := range []mail.Domain{"a.test", "b.test", "c.test"} {
			if _, err := h.q.Delete(t.Context(), Filter{Domain: d}, false); err != nil {
				t.Error(err)
			}
			h.check()
		}
		if left := h.store.Messages(); left != 0 || h.q.Counts().Messages != 0 {
			t.Errorf("step %d: %d messages stay after the last entry", n, left)
		}
		if done {
			t.Logf("%d steps", n)
			return
		}
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"] = true
	h.accept("s@s.test", "x@b.test")
	if err := h.db.Commit(t.Context(), kv.Put([]byte(formatKey), []byte("3"))); err != nil {
		t.Fatal(err)
	}
	_, err := New(t.Context(), h.store, h.db, h.dep)
	if err == nil || !strings.Contains(err.Error(), `in format "3"`) || !strings.Contains(err.Error(), `reads format "2"`) {
		t.Errorf("New = %v", err)
	}
}

// Counts that a damaged index has lost or kept too high are corrected at the
// next start, so that each message goes with its last entry.
func TestCountsAreCorrected(t *testing.T) {
	h := newFixture(t)
	for _, d := range []mail.Domain{"b.test", "c.test"} {
		h.held[d] = true
	}
	lost, high, stale := h.accept("", "x@b.test", "x@c.test"), h.accept("", "x@b.test", "x@c.test"), h.accept("", "x@b.test")
	if err := h.db.Commit(t.Context(), kv.Del(countKey(lost)), kv.Put(countKey(high), encodeCount(7)),
		kv.Put(countKey(stale), encodeCount(2)), kv.Put(countKey("gone"), []byte{0xff})); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	h.check()
	for _, d := range []mail.Domain{"b.test", "c.test"} {
		l, err := h.q.Lease(d, "test")
		if err != nil {
			t.Fatal(err)
		}
		always(yes, "mx")(l)
		l.Close()
		h.check()
	}
	if n := h.store.Messages(); n != 0 {
		t.Errorf("%d messages stay after the last entry", n)
	}
}
