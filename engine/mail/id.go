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
// give the same one: 52 bits of microseconds, fine enough to tell the messages
// of one caller apart, are followed by 48 random ones.
func NewMessageID(now time.Time) MessageID {
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		panic("mail: no randomness: " + err.Error()) // crypto/rand does not return errors since Go 1.24
	}
	micros := uint64(now.UnixMicro()) & (1<<52 - 1)
	hi := micros >> 2                                              // 50 bits
	lo := micros&3<<48 | binary.BigEndian.Uint64(raw[:])&(1<<48-1) // 50 bits
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
