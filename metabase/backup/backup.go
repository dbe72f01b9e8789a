// SPDX-License-Identifier: Apache-2.0

// Package backup keeps whole trees in files, and brings them back.
//
// A backup is written from one state of a store, and is read and verified to
// its end before anything is replaced by it. Restoring is one new revision. In
// a folder backups are NAME.mdVERSION, as IIS calls them; a file gets its name
// only when it is verified, and is on stable storage from there on.
//
// What a record of a key looks like is the metabase's business. The package
// knows neither what keys mean nor who may restore: Apply asks that.
package backup

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"filippo.io/age"

	"restante/metabase"
)

// A Store is what is kept and replaced; *metabase.Store is one.
type Store interface {
	Records(sealed bool) (rev metabase.Rev, proof []byte, records iter.Seq[[]byte])
	Replace(proof []byte) (*metabase.Replace, error)
	Apply(ctx context.Context, b metabase.Batch) (metabase.Rev, error)
	Try(ctx context.Context, b metabase.Batch) (metabase.Change, error)
}

// A backup is a line that says what it is, and then frames: a length and so
// many octets. The first frame is the head, each further one the record of a
// key, parents first; an empty one ends it, and the checksum of all before
// follows. With a password all of that stands inside an age file, and secure
// values are in clear there; without one they are sealed by the machine key.
const (
	magic    = "restante-backup-1\n"
	ageMagic = "age-encryption.org/"
	maxFrame = 8 << 20
)

// workFactor is the power of two that scrypt works by for each password that
// is tried: a second or so. Only tests, which try many, change it.
var workFactor = 18

// An Info is what a backup says of itself.
type Info struct {
	Rev      metabase.Rev // that it is a picture of
	Time     time.Time    // when it was made
	Keys     int
	Portable bool // it opens with a password, on any machine
}

// Write writes the newest state of s to w: all keys and properties but what is
// volatile, without the history. With a password it can be restored on any
// machine; without one only where the same machine key is.
func Write(s Store, w io.Writer, password string) (Info, error) {
	fail := func(err error) (Info, error) { return Info{}, &metabase.Error{Op: "backup", Err: err} }
	if password == "" {
		info, err := write(s, w, true)
		if err != nil {
			return fail(err)
		}
		return info, nil
	}
	to, err := age.NewScryptRecipient(password)
	if err != nil {
		return fail(err)
	}
	to.SetWorkFactor(workFactor)
	sealed, err := age.Encrypt(w, to)
	if err != nil {
		return fail(err)
	}
	info, err := write(s, sealed, false)
	if err := errors.Join(err, sealed.Close()); err != nil {
		return fail(err)
	}
	return info, nil
}

func write(s Store, w io.Writer, sealed bool) (info Info, err error) {
	rev, proof, records := s.Records(sealed)
	info = Info{Rev: rev, Time: time.Now().UTC(), Portable: !sealed}
	buf := bufio.NewWriter(w)
	sum := sha256.New()
	out := io.MultiWriter(buf, sum)
	if _, err := io.WriteString(out, magic); err != nil {
		return info, err
	}
	if err := writeFrame(out, appendHead(info, proof)); err != nil {
		return info, err
	}
	for record := range records {
		info.Keys++
		if err := writeFrame(out, record); err != nil {
			return info, err
		}
	}
	if err := writeFrame(out, nil); err != nil {
		return info, err
	}
	if _, err := buf.Write(sum.Sum(nil)); err != nil {
		return info, err
	}
	return info, buf.Flush()
}

func writeFrame(w io.Writer, frame []byte) error {
	_, err := w.Write(append(binary.AppendUvarint(nil, uint64(len(frame))), frame...))
	return err
}

func appendHead(info Info, proof []byte) []byte {
	head := binary.AppendUvarint(nil, uint64(info.Rev))
	head = binary.AppendVarint(head, info.Time.UnixNano())
	return append(binary.AppendUvarint(head, uint64(len(proof))), proof...)
}

// Restore replaces the whole tree of s by what a backup holds, as one new
// revision, which Revert can take back. The backup is read and verified to its
// end before anything is replaced, and the checks are asked. Of b everything
// but the ops counts. The error is Damaged for what is no whole backup, Denied
// for a wrong password, Invalid for a password too few or a machine key that
// does not fit.
func Restore(ctx context.Context, s Store, r io.Reader, password string, b metabase.Batch) (metabase.Rev, error) {
	op, info, err := read(s, r, password)
	if err != nil {
		return 0, &metabase.Error{Op: "restore", Kind: kindOf(err), Err: err}
	}
	if b.Comment == "" {
		b.Comment = fmt.Sprintf("restored from the backup of revision %d made %s", info.Rev, info.Time.Format(time.RFC3339))
	}
	b.Ops = []metabase.Op{op}
	return s.Apply(ctx, b)
}

// Try says what Restore would come to, and keeps nothing of it.
func Try(ctx context.Context, s Store, r io.Reader, password string, b metabase.Batch) (metabase.Change, error) {
	op, _, err := read(s, r, password)
	if err != nil {
		return metabase.Change{}, &metabase.Error{Op: "restore", Kind: kindOf(err), Err: err}
	}
	b.Ops = []metabase.Op{op}
	return s.Try(ctx, b)
}

// Verify reads a backup to its end and says what is in it; the errors are
// those of Restore.
func Verify(s Store, r io.Reader, password string) (Info, error) {
	_, info, err := read(s, r, password)
	if err != nil {
		return Info{}, &metabase.Error{Op: "verify backup", Kind: kindOf(err), Err: err}
	}
	return info, nil
}

// A reason is a kind told in words of its own.
type reason struct {
	kind metabase.Kind
	text string
}

func (r reason) Error() string        { return r.text }
func (r reason) Is(target error) bool { return target == r.kind }

func because(kind metabase.Kind, format string, args ...any) error {
	return reason{kind, fmt.Sprintf(format, args...)}
}

// kindOf finds the kind that err carries, or "".
func kindOf(err error) metabase.Kind {
	for _, k := range []metabase.Kind{metabase.Invalid, metabase.Denied, metabase.Damaged} {
		if errors.Is(err, k) {
			return k
		}
	}
	return ""
}
