// SPDX-License-Identifier: Apache-2.0

// Package recipients reads files that list the recipients of domains, and reads
// them again when they change.
//
// A file has one address a line, or a local part alone, which stands for it in each
// domain that the file is asked about. Empty lines and those that begin with # do
// not count, nor does case. A file that cannot be read, or that looks half written,
// leaves the list that was read before in use.
//
// A list holds eight octets for each address: a hash under a key of its own, so
// that an address that is not in it passes with a chance of one in 2^64 for each
// that is, and nobody can choose one that does.
package recipients

import (
	"bufio"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"restante/engine/mail"
	"restante/internal/disk"
)

const (
	checkInterval = time.Second            // between two looks at a file
	firstTimeout  = 4 * time.Second        // for the first reading of a file
	againTimeout  = 100 * time.Millisecond // for another one, while the last list is at hand

	maxAddresses = 50_000_000
)

// A List is the addresses of one file. It never changes.
type List struct {
	seed   maphash.Seed
	hashes []uint64 // sorted, each once
}

// Has reports whether a, or its local part alone, is in the list.
func (l *List) Has(a mail.Address) bool {
	return l.find(l.hash(a)) || l.find(l.hash(mail.Address{Local: a.Local}))
}

// Len is the number of addresses.
func (l *List) Len() int { return len(l.hashes) }

func (l *List) find(h uint64) bool {
	_, ok := slices.BinarySearch(l.hashes, h)
	return ok
}

func (l *List) hash(a mail.Address) uint64 {
	return maphash.String(l.seed, mail.FoldLocal(a.Local)+"\x00"+string(a.Domain))
}

// Matches reports whether an entry of a list, as it is written in one, means a.
func Matches(entry string, a mail.Address) bool {
	e, err := mail.ParseMailbox(entry)
	return err == nil && mail.FoldLocal(e.Local) == mail.FoldLocal(a.Local) && (e.Domain == "" || e.Domain == a.Domain)
}

// errHalfWritten is the reason not to take a file over.
var errHalfWritten = errors.New("its last line has no end, as in a file that is half written: end the last line, too, and put new versions in place by renaming")

// Read reads a list to its end.
func Read(r io.Reader) (*List, error) {
	l := &List{seed: maphash.MakeSeed()}
	in := bufio.NewReaderSize(r, 64<<10)
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			slices.Sort(l.hashes)
			l.hashes = slices.Clip(slices.Compact(l.hashes))
			if len(l.hashes) == 0 {
				return nil, errors.New("has no address")
			}
			return l, nil
		case errors.Is(err, io.EOF):
			return nil, errHalfWritten
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("line %d is longer than 64 KiB: one address a line", n)
		case err != nil:
			return nil, err
		}
		text := strings.TrimSpace(string(line))
		if n == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		if text == "" || text[0] == '#' {
			continue
		}
		a, err := mail.ParseListed(text)
		if err != nil {
			return nil, fmt.Errorf("line %d is no address: %w", n, err) // the line may be a secret of another file
		}
		if len(l.hashes) == maxAddresses {
			return nil, fmt.Errorf("has more than %d addresses", maxAddresses)
		}
		l.hashes = append(l.hashes, l.hash(a))
	}
}

// A User is who asks for a list: a domain of a site.
type User struct {
	Site   int
	Domain mail.Domain
}

// Files has the lists of all files that were asked for. Its methods may be called
// concurrently. The zero Files is ready, and its paths begin at the current folder.
type Files struct {
	Dir     string       // where relative paths begin
	Log     *slog.Logger // nil: none
	Changed func()       // called when a file becomes unreadable, or readable again; nil: none

	mu    sync.Mutex // guards what follows
	files map[string]*file
}

// A file is one path and what was read from it.
type file struct {
	source
	list    *List // nil: none was read yet
	version version
	checked time.Time
	reading *reading // nil: none is under way
}

// version tells one version of a file from the next.
type version struct {
	time time.Time
	size int64
}

// A reading is one look at a file, in a goroutine of its own: a file system that
// does not answer holds nobody else up.
type reading struct{ done chan struct{} }

// Find gives the list of a file. The error says why there is none, not even an
// older one.
func (f *Files) Find(path string, who User) (*List, error) {
	f.mu.Lock()
	if f.files == nil {
		f.files = map[string]*file{}
	}
	x := f.files[path]
	if x == nil {
		x = &file{source: newSource()}
		f.files[path] = x
	}
	x.users[who.Site] = who.Domain
	r, wait := x.reading, firstTimeout
	switch {
	case r != nil && x.list != nil:
		r = nil // somebody else waits for it
	case r == nil:
		r = f.lookLocked(x, path)
	}
	if x.list != nil {
		wait = againTimeout
	}
	f.mu.Unlock()
	if r != nil {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-r.done:
		case <-timer.C:
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case x.list != nil:
		return x.list, nil
	case x.err != nil:
		return nil, x.err
	}
	return nil, fmt.Errorf("list of recipients %s: no answer from the file system in %s", path, firstTimeout)
}

// lookLocked begins a reading where one is due; nil: none is.
func (f *Files) lookLocked(x *file, path string) *reading {
	if x.reading != nil || time.Since(x.checked) < checkInterval {
		return nil
	}
	x.reading = &reading{make(chan struct{})}
	go f.read(x, path, x.reading) // ended by the file system alone
	return x.reading
}

// read looks at the file and reads it if it has changed.
func (f *Files) read(x *file, path string, r *reading) {
	defer close(r.done)
	f.mu.Lock()
	last, was := x.version, x.err
	f.mu.Unlock()
	list, now, err := readNewer(disk.Locate(f.Dir, path), last)
	switch {
	case err != nil:
		err = fmt.Errorf("list of recipients %s: %w", path, err)
	case list == nil:
		err = was // the file is as it was
	}
	f.mu.Lock()
	x.reading, x.checked, x.err, x.version = nil, time.Now(), err, now
	if list != nil {
		x.list = list
	}
	kept := x.list
	f.mu.Unlock()
	f.report(path, kept, list != nil, was, err)
}

// report logs what a reading found, once.
func (f *Files) report(path string, kept *List, fresh bool, was, is error) {
	if (was == nil) != (is == nil) && f.Changed != nil {
		f.Changed()
	}
	switch {
	case f.Log == nil:
	case is != nil && (was == nil || was.Error() != is.Error()):
		f.Log.Warn("a list of recipients cannot be read; what was read before stays in use", "file", path, "in_use", kept.size(), "err", is)
	case fresh:
		f.Log.Info("list of recipients read", "file", path, "addresses", kept.size())
	}
}

func (l *List) size() int {
	if l == nil {
		return 0
	}
	return l.Len()
}

// readNewer reads a file, and gives its version where its octets were read. It gives
// neither a list nor an error if the file is of the version last. A file that changes
// meanwhile is half written.
func readNewer(name string, last version) (*List, version, error) {
	f, st, err := disk.OpenRegular(name)
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err // the caller names the file
	}
	if err != nil {
		return nil, version{}, err
	}
	defer f.Close()
	now := versionOf(st)
	if now == last {
		return nil, now, nil
	}
	list, err := Read(f)
	if after, statErr := f.Stat(); statErr != nil || versionOf(after) != now {
		return nil, version{}, errors.New("is being written")
	}
	return list, now, err
}

func versionOf(st fs.FileInfo) version { return version{st.ModTime(), st.Size()} }

// Keep forgets the files of a site that named says are no longer those of the
// domain.
func (f *Files) Keep(site int, named func(path string, d mail.Domain) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	keep(f.files, site, named)
}

// Err says which files of a site could not be read at the last look, and has them
// looked at again. It does not wait.
func (f *Files) Err(site int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return failures(f.files, site, func(path string, x *file) error {
		f.lookLocked(x, path)
		return x.err
	})
}
