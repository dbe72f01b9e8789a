// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"filippo.io/age"

	"restante/internal/record"
	"restante/metabase"
)

// read reads a whole backup, with or without a password. An error of the medium
// is no damage of the backup.
func read(s Store, r io.Reader, password string) (*metabase.Replace, Info, error) {
	from := &medium{in: r}
	op, info, err := readFrom(s, from, password)
	if from.err != nil {
		return nil, Info{}, fmt.Errorf("read the backup: %w", from.err)
	}
	return op, info, err
}

func readFrom(s Store, from *medium, password string) (*metabase.Replace, Info, error) {
	none := func(kind metabase.Kind, format string, args ...any) (*metabase.Replace, Info, error) {
		return nil, Info{}, because(kind, format, args...)
	}
	in := bufio.NewReader(from)
	if start, _ := in.Peek(len(ageMagic)); string(start) != ageMagic {
		return newFrames(in).tree(s, true)
	}
	if password == "" {
		return none(metabase.Invalid, "this backup needs its password")
	}
	id, err := age.NewScryptIdentity(password)
	if err != nil {
		return nil, Info{}, err
	}
	plain, err := age.Decrypt(in, id)
	var wrong *age.NoIdentityMatchError
	switch {
	case errors.As(err, &wrong):
		return none(metabase.Denied, "the password is wrong")
	case err != nil:
		return none(metabase.Damaged, "the backup is damaged or cut off: its head does not read")
	}
	f := newFrames(plain)
	f.sealed = true
	op, info, err := f.tree(s, false)
	info.Portable = true
	return op, info, err
}

// A medium keeps its read error: the errors of age do not tell it from a damaged
// file.
type medium struct {
	in  io.Reader
	err error
}

func (m *medium) Read(p []byte) (int, error) {
	n, err := m.in.Read(p)
	if err != nil && err != io.EOF {
		m.err = err
	}
	return n, err
}

// frames reads a backup.
type frames struct {
	in     *bufio.Reader
	sum    hash.Hash
	sealed bool // a password opens it
}

func newFrames(r io.Reader) *frames { return &frames{in: bufio.NewReader(r), sum: sha256.New()} }

func (f *frames) next() ([]byte, error) {
	size, err := binary.ReadUvarint(f.in)
	if err != nil {
		return nil, f.cut(err)
	}
	if size > maxFrame {
		return nil, because(metabase.Damaged, "the backup is damaged: a frame of %d octets", size)
	}
	frame := make([]byte, size)
	if _, err := io.ReadFull(f.in, frame); err != nil {
		return nil, f.cut(err)
	}
	f.sum.Write(append(binary.AppendUvarint(nil, size), frame...))
	return frame, nil
}

// cut is the error for a backup that ends too early.
func (f *frames) cut(err error) error {
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return because(metabase.Damaged, "the backup is damaged: it is cut short")
	case f.sealed:
		return because(metabase.Damaged, "the backup is damaged or cut off: from some place on it is not what was written with the password")
	}
	return because(metabase.Damaged, "the backup is damaged: %v", err)
}

// tree reads all frames; sealed means that the machine key encrypts secure values.
func (f *frames) tree(s Store, sealed bool) (op *metabase.Replace, info Info, err error) {
	start := make([]byte, len(magic))
	if _, err := io.ReadFull(f.in, start); err != nil && f.sealed {
		return nil, info, f.cut(err)
	} else if err != nil || string(start) != magic {
		return nil, info, because(metabase.Damaged, "this is no backup of a metabase, or one of a newer version")
	}
	f.sum.Write(start)
	head, err := f.next()
	if err != nil {
		return nil, info, err
	}
	info, proof, ok := parseHead(head)
	if !ok {
		return nil, info, because(metabase.Damaged, "the backup is damaged: its head does not read")
	}
	if !sealed {
		proof = nil
	}
	if op, err = s.Replace(proof); err != nil {
		return nil, info, because(metabase.Invalid, "the backup was made under another machine key; only one made with a password can be restored here")
	}
	if info.Keys, err = f.records(op); err != nil {
		return nil, info, err
	}
	return op, info, f.end(info)
}

// parseHead decodes the head; the proof is never nil. An earlier version wrote nothing
// after the proof.
func parseHead(b []byte) (info Info, proof []byte, ok bool) {
	r := record.Read(b)
	info = Info{Rev: metabase.Rev(r.Num()), Time: time.Unix(0, r.Int()).UTC()}
	proof = append([]byte{}, r.Bytes()...)
	if len(r.Rest()) > 0 {
		for range r.Count() {
			p := metabase.PendingPart{Pending: metabase.Pending{Rev: metabase.Rev(r.Num()), Until: time.Unix(0, r.Int()).UTC()}}
			p.Path, p.ID = metabase.Path(r.Text()), metabase.ID(r.Num32())
			if p.Path.CheckStored() != nil {
				r.Bad()
			}
			info.Pending = append(info.Pending, p)
		}
	}
	return info, proof, r.End() == nil
}

// records adds every key to op and counts them.
func (f *frames) records(op *metabase.Replace) (keys int, err error) {
	for {
		frame, err := f.next()
		if err != nil || len(frame) == 0 {
			return keys, err
		}
		if err := op.Add(frame); err != nil {
			return keys, fmt.Errorf("the backup is damaged: %w", err)
		}
		keys++
	}
}

// end checks the checksum and the end of the file.
func (f *frames) end(info Info) error {
	want := f.sum.Sum(nil)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(f.in, got); err != nil {
		return f.cut(err)
	}
	if !bytes.Equal(got, want) {
		return because(metabase.Damaged, "the backup is damaged: its checksum does not fit")
	}
	if _, err := f.in.ReadByte(); err != nil && err != io.EOF {
		return f.cut(err)
	} else if err == nil {
		return because(metabase.Damaged, "the backup is damaged: something follows its end")
	}
	if info.Keys == 0 {
		return because(metabase.Damaged, "the backup is damaged: it holds no keys")
	}
	return nil
}
