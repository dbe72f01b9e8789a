// SPDX-License-Identifier: Apache-2.0

package disk_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"restante/internal/disk"
	"restante/internal/disk/disktest"
)

type writer func(fsys disk.FS, name string, perm fs.FileMode, write func(io.ReadWriteSeeker) error) error

// Each step fails in turn. What the caller is told is what a power cut leaves:
// nil means the whole file, an error means the state before.
func TestWriteFileBrokenAtEveryStep(t *testing.T) {
	for _, tt := range []struct {
		name  string
		old   string // what is there before; "": nothing
		write writer
		steps string
	}{
		{"a new file", "", disk.WriteFile, "create, write, sync, close, rename, sync folder"},
		{"an old file", "old", disk.WriteFile, "create, write, sync, close, rename, sync folder"},
		{"a file that must be new", "", disk.CreateFile, "create, write, sync, close, link, remove, sync folder"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for n := 1; ; n++ {
				d := &disktest.Disk{}
				if tt.old != "" {
					if err := disk.WriteFile(d, "f", 0o600, disk.Bytes([]byte(tt.old))); err != nil {
						t.Fatal(err)
					}
				}
				before := len(d.Log())
				d.FailAt = before + n
				err := tt.write(d, "f", 0o600, disk.Bytes([]byte("new")))
				checkCut(t, n, d, tt.old, err)
				if n > len(d.Log())-before {
					if got := strings.Join(d.Log()[before:], ", "); err != nil || got != tt.steps {
						t.Errorf("steps %q, %v; want %q", got, err, tt.steps)
					}
					return // every step has had its turn
				}
			}
		})
	}
}

func checkCut(t *testing.T, n int, d *disktest.Disk, old string, err error) {
	t.Helper()
	want := map[string]string{}
	if old != "" {
		want["f"] = old
	}
	if err == nil {
		want["f"] = "new"
		for _, early := range []bool{false, true} {
			got := d.AfterPowerCut(early)
			if maps.DeleteFunc(got, func(name, _ string) bool { return name != "f" }); !maps.Equal(got, want) {
				t.Errorf("step %d: after a power cut %q, want %q", n, got, want)
			}
		}
		return
	}
	if !errors.Is(err, disktest.ErrFault) {
		t.Errorf("step %d: error %v", n, err)
	}
	if got := d.Files(); !maps.Equal(got, want) && !(old != "" && maps.Equal(got, map[string]string{"f": "new"}) && strings.HasPrefix(err.Error(), "sync folder: ")) {
		t.Errorf("step %d: %v leaves %q, want %q", n, err, got, want)
	}
	// A power cut may undo the last step, but leaves nothing that is half.
	for name, text := range d.AfterPowerCut(true) {
		if name == "f" && text != old && text != "new" {
			t.Errorf("step %d: after a power cut %s holds %q", n, name, text)
		}
	}
}

func TestCreateFileNeverReplaces(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := disk.CreateFile(nil, name, 0o600, disk.Bytes([]byte("first"))); err != nil {
		t.Fatal(err)
	}
	err := disk.CreateFile(nil, name, 0o600, disk.Bytes([]byte("second")))
	if got, _ := os.ReadFile(name); !errors.Is(err, fs.ErrExist) || string(got) != "first" {
		t.Errorf("CreateFile = %v, and the file holds %q", err, got)
	}
	// Another process takes the name between the look and the link.
	other := filepath.Join(filepath.Dir(name), "g")
	err = disk.CreateFile(nil, other, 0o600, func(w io.ReadWriteSeeker) error {
		return os.WriteFile(other, []byte("theirs"), 0o600)
	})
	if got, _ := os.ReadFile(other); !errors.Is(err, fs.ErrExist) || string(got) != "theirs" {
		t.Errorf("CreateFile = %v, and the file holds %q", err, got)
	}
	wantNames(t, filepath.Dir(name), "f", "g")
}

// Errors name the file that the caller named, and not the temporary one.
func TestErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		what, name string
		write      func(io.ReadWriteSeeker) error
	}{
		{"the folder is missing", filepath.Join(dir, "none", "f"), disk.Bytes([]byte("x"))},
		{"it cannot be written", filepath.Join(dir, "f"), func(w io.ReadWriteSeeker) error {
			_ = w.(io.Closer).Close()
			_, err := w.Write([]byte("x"))
			return fmt.Errorf("page 1: %w", err)
		}},
		{"a folder has its name", dir, disk.Bytes([]byte("x"))},
	} {
		err := disk.WriteFile(nil, tt.name, 0o600, tt.write)
		if err == nil || !strings.Contains(err.Error(), tt.name+": ") || strings.Contains(err.Error(), ".part") {
			t.Errorf("%s: %v", tt.what, err)
		}
		if tt.what == "the folder is missing" && !errors.Is(err, fs.ErrNotExist) || tt.what == "it cannot be written" && !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: the cause of %v is lost", tt.what, err)
		}
	}
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the folder holds %q, %v; want %q", got, err, want)
	}
}

func TestWriteFileOnTheSystem(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	for _, text := range []string{"one", "two"} {
		if err := disk.WriteFile(nil, name, 0o600, disk.Copy(strings.NewReader(text))); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); string(got) != text || err != nil {
			t.Errorf("the file holds %q, %v; want %q", got, err, text)
		}
	}
	if info, err := os.Stat(name); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	bad := errors.New("bad")
	if err := disk.WriteFile(nil, name, 0o600, func(io.ReadWriteSeeker) error { return bad }); !errors.Is(err, bad) {
		t.Errorf("WriteFile = %v", err)
	}
	if err := disk.WriteFile(nil, filepath.Join(dir, "none", "f"), 0o600, disk.Bytes(nil)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("WriteFile in no folder = %v", err)
	}
	wantNames(t, dir, "f")
}

// A file in a new folder is durable only if the folders are.
func TestMkdirAllBrokenAtEveryStep(t *testing.T) {
	for n := 1; ; n++ {
		d := &disktest.Disk{FailAt: n}
		err := disk.MkdirAll(d, "a/b/c", 0o700)
		if err == nil {
			err = disk.WriteFile(d, "a/b/c/f", 0o600, disk.Bytes([]byte("x")))
		}
		if err == nil {
			if got := d.AfterPowerCut(false); got["a/b/c/f"] != "x" {
				t.Errorf("after a power cut: %q", got)
			}
			if err := disk.MkdirAll(d, "a/b/c", 0o700); err != nil {
				t.Errorf("MkdirAll of what is there = %v", err)
			}
			return
		}
		if !errors.Is(err, disktest.ErrFault) {
			t.Errorf("step %d: %v", n, err)
		}
	}
}
