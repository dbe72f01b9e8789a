// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"filippo.io/age"
)

// A backup is a line that says what it is, and then frames: a length and so
// many octets. The first frame is the head, each further one a key with its
// path, parents first; an empty one ends it, and the checksum of all before
// follows. With a password all of that stands inside an age file, and secure
// values are in clear there; without one they are sealed by the machine key.
const (
	backupMagic = "restante-backup-1\n"
	ageMagic    = "age-encryption.org/"
	maxFrame    = 8 << 20
)

// A BackupInfo is what a backup says of itself.
type BackupInfo struct {
	Rev      Rev       // that it is a picture of
	Time     time.Time // when it was made
	Keys     int
	Portable bool // it opens with a password, on any machine
}

// Backup writes the newest state to w: all keys and properties but what is
// volatile, without the history. With a password it can be restored on any
// machine; without one only where the same machine key is.
func (s *Store) Backup(w io.Writer, password string) (BackupInfo, error) {
	img := s.cur.Load()
	info := BackupInfo{Rev: img.rev, Time: s.now().UTC(), Portable: password != ""}
	fail := func(err error) (BackupInfo, error) { return BackupInfo{}, &Error{Op: "backup", Err: err} }
	if password == "" {
		if err := s.writeBackup(w, img, &info); err != nil {
			return fail(err)
		}
		return info, nil
	}
	to, err := age.NewScryptRecipient(password)
	if err != nil {
		return fail(err)
	}
	sealed, err := age.Encrypt(w, to)
	if err != nil {
		return fail(err)
	}
	if err := errors.Join(s.writeBackup(sealed, img, &info), sealed.Close()); err != nil {
		return fail(err)
	}
	return info, nil
}

func (s *Store) writeBackup(w io.Writer, img *image, info *BackupInfo) error {
	buf := bufio.NewWriter(w)
	sum := sha256.New()
	out := io.MultiWriter(buf, sum)
	if _, err := io.WriteString(out, backupMagic); err != nil {
		return err
	}
	head := binary.AppendUvarint(nil, uint64(info.Rev))
	head = binary.AppendVarint(head, info.Time.UnixNano())
	err := writeFrame(out, appendText(head, string(s.proof)))
	img.root.walk(Root, func(p Path, n *node) bool {
		if err != nil {
			return false
		}
		info.Keys++
		frame := appendText(nil, string(p))
		if info.Portable {
			frame = appendClear(frame, n)
		} else {
			frame = s.key.appendNode(frame, n)
		}
		err = writeFrame(out, frame)
		return true
	})
	if err != nil {
		return err
	}
	if err := writeFrame(out, nil); err != nil {
		return err
	}
	if _, err := buf.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return buf.Flush()
}

func writeFrame(w io.Writer, frame []byte) error {
	_, err := w.Write(append(binary.AppendUvarint(nil, uint64(len(frame))), frame...))
	return err
}

// appendClear is MachineKey.appendNode with nothing sealed.
func appendClear(b []byte, n *node) []byte {
	b = append(b, keyForm)
	b = appendText(b, n.name)
	b = binary.AppendVarint(b, n.modified)
	b = binary.AppendUvarint(b, uint64(len(n.props)))
	for _, p := range n.props {
		b = appendProperty(b, p)
	}
	return b
}

// Restore replaces the whole tree by what a backup holds, as one new revision,
// which Revert can take back. The backup is read and verified to its end
// before anything is replaced, and the checks are asked. Of b everything but
// the ops counts. The error is Damaged for what is no whole backup, Denied for
// a wrong password, Invalid for a password too few or a machine key that does
// not fit.
func (s *Store) Restore(ctx context.Context, r io.Reader, password string, b Batch) (Rev, error) {
	root, info, err := s.readBackup(r, password)
	if err != nil {
		return 0, &Error{Op: "restore", Kind: kindOf(err), Err: err}
	}
	if b.Comment == "" {
		b.Comment = fmt.Sprintf("restored from the backup of revision %d made %s", info.Rev, info.Time.Format(time.RFC3339))
	}
	b.Ops = []Op{replace{root}}
	return s.Apply(ctx, b)
}

// TryRestore says what Restore would come to, and keeps nothing of it.
func (s *Store) TryRestore(ctx context.Context, r io.Reader, password string, b Batch) (Change, error) {
	root, _, err := s.readBackup(r, password)
	if err != nil {
		return Change{}, &Error{Op: "restore", Kind: kindOf(err), Err: err}
	}
	b.Ops = []Op{replace{root}}
	return s.Try(ctx, b)
}

// VerifyBackup reads a backup to its end and says what is in it; the errors are
// those of Restore.
func (s *Store) VerifyBackup(r io.Reader, password string) (BackupInfo, error) {
	_, info, err := s.readBackup(r, password)
	if err != nil {
		return BackupInfo{}, &Error{Op: "verify backup", Kind: kindOf(err), Err: err}
	}
	return info, nil
}

func (s *Store) readBackup(r io.Reader, password string) (*node, BackupInfo, error) {
	none := func(kind Kind, format string, args ...any) (*node, BackupInfo, error) {
		return nil, BackupInfo{}, because(kind, format, args...)
	}
	in := bufio.NewReader(r)
	start, _ := in.Peek(len(ageMagic))
	portable := string(start) == ageMagic
	if !portable {
		f := &frames{in: in, sum: sha256.New()}
		return f.tree(s.key, s.proof)
	}
	if password == "" {
		return none(Invalid, "this backup needs its password")
	}
	id, err := age.NewScryptIdentity(password)
	if err != nil {
		return nil, BackupInfo{}, err
	}
	plain, err := age.Decrypt(in, id)
	var wrong *age.NoIdentityMatchError
	if errors.As(err, &wrong) {
		return none(Denied, "the password is wrong")
	}
	if err != nil {
		return none(Damaged, "the backup is damaged: %v", err)
	}
	f := &frames{in: bufio.NewReader(plain), sum: sha256.New()}
	root, info, err := f.tree(MachineKey{}, nil)
	info.Portable = true
	return root, info, err
}

// frames reads a backup.
type frames struct {
	in  *bufio.Reader
	sum hash.Hash
}

var errCut = because(Damaged, "the backup is damaged: it is cut short")

func (f *frames) next() ([]byte, error) {
	size, err := binary.ReadUvarint(f.in)
	if err != nil {
		return nil, cut(err)
	}
	if size > maxFrame {
		return nil, because(Damaged, "the backup is damaged: a frame of %d octets", size)
	}
	frame := make([]byte, size)
	if _, err := io.ReadFull(f.in, frame); err != nil {
		return nil, cut(err)
	}
	f.sum.Write(append(binary.AppendUvarint(nil, size), frame...))
	return frame, nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCut
	}
	return because(Damaged, "the backup is damaged: %v", err)
}

// tree reads all of it. A proof says by which machine key it must be sealed.
func (f *frames) tree(key MachineKey, proof []byte) (root *node, info BackupInfo, err error) {
	magic := make([]byte, len(backupMagic))
	if _, err := io.ReadFull(f.in, magic); err != nil || string(magic) != backupMagic {
		return nil, info, because(Damaged, "this is no backup of a metabase, or one of a newer version")
	}
	f.sum.Write(magic)
	head, err := f.next()
	if err != nil {
		return nil, info, err
	}
	r := reader{rest: head}
	info.Rev, info.Time = Rev(r.num()), time.Unix(0, r.time()).UTC()
	theirs := r.bytes()
	if r.end() != nil {
		return nil, info, because(Damaged, "the backup is damaged: its head does not read")
	}
	if proof != nil && !key.fits(theirs) {
		return nil, info, because(Invalid, "the backup was made under another machine key; only one made with a password can be restored here")
	}
	for {
		frame, err := f.next()
		if err != nil {
			return nil, info, err
		}
		if len(frame) == 0 {
			break
		}
		if root, err = addFrame(root, frame, key); err != nil {
			return nil, info, err
		}
		info.Keys++
	}
	want := f.sum.Sum(nil)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(f.in, got); err != nil {
		return nil, info, cut(err)
	}
	if !bytes.Equal(got, want) {
		return nil, info, because(Damaged, "the backup is damaged: its checksum does not fit")
	}
	if _, err := f.in.ReadByte(); err != io.EOF {
		return nil, info, because(Damaged, "the backup is damaged: something follows its end")
	}
	if root == nil {
		return nil, info, because(Damaged, "the backup is damaged: it holds no keys")
	}
	return root, info, nil
}

// addFrame puts the key in frame into the tree.
func addFrame(root *node, frame []byte, key MachineKey) (*node, error) {
	r := reader{rest: frame, key: key}
	p := Path(r.text())
	n := r.node()
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("the backup is damaged: key %q: %w", clip(string(p)), err)
	}
	damaged := because(Damaged, "the backup is damaged: key %q is out of place", clip(string(p)))
	if p.check() != nil || p.Base() != n.name || (p == Root) != (root == nil) {
		return nil, damaged
	}
	if p == Root {
		return n, nil
	}
	if root.lookup(p.Parent()) == nil || root.lookup(p) != nil {
		return nil, damaged
	}
	return root.change(p, func(*node) *node { return n }), nil
}

// replace puts another tree in the place of the whole.
type replace struct{ root *node }

func (op replace) apply(e *edit) { e.root = e.rebase(e.root, op.root) }

func (op replace) needs(n *needs) { n.at(Root, 0, AllRights) }

// rebase gives next with all that equals old taken from there, and the rest as
// stored by this revision.
func (e *edit) rebase(old, next *node) *node {
	out := &node{name: next.name, modified: e.now}
	var was []Property
	var wasKids *kids
	if old != nil {
		was, wasKids = old.props, old.kids
	}
	for _, p := range next.props {
		if i, ok := find(was, p.ID); ok && was[i].same(p) {
			p = was[i]
		} else {
			p.Rev = e.rev
		}
		out.props = append(out.props, p)
	}
	same := old != nil && old.name == next.name && len(diffProps(was, out.props)) == 0
	if same {
		out.modified, out.props = old.modified, old.props
	}
	var list []*node
	shared := 0
	for k := range next.kids.All {
		was := wasKids.Get(k.name)
		kid := e.rebase(was, k)
		if kid == was {
			shared++
		}
		list = append(list, kid)
	}
	if same && shared == len(list) && shared == wasKids.Len() {
		return old
	}
	out.kids = newKids(list)
	return out
}
