// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"testing"

	"restante/internal/kv"
)

// fewFiles counts open files, up to as many as there may be.
type fewFiles struct{ open, most int }

func (f *fewFiles) Take() bool {
	if f.open == f.most {
		return false
	}
	f.open++
	return true
}

func (f *fewFiles) Release() { f.open-- }

// MinFree takes the place of Reserve, and is asked anew for each body.
func TestMinFree(t *testing.T) {
	var reserve atomic.Int64
	s := openAt(t, t.TempDir(), kv.NewMem(), Options{MinFree: reserve.Load})
	for _, tt := range []struct {
		reserve int64
		full    bool
	}{{0, false}, {1 << 60, true}, {1 << 20, false}} {
		reserve.Store(tt.reserve)
		w, err := s.Create(t.Context())
		if errors.Is(err, ErrFull) != tt.full || err == nil == tt.full {
			t.Errorf("with %d: %v", tt.reserve, err)
		}
		if w != nil {
			w.Abort()
		}
	}
}

// TestMemoryOfUnfinishedBodies: over the limit, bodies go to files, small ones
// excepted, and without a file they are refused. Whatever ends a body frees
// what it had.
func TestMemoryOfUnfinishedBodies(t *testing.T) {
	const limit = 1 << 20
	var memory atomic.Int64
	memory.Store(limit)
	files := &fewFiles{most: 3}
	s := openAt(t, t.TempDir(), kv.NewMem(), Options{Memory: memory.Load, Files: files})
	create := func(size int) (*Writer, error) {
		t.Helper()
		w, err := s.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(bytes.Repeat([]byte("x"), size))
		return w, err
	}
	var open []*Writer
	for files.open < files.most {
		w, err := create(512 << 10)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, w)
		if n := s.memory.Load(); n > limit+chunkSize {
			t.Fatalf("%d bodies take %d bytes of memory", len(open), n)
		}
	}
	if len(open) > 6 {
		t.Errorf("only %d of %d bodies are in files", files.open, len(open))
	}
	if w, err := create(60 << 10); err != nil {
		t.Errorf("a small body: %v", err)
	} else {
		w.Abort()
	}
	if _, err := create(512 << 10); !errors.Is(err, ErrFull) {
		t.Errorf("without a file: %v", err)
	}
	memory.Store(0) // no limit
	if w, err := create(512 << 10); err != nil {
		t.Errorf("without a limit: %v", err)
	} else {
		w.Abort()
	}
	for i, w := range open {
		if i%2 == 0 {
			w.Abort()
		} else if err := w.Commit(t.Context(), envelope()); err != nil {
			t.Error(err)
		}
	}
	if s.memory.Load() != 0 || files.open != 0 {
		t.Errorf("%d bytes and %d files are left", s.memory.Load(), files.open)
	}
}

// TestReader: what was written is read back, from memory and from a file.
func TestReader(t *testing.T) {
	s := openAt(t, t.TempDir(), kv.NewMem(), Options{})
	for _, size := range []int{0, 10, 100 << 10, bodyLimit, 3*bodyLimit + 12345} {
		text := bytes.Repeat([]byte("0123456789abcdef."), size/17+1)[:size]
		w, err := s.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, half := range [][]byte{text[:size/2], text[size/2:]} {
			if _, err := w.Write(half); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if got, err := io.ReadAll(w.Reader()); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%d octets: %d are read, %v", size, len(got), err)
			}
		}
		w.Abort()
	}
}
