// SPDX-License-Identifier: Apache-2.0

package site

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"restante/engine/w3clog"
	"restante/internal/disk"
)

// folderTimeout is the time that a file system has to answer for the folders of a
// site.
const folderTimeout = 4 * time.Second

// A folderCheck finds out whether folders can be used. It runs in a goroutine of
// its own: a file system that does not answer holds nobody else up.
type folderCheck struct {
	of   []Folder
	done chan error // of the check under way; nil: there is none
	last error      // of the last check of these folders
}

// checkFolders reports each folder of cfg that cannot be used, but for that of the
// queue, whose opening says it. Folders that were good are not checked again.
func (s *Site) checkFolders(cfg *Config, queue string) error {
	c := &s.folders
	list := slices.DeleteFunc(slices.Clone(cfg.Folders), func(f Folder) bool { return f.Path == "" || f.Path == queue })
	same := slices.Equal(list, c.of)
	if same && c.done == nil && c.last == nil {
		return nil
	}
	if !same || c.done == nil {
		c.of, c.done = list, make(chan error, 1)
		go func(done chan<- error) { done <- tryFolders(list) }(c.done) // ended by the file system alone
	}
	timeout := time.NewTimer(folderTimeout)
	defer timeout.Stop()
	select {
	case c.last = <-c.done:
		c.done = nil
	case <-timeout.C:
		c.last = nil
		for _, f := range list {
			c.last = errors.Join(c.last, refused(f.Name, fmt.Errorf("%s %s: no answer from the file system in %s", f.Name, f.Path, folderTimeout)))
		}
	}
	return c.last
}

func tryFolders(list []Folder) error {
	var all []error
	for _, f := range list {
		if err := tryFolder(f); err != nil {
			all = append(all, refused(f.Name, fmt.Errorf("%s: %w", f.Name, err)))
		}
	}
	return errors.Join(all...)
}

// tryFolder makes the folder, as its first message would, and a file in it.
func tryFolder(f Folder) error {
	folder, err := f.open()
	if err != nil {
		return err
	}
	defer folder.Close()
	file, err := os.CreateTemp(f.Path, ".try-")
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		path.Path = f.Path // its random name would make each reason a new one
	}
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

func (f Folder) open() (*disk.Folder, error) {
	if f.Name == LogFolder {
		return w3clog.OpenFolder(f.Path)
	}
	return disk.MakeFolder(nil, f.Path, f.Perm)
}
