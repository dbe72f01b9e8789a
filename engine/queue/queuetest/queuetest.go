// SPDX-License-Identifier: Apache-2.0

// Package queuetest holds every [queue.Store] to its contract.
package queuetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"restante/engine/mail"
	"restante/engine/queue"
	"restante/internal/kv"
)

// Run tests the stores that open returns. Open is called with an empty DB, and
// again with the same DB after the first store was left.
func Run(t *testing.T, open func(t *testing.T, db kv.DB) queue.Store) {
	for _, fact := range []struct {
		name string
		hold func(*testing.T, *suite)
	}{
		{"a message reads back after a restart", readsBack},
		{"what is on top of a message is read as a part of it", onTop},
		{"an aborted draft leaves nothing", aborted},
		{"a second message with an ID is refused", duplicate},
		{"a refused commit leaves nothing", refused},
		{"a removed message is lost", removed},
		{"scan is in the order of IDs", scanOrder},
		{"readers are independent", readers},
		{"commits at the same time keep to themselves", concurrent},
		{"a condition refuses its own commit only", conditions},
		{"of commits with the same condition one succeeds", races},
	} {
		t.Run(fact.name, func(t *testing.T) {
			s := &suite{open: open, db: kv.NewMem()}
			s.restart(t)
			fact.hold(t, s)
		})
	}
}

type suite struct {
	queue.Store
	open func(t *testing.T, db kv.DB) queue.Store
	db   kv.DB
}

func (s *suite) restart(t *testing.T) { s.Store = s.open(t, s.db) }

func envelope(i int) mail.Envelope {
	at := time.Unix(1_700_000_000, int64(i)*1e6).UTC()
	return mail.Envelope{
		ID: mail.NewMessageID(at), From: mail.Address{Local: "a", Domain: "a.test"}, Received: at,
		To:     []mail.Recipient{{Address: mail.Address{Local: "b", Domain: "b.test"}, Notify: "NEVER", ORcpt: "rfc822;b@b.test"}},
		Client: netip.MustParseAddr("192.0.2.1"), Helo: "client.test", Ret: "HDRS", EnvID: "x", TLS: true, Body8Bit: true,
	}
}

func key(id mail.MessageID) []byte { return []byte("q/test/" + id) }

func (s *suite) draft(t *testing.T, text []byte) queue.Draft {
	t.Helper()
	d, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(d, bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if d.Size() != int64(len(text)) {
		t.Fatalf("Size = %d after %d octets", d.Size(), len(text))
	}
	return d
}

func (s *suite) add(t *testing.T, env mail.Envelope, text []byte) mail.Envelope {
	t.Helper()
	env.Size = int64(len(text))
	if err := s.draft(t, text).Commit(t.Context(), env, kv.Put(key(env.ID), []byte("extra"))); err != nil {
		t.Fatal(err)
	}
	return env
}

func (s *suite) text(t *testing.T, id mail.MessageID) []byte {
	t.Helper()
	f, err := s.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// want says which messages there are, and that each has its extra operation.
func (s *suite) want(t *testing.T, want ...mail.MessageID) {
	t.Helper()
	var got []mail.MessageID
	for env, err := range s.Scan(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, env.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("Scan = %v, want %v", got, want)
	}
	var extra []mail.MessageID
	for p, err := range s.db.Scan(t.Context(), key("")) {
		if err != nil {
			t.Fatal(err)
		}
		extra = append(extra, mail.MessageID(p.Key[len(key("")):]))
	}
	if !slices.Equal(extra, want) {
		t.Errorf("extra operations of %v, want %v", extra, want)
	}
}

func (s *suite) wantLost(t *testing.T, id mail.MessageID) {
	t.Helper()
	if f, err := s.Open(id); !errors.Is(err, mail.ErrLost) {
		t.Errorf("Open = %v, %v; want mail.ErrLost", f, err)
	}
	if _, err := s.Envelope(id); !errors.Is(err, mail.ErrLost) {
		t.Errorf("Envelope = %v, want mail.ErrLost", err)
	}
}

func readsBack(t *testing.T, s *suite) {
	for i, n := range []int{0, 1, 5000, 100_000, 2 << 20} {
		text := bytes.Repeat([]byte{byte('a' + i)}, n)
		env := s.add(t, envelope(i), text)
		for range 2 {
			if got := s.text(t, env.ID); !bytes.Equal(got, text) {
				t.Errorf("%d octets of %d, or other ones", len(got), n)
			}
			if got, err := s.Envelope(env.ID); err != nil || !reflect.DeepEqual(got, env) {
				t.Errorf("Envelope = %+v, %v; want %+v", got, err, env)
			}
			s.restart(t)
		}
	}
}

func onTop(t *testing.T, s *suite) {
	const top = "Top: 1\r\n"
	for i, n := range []int{0, 10, 100_000, 2 << 20} {
		text := bytes.Repeat([]byte{byte('a' + i)}, n)
		env := envelope(i)
		env.Top, env.Size = top, int64(len(top)+n)
		if err := s.draft(t, text).Commit(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		env.Top = ""
		for range 2 {
			if got := s.text(t, env.ID); string(got) != top+string(text) {
				t.Errorf("of %d octets below the top, the text is %d octets, or other ones: %.20q", n, len(got), got)
			}
			if got, err := s.Envelope(env.ID); err != nil || !reflect.DeepEqual(got, env) {
				t.Errorf("Envelope = %+v, %v; want %+v", got, err, env)
			}
			s.restart(t)
		}
		f, err := s.Open(env.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(5, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(f); err != nil || string(got) != (top + string(text))[5:] {
			t.Errorf("from within the top, %d octets are read, or other ones, %v", len(got), err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func aborted(t *testing.T, s *suite) {
	for _, n := range []int{10, 2 << 20} {
		d := s.draft(t, make([]byte, n))
		d.Abort()
		d.Abort()
		if err := d.Commit(t.Context(), envelope(1)); err == nil {
			t.Error("an aborted draft was committed")
		}
	}
	d := s.draft(t, []byte("kept"))
	env := envelope(2)
	if err := d.Commit(t.Context(), env, kv.Put(key(env.ID), nil)); err != nil {
		t.Fatal(err)
	}
	d.Abort()
	s.want(t, env.ID)
	s.restart(t)
	s.want(t, env.ID)
}

func duplicate(t *testing.T, s *suite) {
	env := s.add(t, envelope(1), []byte("first"))
	other := envelope(2)
	if err := s.draft(t, []byte("second")).Commit(t.Context(), env, kv.Put(key(other.ID), nil)); err == nil {
		t.Error("a second message was stored under the same ID")
	}
	s.want(t, env.ID)
	if got := s.text(t, env.ID); string(got) != "first" {
		t.Errorf("the text is %q now", got)
	}
}

func refused(t *testing.T, s *suite) {
	for _, n := range []int{10, 2 << 20} {
		env := envelope(n)
		err := s.draft(t, make([]byte, n)).Commit(t.Context(), env, kv.Put(key(env.ID), nil), kv.Put(make([]byte, 1<<20), nil))
		if !errors.Is(err, kv.ErrTooLarge) {
			t.Errorf("an operation that is too large = %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		d := s.draft(t, make([]byte, n))
		cancel()
		if err := d.Commit(ctx, env, kv.Put(key(env.ID), nil)); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of the context = %v", err)
		}
		s.wantLost(t, env.ID)
	}
	s.want(t)
	s.restart(t)
	s.want(t)
}

func removed(t *testing.T, s *suite) {
	one, two, three := s.add(t, envelope(1), []byte("1")), s.add(t, envelope(2), make([]byte, 2<<20)), s.add(t, envelope(3), []byte("3"))
	s.wantLost(t, envelope(4).ID)
	if err := s.Remove(t.Context(), []mail.MessageID{one.ID}, kv.Del(key(one.ID)), kv.Put(make([]byte, 1<<20), nil)); err == nil {
		t.Error("an operation that is too large was taken")
	}
	s.want(t, one.ID, two.ID, three.ID)
	for range 2 { // the second time nothing is there
		if err := s.Remove(t.Context(), []mail.MessageID{one.ID, two.ID}, kv.Del(key(one.ID)), kv.Del(key(two.ID))); err != nil {
			t.Fatal(err)
		}
		s.want(t, three.ID)
		s.wantLost(t, one.ID)
		s.wantLost(t, two.ID)
		s.restart(t)
	}
	s.want(t, three.ID)
}

func scanOrder(t *testing.T, s *suite) {
	var want []mail.MessageID
	for _, i := range []int{5, 1, 4, 2, 3} {
		want = append(want, s.add(t, envelope(i), nil).ID)
	}
	slices.Sort(want)
	s.want(t, want...)
	s.restart(t)
	s.want(t, want...)
}

func readers(t *testing.T, s *suite) {
	env := s.add(t, envelope(1), []byte("0123456789"))
	a, err := s.Open(env.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := s.Open(env.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Seek(5, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); string(got) != "0123456789" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(a); string(got) != "56789" || err != nil {
		t.Errorf("after Seek: read %q, %v", got, err)
	}
}

func concurrent(t *testing.T, s *suite) {
	var all sync.WaitGroup
	var want []mail.MessageID
	for i := range 40 {
		env := envelope(i)
		refuse := i%4 == 0
		if !refuse {
			want = append(want, env.ID)
		}
		d := s.draft(t, []byte(env.ID))
		all.Go(func() {
			extra := []kv.Op{kv.Put(key(env.ID), nil)}
			if refuse {
				extra = append(extra, kv.Put(make([]byte, 1<<20), nil))
			}
			if err := d.Commit(t.Context(), env, extra...); (err != nil) != refuse {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	all.Wait()
	slices.Sort(want)
	s.want(t, want...)
	for _, id := range want {
		if got := s.text(t, id); string(got) != string(id) {
			t.Errorf("the text of %s is %q", id, got)
		}
	}
}

// conditions commits messages under a condition that does not hold, beside
// others.
func conditions(t *testing.T, s *suite) {
	var all sync.WaitGroup
	var want []mail.MessageID
	for i := range 40 {
		env := envelope(i)
		op := kv.Must([]byte("q/absent"), nil)
		refuse := i%4 == 0
		if refuse {
			op = kv.Must([]byte("q/absent"), []byte("value"))
		} else {
			want = append(want, env.ID)
		}
		size := 10
		if i%8 == 0 {
			size = 2 << 20
		}
		d := s.draft(t, make([]byte, size))
		all.Go(func() {
			err := d.Commit(t.Context(), env, op, kv.Put(key(env.ID), nil))
			if errors.Is(err, kv.ErrMoved) != refuse || err != nil && !refuse {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	all.Wait()
	slices.Sort(want)
	s.want(t, want...)
	id := want[0]
	if err := s.Remove(t.Context(), want[:1], kv.Must([]byte("q/absent"), []byte("value")), kv.Del(key(id))); !errors.Is(err, kv.ErrMoved) {
		t.Errorf("Remove = %v", err)
	}
	s.want(t, want...)
	s.restart(t)
	s.want(t, want...)
	if got := s.text(t, id); len(got) != 10 {
		t.Errorf("%s has %d octets", id, len(got))
	}
}

// races commits messages that all depend on the same key and change it.
func races(t *testing.T, s *suite) {
	for round := range 20 {
		var all sync.WaitGroup
		var mu sync.Mutex
		var won []mail.MessageID
		turn := []byte("q/turn")
		before, _, err := s.db.Get(turn)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 8 {
			env := envelope(100*round + i)
			d := s.draft(t, []byte("text"))
			all.Go(func() {
				err := d.Commit(t.Context(), env, kv.Must(turn, before), kv.Put(turn, []byte(env.ID)), kv.Put(key(env.ID), nil))
				if err != nil && !errors.Is(err, kv.ErrMoved) {
					t.Error(err)
				}
				if err == nil {
					mu.Lock()
					won = append(won, env.ID)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if len(won) != 1 {
			t.Fatalf("%d commits succeeded, want 1", len(won))
		}
		if now, _, err := s.db.Get(turn); err != nil || string(now) != string(won[0]) {
			t.Errorf("the key has %q, %v; want %q", now, err, won[0])
		}
	}
}
