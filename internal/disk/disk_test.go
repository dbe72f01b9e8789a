// SPDX-License-Identifier: Apache-2.0

package disk_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"restante/internal/disk"
)

func TestIsFull(t *testing.T) {
	full := syscall.ENOSPC
	if runtime.GOOS == "windows" {
		full = 112 // ERROR_DISK_FULL
	}
	for err, want := range map[error]bool{
		full: true,
		&os.PathError{Op: "write", Path: "x", Err: full}: true,
		fmt.Errorf("spool: %w", full):                    true,
		syscall.EIO:                                      false,
		errors.New("write x: " + full.Error()):           true, // of a library that does not wrap
	} {
		if got := disk.IsFull(err); got != want {
			t.Errorf("IsFull(%v) = %v", err, got)
		}
	}
}

func TestFree(t *testing.T) {
	free, total, err := disk.Free(t.TempDir())
	if err != nil || free > total || runtime.GOOS == "linux" && total == 0 {
		t.Errorf("Free = %d, %d, %v", free, total, err)
	}
	if _, _, err := disk.Free(filepath.Join(t.TempDir(), "none")); runtime.GOOS == "linux" && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Free of no folder: %v", err)
	}
}

func TestSync(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(disk.Preallocate(f.Name(), 1<<20), disk.SyncData(f), disk.SyncDir(dir)); err != nil {
		t.Error(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("preallocation changed the size: %v, %v", info.Size(), err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := disk.SyncData(f); err == nil {
		t.Error("a closed file is synced")
	}
}

func TestLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	f, err := disk.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("mine"); err != nil {
		t.Error(err)
	}
	if _, err := disk.Lock(name); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("a second Lock = %v", err)
	}
	if b, err := os.ReadFile(name); string(b) != "mine" || err != nil {
		t.Errorf("what the holder wrote reads %q, %v", b, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if f, err = disk.Lock(name); err != nil {
		t.Fatalf("Lock after the end of the first = %v", err)
	}
	f.Close()
	if _, err := disk.Lock(filepath.Join(name, "none")); err == nil || errors.Is(err, disk.ErrLocked) {
		t.Errorf("Lock where there is no folder = %v", err)
	}
}
