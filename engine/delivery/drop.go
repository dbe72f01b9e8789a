// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"path/filepath"

	"restante/engine/delivery/transfer"
	"restante/engine/mail"
	"restante/internal/disk"
)

// drop writes each message of b as one file into dir.
func (d *Delivery) drop(ctx context.Context, dir string, b *transfer.Batch) error {
	if err := disk.MkdirAll(d.opts.FS, dir, 0o750); err != nil {
		return b.GiveUp(ctx, mail.Deferred, dropFailure(err), "")
	}
	return b.Each(ctx, func(_ context.Context, it transfer.Item) []mail.Outcome {
		status, reply := mail.Delivered, mail.Reply{Code: 250, Enhanced: "0.0", Text: "dropped"}
		if err := writeDrop(d.opts.FS, dir, it); err != nil {
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
func writeDrop(fsys disk.FS, dir string, it transfer.Item) error {
	body, err := it.Open()
	if err != nil {
		return fmt.Errorf("drop %s: open: %w", it.Env.ID, err)
	}
	defer body.Close()
	envelope := fmt.Appendf(nil, "x-sender: %s\r\n", it.Env.From)
	for _, rcpt := range it.To {
		envelope = fmt.Appendf(envelope, "x-receiver: %s\r\n", rcpt.Address)
	}
	text := io.MultiReader(bytes.NewReader(envelope), body)
	if err := disk.WriteFile(fsys, filepath.Join(dir, dropName(it)), 0o640, disk.Copy(text)); err != nil {
		return fmt.Errorf("drop %s: %w", it.Env.ID, err)
	}
	return nil
}
