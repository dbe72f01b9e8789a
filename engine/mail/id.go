// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"
)

// A MessageID names one message in the queue: 20 characters of 0-9 and a-v,
// unique on this machine, and in the order of arrival when sorted as text.
type MessageID string

const idAlphabet = "0123456789abcdefghijklmnopqrstuv"

// NewMessageID makes an ID for a message that arrived at now. Two calls never
// give the same one: 48 bits of milliseconds are followed by 52 random ones.
func NewMessageID(now time.Time) MessageID {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], uint64(now.UnixMilli()))
	if _, err := rand.Read(raw[8:]); err != nil {
		panic("mail: no randomness: " + err.Error()) // crypto/rand does not return errors since Go 1.24
	}
	hi := binary.BigEndian.Uint64(raw[:8])<<2 | uint64(raw[8]>>6) // 50 bits
	lo := binary.BigEndian.Uint64(raw[8:]) & (1<<50 - 1)          // 50 bits
	var out [20]byte
	for i := 9; i >= 0; i-- {
		out[i], hi = idAlphabet[hi&31], hi>>5
		out[10+i], lo = idAlphabet[lo&31], lo>>5
	}
	return MessageID(out[:])
}

// ParseMessageID checks that s has the form of an ID.
func ParseMessageID(s string) (MessageID, error) {
	if len(s) != 20 {
		return "", fmt.Errorf("message id %q: must have 20 characters", s)
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'v') {
			return "", fmt.Errorf("message id %q: only 0-9 and a-v", s)
		}
	}
	return MessageID(s), nil
}
