// SPDX-License-Identifier: Apache-2.0

//go:build unix

package disk_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"restante/internal/disk"
)

func TestIsRefused(t *testing.T) {
	for err, want := range map[error]bool{
		&os.PathError{Op: "open", Path: "x", Err: syscall.EACCES}: true,
		fmt.Errorf("open: %w", syscall.EMFILE):                    true,
		syscall.EIO:                                               true,
		syscall.ENOSPC:                                            true,
		errors.New("while opening 1.sst: open 1.sst: permission denied"): true, // of a library that does not wrap
		errors.New("read 1.sst: input/output error"):                     true,
		errors.New("checksum mismatch"):                                  false,
		syscall.ENOENT:                                                   false,
		errors.New("is cut off"):                                         false,
	} {
		if got := disk.IsRefused(err); got != want {
			t.Errorf("IsRefused(%v) = %v", err, got)
		}
	}
	if disk.IsRefused(nil) {
		t.Error("IsRefused(nil)")
	}
}

func TestFolderIsNoLink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	f, err := disk.MakeFolder(nil, real, 0o750)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	outside := filepath.Join(dir, "outside")
	if err := errors.Join(os.Symlink(real, link), os.WriteFile(outside, []byte("theirs"), 0o600), os.Symlink(outside, filepath.Join(real, "a"))); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.MakeFolder(nil, link, 0o750); !errors.Is(err, disk.ErrLink) {
		t.Errorf("a link to a folder: %v", err)
	}
	if _, err := disk.OpenFolder(outside); !errors.Is(err, disk.ErrLink) {
		t.Errorf("a file: %v", err)
	}
	if _, err := f.ReadFile("a"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a link is read: %v", err)
	}
	// The link is replaced, and not what it leads to; the folder stays the same
	// when its name is taken.
	if err := errors.Join(os.Rename(real, real+"2"), os.Mkdir(real, 0o700), f.WriteFile("a", 0o640, disk.Bytes([]byte("ours")))); err != nil {
		t.Fatal(err)
	}
	theirs, _ := os.ReadFile(outside)
	ours, _ := os.ReadFile(filepath.Join(real+"2", "a"))
	if string(theirs) != "theirs" || string(ours) != "ours" {
		t.Errorf("the link's file has %q, ours %q", theirs, ours)
	}
	wantNames(t, real)
	wantNames(t, real+"2", "a")
}

func TestCheckPrivate(t *testing.T) {
	dir := t.TempDir()
	for mode, want := range map[os.FileMode]string{0o700: "", 0o711: "", 0o755: "", 0o775: "chmod go-w " + dir, 0o702: "chmod go-w " + dir} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		err := disk.CheckPrivate(dir)
		if (err == nil) != (want == "") || err != nil && !strings.HasSuffix(err.Error(), want) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}
