// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/engine/mail"
	"restante/engine/spool"
	"restante/internal/disk/disktest"
	"restante/internal/kv"
	"restante/internal/kv/badgerkv"
	"restante/internal/progress"
)

// real is a queue on a real spool and a real store.
type real struct {
	*Queue
	sp *spool.Spool
	db kv.DB
}

// spoolStore is a spool as a Store.
type spoolStore struct{ *spool.Spool }

func (s spoolStore) Create(ctx context.Context) (Draft, error) { return s.Spool.Create(ctx) }

func openReal(t *testing.T, dir string, deps Deps) *real {
	t.Helper()
	db, err := badgerkv.Open(filepath.Join(dir, "index"), badgerkv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	site := kv.Prefix(db, "1/")
	sp, err := spool.Open(t.Context(), filepath.Join(dir, "mail"), site, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	q, err := New(t.Context(), spoolStore{sp}, site, deps)
	if err != nil {
		t.Fatal(err)
	}
	return &real{q, sp, db}
}

// stored counts the messages in the spool.
func (r *real) stored(t *testing.T) int {
	t.Helper()
	n, err := spool.Count(t.Context(), kv.Prefix(r.db, "1/"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (r *real) close(t *testing.T) {
	t.Helper()
	if err := errors.Join(r.sp.Close(), r.db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestOnTheSpool(t *testing.T) {
	deps := newFixture(t).dep
	deps.Router = RouterFunc(func(mail.Domain) RouteState { return RouteState{Held: true} })
	dir := t.TempDir()
	r := openReal(t, dir, deps)
	bodies := map[mail.MessageID]string{}
	var order []mail.MessageID
	for i := range 20 {
		env := envelope(t, "s@s.test", "x@b.test", fmt.Sprintf("y@c%d.test", i%3))
		text := fmt.Sprintf("Subject: %d\r\n\r\n%s\r\n", i, strings.Repeat("x", i*i*i*400)) // up to 2.7 MiB
		w, err := r.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := r.Accept(t.Context(), w, env); err != nil {
			t.Fatal(err)
		}
		bodies[env.ID], order = text, append(order, env.ID)
	}
	r.close(t)

	r = openReal(t, dir, deps)
	if err := checkQueue(r.Queue); err != nil {
		t.Fatal(err)
	}
	l, err := r.Lease("b.test", "TURN")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range order {
		item, ok := l.Next()
		if !ok || item.Env.ID != want || item.Env.Size != int64(len(bodies[want])) {
			t.Fatalf("Next = %s of %d, want %s of %d", item.Env.ID, item.Env.Size, want, len(bodies[want]))
		}
		got, err := readAll(item)
		if err != nil || got != bodies[want] {
			t.Fatalf("%s: the body is not what came (%v)", want, err)
		}
		if err := l.Settle(t.Context(), want, outcomes(item, yes, "mx")); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	if n := r.Counts().Messages; n != 20 {
		t.Errorf("%d messages, want 20: each has a second destination", n)
	}
	if n, err := r.Delete(t.Context(), Filter{Domain: "c0.test"}, false); err != nil || n.Messages != 7 {
		t.Errorf("Delete = %+v, %v", n, err)
	}
	if n, err := r.Bounce(t.Context(), Filter{Domain: "c1.test"}, false); err != nil || n.Messages != 7 {
		t.Errorf("Bounce = %+v, %v", n, err)
	}
	if c := r.Counts(); c.Messages != 6+7 || r.stored(t) != 6+7 || r.Count("s.test") != 7 {
		t.Errorf("%+v, spool %d: want 6 messages and 7 reports", c, r.stored(t))
	}
	for m, err := range r.Messages(t.Context(), "s.test") {
		if err != nil {
			t.Fatal(err)
		}
		body, err := r.Open(m.ID)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(body)
		if err != nil || !bytes.Contains(text, []byte("taken out of the queue by its administrator")) {
			t.Errorf("report %q, %v", text, err)
		}
		body.Close()
	}
	r.close(t)
	r = openReal(t, dir, deps)
	defer r.close(t)
	if err := checkQueue(r.Queue); err != nil {
		t.Fatal(err)
	}
}

func readAll(item mail.Item) (string, error) {
	body, err := item.Open()
	if err != nil {
		return "", err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	return string(text), err
}

// A body that rots on the disk costs that message and no other.
func TestDamagedBodyIsSetAside(t *testing.T) {
	deps := newFixture(t).dep
	deps.Router = RouterFunc(func(mail.Domain) RouteState { return RouteState{Held: true} })
	dir := t.TempDir()
	r := openReal(t, dir, deps)
	var ids []mail.MessageID
	for range 3 {
		env := envelope(t, "s@s.test", "x@b.test")
		w, err := r.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, "Subject: rot\r\n\r\n"+string(env.ID)+"-body\r\n")
		if err := r.Accept(t.Context(), w, env); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, env.ID)
	}
	r.close(t)
	spoil(t, filepath.Join(dir, "mail"), string(ids[1])+"-body")

	r = openReal(t, dir, deps)
	defer r.close(t)
	l, err := r.Lease("b.test", "TURN")
	if err != nil {
		t.Fatal(err)
	}
	var got []mail.MessageID
	for item, ok := l.Next(); ok; item, ok = l.Next() {
		reply := yes
		if _, err := readAll(item); err != nil {
			reply = mail.Reply{Code: 451, Text: "cannot read it", Cause: err}
		} else {
			got = append(got, item.Env.ID)
		}
		if err := l.Settle(t.Context(), item.Env.ID, outcomes(item, reply, "mx")); err != nil {
			t.Error(err)
		}
	}
	l.Close()
	if len(got) != 2 || got[0] != ids[0] || got[1] != ids[2] {
		t.Errorf("handed over %v, want all but %s", got, ids[1])
	}
	d, err := r.Show(ids[1])
	if err != nil || d.Entries[0].State != Damaged || r.Count("b.test") != 0 {
		t.Errorf("Show = %+v, %v; Count %d", d, err, r.Count("b.test"))
	}
	if n, err := r.Delete(t.Context(), Filter{IDs: ids[1:2]}, false); err != nil || n.Messages != 1 {
		t.Errorf("Delete = %+v, %v", n, err)
	}
	if c := r.Counts(); c.Messages != 0 || r.stored(t) != 0 {
		t.Errorf("left %+v", c)
	}
}

// spoil changes one octet of what stands in a file below dir.
func spoil(t *testing.T, dir, what string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := filepath.Join(dir, f.Name())
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(text, []byte(what)); i >= 0 {
			text[i] ^= 1
			if err := os.WriteFile(name, text, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%q is in no file of %s", what, dir)
}

// A site is deleted when its mail was exported. Each step on the disk fails in
// turn: as long as Export returns an error the queue keeps its mail, and when it
// returns nil a power cut leaves all of the export.
func TestExportIsDurableBeforeTheQueueMayBeEmptied(t *testing.T) {
	for n := 1; ; n++ {
		h, d := newFixture(t), &disktest.Disk{FailAt: n}
		h.held["b.test"], h.q.deps.FS = true, d
		ids := []mail.MessageID{h.accept("s@s.test", "x@b.test"), h.accept("s@s.test", "y@b.test")}
		sum, err := h.q.Export(t.Context(), Filter{All: true}, "away/today")
		if err != nil {
			if !errors.Is(err, disktest.ErrFault) || h.q.Counts().Messages != len(ids) {
				t.Errorf("step %d: Export = %v, and the queue holds %d messages", n, err, h.q.Counts().Messages)
			}
			continue
		}
		if _, err := h.q.Delete(t.Context(), Filter{All: true}, false); err != nil || sum.Messages != len(ids) {
			t.Fatalf("Export = %+v, Delete = %v", sum, err)
		}
		left := d.AfterPowerCut(false)
		for _, id := range ids {
			name := filepath.Join("away", "today", string(id))
			if left[name+".eml"] != text || !strings.Contains(left[name+".json"], string(id)) {
				t.Errorf("after a power cut, of message %s are left %q and %q", id, left[name+".eml"], left[name+".json"])
			}
		}
		return // every step has had its turn
	}
}

func TestExportAndImport(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"], h.held["c.test"] = true, true
	one := h.accept("s@s.test", "x@b.test", "y@c.test NEVER")
	two := h.accept("", "x@b.test")
	l, _ := h.q.Lease("c.test", "test")
	always(yes, "mx")(l) // y has it already
	l.Close()
	dir := filepath.Join(t.TempDir(), "out")
	var count progress.Meter
	ctx := progress.With(t.Context(), &count)
	if n, err := h.q.Export(ctx, Filter{All: true}, dir); err != nil || n.Messages != 2 || n.Bytes != 2*int64(len(text)) {
		t.Fatalf("Export = %+v, %v", n, err)
	}
	if done, total := count.Count(); done != 2 || total != 2 {
		t.Errorf("Export counted %d of %d messages, want 2 of 2", done, total)
	}

	g := newFixture(t)
	g.held["b.test"] = true
	for _, want := range []int{2, 0} { // a second run takes nothing twice
		if n, err := g.q.Import(ctx, dir); err != nil || n.Messages != want {
			t.Fatalf("Import = %+v, %v; want %d", n, err, want)
		}
	}
	if done, total := count.Count(); done != 6 || total != 6 {
		t.Errorf("with two imports counted %d of %d messages, want 6 of 6", done, total)
	}
	g.check()
	l, _ = g.q.Lease("b.test", "test")
	for _, want := range []mail.MessageID{one, two} {
		item, ok := l.Next()
		if !ok || item.Env.ID != want || len(item.Env.To) != 1 || item.Env.To[0].Address.Local != "x" {
			t.Fatalf("Next = %+v, want %s for x alone", item.Env, want)
		}
		if got, err := readAll(item); err != nil || got != text {
			t.Errorf("body %q, %v", got, err)
		}
	}
	l.Close()

	// Two problems, both named, and nothing taken in.
	if err := os.Remove(filepath.Join(dir, string(one)+".eml")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, string(two)+".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	_, err := f.q.Import(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), string(one)+".json: its .eml is not there") || !strings.Contains(err.Error(), string(two)+".json: unexpected end") {
		t.Errorf("Import = %v", err)
	}
	if _, err := f.q.Import(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Import of no folder = %v", err)
	}
	if f.q.Counts() != (Counts{}) {
		t.Errorf("something was taken in: %+v", f.q.Counts())
	}
}

func TestLoadPutsRight(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"] = true
	whole := h.accept("s@s.test", "x@b.test")
	cut := h.accept("s@s.test", "x@b.test", "x@c.test")
	stray := h.accept("s@s.test", "x@b.test", "x@c.test")
	rotten := h.accept("s@s.test", "x@b.test")
	settled := h.accept("s@s.test", "x@b.test")
	rec := record{received: 1, size: 1}
	if err := h.db.Commit(t.Context(),
		kv.Del([]byte("v/"+cut)), kv.Del([]byte("b/"+cut)), // its body never came
		kv.Del(entryKey(stray, "b.test")), kv.Del(entryKey(stray, "c.test")),
		kv.Put(entryKey(rotten, "b.test"), []byte{9, 9}),
		kv.Put(entryKey(settled, "b.test"), rec.encode()), // the crash came before it was removed
		kv.Put(backoffKey("gone.test"), backoff{failures: 3}.encode()),
	); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	for id, want := range map[mail.MessageID]int{whole: 1, cut: 0, stray: 2, rotten: 1, settled: 0} {
		if n := len(h.q.find(id)); n != want {
			t.Errorf("%s has %d entries, want %d", id, n, want)
		}
	}
	if d, err := h.q.Show(rotten); err != nil || d.Entries[0].State != Damaged {
		t.Errorf("Show = %+v, %v", d, err)
	}
	if n := h.store.Messages(); n != 3 {
		t.Errorf("%d bodies, want 3", n)
	}
	if _, ok, _ := h.db.Get(backoffKey("gone.test")); ok {
		t.Error("the backoff of a destination without mail stays")
	}
	if _, err := h.q.Delete(t.Context(), Filter{IDs: []mail.MessageID{rotten}}, false); err != nil {
		t.Error(err)
	}
	h.check()
	h.reopen()
	h.check()
}

// A new start that fails half way fails clean, and the next one succeeds.
func TestLoadFails(t *testing.T) {
	for n := 0; ; n++ {
		h := newFixture(t)
		id := h.accept("s@s.test", "x@b.test")
		if err := h.db.Commit(t.Context(), kv.Del(entryKey(id, "b.test")), kv.Put(backoffKey("x.test"), nil)); err != nil {
			t.Fatal(err)
		}
		h.db.calls, h.db.failAt = 0, n
		q, err := New(context.Background(), h.store, h.db, h.dep)
		if err == nil && h.db.calls <= n {
			return
		}
		if err != nil && (q != nil || !errors.Is(err, errFault) || !strings.HasPrefix(err.Error(), "queue: load: ")) {
			t.Errorf("step %d: %v", n, err)
		}
		if err == nil && len(q.find(id)) != 1 {
			t.Errorf("step %d: opened without the message", n)
		}
		h.db.failAt = -1
		h.reopen()
		if len(h.q.find(id)) != 1 {
			t.Errorf("step %d: the message has no place", n)
		}
		h.check()
	}
}
