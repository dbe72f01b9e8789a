// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"restante/engine/mail"
	"restante/internal/kv"
)

func envelope() mail.Envelope {
	return mail.Envelope{
		ID:       mail.NewMessageID(time.Now()),
		From:     mail.Address{Local: "a", Domain: "b.test"},
		To:       []mail.Recipient{{Address: mail.Address{Local: "c d", Domain: "e.test"}, Notify: "NEVER"}},
		Received: time.Unix(1_700_000_000, 5).UTC(),
		Client:   netip.MustParseAddr("192.0.2.1"),
	}
}

// text gives n bytes that are the same for the same seed.
func text(n int, seed uint64) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never an error
	return b
}

func write(s *Spool, env mail.Envelope, body []byte, extra ...kv.Op) error {
	return writeCtx(context.Background(), s, env, body, extra...)
}

func writeCtx(ctx context.Context, s *Spool, env mail.Envelope, body []byte, extra ...kv.Op) error {
	w, err := s.Create(ctx)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, bytes.NewReader(body)); err != nil {
		w.Abort()
		return err
	}
	return w.Commit(ctx, env, extra...)
}

func add(t *testing.T, s *Spool, body []byte) mail.MessageID {
	t.Helper()
	env := envelope()
	if err := write(s, env, body); err != nil {
		t.Fatal(err)
	}
	return env.ID
}

func read(s *Spool, id mail.MessageID) ([]byte, error) {
	b, err := s.Open(id)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return io.ReadAll(b)
}

func wantBody(t *testing.T, s *Spool, id mail.MessageID, want []byte) {
	t.Helper()
	got, err := read(s, id)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("message %s: %d bytes, %v; want %d", id, len(got), err, len(want))
	}
}

func ids(t *testing.T, s *Spool) []mail.MessageID {
	t.Helper()
	var out []mail.MessageID
	for env, err := range s.Scan(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, env.ID)
	}
	return out
}

func openAt(t *testing.T, dir string, db kv.DB, opts Options) *Spool {
	t.Helper()
	s, err := Open(t.Context(), dir, db, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

var sizes = []int{0, 1, 1000, firstChunk, firstChunk + 1, chunkSize, 200_000, bodyLimit - 1, bodyLimit, bodyLimit + 1, 2*bodyLimit + 77, 5 << 20}

func TestBodiesComeBack(t *testing.T) {
	dir, db := t.TempDir(), kv.NewMem()
	s := openAt(t, dir, db, Options{})
	kept := map[mail.MessageID][]byte{}
	for i, n := range sizes {
		env := envelope()
		body := text(n, uint64(i))
		if err := write(s, env, body, kv.Put([]byte("q/"+env.ID), []byte("due"))); err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		kept[env.ID] = body
		env.Size = int64(n)
		if got, err := s.Envelope(env.ID); err != nil || !reflect.DeepEqual(got, env) {
			t.Errorf("envelope %+v, %v; want %+v", got, err, env)
		}
		if v, ok, _ := db.Get([]byte("q/" + env.ID)); !ok || string(v) != "due" {
			t.Error("the extra op is not there")
		}
	}
	for round := range 2 {
		for id, body := range kept {
			wantBody(t, s, id, body)
		}
		if st := s.Stats(); st.Messages != len(sizes) || st.Files != 3 || st.Segments != 1 {
			t.Errorf("round %d: %+v", round, st)
		}
		before := s.Stats()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openAt(t, dir, db, Options{})
		if st := s.Stats(); st != before {
			t.Errorf("after a reopen %+v, before %+v", st, before)
		}
		if r := s.Report(); !reflect.DeepEqual(r, Report{}) {
			t.Errorf("report %+v", r)
		}
	}
	all := ids(t, s)
	if err := s.Remove(t.Context(), append(all, all[0], "nosuch"), kv.Put([]byte("q/x"), nil)); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Messages != 0 || st.LiveBytes != 0 || st.Files != 0 {
		t.Errorf("after removing all: %+v", st)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*"+fileSuffix)); len(files) != 0 {
		t.Errorf("left behind: %v", files)
	}
	if _, err := s.Open(all[0]); !errors.Is(err, ErrNotFound) {
		t.Errorf("Open of a removed one: %v", err)
	}
	if _, err := s.Envelope(all[0]); !errors.Is(err, ErrNotFound) {
		t.Errorf("Envelope of a removed one: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	s := openAt(t, t.TempDir(), kv.NewMem(), Options{})
	env := envelope()
	if err := write(s, env, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := write(s, env, []byte("two")); !errors.Is(err, ErrExists) {
		t.Errorf("the same id twice: %v", err)
	}
	wantBody(t, s, env.ID, []byte("one"))
	bad := envelope()
	bad.ID = "../../etc/passwd"
	if err := write(s, bad, nil); err == nil {
		t.Error("a wrong id is taken")
	}
	if err := write(s, envelope(), nil, kv.Put(make([]byte, kv.MaxKey+1), nil)); !errors.Is(err, kv.ErrTooLarge) {
		t.Errorf("an op too large: %v", err)
	}
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("an aborted writer takes bytes")
	}
	if err := w.Commit(t.Context(), envelope()); err == nil {
		t.Error("an aborted writer is committed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	w, err = s.Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := w.Commit(ctx, envelope()); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit of a caller who is gone: %v", err)
	}
	if n := len(ids(t, s)); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
	s.Close()
	if err := write(s, envelope(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, kv.NewMem(), Options{})
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 3*bodyLimit)); err != nil {
		t.Fatal(err)
	}
	if names, _ := s.vol.List(); len(names) != 1 {
		t.Errorf("a large body has %d files", len(names))
	}
	w.Abort()
	if names, _ := s.vol.List(); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

// A large body must not be held whole.
func TestLargeBodyIsStreamed(t *testing.T) {
	s := openAt(t, t.TempDir(), kv.NewMem(), Options{})
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	piece := text(10_000, 1)
	for range 500 {
		if _, err := w.Write(piece); err != nil {
			t.Fatal(err)
		}
		held := 0
		for _, c := range w.chunks {
			held += cap(c)
		}
		if held > bodyLimit+chunkSize || w.size > bodyLimit && held > chunkSize {
			t.Fatalf("%d bytes written, %d held in memory", w.size, held)
		}
	}
	w.Abort()
}

func TestEnvelopeCarriesEveryField(t *testing.T) {
	var env mail.Envelope
	n := 0
	fillIn(t, reflect.ValueOf(&env).Elem(), &n)
	top := encodeEnvelope(&env)
	if text, err := decodeTop(top); top[0] != topVersion || err != nil || text != env.Top {
		t.Errorf("version %d: the text on top is %q, %v; want %q", top[0], text, err, env.Top)
	}
	env.Top, env.HeaderID = "", "" // the one is a part of the text, the other is in it
	if got, err := decodeEnvelope(top); err != nil || !reflect.DeepEqual(got, env) {
		t.Errorf("with a text on top:\n%+v comes back as\n%+v, %v", env, got, err)
	}
	got, err := decodeEnvelope(encodeEnvelope(&env))
	if err != nil || !reflect.DeepEqual(got, env) {
		t.Errorf("%+v\ncomes back as\n%+v, %v", env, got, err)
	}
	// An older service reads what it knows, and sets aside what it would pass over.
	declared := env
	declared.By, declared.Quarantine = mail.Deadline{}, ""
	extended := declared
	extended.UTF8, extended.UTF8Header, extended.Binary = false, false, false
	without := extended
	without.RequireTLS, without.Priority, without.HoldUntil = false, 0, time.Time{}
	plain := without
	plain.Session = ""
	for version, env := range map[byte]mail.Envelope{deadlineVersion: env, declaredVersion: declared, extensionsVersion: extended, sessionVersion: without, envelopeVersion: plain} {
		b := encodeEnvelope(&env)
		if got, err := decodeEnvelope(b); b[0] != version || err != nil || !reflect.DeepEqual(got, env) {
			t.Errorf("version %d, want %d: %+v\ncomes back as\n%+v, %v", b[0], version, env, got, err)
		}
	}
	if got, err := decodeEnvelope(encodeEnvelope(&mail.Envelope{Received: time.Time{}})); err != nil || !got.Received.IsZero() {
		t.Errorf("the empty one: %+v, %v", got, err)
	}
}

// fillIn sets every field below v to something that no other field has.
func fillIn(t *testing.T, v reflect.Value, n *int) {
	*n++
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = time.Unix(1_600_000_000, int64(*n)).UTC()
		return
	case *netip.Addr:
		*p = netip.MustParseAddr("2001:db8::1%eth0")
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int64:
		v.SetInt(-int64(*n))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range 3 {
			fillIn(t, v.Index(i), n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fillIn(t, v.Field(i), n)
		}
	default:
		t.Fatalf("an envelope has a %s now: teach encodeEnvelope and this test", v.Type())
	}
}

func FuzzDecodeEnvelope(f *testing.F) {
	env := envelope()
	f.Add(encodeEnvelope(&env))
	env.Top = "X: y\r\n"
	f.Add(encodeEnvelope(&env))
	f.Add([]byte{envelopeVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		env, err := decodeEnvelope(b)
		if err != nil {
			return
		}
		again, err := decodeEnvelope(encodeEnvelope(&env))
		if err != nil || !reflect.DeepEqual(env, again) {
			t.Errorf("%+v comes back as %+v, %v", env, again, err)
		}
	})
}

func TestWritersShareGroups(t *testing.T) {
	s := openAt(t, t.TempDir(), kv.NewMem(), Options{})
	const writers, each = 16, 20
	var all sync.WaitGroup
	var mu sync.Mutex
	kept := map[mail.MessageID][]byte{}
	for w := range writers {
		all.Go(func() {
			for i := range each {
				env, body := envelope(), text(100+i, uint64(w*each+i))
				if err := write(s, env, body); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				kept[env.ID] = body
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for id, body := range kept {
		wantBody(t, s, id, body)
	}
	if n := s.committer.last.Load(); n >= writers*each {
		t.Errorf("%d groups for %d messages: nothing was shared", n, writers*each)
	}
}

func TestSegmentsAreUsedAgain(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, kv.NewMem(), Options{SegmentSize: 256 << 10})
	for round := range 20 {
		var held []mail.MessageID
		for i := range 10 {
			held = append(held, add(t, s, text(100_000, uint64(round*10+i))))
		}
		for i, id := range held {
			wantBody(t, s, id, text(100_000, uint64(round*10+i)))
		}
		if err := s.Remove(t.Context(), held); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Segments > 10 || st.Ready > readyLimit || st.LiveBytes != 0 {
			t.Fatalf("round %d: %+v", round, st)
		}
	}
	if st := s.Stats(); st.Segments > readyLimit+1 {
		t.Errorf("at the end %+v", st)
	}
	names, _ := s.vol.List()
	if len(names) > readyLimit+1 {
		t.Errorf("%d files are left", len(names))
	}
}

// What is being read stays readable, whatever happens to its message.
func TestOpenBodyOutlivesItsMessage(t *testing.T) {
	s := openAt(t, t.TempDir(), kv.NewMem(), Options{SegmentSize: 256 << 10})
	small, large := text(50_000, 1), text(2*bodyLimit, 2)
	for _, body := range [][]byte{small, large} {
		id := add(t, s, body)
		r, err := s.Open(id)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Remove(t.Context(), []mail.MessageID{id}); err != nil {
			t.Fatal(err)
		}
		for i := range 30 { // would run over it
			if err := s.Remove(t.Context(), []mail.MessageID{add(t, s, text(60_000, uint64(i)))}); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if _, err := r.Seek(10, io.SeekStart); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, body[10:]) {
			t.Errorf("after a seek: %d bytes, %v", len(got), err)
		}
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Error(err)
		}
	}
	if names, err := s.vol.List(); err != nil || slices.ContainsFunc(names, func(n string) bool { return filepath.Ext(n) == fileSuffix }) {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestSparseSegmentsAreEmptied(t *testing.T) {
	db := kv.NewMem()
	dir := t.TempDir()
	s := openAt(t, dir, db, Options{SegmentSize: 256 << 10, CopyRate: 1 << 40})
	kept := map[mail.MessageID][]byte{}
	var gone []mail.MessageID
	for i := range 400 {
		body := text(10_000, uint64(i))
		if id := add(t, s, body); i%20 == 0 {
			kept[id] = body
		} else {
			gone = append(gone, id)
		}
	}
	if err := s.Remove(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	before := s.Stats()
	if err := s.compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := s.Stats()
	if after.Segments-after.Ready > 3 || after.Messages != len(kept) || after.LiveBytes != before.LiveBytes {
		t.Errorf("before %+v, after %+v", before, after)
	}
	for range 2 {
		for id, body := range kept {
			wantBody(t, s, id, body)
		}
		s.Close()
		s = openAt(t, dir, db, Options{SegmentSize: 256 << 10})
	}
}

func TestDamageIsNamedAndStopsNothing(t *testing.T) {
	dir, db := t.TempDir(), kv.NewMem()
	s := openAt(t, dir, db, Options{})
	bodies := map[mail.MessageID][]byte{}
	var order []mail.MessageID
	for i := range 10 {
		body := text(5000, uint64(i))
		id := add(t, s, body)
		bodies[id] = body
		order = append(order, id)
	}
	large := add(t, s, text(2*bodyLimit, 99))
	lost := add(t, s, text(2*bodyLimit, 98))
	e, err := s.find(order[3])
	if err != nil {
		t.Fatal(err)
	}
	head, err := s.find(order[5])
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	flip(t, filepath.Join(dir, segmentName(e.seg)), e.bodyAt()+2500)
	flip(t, filepath.Join(dir, segmentName(head.seg)), head.off+30)
	flip(t, filepath.Join(dir, fileName(large)), 1_000_000)
	if err := os.Remove(filepath.Join(dir, fileName(lost))); err != nil {
		t.Fatal(err)
	}

	s = openAt(t, dir, db, Options{})
	bad := []mail.MessageID{order[3], order[5], large, lost}
	for _, id := range bad {
		if _, err := s.Open(id); !errors.Is(err, ErrDamaged) {
			t.Errorf("Open of a damaged body: %v", err)
		}
		if env, err := s.Envelope(id); err != nil || env.ID != id {
			t.Errorf("its envelope: %v", err)
		}
	}
	if r := s.Report(); len(r.Damaged) != 1 || r.Damaged[0].ID != lost || len(r.Dropped) != 0 {
		t.Errorf("report %+v", r)
	}
	for id, body := range bodies {
		if !slices.Contains(bad, id) {
			wantBody(t, s, id, body)
		}
	}
	if n := len(ids(t, s)); n != 12 {
		t.Errorf("%d messages, want 12", n)
	}
	if err := s.Remove(t.Context(), bad); err != nil {
		t.Error(err)
	}
	wantBody(t, s, add(t, s, []byte("goes on")), []byte("goes on"))
}

func flip(t *testing.T, name string, off int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b[:], off); err != nil {
		t.Fatal(err)
	}
}

// An index that is gone or older than the bodies loses no mail.
func TestLostIndexIsMadeAgain(t *testing.T) {
	for _, keep := range []int{0, 3} {
		dir, db := t.TempDir(), kv.NewMem()
		s := openAt(t, dir, db, Options{SegmentSize: 256 << 10})
		kept := map[mail.MessageID][]byte{}
		old := kv.NewMem()
		for i := range 40 {
			if i == keep && keep > 0 {
				for p, err := range db.Scan(t.Context(), nil) {
					if err != nil {
						t.Fatal(err)
					}
					if err := old.Commit(t.Context(), kv.Put(p.Key, p.Value)); err != nil {
						t.Fatal(err)
					}
				}
			}
			n := 20_000
			if i%10 == 2 {
				n = bodyLimit + 5
			}
			body := text(n, uint64(i))
			kept[add(t, s, body)] = body
		}
		s.Close()
		s = openAt(t, dir, old, Options{SegmentSize: 256 << 10})
		for id, body := range kept {
			wantBody(t, s, id, body)
		}
		if r := s.Report(); len(r.Salvaged) != 40-keep || len(r.Damaged)+len(r.Dropped)+len(r.Kept) != 0 {
			t.Errorf("report %+v", r)
		}
		body := text(20_000, 77)
		kept[add(t, s, body)] = body
		s.Close()
		s = openAt(t, dir, old, Options{SegmentSize: 256 << 10})
		for id, body := range kept {
			wantBody(t, s, id, body)
		}
		if r := s.Report(); !reflect.DeepEqual(r, Report{}) || s.Stats().Messages != 41 {
			t.Errorf("second report %+v, %+v", r, s.Stats())
		}
	}
}

func TestStrangeFilesStay(t *testing.T) {
	dir, db := t.TempDir(), kv.NewMem()
	names := []string{"lost+found", "note.txt", "00000000000000000000.msg", "tmp-7"}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("not ours"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := openAt(t, dir, db, Options{})
	if r := s.Report(); len(r.Kept) != 1 || r.Kept[0].File != names[2] {
		t.Errorf("report %+v", r)
	}
	left, err := s.vol.List()
	if slices.Sort(left); err != nil || !slices.Equal(left, []string{names[2], "lost+found", "note.txt"}) {
		t.Errorf("left: %v, %v", left, err)
	}
}

// FuzzHead reads a message's head from any octets: one that is found lies within
// its file, and is written as it was read.
func FuzzHead(f *testing.F) {
	env := envelope()
	r := record{gen: 1, group: 2, id: "06h0ihfrcs3q41uvs0vg", env: encodeEnvelope(&env), size: 3}
	f.Add(append(append(r.appendHead(nil), r.env...), "abc"...), true)
	f.Add(r.appendHead(append([]byte("abc"), r.env...)), false)
	f.Add([]byte(magic), true)
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		if n := uint32(0); mend && len(b) >= headSize {
			if n = binary.BigEndian.Uint32(b[44:]); int64(n) <= int64(len(b)-headSize) {
				sum := crc32.Update(crc32.Checksum(b[:60], castagnoli), castagnoli, b[headSize:headSize+n])
				binary.BigEndian.PutUint32(b[60:], sum) // the fuzzer will not find it by itself
			}
		}
		file := octetFile{bytes.NewReader(b)}
		for i, read := range []func() (record, error){func() (record, error) { return segmentHead(file, 0) }, func() (record, error) { return fileHead(file) }} {
			r, err := read()
			if err != nil {
				continue
			}
			if int64(len(r.env))+headSize > int64(len(b)) || r.size < 0 || r.size > int64(len(b)) || len(r.id) != 20 {
				t.Errorf("%x: %+v", b, r)
			}
			head := b[:headSize]
			if i == 1 {
				head = b[len(b)-headSize:]
			}
			if !bytes.Equal(r.appendHead(nil), head) {
				t.Errorf("%x is written %x", head, r.appendHead(nil))
			}
		}
	})
}

// An octetFile is a file that is read only.
type octetFile struct{ *bytes.Reader }

func (octetFile) WriteAt([]byte, int64) (int, error) { return 0, fs.ErrPermission }
func (octetFile) Sync() error                        { return nil }
func (octetFile) Close() error                       { return nil }
func (f octetFile) Size() (int64, error)             { return f.Reader.Size(), nil }
