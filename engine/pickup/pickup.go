// SPDX-License-Identifier: Apache-2.0

// Package pickup sends the files that programs put into a folder: it reads the
// envelope and the message of each, hands them to the [Intake], and removes the
// file when the message is on stable storage.
//
// A file is taken when its size and its time of change have not changed for a
// second, no program has it open for writing as far as the system says so, and its
// header has an end. It is renamed first: its new name has the ID of the message,
// and is stored before the message is. The intake notes the ID in the commit of
// the message. So a crash neither loses a file nor has it sent twice.
//
// A file that can never be sent goes to another folder, with the reason in a file
// beside it. What is no regular file, is hidden, or has a name that ends in .tmp or
// .part stays where it is.
//
// The package does not know what a message is sent to, and who may send.
package pickup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"restante/engine/journal"
	"restante/engine/mail"
	"restante/internal/dirwatch"
	"restante/internal/disk"
)

const (
	quiet      = time.Second            // a file does not change for that long
	patience   = time.Minute            // nor does one whose header has no end
	sweepEvery = 5 * time.Second        // network folders tell no news, and news can be lost; what stays is tried again
	lookGap    = 250 * time.Millisecond // between two looks, however many files come
	batchSize  = 256                    // files whose messages share the commits of the intake, and open at a time
	badFolder  = "Badmail"              // in the folder, where the settings name none
	folderPerm = 0o750                  // of the folder where it is made: who can write in it may send to everybody
)

// Settings are what a Picker goes by. It asks for them at each look.
type Settings struct {
	Dir     string      // absolute; "": no folder
	Bad     string      // for files that cannot be sent; "": Badmail in Dir
	Default mail.Domain // of addresses that have none; "": they are errors
	Stuffed bool        // dots at the beginning of lines are doubled
}

// An Intake makes messages ours.
type Intake interface {
	// Submit stores a message and a note of its ID in one step. The reply is
	// temporary if the message may be submitted again, and permanent if it never
	// can be sent.
	Submit(ctx context.Context, m Message) mail.Reply

	// Submitted reports whether there is a note of id. The error is ErrNotOurs if
	// there is none, and yet a message with this ID.
	Submitted(id mail.MessageID) (bool, error)

	// Forget removes notes.
	Forget(ctx context.Context, ids []mail.MessageID) error
}

// ErrNotOurs says that a name with the ID of a message was not given by a Picker.
var ErrNotOurs = errors.New("its name begins with taken- and the ID of another message in the queue, as that of a copy does; rename the file to have it sent")

// Options adjusts New. The zero value is the production setting.
type Options struct {
	Journal   *journal.Journal // nil: none
	Log       *slog.Logger     // nil: none
	Changed   func()           // called after each change of Err from or to nil; nil: none
	SweepOnly bool             // no news from the file system
}

// A Picker watches one folder.
type Picker struct {
	settings func() Settings
	intake   Intake
	opts     Options
	wake     chan struct{}

	// These are used by the goroutine of Run alone.
	watcher *dirwatch.Watcher
	seen    map[string]sighting // by name

	mu      sync.Mutex
	failing error // why nothing could be sent at the last look, or nil
}

// A sighting is a file as it was when it was first seen so.
type sighting struct {
	size  int64
	mod   time.Time
	since time.Time
	noted string    // why it stays, as it was logged
	until time.Time // it is not tried again before
}

// New makes a Picker. It starts nothing.
func New(settings func() Settings, intake Intake, opts Options) *Picker {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Picker{settings: settings, intake: intake, opts: opts, wake: make(chan struct{}, 1)}
}

// Wake has the settings asked for at once.
func (p *Picker) Wake() { signal(p.wake) }

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is pending already
	}
}

// Err says why no file can be sent now; nil if files can.
func (p *Picker) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failing == nil {
		return nil
	}
	return fmt.Errorf("files of the Pickup folder cannot be sent now: %w", p.failing)
}

// fails notes whether files can be sent, and reports whether that has changed.
func (p *Picker) fails(err error) (changed bool) {
	p.mu.Lock()
	changed = (p.failing == nil) != (err == nil)
	p.failing = err
	p.mu.Unlock()
	if changed && p.opts.Changed != nil {
		p.opts.Changed()
	}
	return changed
}

// Run takes files until ctx ends. A message whose storing has begun is stored, and
// its file removed, before it returns.
func (p *Picker) Run(ctx context.Context) {
	if !p.opts.SweepOnly { // our own renames are left out
		p.watcher = dirwatch.New(func(name string) bool { return strings.HasPrefix(name, takenPrefix) })
	}
	defer p.watcher.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		case <-p.watcher.Events():
			if p.Err() != nil {
				continue
			}
			if gap := time.Until(last.Add(lookGap)); gap > 0 {
				timer.Reset(gap)
				continue
			}
		}
		last = time.Now()
		timer.Reset(p.look(ctx))
	}
}

// look takes the files that can be taken, and says how long after it the next look
// is due.
func (p *Picker) look(ctx context.Context) time.Duration {
	set := p.settings()
	if set.Dir == "" {
		_ = p.watcher.Watch()
		p.seen = nil
		p.fails(nil)
		return sweepEvery
	}
	next, err := p.sweep(ctx, set)
	switch {
	case ctx.Err() != nil:
		return sweepEvery
	case err == nil:
		if p.fails(nil) {
			p.opts.Log.Info("files of the Pickup folder are sent again", "folder", set.Dir)
		}
		return next
	}
	if p.fails(err) {
		p.opts.Log.Warn("files of the Pickup folder cannot be sent now; they are tried again", "folder", set.Dir, "why", err)
	}
	return sweepEvery
}

// sweep takes the files that can be taken, in batches. The error is that of the
// folder or of the intake, and leaves the other files for the next look.
func (p *Picker) sweep(ctx context.Context, set Settings) (next time.Duration, err error) {
	if _, err := os.Lstat(filepath.Dir(set.Dir)); err != nil {
		return 0, err // what is above it, such as the data folder, is not made again
	}
	dir, err := disk.MakeFolder(nil, set.Dir, folderPerm)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	if err := p.watcher.Watch(set.Dir); err != nil {
		p.opts.Log.Info("the system gives no news of the Pickup folder; it is looked at every few seconds", "why", err)
	}
	names, next, err := p.ready(set, dir)
	if err != nil {
		return 0, err
	}
	for names := range slices.Chunk(names, batchSize) {
		if ctx.Err() != nil {
			break
		}
		if err := p.sendBatch(ctx, set, dir, names); err != nil {
			return 0, err
		}
	}
	return next, nil
}

// ready lists the files that have not changed for a while, and says when the next
// one may be among them.
func (p *Picker) ready(set Settings, dir *disk.Folder) (names []string, next time.Duration, err error) {
	entries, err := dir.Names()
	if err != nil {
		return nil, 0, err
	}
	now, was := time.Now(), p.seen
	p.seen, next = make(map[string]sighting, len(entries)), sweepEvery
	for _, e := range entries {
		name := e.Name()
		if isUnfinishedName(name) {
			continue
		}
		if e.IsDir() {
			p.seen[name] = was[name]
			if name != badFolder && filepath.Join(set.Dir, name) != set.Bad {
				p.note(name, errFolder)
			}
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		s, known := was[name]
		if !known || s.size != info.Size() || !s.mod.Equal(info.ModTime()) {
			s = sighting{size: info.Size(), mod: info.ModTime(), since: now}
		}
		p.seen[name] = s
		due := s.since.Add(quiet)
		if _, taken := takenID(name); taken { // it was quiet when it was taken
			due = time.Time{}
		}
		if s.until.After(due) {
			due = s.until
		}
		if wait := due.Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		names = append(names, name)
	}
	return names, next, nil
}

// errFolder says why a folder stays.
var errFolder = errors.New("it is a folder: move the files in it")

// note logs why a file stays, and has it tried again later.
func (p *Picker) note(name string, why error) {
	s := p.seen[name]
	if s.until = time.Now().Add(sweepEvery); why.Error() != s.noted {
		s.noted = why.Error()
		p.opts.Log.Warn("a file stays in the Pickup folder", "file", name, "why", why)
	}
	p.seen[name] = s
}

// isUnfinishedName reports whether a program gave the name to a file that it has
// not finished.
func isUnfinishedName(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(name, ".") || strings.HasSuffix(lower, ".tmp") || strings.HasSuffix(lower, ".part")
}

// The name of a file that is taken begins with takenPrefix and the ID of its
// message, and ends with the name that it came with.
const (
	takenPrefix = "taken-"
	maxGiven    = 200 // octets of that name
)

func takenName(id mail.MessageID, given string) string {
	if len(given) > maxGiven {
		given = strings.ToValidUTF8(given[len(given)-maxGiven:], "")
	}
	return takenPrefix + string(id) + "-" + given
}

// takenID reads the ID off the name of a file that is taken.
func takenID(name string) (mail.MessageID, bool) {
	rest, ok := strings.CutPrefix(name, takenPrefix)
	text, _, dash := strings.Cut(rest, "-")
	id, err := mail.ParseMessageID(text)
	return id, ok && dash && err == nil
}

// givenName is the name that a file came with.
func givenName(name string) string {
	id, ok := takenID(name)
	if !ok {
		return name
	}
	return cmp.Or(strings.TrimPrefix(name, takenPrefix+string(id)+"-"), name)
}
