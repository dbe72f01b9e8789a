// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/internal/disk"
	"restante/metabase"
)

// A File is a backup in a folder, called NAME.mdVERSION as in IIS.
type File struct {
	Name    string
	Version int // 0 to 9999
	Time    time.Time
	Size    int64 // octets

	Pending []metabase.PendingPart // of one that Save made: what of it was not confirmed
}

// Newest is the highest version of a backup, or for Save the next one.
const Newest = -1

const (
	maxName    = 100
	maxVersion = 9999
)

func checkName(name string) error {
	bad := func(why string) error {
		return &metabase.Error{Op: "backup", Kind: metabase.Invalid, Err: fmt.Errorf("the name %q %s", clip(name), why)}
	}
	switch {
	case name == "":
		return bad("is empty")
	case len(name) > maxName:
		return bad("is longer than 100 octets")
	case strings.HasPrefix(name, ".") || strings.TrimSpace(name) != name:
		return bad("begins with a dot or a blank, or ends with a blank")
	}
	if err := disk.CheckName(name + ".md0"); err != nil {
		return bad(err.Error())
	}
	return nil
}

// Save writes a backup of s to the folder dir, which it creates if needed. With
// Newest the backup gets the number after the highest; any other version must be
// free. Only its owner can read the file. It is verified before it gets its name,
// and on stable storage when Save returns.
func Save(s Store, dir, name string, version int, o Options) (file File, err error) {
	if err := checkName(name); err != nil {
		return file, err
	}
	to, err := disk.MakeFolder(nil, dir, 0o700)
	if err != nil {
		return file, fmt.Errorf("backup %s: %w", name, err)
	}
	defer to.Close()
	if name, version, err = freeVersion(dir, name, version); err != nil {
		return file, err
	}
	var info Info
	var size int64
	final := fileName(name, version)
	err = to.CreateFile(final, 0o600, func(f io.ReadWriteSeeker) (err error) {
		if info, err = Write(s, f, o); err != nil {
			return err
		}
		if _, err = f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if _, err = Verify(s, f, o.Password); err != nil {
			return err
		}
		size, err = f.Seek(0, io.SeekCurrent) // all of it was read
		return err
	})
	if err != nil {
		return file, fmt.Errorf("backup %s: %w", name, err)
	}
	return File{name, version, info.Time, size, info.Pending}, nil
}

// freeVersion returns the number of a new backup, and its name as earlier versions
// spell it: case does not count, as on some file systems.
func freeVersion(dir, name string, version int) (string, int, error) {
	all, err := List(dir)
	if err != nil {
		return "", 0, err
	}
	next := 0
	for _, b := range all {
		if !strings.EqualFold(b.Name, name) {
			continue
		}
		if b.Version == version {
			return "", 0, &metabase.Error{Op: "backup", Kind: metabase.Exists, Err: fmt.Errorf("%s version %d", name, version)}
		}
		name, next = b.Name, max(next, b.Version+1)
	}
	if version == Newest {
		version = next
	}
	if version < 0 || version > maxVersion {
		return "", 0, &metabase.Error{Op: "backup", Kind: metabase.Invalid, Err: fmt.Errorf("%s: a version is a number from 0 to %d", name, maxVersion)}
	}
	return name, version, nil
}

// List lists the backups in a folder by name and version; none if there is no such
// folder.
func List(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("backups: %w", err)
	}
	var out []File
	for _, e := range entries {
		i := strings.LastIndex(e.Name(), ".md")
		if i <= 0 || !e.Type().IsRegular() {
			continue
		}
		version, err := strconv.Atoi(e.Name()[i+3:])
		name := e.Name()[:i]
		if err != nil || version < 0 || version > maxVersion || checkName(name) != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // gone meanwhile
		}
		out = append(out, File{Name: name, Version: version, Time: info.ModTime().UTC(), Size: info.Size()})
	}
	slices.SortFunc(out, func(a, b File) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.Version, b.Version))
	})
	return out, nil
}

// Open opens a backup for Restore; Newest is the highest version. The caller closes
// it. The error is NotFound if there is none.
func Open(dir, name string, version int) (*os.File, File, error) {
	b, err := find(dir, name, version)
	if err != nil {
		return nil, File{}, err
	}
	from, err := disk.OpenFolder(dir)
	if err != nil {
		return nil, File{}, fmt.Errorf("backup %s: %w", name, err)
	}
	defer from.Close()
	f, err := from.Open(fileName(b.Name, b.Version))
	if err != nil {
		return nil, File{}, fmt.Errorf("backup %s: %w", name, err)
	}
	return f, b, nil
}

// Delete removes a backup, with Newest its highest version, and returns which it
// was; the error is NotFound if there is none.
func Delete(dir, name string, version int) (File, error) {
	b, err := find(dir, name, version)
	if err != nil {
		return File{}, err
	}
	from, err := disk.OpenFolder(dir)
	if err != nil {
		return File{}, fmt.Errorf("backup %s: %w", name, err)
	}
	defer from.Close()
	if err := from.Remove(fileName(b.Name, b.Version)); err != nil {
		return File{}, fmt.Errorf("backup %s: %w", name, err)
	}
	return b, nil
}

// find finds a backup by its name, in any case.
func find(dir, name string, version int) (File, error) {
	all, err := List(dir)
	if err != nil {
		return File{}, err
	}
	for _, b := range slices.Backward(all) {
		if strings.EqualFold(b.Name, name) && (version == Newest || b.Version == version) {
			return b, nil
		}
	}
	what := fmt.Errorf("%s version %d", clip(name), version)
	if version == Newest {
		what = errors.New(clip(name))
	}
	return File{}, &metabase.Error{Op: "backup", Kind: metabase.NotFound, Err: what}
}

func fileName(name string, version int) string { return name + ".md" + strconv.Itoa(version) }

// clip shortens text from outside for a message.
func clip(s string) string {
	if len(s) > maxName {
		return s[:maxName] + "..."
	}
	return s
}
