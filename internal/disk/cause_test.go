// SPDX-License-Identifier: Apache-2.0

//go:build unix

package disk_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
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

// A way leads over folders that only root and we can change, or where nobody can
// exchange what is ours.
func TestCheckParents(t *testing.T) {
	const stranger = 12345
	for name, c := range map[string]struct {
		mode    os.FileMode // of the folder "above"
		above   int         // its owner; 0: we, -1: we, with a group of others
		planted int         // the owner of what stands in it
		want    string
	}{
		"ours":                          {mode: 0o755},
		"ours alone":                    {mode: 0o700},
		"as /tmp":                       {mode: 0o777 | os.ModeSticky},
		"all may change it":             {mode: 0o757, want: "chmod go-w "},
		"a group may change it":         {mode: 0o775, above: -1, want: "chmod go-w "},
		"another user's":                {mode: 0o755, above: stranger, want: "belongs to another user (12345)"},
		"another user's, as /tmp":       {mode: 0o777 | os.ModeSticky, above: stranger, want: "belongs to another user (12345)"},
		"another user's name in /tmp":   {mode: 0o777 | os.ModeSticky, planted: stranger, want: "in a folder where all users may make files"},
		"another program's Drop folder": {mode: 0o755, planted: stranger},
	} {
		for _, by := range []string{"itself", "a link", "a link in the way"} {
			t.Run(name+"/"+by, func(t *testing.T) {
				dir := t.TempDir()
				above := filepath.Join(dir, "above")
				at := filepath.Join(above, "drop")
				err := errors.Join(os.MkdirAll(at, 0o755), os.Symlink("above", filepath.Join(dir, "way")), os.Symlink(at, filepath.Join(dir, "link")))
				for path, uid := range map[string]int{above: c.above, at: c.planted} {
					switch {
					case uid != 0 && os.Geteuid() != 0:
						t.Skip("only root gives folders away")
					case uid == -1:
						err = errors.Join(err, os.Chown(path, 0, stranger))
					case uid != 0:
						err = errors.Join(err, os.Chown(path, uid, uid))
					}
				}
				if err := errors.Join(err, os.Chmod(above, c.mode)); err != nil {
					t.Fatal(err)
				}
				path := map[string]string{"itself": at, "a link": filepath.Join(dir, "link"), "a link in the way": filepath.Join(dir, "way", "drop")}[by]
				err = disk.CheckParents(path)
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("CheckParents = %v, want %q", err, c.want)
				}
				if c.want != "" && by != "a link" {
					if _, err := disk.MakeFolder(nil, path, 0o700); err == nil {
						t.Error("MakeFolder goes there")
					}
					if _, err := disk.OpenFolder(path); err == nil {
						t.Error("OpenFolder goes there")
					}
				}
			})
		}
	}
}

func TestWaysThatEveryMachineHas(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Symlink("b", filepath.Join(dir, "a")), os.Symlink("a", filepath.Join(dir, "b"))); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		os.TempDir():                      nil,
		"/tmp/restante-none/x":            nil,
		"/var/run":                        nil,
		"/var/run/restante-none":          nil,
		"/":                               nil,
		".":                               nil,
		filepath.Join(dir, "new", "drop"): nil,
		filepath.Join(dir, "a", "drop"):   syscall.ELOOP,
		filepath.Join(dir, "a"):           syscall.ELOOP,
		"/dev/null/x":                     nil,
	} {
		if err := disk.CheckParents(path); !errors.Is(err, want) {
			t.Errorf("CheckParents(%s) = %v, want %v", path, err, want)
		}
	}
}

// A file is whole when it has one name and nobody has it open for writing.
func TestCheckWhole(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	writer, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	check := func() error {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return disk.CheckWhole(f)
	}
	if err := check(); runtime.GOOS == "linux" && (err == nil || !strings.Contains(err.Error(), "is open for writing")) {
		t.Errorf("while it is written: %v", err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := check(); err != nil {
		t.Errorf("when it is closed: %v", err)
	}
	if err := os.Link(name, name+"2"); err != nil {
		t.Skip(err)
	}
	if err := check(); err == nil || !strings.Contains(err.Error(), "has a second name") {
		t.Errorf("with another name: %v", err)
	}
}
