// SPDX-License-Identifier: Apache-2.0

// Package spool keeps messages on disk from their acceptance until they are
// removed.
//
// A body is written through a [Writer]. When Commit returns nil, the body, its
// envelope and the caller's extra operations are on stable storage. Concurrent
// commits share one write to the disk. Bodies up to 1 MiB are stored in segment
// files, which are used again once they are empty; a larger body has a file of
// its own. Envelopes and the locations of bodies are in the index, a [kv.DB].
//
// Open never returns a body that does not match its checksum. Such a message is
// named in the log or in the error, and stays as it is. The package does
// not know when a message is due or where it goes.
package spool

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"restante/engine/mail"
	"restante/internal/kv"
)

// The kinds of errors that callers decide by; errors.Is finds each.
var (
	ErrFull     error = kindError{"no space left for mail", kv.ErrFull}
	ErrNotFound error = kindError{"no such message", mail.ErrLost}
	ErrDamaged  error = kindError{"the body is damaged", mail.ErrLost}
	ErrExists         = errors.New("a message with this ID exists already")
	ErrClosed         = errors.New("the spool is closed")
	ErrInUse          = errors.New("in use")
	ErrForeign        = errors.New("the folder holds mail of another queue")
)

// A kindError is also found as the kind that callers know who do not import the
// spool.
type kindError struct {
	text string
	kind error
}

func (e kindError) Error() string        { return e.text }
func (e kindError) Is(target error) bool { return target == e.kind }

// Options adjusts Open. The zero value is the production setting.
type Options struct {
	Owner       string       // written into the folder and named to other spools; "": none
	Log         *slog.Logger // findings of Open, failed compaction; nil: none
	SegmentSize int64        // 0: 64 MiB, less on a small disk
	Reserve     int64        // free space that mail does not use; 0: 256 MiB, less on a small disk
	CopyRate    int64        // bytes per second when emptying segments; 0: 8 MiB

	// Memory gives how many bytes all open Writers may keep in memory together;
	// 0, or no function: any number. It is asked again and again.
	Memory func() int64

	// MinFree gives the free space that mail does not use in place of Reserve; 0, or no
	// function: Reserve. It is asked again and again.
	MinFree func() int64

	// Files counts the files of open Writers; nil: any number.
	Files Files
}

// Files counts open files. Take is false if there may be no more.
type Files interface {
	Take() bool
	Release()
}

func (o *Options) setDefaults(free space) error {
	if o.Memory == nil {
		o.Memory = func() int64 { return 0 }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	_, total, err := free()
	if err != nil {
		return err
	}
	// fit returns large, or a part of a disk that is too small for it.
	fit := func(large, part int64) int64 {
		if total == 0 {
			return large
		}
		return min(large, max(4<<20, total/part))
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = fit(64<<20, 16)
	}
	if o.Reserve == 0 {
		o.Reserve = fit(256<<20, 8)
	}
	if o.CopyRate == 0 {
		o.CopyRate = 8 << 20
	}
	if o.SegmentSize < 64<<10 || o.Reserve < 0 || o.CopyRate < 0 {
		return fmt.Errorf("options: segments of %d bytes, reserve %d, copy rate %d", o.SegmentSize, o.Reserve, o.CopyRate)
	}
	return nil
}

// A Spool keeps the messages of one site.
type Spool struct {
	vol       volume
	free      space
	db        kv.DB
	lock      *folderLock
	opts      Options
	segs      *segments
	committer *committer
	report    Report
	tmp       atomic.Uint64 // the last number used for a tmp name
	memory    atomic.Int64  // bytes that Writers keep beyond their first two chunks
	once      sync.Once
	closing   error
}

// All keys of the spool begin with "s/"; those of the callers' extra operations
// must not.
const (
	entryPrefix   = "s/e/"
	segmentPrefix = "s/g/"
	lastKey       = "s/last"
)

func entryKey(id mail.MessageID) []byte { return []byte(entryPrefix + string(id)) }

// Open opens the spool in dir, with its index in db, repairs what a crash has
// left, and logs what it found. Only one Spool may use dir and
// db. The error is ErrInUse for a dir that another Spool has open, in any
// process, and ErrForeign for one with mail of another queue.
func Open(ctx context.Context, dir string, db kv.DB, opts Options) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	c, err := lockFolder(ctx, dir, db, opts.Owner)
	if err != nil {
		return nil, fmt.Errorf("spool %s: %w", dir, err)
	}
	s, err := openOn(ctx, folder(dir), folder(dir).Free, db, opts)
	if err != nil {
		return nil, fmt.Errorf("spool %s: %w", dir, errors.Join(err, c.unlock()))
	}
	s.lock = c
	return s, nil
}

func openOn(ctx context.Context, vol volume, free space, db kv.DB, opts Options) (*Spool, error) {
	if err := opts.setDefaults(free); err != nil {
		return nil, err
	}
	s := &Spool{vol: vol, free: free, db: db, opts: opts, segs: newSegments(vol, opts.SegmentSize)}
	last, err := s.recover(ctx)
	if err != nil {
		return nil, errors.Join(asFull(err), s.segs.close())
	}
	s.committer = newCommitter(s, last)
	go s.committer.run(context.WithoutCancel(ctx)) // ended by Close
	return s, nil
}

// Close completes the pending commits and closes the files. Bodies that are
// open must be closed before. Closing twice is harmless.
func (s *Spool) Close() error {
	s.once.Do(func() {
		s.committer.close()
		s.closing = errors.Join(s.segs.close(), s.lock.unlock())
	})
	return s.closing
}

// Broken is why the spool takes in nothing more until it is opened again; nil if
// it works.
func (s *Spool) Broken() error { return s.committer.queue.Broken() }

// Remove removes messages from the index and applies extra in the same durable
// step. Their space is used again later. An ID that is not there is skipped.
func (s *Spool) Remove(ctx context.Context, ids []mail.MessageID, extra ...kv.Op) error {
	if err := kv.Check(extra...); err != nil {
		return fmt.Errorf("spool: remove: %w", err)
	}
	j := &job{remove: ids, extra: extra}
	if err := s.committer.queue.Do(ctx, j); err != nil {
		return fmt.Errorf("spool: remove: %w", asFull(err))
	}
	for _, id := range j.removedFiles {
		s.segs.removeFile(id)
	}
	return nil
}

// find reads the entry of id.
func (s *Spool) find(id mail.MessageID) (entry, error) {
	b, ok, err := s.db.Get(entryKey(id))
	if err != nil {
		return entry{}, err
	}
	if !ok {
		return entry{}, ErrNotFound
	}
	return decodeEntry(b)
}

// Envelope returns the envelope of message id as it was committed, or
// ErrNotFound.
func (s *Spool) Envelope(id mail.MessageID) (mail.Envelope, error) {
	e, err := s.find(id)
	if err != nil {
		return mail.Envelope{}, fmt.Errorf("spool %s: %w", id, err)
	}
	env, err := decodeEnvelope(e.env)
	if err != nil {
		return mail.Envelope{}, fmt.Errorf("spool %s: %w", id, err)
	}
	return env, nil
}

// Scan yields all envelopes as of the call, in the order of their IDs. An
// envelope that cannot be decoded is yielded with its ID and an error, and the
// scan goes on. An error without an ID ends it.
func (s *Spool) Scan(ctx context.Context) iter.Seq2[mail.Envelope, error] {
	pairs := s.db.Scan(ctx, []byte(entryPrefix))
	return func(yield func(mail.Envelope, error) bool) {
		for p, err := range pairs {
			if err != nil {
				yield(mail.Envelope{}, fmt.Errorf("spool: scan: %w", err))
				return
			}
			id := mail.MessageID(p.Key[len(entryPrefix):])
			var env mail.Envelope
			e, err := decodeEntry(p.Value)
			if err == nil {
				env, err = decodeEnvelope(e.env)
			}
			if err != nil {
				env, err = mail.Envelope{ID: id}, fmt.Errorf("spool %s: %w", id, err)
			}
			if !yield(env, err) {
				return
			}
		}
	}
}

// Count is the number of messages in an index; their folder need not be there.
func Count(ctx context.Context, db kv.DB) (n int, err error) {
	for _, err := range db.Scan(ctx, []byte(entryPrefix)) {
		if err != nil {
			return n, fmt.Errorf("spool: count: %w", err)
		}
		n++
	}
	return n, nil
}

func (s *Spool) tmpName() string { return fmt.Sprintf("%s%d", tmpPrefix, s.tmp.Add(1)) }
