// SPDX-License-Identifier: Apache-2.0

package w3clog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"restante/internal/disk"
)

// folderPerm is for the service alone. In a folder that somebody else made, the
// group of the folder may read the files.
const (
	folderPerm = 0o700
	filePerm   = 0o640
)

// A writer appends batches to files.
type writer struct {
	last   written
	number int // of the newest file by size
}

// written is what the last batch went to.
type written struct {
	folder, file string
	fields       Fields
}

// write appends a batch. After an error it gives what was not written.
func (w *writer) write(b *batch) (rest []byte, err error) {
	folder, err := OpenFolder(b.set.Folder)
	if err != nil {
		return b.lines, err
	}
	defer folder.Close()
	if err := disk.CheckSpare(b.set.Folder); err != nil {
		return b.lines, err
	}
	if w.last.folder != b.set.Folder {
		w.last, w.number = written{folder: b.set.Folder}, 0
	}
	for rest = b.lines; len(rest) > 0; {
		name := b.file
		if name == "" {
			if name, err = w.sizeFile(folder); err != nil {
				return rest, err
			}
		}
		n, err := w.append(folder, name, b, rest)
		if err != nil {
			return rest, err
		}
		if rest = rest[n:]; len(rest) > 0 {
			w.number++
		}
	}
	return nil, nil
}

// OpenFolder opens the folder of a log, and makes it if it is not there. The folder
// above it is the one that an administrator names, and can be no link either.
func OpenFolder(dir string) (*disk.Folder, error) {
	above := filepath.Dir(dir)
	if err := disk.CheckLink(above); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Dir(above)); err != nil {
		return nil, err // it is gone, such as the data folder, and is not made again
	}
	return disk.MakeFolder(nil, dir, folderPerm)
}

// sizeFile is the name of the newest file by size.
func (w *writer) sizeFile(folder *disk.Folder) (string, error) {
	if w.number == 0 {
		names, err := folder.Names()
		if err != nil {
			return "", err
		}
		w.number = 1
		for _, one := range names {
			w.number = max(w.number, sizeNumber(one.Name()))
		}
	}
	return sizeFile(w.number), nil
}

// append adds lines to a file and gives the octets of those that it has room
// for. After an error the file is as it was.
func (w *writer) append(folder *disk.Folder, name string, b *batch, lines []byte) (n int, err error) {
	f, err := folder.Append(name, filePerm)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := st.Size()
	to := written{b.set.Folder, name, b.set.Fields}
	var out []byte
	if size == 0 || w.last != to {
		if !wholeLines(f, size) { // the last process was killed as it wrote
			out = append(out, '\r', '\n')
		}
		out = append(out, b.set.Fields.header(b.at)...)
	}
	n = len(lines)
	if limit := b.set.Size; b.file == "" && limit > 0 {
		if n = fitting(lines, limit-size-int64(len(out))); n == 0 && size > 0 {
			return 0, nil
		}
		n = max(n, bytes.IndexByte(lines, '\n')+1) // a new file has one line at least
	}
	if _, err := f.Write(append(out, lines[:n]...)); err != nil {
		return 0, errors.Join(fmt.Errorf("%s: %w", filepath.Join(b.set.Folder, name), err), f.Truncate(size))
	}
	w.last = to
	return n, nil
}

// wholeLines reports whether a file of that size ends with a line end.
func wholeLines(f *os.File, size int64) bool {
	if size == 0 {
		return true
	}
	var last [1]byte
	_, err := f.ReadAt(last[:], size-1)
	return err != nil || last[0] == '\n'
}

// fitting is the length of the lines that have at most room octets.
func fitting(lines []byte, room int64) int {
	if room >= int64(len(lines)) {
		return len(lines)
	}
	if room <= 0 {
		return 0
	}
	return bytes.LastIndexByte(lines[:room], '\n') + 1
}
