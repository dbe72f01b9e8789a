// SPDX-License-Identifier: Apache-2.0

// Package hashed has lists of local parts as hashes, so that whoever keeps one knows no
// name that is not asked for: SHA-256 of a salt, a zero octet, and the local part as lists
// compare it. A [Book] pushes them to a holder of mail.
package hashed

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"

	"restante/engine/mail"
)

// A Hash stands for a local part.
type Hash [sha256.Size]byte

// Of is the hash of a local part.
func Of(salt, local string) Hash { return sha256.Sum256([]byte(salt + "\x00" + mail.FoldLocal(local))) }

// String is the form of a hash on the wire.
func (h Hash) String() string { return base64.RawStdEncoding.EncodeToString(h[:]) }

// Parse reads one.
func Parse(s string) (h Hash, err error) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(s)
	if err == nil && len(b) != len(h) {
		err = errors.New("a hash has 32 octets")
	}
	copy(h[:], b)
	return h, err
}

// NewSalt makes a salt: 32 hexadecimal digits.
func NewSalt() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// IsSalt reports whether s can be one that NewSalt has made.
func IsSalt(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 16
}

// A Set is the hashes of a list. It never changes.
type Set struct {
	salt   string
	hashes []Hash // sorted, each once
}

// New makes a set, and takes over the slice.
func New(salt string, hashes []Hash) *Set {
	slices.SortFunc(hashes, compare)
	return &Set{salt, slices.Compact(hashes)}
}

func compare(a, b Hash) int { return bytes.Compare(a[:], b[:]) }

// Has reports whether a local part is in the list.
func (s *Set) Has(local string) bool {
	_, ok := slices.BinarySearchFunc(s.hashes, Of(s.salt, local), compare)
	return ok
}

// Salt is that of the hashes.
func (s *Set) Salt() string { return s.salt }

// Hashes are sorted; the caller must not change them.
func (s *Set) Hashes() []Hash { return s.hashes }

// Digest tells one list from another: SHA-256 of the sorted hashes, in hexadecimal.
func (s *Set) Digest() string {
	sum := sha256.New()
	for _, h := range s.hashes {
		sum.Write(h[:])
	}
	return hex.EncodeToString(sum.Sum(nil))
}
