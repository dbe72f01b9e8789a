// SPDX-License-Identifier: Apache-2.0

// Package w3clog writes the log file of a site in the W3C extended format, with
// the fields, the names of files and the periods of IIS's SMTP service.
//
// Write puts a line into memory and never waits for a disk. The goroutine of Run
// writes what has come, after a second at most, and at the end. When the folder
// or the disk refuses it, or lines come faster than it takes them, the lines are
// left out and counted, and Err says why until lines are written again: mail is
// never held up by its log.
//
// A line is written under the settings of its moment. Each file begins with the
// directives that name its fields; they come again when the fields change and
// when the process has begun anew. No file is kept open between two writes, so
// that other programs may move and remove files.
package w3clog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Settings is what an administrator sets. It is replaced, never changed.
type Settings struct {
	Folder string // of this site alone, absolute
	Fields Fields
	Period Period
	Size   int64 // with BySize: octets that a file has at most; 0: any number
}

const (
	flushEvery = time.Second
	flushSize  = 64 << 10 // written before flushEvery is over
	maxPending = 4 << 20  // further lines are left out
)

// A Log is the log of one site. Its methods but Run may be called from anywhere.
type Log struct {
	site, computer string
	diag           *slog.Logger
	settings       func() *Settings
	changed        func()
	some           chan struct{} // lines are pending
	many           chan struct{} // flushSize of them

	mu      sync.Mutex // guards what follows
	pending []*batch
	size    int   // octets of pending
	leftOut int64 // lines that found no room, since the last flush
	lost    int64 // lines that are left out since err, or since they found no room
	err     error // why nothing is written, or nil

	file writer // used by the goroutine of Run alone
}

// A batch is lines of one file.
type batch struct {
	set   *Settings
	file  string // "": by size
	at    time.Time
	lines []byte
}

// New makes the Log of a site that its lines call by that name, on the computer
// of that name. Settings gives those in force, nil for no log; it must not block.
// Changed is called after each change of Err from or to nil, by the goroutine of
// Run.
func New(site, computer string, settings func() *Settings, diag *slog.Logger, changed func()) *Log {
	return &Log{
		site: site, computer: computer, settings: settings, diag: diag, changed: changed,
		some: make(chan struct{}, 1), many: make(chan struct{}, 1),
	}
}

// On reports whether lines are logged.
func (l *Log) On() bool { return l.settings() != nil }

// Err says why lines are left out, and how many were; nil where all are written.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil || !l.On() {
		return nil
	}
	return fmt.Errorf("the log file is not written, %d lines are left out: %w", l.lost, l.err)
}

// Write adds a line.
func (l *Log) Write(e Entry) {
	set := l.settings()
	if set == nil || set.Fields == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size >= maxPending {
		l.leftOut++
		return
	}
	at := time.Now().UTC()
	if l.size == 0 {
		signal(l.some)
	}
	b := l.batchLocked(set, at)
	before := len(b.lines)
	b.lines = set.Fields.appendLine(b.lines, &line{&e, at, l.site, l.computer})
	if l.size += len(b.lines) - before; l.size >= flushSize {
		signal(l.many)
	}
}

// batchLocked is the batch that a line of that time belongs to.
func (l *Log) batchLocked(set *Settings, at time.Time) *batch {
	file := set.Period.file(at)
	if n := len(l.pending); n > 0 {
		if last := l.pending[n-1]; *last.set == *set && last.file == file {
			return last
		}
	}
	b := &batch{set: set, file: file, at: at}
	l.pending = append(l.pending, b)
	return b
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is signalled already
	}
}

// Run writes lines until ctx ends, and then those that are pending. It may be
// called once.
func (l *Log) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			l.flush()
			return
		case <-l.some:
		}
		wait := time.NewTimer(flushEvery)
		select {
		case <-ctx.Done():
		case <-l.many:
		case <-wait.C:
		}
		wait.Stop()
		l.flush()
	}
}

var errTooFast = errors.New("they came faster than the disk takes them")

// flush writes what is pending.
func (l *Log) flush() {
	l.mu.Lock()
	pending, lost := l.pending, l.leftOut
	l.pending, l.size, l.leftOut = nil, 0, 0
	l.mu.Unlock()
	var err error
	if lost > 0 {
		err = errTooFast
	}
	for _, b := range pending {
		if rest, e := l.file.write(b); e != nil {
			lost, err = lost+int64(bytes.Count(rest, []byte{'\n'})), e
		}
	}
	if len(pending) > 0 || lost > 0 {
		l.note(err, lost)
	}
}

// note records what became of the lines that were pending, and says it once.
func (l *Log) note(err error, lost int64) {
	l.mu.Lock()
	was := l.err
	l.err, l.lost = err, l.lost+lost
	total := l.lost
	if err == nil {
		l.lost = 0
	}
	l.mu.Unlock()
	switch {
	case was == nil && err != nil:
		l.diag.Warn("the log file is not written", "why", err)
	case was != nil && err == nil:
		l.diag.Info("the log file is written again", "left_out", total)
	default:
		return
	}
	l.changed()
}
