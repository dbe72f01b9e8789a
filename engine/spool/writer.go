// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"restante/engine/mail"
	"restante/internal/disk"
	"restante/internal/kv"
)

// A body up to bodyLimit stays in memory until its group is written to a
// segment. A larger one is written to a file of its own as it arrives, and so is
// one of more than two chunks while Options.Memory is used up: small mail stays
// fast when others fill the memory.
const (
	bodyLimit  = 1 << 20
	firstChunk = 4 << 10 // most mail fits in one
	chunkSize  = 64 << 10
)

var (
	firstChunks = sync.Pool{New: func() any { return new([firstChunk]byte) }}
	chunks      = sync.Pool{New: func() any { return new([chunkSize]byte) }}
)

// A Writer takes in one body. Its methods must not be called concurrently. It
// ends in Commit or Abort; without either, its file stays until the spool is
// opened again.
type Writer struct {
	s          *Spool
	afterGroup uint64   // the last group before it
	chunks     [][]byte // not yet written to a file
	size       int64
	sum        uint32
	err        error // the first one; later calls get it again

	tmp     string
	f       file
	written int64 // to f
	memory  int64 // counted in Spool.memory
}

// Create begins a body. The error is ErrFull if the disk has too little space,
// before the sender transmits it.
func (s *Spool) Create(ctx context.Context) (*Writer, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if err := s.checkSpace(bodyLimit); err != nil {
		return nil, err
	}
	return &Writer{s: s, afterGroup: s.committer.last.Load()}, nil
}

// Size is the number of bytes written so far.
func (w *Writer) Size() int64 { return w.size }

// Reader reads what was written so far, from its beginning. It must be read before the
// next Write, and before Commit and Abort.
func (w *Writer) Reader() io.Reader {
	var parts []io.Reader
	if w.f != nil {
		parts = append(parts, io.NewSectionReader(w.f, 0, w.written))
	}
	for _, c := range w.chunks {
		parts = append(parts, bytes.NewReader(c))
	}
	return io.MultiReader(parts...)
}

// Write adds p to the body. After an error the Writer cannot be used; ErrFull
// means that the disk has too little space.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n := len(p)
	for len(p) > 0 {
		part := w.space()
		took := copy(part, p)
		w.sum = crc32.Update(w.sum, castagnoli, p[:took])
		last := &w.chunks[len(w.chunks)-1]
		*last = (*last)[:len(*last)+took]
		w.size += int64(took)
		p = p[took:]
		if err := w.spill(); err != nil {
			w.err = asFull(fmt.Errorf("spool: write a body: %w", err))
			w.drop()
			return 0, w.err
		}
	}
	return n, nil
}

// space returns the free part of the last chunk, of a new one if that is full.
func (w *Writer) space() []byte {
	if n := len(w.chunks); n > 0 {
		if last := w.chunks[n-1]; len(last) < cap(last) {
			return last[len(last):cap(last)]
		}
	}
	if len(w.chunks) > 1 && w.f == nil { // a small body is not counted
		w.memory += chunkSize
		w.s.memory.Add(chunkSize)
	}
	if len(w.chunks) == 0 && w.f == nil {
		w.chunks = append(w.chunks, firstChunks.Get().(*[firstChunk]byte)[:0])
	} else {
		w.chunks = append(w.chunks, chunks.Get().(*[chunkSize]byte)[:0])
	}
	last := w.chunks[len(w.chunks)-1]
	return last[:cap(last)]
}

// spill writes to the file what need not stay in memory.
func (w *Writer) spill() error {
	switch {
	case w.f == nil && w.size <= bodyLimit && !w.overMemory():
		return nil
	case w.f == nil:
		return w.toFile()
	case len(w.chunks[0]) < cap(w.chunks[0]):
		return nil
	}
	if w.size%(16*bodyLimit) < chunkSize { // once per 16 MiB
		if err := w.s.checkSpace(chunkSize); err != nil {
			return err
		}
	}
	return w.flush()
}

// overMemory reports whether the body shares more memory than there may be.
func (w *Writer) overMemory() bool {
	limit := w.s.opts.Memory()
	return w.memory > 0 && limit > 0 && w.s.memory.Load() > limit
}

// toFile moves the body from memory into a file of its own.
func (w *Writer) toFile() error {
	if err := w.s.checkSpace(bodyLimit); err != nil {
		return err
	}
	if files := w.s.opts.Files; files != nil && !files.Take() {
		return fmt.Errorf("%w: too many files of unfinished messages are open (the process's limit of open files), and MaxUnfinishedBytes is %d",
			ErrFull, w.s.opts.Memory())
	}
	tmp := w.s.tmpName()
	f, err := w.s.vol.Open(tmp, true)
	if err != nil {
		w.releaseFile()
		return err
	}
	w.tmp, w.f = tmp, f
	return w.flush()
}

func (w *Writer) releaseFile() {
	if files := w.s.opts.Files; files != nil {
		files.Release()
	}
}

func (w *Writer) flush() error {
	for _, c := range w.chunks {
		if _, err := w.f.WriteAt(c, w.written); err != nil {
			return err
		}
		w.written += int64(len(c))
	}
	w.release()
	return nil
}

// release returns the chunks to their pools.
func (w *Writer) release() {
	for _, c := range w.chunks {
		switch cap(c) {
		case firstChunk:
			firstChunks.Put((*[firstChunk]byte)(c[:firstChunk]))
		case chunkSize:
			chunks.Put((*[chunkSize]byte)(c[:chunkSize]))
		}
	}
	w.chunks = nil
	w.s.memory.Add(-w.memory)
	w.memory = 0
}

// seal completes the body's own file, renames it and syncs its folder.
func (w *Writer) seal(r *record, name string) error {
	if err := w.flush(); err != nil {
		return err
	}
	if _, err := w.f.WriteAt(r.appendHead(append([]byte{}, r.env...)), w.written); err != nil {
		return err
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	err := w.f.Close()
	w.f = nil
	w.releaseFile()
	if err != nil {
		return err
	}
	if err := w.s.vol.Rename(w.tmp, name); err != nil {
		return err
	}
	w.tmp = name
	return w.s.vol.Sync()
}

// Commit makes the body a message under env, whose ID must be new, and applies
// extra to the index in the same step. When it returns nil, all of it is on
// stable storage; after an error nothing of it happened. env.Size is set to
// the body's with env.Top. The Writer cannot be used again. Once the committer has taken the
// message up, the end of ctx does not change the answer.
func (w *Writer) Commit(ctx context.Context, env mail.Envelope, extra ...kv.Op) error {
	err := w.commit(ctx, env, extra)
	w.Abort()
	if err != nil {
		return fmt.Errorf("spool %s: %w", env.ID, asFull(err))
	}
	return nil
}

func (w *Writer) commit(ctx context.Context, env mail.Envelope, extra []kv.Op) error {
	s := w.s
	if w.err != nil {
		return w.err
	}
	if _, err := mail.ParseMessageID(string(env.ID)); err != nil {
		return err
	}
	if err := kv.Check(extra...); err != nil {
		return err
	}
	if _, there, err := s.db.Get(entryKey(env.ID)); err != nil {
		return err
	} else if there {
		return ErrExists
	}
	env.Size = w.size + int64(len(env.Top))
	r := &record{group: w.afterGroup, id: env.ID, env: encodeEnvelope(&env), size: w.size, sum: w.sum}
	if int64(len(r.env)) > kv.MaxValue-entryFixed {
		return fmt.Errorf("an envelope of %d bytes: %w", len(r.env), kv.ErrTooLarge)
	}
	j := &job{add: r, extra: extra}
	if w.f == nil && r.length() > s.opts.SegmentSize {
		// An envelope of very many recipients, or very small segments.
		if err := w.toFile(); err != nil {
			return err
		}
	}
	if w.f == nil {
		j.body = w.chunks
		return s.committer.queue.Do(ctx, j)
	}
	if err := w.seal(r, fileName(env.ID)); err != nil {
		return err
	}
	j.file = true
	err := s.committer.queue.Do(ctx, j)
	if err == nil || s.committer.queue.Broken() != nil {
		w.tmp = "" // the spool has it, or the next Open decides
	}
	return err
}

// Abort discards the body. After Commit it does nothing.
func (w *Writer) Abort() {
	w.drop()
	if w.err == nil {
		w.err = errors.New("spool: the writer was used already")
	}
}

// drop is best effort: the next Open removes what it cannot.
func (w *Writer) drop() {
	w.release()
	if w.f != nil {
		_ = w.f.Close()
		w.releaseFile()
	}
	if w.tmp != "" {
		_ = w.s.vol.Remove(w.tmp)
	}
	w.f, w.tmp = nil, ""
}

// checkSpace returns ErrFull if the disk cannot take n more bytes.
func (s *Spool) checkSpace(n int64) error {
	free, total, err := s.free()
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	reserve := s.opts.Reserve
	if s.opts.MinFree != nil {
		reserve = cmp.Or(s.opts.MinFree(), reserve)
	}
	if total > 0 && free < n+reserve {
		return fmt.Errorf("spool: %w: %d KiB free, %d KiB must stay free (DiskReserve)", ErrFull, free>>10, reserve>>10)
	}
	return nil
}

// asFull makes a full disk or index an ErrFull.
func asFull(err error) error {
	if err == nil || errors.Is(err, ErrFull) || !disk.IsFull(err) && !errors.Is(err, kv.ErrFull) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrFull, err)
}
