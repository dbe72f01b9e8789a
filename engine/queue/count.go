// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"encoding/binary"
	"fmt"

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

// setCount stores n as the count of a message, whatever it was.
func setCount(id mail.MessageID, n int) kv.Op {
	if n <= 1 {
		return kv.Del(countKey(id))
	}
	return kv.Put(countKey(id), encodeCount(n))
}

// changeCount changes the count of a message, on condition that it still is
// was: of two settlements at the same time, one has to begin again. The only
// entry of a message is settled by its claimant alone, without a condition.
func changeCount(id mail.MessageID, was, now int) []kv.Op {
	switch {
	case was == now || was <= 1 && now <= 1:
		return nil
	case was <= 1:
		return []kv.Op{kv.Must(countKey(id), nil), setCount(id, now)}
	}
	return []kv.Op{kv.Must(countKey(id), encodeCount(was)), setCount(id, now)}
}

// entriesLeft reads how many entries a message has.
func (q *Queue) entriesLeft(id mail.MessageID) (int, error) {
	b, ok, err := q.db.Get(countKey(id))
	if err != nil {
		return 0, fmt.Errorf("queue %s: %w", id, err)
	}
	if !ok {
		return 1, nil
	}
	return max(decodeCount(b), 1), nil
}
