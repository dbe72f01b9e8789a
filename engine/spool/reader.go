// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"restante/engine/mail"
)

// Open returns the body of message id after a check of its checksum. Its space
// is not used again before Close. The error is ErrNotFound or ErrDamaged.
func (s *Spool) Open(id mail.MessageID) (io.ReadSeekCloser, error) {
	b, err := s.body(id)
	if err != nil {
		return nil, fmt.Errorf("spool %s: %w", id, err)
	}
	return b, nil
}

func (s *Spool) body(id mail.MessageID) (*body, error) {
	var before entry
	for first := true; ; first = false {
		e, err := s.find(id)
		if err != nil {
			return nil, err
		}
		b, err := s.openEntry(id, &e)
		if err == nil {
			return b, nil
		}
		if !isDamage(err) {
			return nil, err
		}
		// The message may have been copied or removed after the index was
		// read: then the index has changed.
		if !first && e.seg == before.seg && e.gen == before.gen && e.off == before.off {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		before = e
	}
}

func (s *Spool) openEntry(id mail.MessageID, e *entry) (*body, error) {
	f, release, err := s.segs.acquire(id, e)
	if err != nil {
		return nil, err
	}
	if err := check(f, id, e); err != nil {
		return nil, errors.Join(err, release())
	}
	top, err := decodeTop(e.env)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	text := io.NewSectionReader(f, e.bodyAt(), e.size)
	if top != "" {
		text = io.NewSectionReader(topped{top, text}, 0, int64(len(top))+e.size)
	}
	return &body{SectionReader: text, release: release}, nil
}

// topped is a body with the text on top of it.
type topped struct {
	top  string
	body io.ReaderAt
}

func (t topped) ReadAt(p []byte, off int64) (n int, err error) {
	if off < int64(len(t.top)) {
		if n = copy(p, t.top[off:]); n == len(p) {
			return n, nil
		}
	}
	m, err := t.body.ReadAt(p[n:], off+int64(n)-int64(len(t.top)))
	return n + m, err
}

// isDamage tells damage from a disk or a system limit that fails the read.
func isDamage(err error) bool {
	return errors.Is(err, errMoved) || errors.Is(err, errHead) || errors.Is(err, errSum) || errors.Is(err, io.ErrUnexpectedEOF)
}

var errSum = errors.New("the checksum is wrong")

// check compares the body with its checksum, and the ID of a record in a
// segment.
func check(f file, id mail.MessageID, e *entry) error {
	if e.seg != 0 {
		r, err := segmentHead(f, e.off)
		if err != nil {
			return err
		}
		if r.id != id || r.gen != e.gen {
			return errMoved
		}
	}
	buf := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(buf)
	var sum uint32
	for at, left := e.bodyAt(), e.size; left > 0; {
		n := min(left, chunkSize)
		if _, err := f.ReadAt(buf[:n], at); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		sum = crc32.Update(sum, castagnoli, buf[:n])
		at, left = at+n, left-n
	}
	if sum != e.sum {
		return errSum
	}
	return nil
}

type body struct {
	*io.SectionReader
	once    sync.Once
	release func() error
	err     error
}

// Close releases the file. Closing twice is harmless.
func (b *body) Close() error {
	b.once.Do(func() { b.err = b.release() })
	return b.err
}
