// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/disk"
	"restante/internal/kv"
	"restante/internal/testpeer"
)

// While one has a folder nobody else opens it, by whichever name.
func TestFolderInUse(t *testing.T) {
	dir, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		testpeer.Without(t, "symbolic links", err) // on Windows they are a right of few
	}
	s := openAt(t, dir, kv.NewMem(), Options{Owner: "site 1"})
	for _, name := range []string{dir, link, dir + "/../" + filepath.Base(dir)} {
		_, err := Open(t.Context(), name, kv.NewMem(), Options{Owner: "site 2"})
		if !errors.Is(err, ErrInUse) || !strings.HasSuffix(err.Error(), "in use by site 1") {
			t.Errorf("Open(%s) = %v", name, err)
		}
	}
	id := add(t, s, []byte("hello"))
	wantBody(t, s, id, []byte("hello"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openAt(t, link, s.db, Options{Owner: "site 1"})
}

// What another queue has left is not taken for mail that was lost.
func TestFolderOfAnother(t *testing.T) {
	for _, tt := range []struct {
		name  string
		owner string
		large bool // the message has a file of its own
		known bool // the index is that of the mail
		want  error
	}{
		{"another queue", "site 2", false, false, ErrForeign},
		{"another queue, a large message", "site 2", true, false, ErrForeign},
		{"the same, whose index is lost", "site 1", false, false, nil},
		{"the same by another name", "site 2", false, true, nil}, // the data folder was moved
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, db, body := t.TempDir(), kv.NewMem(), []byte("hello")
			if tt.large {
				body = text(bodyLimit+1, 1)
			}
			s := openAt(t, dir, db, Options{Owner: "site 1"})
			id := add(t, s, body)
			s.Close()
			if !tt.known {
				db = kv.NewMem()
			}
			s, err := Open(t.Context(), dir, db, Options{Owner: tt.owner})
			if !errors.Is(err, tt.want) {
				t.Fatalf("Open = %v, want %v", err, tt.want)
			}
			if err == nil {
				defer s.Close()
				wantBody(t, s, id, body)
				return
			}
			if !strings.Contains(err.Error(), "that of site 1") {
				t.Errorf("it is not said whose: %v", err)
			}
			s = openAt(t, dir, kv.NewMem(), Options{Owner: "site 1"})
			wantBody(t, s, id, body)
		})
	}
}

// Who only looks whose a folder is does not keep its owner from it; who stays
// does.
func TestFolderLookedAt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		looks  time.Duration
		want   error
		waited time.Duration
	}{
		{"a look", ownerWait / 2, nil, ownerWait / 2},
		{"somebody who stays", 2 * ownerWait, ErrInUse, ownerWait},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			openAt(t, dir, kv.NewMem(), Options{Owner: "site 1"}).Close()
			synctest.Test(t, func(t *testing.T) {
				f, err := disk.Lock(filepath.Join(dir, ownerName))
				if err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(tt.looks, func() { f.Close() })
				began := time.Now()
				s, err := Open(t.Context(), dir, kv.NewMem(), Options{Owner: "site 1"})
				if !errors.Is(err, tt.want) {
					t.Errorf("Open = %v, want %v", err, tt.want)
				}
				if waited := time.Since(began); waited < tt.waited || waited > tt.waited+ownerPoll {
					t.Errorf("it took %v, want %v", waited, tt.waited)
				}
				if err == nil {
					s.Close()
				}
				time.Sleep(2 * ownerWait)
			})
		})
	}
}

// A folder in which nothing was left can be taken by any queue.
func TestFolderLeftEmpty(t *testing.T) {
	dir := t.TempDir()
	openAt(t, dir, kv.NewMem(), Options{Owner: "site 1"}).Close()
	s := openAt(t, dir, kv.NewMem(), Options{Owner: "site 2"})
	if _, err := Open(t.Context(), dir, kv.NewMem(), Options{}); !errors.Is(err, ErrInUse) || !strings.HasSuffix(err.Error(), "by site 2") {
		t.Errorf("Open = %v", err)
	}
	s.Close()
}
