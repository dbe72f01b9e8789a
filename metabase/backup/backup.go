// SPDX-License-Identifier: Apache-2.0

// Package backup writes whole trees to files, and restores them.
//
// A backup is written from one snapshot of a store. It is verified to its end
// before a restore replaces anything. A restore is one new revision. In a folder,
// backups are NAME.mdVERSION, as in IIS; a file gets its name after it is
// verified and on stable storage.
//
// The metabase encodes the records of keys. The package does not know what keys
// mean. Apply checks the right to restore.
package backup

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"filippo.io/age"

	"restante/internal/record"
	"restante/metabase"
)

// A Store is backed up and restored; *metabase.Store is one.
type Store interface {
	Snapshot() metabase.Snapshot
	Records(sealed bool) (rev metabase.Rev, proof []byte, records iter.Seq[[]byte])
	Replace(proof []byte) (*metabase.Replace, error)
	Apply(ctx context.Context, b metabase.Batch) (metabase.Rev, error)
	Try(ctx context.Context, b metabase.Batch) (metabase.Change, error)
}

// A backup is a magic line and frames: a length and so many octets. The first
// frame is the head, each further one the record of a key, parents first. An
// empty frame and the checksum of all before end it. With a password all of that
// is in an age file, with secure values in clear; without one, secure values are
// encrypted by the machine key.
const (
	magic    = "restante-backup-1\n"
	ageMagic = "age-encryption.org/"
	maxFrame = 8 << 20
)

// Options adjust a backup. The zero value is a backup for this machine.
type Options struct {
	Password   string // with one, a backup can be restored on any machine
	WorkFactor int    // of scrypt, as a power of two; 0: 18, about a second for each password tried
}

const defaultWorkFactor = 18

// An Info describes a backup.
type Info struct {
	Rev      metabase.Rev // the revision in it
	Time     time.Time    // when it was written
	Keys     int
	Portable bool // it opens with a password, on any machine

	Pending []metabase.PendingPart // what of it was not confirmed
}

// Write writes the newest state of s to w: all keys and properties but volatile
// ones, without the history. With a password it can be restored on any machine;
// without one only where the same machine key is.
func Write(s Store, w io.Writer, o Options) (Info, error) {
	fail := func(err error) (Info, error) { return Info{}, &metabase.Error{Op: "backup", Err: err} }
	if o.Password == "" {
		info, err := write(s, w, true)
		if err != nil {
			return fail(err)
		}
		return info, nil
	}
	to, err := age.NewScryptRecipient(o.Password)
	if err != nil {
		return fail(err)
	}
	to.SetWorkFactor(cmp.Or(o.WorkFactor, defaultWorkFactor))
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
	now := s.Snapshot()
	for ; now.Rev() != rev; now = s.Snapshot() { // another batch came between the two
		rev, proof, records = s.Records(sealed)
	}
	info = Info{Rev: rev, Time: time.Now().UTC(), Portable: !sealed, Pending: now.PendingParts()}
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
	head = append(binary.AppendUvarint(head, uint64(len(proof))), proof...)
	if len(info.Pending) == 0 {
		return head
	}
	head = binary.AppendUvarint(head, uint64(len(info.Pending)))
	for _, p := range info.Pending {
		head = binary.AppendUvarint(head, uint64(p.Rev))
		head = binary.AppendVarint(head, p.Until.UnixNano())
		head = record.AppendText(head, string(p.Path))
		head = binary.AppendUvarint(head, uint64(p.ID))
	}
	return head
}

// Restore replaces the whole tree of s by that of a backup, as one new revision,
// which can be reverted. The backup is verified to its end first, and the store's
// checks apply. The keys at and below keep stay as they are. The operations in b
// are ignored. The error is Damaged for a
// damaged or incomplete backup, Denied for a wrong password, and Invalid for a
// missing password or another machine key.
func Restore(ctx context.Context, s Store, r io.Reader, password string, b metabase.Batch, keep ...metabase.Path) (metabase.Rev, Info, error) {
	op, info, err := read(s, r, password)
	if err != nil {
		return 0, info, &metabase.Error{Op: "restore", Kind: kindOf(err), Err: err}
	}
	if b.Comment == "" {
		b.Comment = fmt.Sprintf("restored from the backup of revision %d made %s", info.Rev, info.Time.Format(time.RFC3339))
	}
	op.Keep(keep...)
	b.Ops = []metabase.Op{op}
	rev, err := s.Apply(ctx, b)
	return rev, info, err
}

// Try returns the change that Restore would make, and makes none.
func Try(ctx context.Context, s Store, r io.Reader, password string, b metabase.Batch, keep ...metabase.Path) (metabase.Change, Info, error) {
	op, info, err := read(s, r, password)
	if err != nil {
		return metabase.Change{}, info, &metabase.Error{Op: "restore", Kind: kindOf(err), Err: err}
	}
	op.Keep(keep...)
	b.Ops = []metabase.Op{op}
	c, err := s.Try(ctx, b)
	return c, info, err
}

// Verify reads a backup to its end and describes it; the errors are those of
// Restore.
func Verify(s Store, r io.Reader, password string) (Info, error) {
	_, info, err := read(s, r, password)
	if err != nil {
		return Info{}, &metabase.Error{Op: "verify backup", Kind: kindOf(err), Err: err}
	}
	return info, nil
}

// A reason is an error with a kind that its text does not name.
type reason struct {
	kind metabase.Kind
	text string
}

func (r reason) Error() string        { return r.text }
func (r reason) Is(target error) bool { return target == r.kind }

func because(kind metabase.Kind, format string, args ...any) error {
	return reason{kind, fmt.Sprintf(format, args...)}
}

// kindOf is the kind of err, or "".
func kindOf(err error) metabase.Kind {
	for _, k := range []metabase.Kind{metabase.Invalid, metabase.Denied, metabase.Damaged} {
		if errors.Is(err, k) {
			return k
		}
	}
	return ""
}
