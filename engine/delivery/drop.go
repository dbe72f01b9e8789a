// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"

	"restante/engine/delivery/transfer"
	"restante/engine/mail"
	"restante/internal/disk"
)

// A folder is what drop needs of the file system.
type folder interface {
	MkdirAll(dir string) error
	Create(name string) (file, error)
	Rename(from, to string) error
	Remove(name string) error
	SyncDir(dir string) error
}

type file interface {
	io.WriteCloser
	Sync() error
}

// drop writes each message of b as one file into dir.
func (d *Delivery) drop(ctx context.Context, dir string, b *transfer.Batch) error {
	if err := d.opts.folder.MkdirAll(dir); err != nil {
		return b.GiveUp(ctx, mail.Deferred, dropFailure(err), "")
	}
	return b.Each(ctx, func(_ context.Context, it transfer.Item) []mail.Outcome {
		status, reply := mail.Delivered, mail.Reply{Code: 250, Enhanced: "0.0", Text: "dropped"}
		if err := writeDrop(d.opts.folder, dir, it); err != nil {
			status, reply = mail.Deferred, dropFailure(err)
		}
		out := make([]mail.Outcome, len(it.To))
		for i, rcpt := range it.To {
			out[i] = mail.Outcome{To: rcpt.Address, Status: status, Reply: reply, NoDSN: status == mail.Delivered}
		}
		return out
	})
}

func dropFailure(err error) mail.Reply {
	if disk.IsFull(err) {
		return mail.Reply{Code: 452, Enhanced: "3.1", Text: "there is no room for the message", Cause: err}
	}
	return mail.Reply{Code: 451, Enhanced: "3.0", Text: "the message cannot be stored now", Cause: err}
}

// dropName is the same for the same message and recipients, so that a second
// attempt after a crash replaces the file of the first; and another one when a
// message comes here for recipients of several domains.
func dropName(it transfer.Item) string {
	h := fnv.New64a()
	for _, rcpt := range it.To {
		io.WriteString(h, rcpt.Address.String()+"\n")
	}
	return fmt.Sprintf("%s-%016x.eml", it.Env.ID, h.Sum64())
}

// writeDrop puts one message into dir, with its envelope on top as the drop
// folder's readers expect it: x-sender once, x-receiver for each recipient. On
// an error no trace is left; when it returns nil the file survives a crash.
func writeDrop(d folder, dir string, it transfer.Item) (err error) {
	name := dropName(it)
	tmp, final := filepath.Join(dir, "tmp-"+name+".part"), filepath.Join(dir, name)
	body, err := it.Open()
	if err != nil {
		return fmt.Errorf("drop %s: open: %w", it.Env.ID, err)
	}
	defer body.Close()
	f, err := d.Create(tmp)
	if err != nil {
		return fmt.Errorf("drop %s: create: %w", it.Env.ID, err)
	}
	defer func() {
		if err != nil {
			_ = d.Remove(tmp) // best effort: the next attempt writes over it
		}
	}()
	if err := errors.Join(fill(f, it, body), f.Close()); err != nil {
		return fmt.Errorf("drop %s: %w", it.Env.ID, err)
	}
	if err := d.Rename(tmp, final); err != nil {
		return fmt.Errorf("drop %s: rename: %w", it.Env.ID, err)
	}
	if err := d.SyncDir(dir); err != nil {
		_ = d.Remove(final)
		return fmt.Errorf("drop %s: sync folder: %w", it.Env.ID, err)
	}
	return nil
}

func fill(f file, it transfer.Item, body io.Reader) error {
	w := bufio.NewWriterSize(f, 64<<10)
	// A bufio.Writer keeps its first error for Flush.
	fmt.Fprintf(w, "x-sender: %s\r\n", it.Env.From)
	for _, rcpt := range it.To {
		fmt.Fprintf(w, "x-receiver: %s\r\n", rcpt.Address)
	}
	if _, err := io.Copy(w, body); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// osFolder is the real one.
type osFolder struct{}

func (osFolder) Rename(from, to string) error { return os.Rename(from, to) }
func (osFolder) Remove(name string) error     { return os.Remove(name) }
func (osFolder) SyncDir(dir string) error     { return disk.SyncDir(dir) }

// MkdirAll makes dir where it is missing, durably.
func (osFolder) MkdirAll(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return disk.SyncDir(filepath.Dir(filepath.Clean(dir)))
}

func (osFolder) Create(name string) (file, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
}
