// SPDX-License-Identifier: Apache-2.0

package pickup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"restante/engine/mail"
	"restante/internal/disk"
)

// A takenFile is one of a batch.
type takenFile struct {
	*os.File
	name    string // in the folder
	id      mail.MessageID
	message Message
	bad     error // why it can never be sent
	sent    bool  // before, by its note
	renamed bool
}

// errBusy says that nobody need know why a file stays.
var errBusy = errors.New("the file changes")

// A fileError is the file's own, while other files can be sent.
type fileError struct{ error }

func (e fileError) Unwrap() error { return e.error }

// sendBatch takes files and submits their messages at the same time, so that they
// share the commits of the intake. The error is that of the folder, or of an intake
// that takes no message; that of a file is noted.
func (p *Picker) sendBatch(ctx context.Context, set Settings, dir *disk.Folder, names []string) error {
	files, err := p.takeAll(set, dir, names)
	errs := make([]error, len(files))
	var work sync.WaitGroup
	for i, f := range files {
		if err == nil {
			work.Go(func() { errs[i] = p.dispose(ctx, set, f) })
		}
	}
	work.Wait()
	for _, f := range files {
		_ = f.Close() // it was read only
	}
	if err != nil || len(files) == 0 {
		return err
	}
	return p.removeAll(ctx, dir, files, errs)
}

// takeAll renames the files that can be taken. The new names are on stable storage
// before a message is: a name without the ID would have it sent again.
func (p *Picker) takeAll(set Settings, dir *disk.Folder, names []string) (files []*takenFile, err error) {
	renamed := false
	for _, name := range names {
		f, err := p.take(set, dir, name)
		switch {
		case err == nil:
			files = append(files, f)
			renamed = renamed || f.renamed
		case !errors.Is(err, errBusy) && !errors.Is(err, fs.ErrNotExist):
			p.note(name, err)
		}
	}
	if renamed {
		err = dir.Sync()
	}
	return files, err
}

// take opens a file, reads its envelope and renames it. After an error it is as it
// was, but for its name.
func (p *Picker) take(set Settings, dir *disk.Folder, name string) (_ *takenFile, err error) {
	file, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	f := &takenFile{File: file, name: name}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	s := p.seen[name]
	if info.Size() != s.size || !info.ModTime().Equal(s.mod) {
		return nil, errBusy
	}
	if err := disk.CheckWhole(file); err != nil {
		return nil, err
	}
	var taken bool
	if f.id, taken = takenID(name); taken {
		f.sent, err = p.intake.Submitted(f.id)
		if errors.Is(err, ErrNotOurs) { // that message may need its own place in Badmail
			taken, f.bad, err = false, err, nil
		}
		if err != nil || f.sent {
			return f, err
		}
	}
	if f.bad == nil {
		f.message, f.bad = parse(file, set)
	}
	switch path := (*fs.PathError)(nil); {
	case errors.As(f.bad, &path):
		return nil, f.bad
	case f.bad == errUnfinished && time.Since(s.since) < patience:
		return nil, errBusy
	}
	if !taken {
		if err := f.rename(dir, info); err != nil {
			return nil, err
		}
		p.seen[f.name] = s
	}
	f.message.ID = f.id
	f.message.Text = &unchanged{f.message.Text, file, info}
	return f, nil
}

// rename gives the file its name with an ID.
func (f *takenFile) rename(dir *disk.Folder, info fs.FileInfo) error {
	f.id = mail.NewMessageID(time.Now())
	to := takenName(f.id, f.name)
	if err := dir.Rename(f.name, to); err != nil {
		if link := (*os.LinkError)(nil); errors.As(err, &link) {
			err = fmt.Errorf("it cannot be renamed: %w", link.Err) // each time it would get another name
		}
		return err
	}
	now, err := dir.Lstat(to)
	if err != nil {
		return err
	}
	if !os.SameFile(info, now) { // another file took the name; the next look takes it
		return errBusy
	}
	f.name, f.renamed = to, true
	return nil
}

// An unchanged reads the text of a file, and ends with an error if the file has
// changed meanwhile.
type unchanged struct {
	io.Reader
	file *os.File
	was  fs.FileInfo
}

func (u *unchanged) Read(b []byte) (int, error) {
	n, err := u.Reader.Read(b)
	if err == io.EOF {
		now, bad := u.file.Stat()
		switch {
		case bad != nil:
			err = bad
		case now.Size() != u.was.Size() || !now.ModTime().Equal(u.was.ModTime()):
			err = errBusy
		}
	}
	if err != nil && err != io.EOF {
		err = fileError{err}
	}
	return n, err
}

// dispose sends a file, or moves it to the folder of those that cannot be sent.
// When it returns nil, the file may be removed.
func (p *Picker) dispose(ctx context.Context, set Settings, f *takenFile) error {
	if f.sent {
		return nil
	}
	given := givenName(f.name)
	reply := mail.Reply{Code: 554, Enhanced: "6.0", Text: "The file has no message that can be sent", Cause: f.bad}
	if f.bad == nil {
		if unread := f.message.Unread; unread != nil { // first: a crash after it would leave nothing that tells of them
			if err := f.putAside(set, given, "was not sent to all of its recipients", unread.Error()); err != nil {
				return err
			}
			p.opts.Log.Warn("recipients of a file in the Pickup folder cannot be read", "file", given, "msg_id", f.id, "why", unread)
		}
		reply = p.intake.Submit(ctx, f.message)
	}
	switch {
	case reply.Positive():
		p.opts.Journal.PickedUp(ctx, f.id, given)
		return nil
	case reply.Temporary() && strings.HasPrefix(reply.Enhanced, "2."): // RFC 3463 §3.3: of a recipient's mailbox
		return fileError{reply}
	case reply.Temporary():
		return reply
	}
	why := reply.Error()
	if f.bad != nil {
		why = f.bad.Error()
	}
	if err := f.putAside(set, given, "was not sent", why); err != nil {
		return err
	}
	p.opts.Journal.Refused(ctx, netip.Addr{}, mail.Envelope{}, "pickup", given, reply)
	return nil
}

// putAside writes the file and the reason into the folder of those that cannot be
// sent, under the same names each time.
func (f *takenFile) putAside(set Settings, given, what, why string) error {
	err := f.copyAside(set, given, what, why)
	if err != nil {
		return fileError{fmt.Errorf("it %s (%s), and cannot be put aside: %w", what, why, err)}
	}
	return nil
}

func (f *takenFile) copyAside(set Settings, given, what, why string) error {
	dir := set.Bad
	if dir == "" {
		dir = filepath.Join(set.Dir, badFolder)
	}
	bad, err := disk.MakeFolder(nil, dir, 0o700)
	if err != nil {
		return err
	}
	defer bad.Close()
	reason := fmt.Sprintf("The file %q of the Pickup folder %s.\r\nWhy: %s\r\nWhen: %s\r\n"+
		"To send it, mend %s.eml and move it into the Pickup folder. It goes to all who are named in it then.\r\n",
		given, what, escapeControls(why), time.Now().Format(time.RFC3339), f.id)
	if err := bad.WriteFile(string(f.id)+".txt", 0o600, disk.Bytes([]byte(reason))); err != nil {
		return err
	}
	whole := io.NewSectionReader(f, 0, math.MaxInt64) // Text goes on where it was
	return bad.WriteFile(string(f.id)+".eml", 0o600, disk.Copy(whole))
}

// escapeControls gives a text in one line in which the octets of a stranger do
// nothing to a terminal.
func escapeControls(text string) string {
	var b strings.Builder
	for _, r := range strings.ReplaceAll(text, "\n", " ") {
		if r == '"' || r == '\'' || r == '\\' {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
	}
	return b.String()
}

// removeAll removes the files without an error, and then their notes: a removal
// that is not on stable storage may come undone.
func (p *Picker) removeAll(ctx context.Context, dir *disk.Folder, files []*takenFile, errs []error) error {
	var gone []mail.MessageID
	var refused error // by the intake
	for i, f := range files {
		err := errs[i]
		if err == nil {
			if err = dir.Remove(f.name); err == nil || errors.Is(err, fs.ErrNotExist) {
				gone = append(gone, f.id)
				continue
			}
			err = fileError{fmt.Errorf("it was sent, and cannot be removed: %w", err)}
		}
		switch own := (fileError{}); {
		case !errors.As(err, &own):
			refused = err
		case !errors.Is(err, errBusy):
			p.note(f.name, err)
		}
	}
	if len(gone) == 0 {
		return refused
	}
	if err := dir.Sync(); err != nil {
		return err
	}
	return errors.Join(p.intake.Forget(context.WithoutCancel(ctx), gone), refused)
}
