// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"

	"restante/internal/kv"
)

var errPower = errors.New("the power is gone")

// A mains counts every step that a disk or an index takes. At the chosen one
// it either breaks once or goes off for good.
type mains struct {
	mu    sync.Mutex // guards what follows
	steps int
	at    int   // 0: never
	once  error // what the step gets; nil: the power goes
	off   bool
	rnd   *rand.Rand
}

// step says whether this step works. half tells that the power went in it, so
// that it may have come about or not.
func (m *mains) step() (err error, half bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps++
	switch {
	case m.off:
		return errPower, false
	case m.at == 0 || m.steps != m.at:
		return nil, false
	case m.once != nil:
		return m.once, false
	}
	m.off = true
	return errPower, m.rnd.IntN(2) == 0
}

// A memDisk forgets in a power cut what was not synced: names and data, each
// by chance.
type memDisk struct {
	m   *mains
	cap int64 // 0: no limit

	mu    sync.Mutex // guards what follows
	names map[string]*memFile
	safe  map[string]*memFile // names as of the last Sync
	used  int64
}

type memFile struct {
	d       *memDisk
	data    []byte
	safe    []byte
	pending []memWrite
}

type memWrite struct {
	off  int64
	data []byte
}

func newMemDisk(m *mains) *memDisk {
	return &memDisk{m: m, names: map[string]*memFile{}, safe: map[string]*memFile{}}
}

func (d *memDisk) Open(name string, create bool) (file, error) {
	if err, _ := d.m.step(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f, there := d.names[name]
	switch {
	case create && there:
		return nil, os.ErrExist
	case create:
		f = &memFile{d: d}
		d.names[name] = f
	case !there:
		return nil, os.ErrNotExist
	}
	return f, nil
}

func (d *memDisk) Rename(from, to string) error {
	if err, _ := d.m.step(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.names[from]
	if !ok {
		return os.ErrNotExist
	}
	delete(d.names, from)
	d.names[to] = f
	return nil
}

func (d *memDisk) Remove(name string) error {
	if err, _ := d.m.step(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.names[name]
	if !ok {
		return os.ErrNotExist
	}
	d.used -= int64(len(f.data))
	delete(d.names, name)
	return nil
}

func (d *memDisk) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names)), nil
}

func (d *memDisk) Sync() error {
	if err, _ := d.m.step(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.safe = maps.Clone(d.names)
	return nil
}

func (d *memDisk) Free() (free, total int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cap - d.used, d.cap, nil
}

// after is the disk as it may be found after a power cut.
func (d *memDisk) after(m *mains, rnd *rand.Rand) *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := newMemDisk(m)
	next.cap = d.cap
	all := maps.Clone(d.names)
	maps.Copy(all, d.safe)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := d.safe[name]
		if rnd.IntN(2) == 0 {
			f = d.names[name]
		}
		if f == nil {
			continue
		}
		c := &memFile{d: next, data: slices.Clone(f.safe)}
		for _, w := range f.pending {
			if rnd.IntN(2) == 0 {
				c.put(w.data[:rnd.IntN(len(w.data)+1)], w.off)
			}
		}
		c.safe = slices.Clone(c.data)
		next.names[name], next.safe[name] = c, c
	}
	return next
}

func (f *memFile) put(p []byte, off int64) {
	before := len(f.data)
	f.data = overwrite(f.data, p, off)
	f.d.used += int64(len(f.data) - before)
}

// overwrite puts p into b at off, beyond the end of b too.
func overwrite(b, p []byte, off int64) []byte {
	if need := off + int64(len(p)) - int64(len(b)); need > 0 && len(p) > 0 {
		b = append(b, make([]byte, need)...)
	}
	copy(b[min(off, int64(len(b))):], p)
	return b
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err, _ := f.d.m.step(); err != nil {
		return 0, err
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if need := off + int64(len(p)) - int64(len(f.data)); f.d.cap > 0 && need > f.d.cap-f.d.used {
		return 0, syscall.ENOSPC
	}
	f.put(p, off)
	f.pending = append(f.pending, memWrite{off, slices.Clone(p)})
	return len(p), nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Sync() error {
	if err, _ := f.d.m.step(); err != nil {
		return err
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	for _, w := range f.pending { // not a copy of data, whose cost grows with each sync
		f.safe = overwrite(f.safe, w.data, w.off)
	}
	f.pending = nil
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.data)), nil
}

func (f *memFile) Close() error { return nil }

// A memIndex is an index on the same mains. It outlives the power.
type memIndex struct {
	kv.DB
	m *mains
}

func (x memIndex) Commit(ctx context.Context, ops ...kv.Op) error {
	err, half := x.m.step()
	if err == nil || half {
		if cerr := x.DB.Commit(ctx, ops...); cerr != nil {
			return cerr
		}
	}
	return err
}

func (x memIndex) Scan(ctx context.Context, prefix []byte) iter.Seq2[kv.Pair, error] {
	return x.DB.Scan(ctx, prefix)
}
