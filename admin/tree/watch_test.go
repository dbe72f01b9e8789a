// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/admin"
	"restante/admin/admintest"
	"restante/admin/api"
	"restante/internal/kv"
	"restante/metabase"
)

// noSites is an engine that only is there.
type noSites struct{ admin.Engine }

// watched has a tree with some domains, and a history of the newest keep revisions.
func watched(t *testing.T, keep int) (handlers, *metabase.Store, kv.DB) {
	db := kv.NewMem()
	t.Cleanup(func() { db.Close() })
	d, store := admintest.Over(t, db, noSites{}, metabase.Options{
		Keep:   func(metabase.Snapshot) metabase.Retention { return metabase.Retention{Count: keep} },
		Admins: []metabase.Principal{"user:boss"},
	})
	for _, name := range []string{"a", "b", "c"} {
		change(t, store, metabase.AddKey{Path: domain(name), Class: "IIsSmtpDomain"})
	}
	return handlers{d}, store, db
}

func domain(name string) metabase.Path {
	return metabase.Path("/LM/SMTPSVC/1/Domain/" + name + ".test")
}

func change(t *testing.T, s *metabase.Store, ops ...metabase.Op) metabase.Rev {
	t.Helper()
	rev, err := s.Apply(t.Context(), metabase.Batch{Ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// shownEntry prints an entry for comparison.
func shownEntry(e api.Entry) string {
	var b strings.Builder
	fmt.Fprint(&b, e.Rev)
	if e.Anew {
		b.WriteString(" anew")
	}
	for _, c := range e.Changes {
		fmt.Fprintf(&b, ", %s %s", c.What, strings.TrimPrefix(string(c.Path), "/LM/SMTPSVC/"))
	}
	return b.String()
}

// A slow watcher is told of a key that was removed, although the history has dropped
// it; one that resumes too late is told to read anew. Neither gets changes above its
// path.
func TestWatchTellsRemovals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, store, _ := watched(t, 5)
		start := store.Snapshot().Rev()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		noise := func() {
			for n := range 300 { // above the path that is watched
				change(t, store, metabase.Set{Path: "/LM/SMTPSVC/1", Property: metabase.Property{ID: 70000, Attr: metabase.Inherit, UserType: 1, Value: metabase.DWord(uint32(n))}})
			}
			time.Sleep(time.Minute) // of the bubble: old revisions go
			if store.Oldest() <= start+1 {
				t.Fatalf("the history still reaches back to %d", store.Oldest())
			}
		}
		change(t, store, metabase.Remove{Path: domain("b")})
		var told []string
		for e, err := range d.watch(ctx, admintest.Admin(), api.WatchRequest{Path: "SMTPSVC/1/Domain", Since: &start}) {
			if err != nil {
				t.Fatal(err)
			}
			told = append(told, shownEntry(e))
			if len(told) == 2 {
				break
			}
			change(t, store, metabase.Remove{Path: domain("c")}, metabase.AddKey{Path: domain("d"), Class: "IIsSmtpDomain"})
			noise()
		}
		now := store.Snapshot().Rev()
		want := fmt.Sprintf("%d, key removed 1/Domain/b.test, property unset 1/Domain/b.test | %d, key removed 1/Domain/c.test, property unset 1/Domain/c.test, key added 1/Domain/d.test, property set 1/Domain/d.test", start+1, now)
		if got := strings.Join(told, " | "); got != want {
			t.Errorf("told of %s; want %s", got, want)
		}
		for e, err := range d.watch(ctx, admintest.Admin(), api.WatchRequest{Path: "SMTPSVC/1/Domain", Since: &start}) {
			if want := fmt.Sprintf("%d anew, property set 1/Domain/d.test", now); err != nil || shownEntry(e) != want || !strings.Contains(e.Comment, "read /LM/SMTPSVC/1/Domain anew") {
				t.Errorf("resumed: %s (%s), %v; want %s", shownEntry(e), e.Comment, err, want)
			}
			break
		}
		// Nothing is stored that was not there: something may be gone all the same.
		for e, err := range d.watch(ctx, admintest.Admin(), api.WatchRequest{Path: "SMTPSVC/1/DL", Since: &start}) {
			if err != nil || !e.Anew || len(e.Changes) > 0 {
				t.Errorf("resumed where nothing is: %s, %v", shownEntry(e), err)
			}
			break
		}
	})
}

// The log of a path has the moves that ended there, although they began elsewhere.
func TestLogTellsWhatWasMovedIn(t *testing.T) {
	d, store, _ := watched(t, 100)
	change(t, store, metabase.Move{From: domain("a"), To: domain("z")})
	for _, tt := range []struct {
		path metabase.Path
		want bool
	}{{domain("z"), true}, {domain("a"), true}, {"/LM/SMTPSVC/1/Domain", true}, {domain("b"), false}} {
		log, err := d.log(t.Context(), admintest.Admin(), api.LogRequest{Path: string(tt.path)})
		if err != nil {
			t.Fatal(err)
		}
		moved := slices.ContainsFunc(log, func(e api.Entry) bool {
			return slices.ContainsFunc(e.Changes, func(c api.Change) bool {
				return c.What == string(metabase.KeyMoved) && c.Path == domain("a") && c.To == domain("z")
			})
		})
		if moved != tt.want {
			t.Errorf("the log of %s tells of the move: %v, want %v", tt.path, moved, tt.want)
		}
	}
}

// Where a record cannot be decoded, a caller gets all others, and is told which one
// is lost.
func TestARecordThatDoesNotRead(t *testing.T) {
	d, store, db := watched(t, 1000)
	lost := change(t, store, metabase.AddKey{Path: domain("lost"), Class: "IIsSmtpDomain"})
	last := change(t, store, metabase.AddKey{Path: domain("last"), Class: "IIsSmtpDomain"})
	page := binary.BigEndian.AppendUint64([]byte{'r'}, uint64(lost))
	if err := db.Commit(t.Context(), kv.Put(page, []byte{2, 1, 1, 0xff})); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("revision %d", lost)

	all, err := d.log(t.Context(), admintest.Admin(), api.LogRequest{Path: "/"})
	if err != nil || len(all) != int(last) || all[1].Rev != lost || !strings.Contains(all[1].Comment, name) || all[2].Rev != lost-1 || len(all[2].Changes) == 0 {
		t.Errorf("log: %+v, %v", all, err)
	}
	change(t, store, metabase.Set{Path: domain("a"), Property: metabase.Property{ID: metabase.AccessList, Attr: metabase.Inherit, UserType: 1, Value: metabase.MultiSZ("user:olga read")}})
	olga := api.Caller{Who: []metabase.Principal{"user:olga"}, Origin: metabase.FromCLI}
	if all, err := d.log(t.Context(), olga, api.LogRequest{Path: string(domain("a"))}); err != nil || len(all) == 0 || all[len(all)-1].Rev != lost || strings.Contains(fmt.Sprint(all), "lost.test") {
		t.Errorf("log of one who may not see all: %+v, %v", all, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for e, err := range d.watch(ctx, admintest.Admin(), api.WatchRequest{Path: "/", Since: new(lost - 2)}) {
		if err != nil || !e.Anew {
			t.Errorf("watch: %s, %v", shownEntry(e), err)
		}
		break
	}
	if err := store.Verify(t.Context()); !errors.Is(err, metabase.Damaged) || strings.Count(err.Error(), "verify") != 1 || !strings.Contains(err.Error(), name) {
		t.Errorf("verify: %v", err)
	}
	if got := len(must(store.Log(t.Context(), metabase.Root, 0))); got != int(last)+1 {
		t.Errorf("Log has %d revisions", got)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// The history goes on to be dropped beyond a record that does not read.
func TestHistoryIsDroppedPastDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, store, db := watched(t, 100)
		page := binary.BigEndian.AppendUint64([]byte{'r'}, 2)
		if err := db.Commit(t.Context(), kv.Put(page, []byte{2, 1, 1, 0xff})); err != nil {
			t.Fatal(err)
		}
		for n := range 300 {
			change(t, store, metabase.Set{Path: "/LM/SMTPSVC/1", Property: metabase.Property{ID: 70000, Attr: metabase.Inherit, UserType: 1, Value: metabase.DWord(uint32(n))}})
		}
		time.Sleep(time.Minute)
		if n := store.Oldest(); n < 150 {
			t.Errorf("the history reaches back to %d", n)
		}
	})
}
