// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"bytes"
	"context"
	"fmt"

	"restante/engine/mail"
	"restante/internal/kv"
)

// formatKey holds the version of the queue's keys. Before there was such a key,
// entries had the message's ID before the destination: "q/e/<id>/<domain>".
const (
	formatKey = "q/format"
	format    = "2"
)

// migrate brings the keys of a queue into the format of this version, in one
// commit: a crash leaves either format whole.
func migrate(ctx context.Context, db kv.DB) error {
	found, ok, err := db.Get([]byte(formatKey))
	switch {
	case err != nil:
		return err
	case ok && string(found) == format:
		return nil
	case ok:
		return fmt.Errorf("the queue is in format %q, this version reads format %q: start the version that wrote it, or one that is newer", found, format)
	}
	var remove, add []kv.Op
	counts := map[mail.MessageID]int{}
	for pair, err := range db.Scan(ctx, []byte(entryPrefix)) {
		if err != nil {
			return err
		}
		id, name, ok := bytes.Cut(pair.Key[len(entryPrefix):], []byte("/"))
		if !ok || len(id) == 0 || len(name) == 0 {
			return fmt.Errorf("key %q names no entry", pair.Key)
		}
		counts[mail.MessageID(id)]++
		remove = append(remove, kv.Del(bytes.Clone(pair.Key)))
		add = append(add, kv.Put(entryKey(mail.MessageID(id), mail.Domain(name)), bytes.Clone(pair.Value)))
	}
	for id, n := range counts {
		if n > 1 {
			add = append(add, setCount(id, n))
		}
	}
	add = append(add, kv.Put([]byte(formatKey), []byte(format)))
	return db.Commit(ctx, append(remove, add...)...)
}
