// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"

	"restante/engine/mail"
	"restante/internal/kv"
)

// countPrefix begins the keys that hold how many entries a message has. A
// message without such a key has one: most have, and need no second key.
const countPrefix = "q/m/"

func countKey(id mail.MessageID) []byte { return []byte(countPrefix + string(id)) }

func encodeCount(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// decodeCount gives 0 for a value that does not read.
func decodeCount(b []byte) int {
	n, used := binary.Uvarint(b)
	if used != len(b) || n > maxCount {
		return 0
	}
	return int(n)
}

// countOps changes the count of message id from was to now.
func countOps(id mail.MessageID, was, now int) []kv.Op {
	switch {
	case was == now || was <= 1 && now <= 1:
		return nil
	case now <= 1:
		return []kv.Op{kv.Del(countKey(id))}
	}
	return []kv.Op{kv.Put(countKey(id), encodeCount(now))}
}

// entriesLeft reads how many entries message id has.
func (q *Queue) entriesLeft(id mail.MessageID) (int, error) {
	b, ok, err := q.db.Get(countKey(id))
	if err != nil || !ok {
		return 1, err
	}
	return max(decodeCount(b), 1), nil
}

// lockCount returns how many entries message id has, and keeps other
// settlements of the message from changing that until unlock. The only entry of
// a message is settled by its claimant alone, and needs no lock.
func (q *Queue) lockCount(id mail.MessageID) (n int, unlock func(), err error) {
	unlock = func() {}
	if n, err = q.entriesLeft(id); err == nil && n > 1 {
		lock := &q.locks[maphash.String(q.seed, string(id))%uint64(len(q.locks))]
		lock.Lock()
		unlock = lock.Unlock
		n, err = q.entriesLeft(id)
	}
	if err != nil {
		unlock()
		return 0, func() {}, fmt.Errorf("queue %s: %w", id, err)
	}
	return n, unlock, nil
}
