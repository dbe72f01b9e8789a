// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"strings"

	"restante/engine/delivery/transfer"
	"restante/engine/mail"
	"restante/internal/disk"
)

// drop writes each message of b as one file into the folder of route.
func (d *Delivery) drop(ctx context.Context, route Route, b *transfer.Batch) error {
	folder, err := openDrop(d.opts.FS, route.Dir, route.Kind == Archive)
	if err != nil {
		return b.GiveUp(ctx, mail.Deferred, dropFailure(err), "")
	}
	defer folder.Close()
	if err := folder.measure(route.Quota); err != nil {
		return b.GiveUp(ctx, mail.Deferred, dropFailure(err), "")
	}
	if folder.full() {
		return b.GiveUp(ctx, mail.Deferred, folderFull, "")
	}
	return b.Each(ctx, func(_ context.Context, it mail.Item) []mail.Outcome {
		status, reply := mail.Delivered, mail.Reply{Code: 250, Enhanced: "0.0", Text: "dropped"}
		if folder.full() {
			status, reply = mail.Deferred, folderFull
		} else if err := folder.write(it); err != nil {
			status, reply = mail.Deferred, dropFailure(err)
		} else {
			folder.used += it.Env.Size
		}
		out := make([]mail.Outcome, len(it.To))
		for i, rcpt := range it.To {
			out[i] = mail.Outcome{To: rcpt.Address, Status: status, Reply: reply, NoDSN: status == mail.Delivered}
		}
		return out
	})
}

// A dropFolder is where messages become files. An archive is for postmasters:
// its files have the text alone.
type dropFolder struct {
	*disk.Folder
	archive     bool
	quota, used int64 // octets; quota 0: no limit, and used is not known
}

// folderFull is RFC 3463 §3.3, a full mailbox.
var folderFull = mail.Reply{Code: 452, Enhanced: "2.2", Text: "the folder for the domain has reached its quota"}

// measure sets the quota, and counts what is in the folder if there is one.
func (f *dropFolder) measure(quota int64) error {
	if f.quota = quota; quota == 0 {
		return nil
	}
	names, err := f.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		switch info, err := name.Info(); {
		case errors.Is(err, fs.ErrNotExist): // taken meanwhile
		case err != nil:
			return err
		case info.Mode().IsRegular():
			f.used += info.Size()
		}
	}
	return nil
}

// full reports whether the folder has its quota. Like IIS, it may pass it by one message.
func (f *dropFolder) full() bool { return f.quota > 0 && f.used >= f.quota }

func openDrop(fsys disk.FS, dir string, archive bool) (dropFolder, error) {
	perm := fs.FileMode(0o750)
	if archive {
		perm = 0o700
	}
	f, err := disk.MakeFolder(fsys, dir, perm)
	return dropFolder{Folder: f, archive: archive}, err
}

func dropFailure(err error) mail.Reply {
	if disk.IsFull(err) {
		return mail.Reply{Code: 452, Enhanced: "3.1", Text: "Insufficient system storage", Cause: err}
	}
	return mail.Reply{Code: 451, Enhanced: "3.0", Text: "the message cannot be stored now", Cause: err}
}

// name is the same for the same message and recipients, so that a second attempt
// after a crash replaces the file of the first. A Drop folder may get a message
// once for each of several domains, and needs a name for each.
func (f dropFolder) name(it mail.Item) string {
	if f.archive {
		return string(it.Env.ID) + ".eml"
	}
	h := fnv.New64a()
	for _, rcpt := range it.To {
		io.WriteString(h, rcpt.Address.String()+"\n")
	}
	return fmt.Sprintf("%s-%016x.eml", it.Env.ID, h.Sum64())
}

// write puts one message into the folder. In a Drop folder its envelope is on
// top: x-sender once, x-receiver for each recipient. After an error nothing is
// left; when write returns nil, the file survives a crash.
func (f dropFolder) write(it mail.Item) error {
	body, err := it.Open()
	if err != nil {
		return fmt.Errorf("drop %s: open: %w", it.Env.ID, err)
	}
	defer body.Close()
	var envelope []byte
	perm := fs.FileMode(0o600)
	if !f.archive {
		perm = 0o640
		envelope = fmt.Appendf(envelope, "x-sender: %s\r\n", it.Env.From)
		for _, rcpt := range it.To {
			envelope = fmt.Appendf(envelope, "x-receiver: %s\r\n", rcpt.Address)
		}
	}
	if f.archive && it.Failure.Code != 0 {
		var why []byte
		for _, rcpt := range it.To {
			why = fmt.Appendf(why, "To: %s\r\n", rcpt.Address)
		}
		why = fmt.Appendf(why, "Why: %s\r\n", strings.ReplaceAll(it.Failure.String(), "\n", " / "))
		if err := f.WriteFile(string(it.Env.ID)+".txt", perm, disk.Bytes(why)); err != nil {
			return fmt.Errorf("drop %s: %w", it.Env.ID, err)
		}
	}
	text := io.MultiReader(bytes.NewReader(envelope), body)
	if err := f.WriteFile(f.name(it), perm, disk.Copy(text)); err != nil {
		return fmt.Errorf("drop %s: %w", it.Env.ID, err)
	}
	return nil
}
