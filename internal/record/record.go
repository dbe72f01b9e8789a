// SPDX-License-Identifier: Apache-2.0

// Package record decodes sequences of uvarints and length-prefixed strings from
// untrusted input: damaged octets give an error, never a panic, and allocate no
// more memory than their own length.
//
// The package knows nothing of what the numbers and strings mean.
package record

import (
	"encoding/binary"
	"fmt"
)

// AppendText writes s after its length.
func AppendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A Broken error means that the octets are not a record.
type Broken string

func (b Broken) Error() string { return string(b) }

// A Reader decodes a record. After the first error all its results are zero, and
// Err returns the error.
type Reader struct {
	rest []byte
	err  error
}

// Read begins at the start of b, which the Reader does not change.
func Read(b []byte) Reader { return Reader{rest: b} }

// Err returns the first error, or nil.
func (r *Reader) Err() error { return r.err }

// End gives the first mistake, which it is also when something is left over.
func (r *Reader) End() error {
	if r.err == nil && len(r.rest) > 0 {
		r.Bad()
	}
	return r.err
}

// Bad records that a value was out of range.
func (r *Reader) Bad() { r.Fail(Broken("a record of the store does not read")) }

// Fail notes err as the mistake, unless there was one before it.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

// Num reads a uvarint.
func (r *Reader) Num() uint64 {
	n, used := binary.Uvarint(r.rest)
	if used <= 0 {
		r.Bad()
		return 0
	}
	r.rest = r.rest[used:]
	return n
}

// Num32 reads a uvarint of at most 32 bits.
func (r *Reader) Num32() uint32 {
	n := r.Num()
	if n > 1<<32-1 {
		r.Bad()
		return 0
	}
	return uint32(n)
}

// Int reads a varint, which has a sign.
func (r *Reader) Int() int64 {
	n, used := binary.Varint(r.rest)
	if used <= 0 {
		r.Bad()
		return 0
	}
	r.rest = r.rest[used:]
	return n
}

// Byte reads one octet.
func (r *Reader) Byte() byte {
	if len(r.rest) == 0 {
		r.Bad()
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

// Bytes reads octets after their length. They are a part of the record.
func (r *Reader) Bytes() []byte {
	n := r.Num()
	if n > uint64(len(r.rest)) {
		r.Bad()
		return nil
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

// Text reads a string of AppendText.
func (r *Reader) Text() string { return string(r.Bytes()) }

// Count reads how many things follow; each has at least one octet, so that a
// damaged number asks for no memory.
func (r *Reader) Count() int {
	n := r.Num()
	if n > uint64(len(r.rest)) {
		r.Bad()
		return 0
	}
	return int(n)
}

// Rest returns the unread octets, which are part of the record.
func (r *Reader) Rest() []byte { return r.rest }

// Form reads the number that a record begins with.
func (r *Reader) Form(want byte) {
	if got := r.Byte(); r.err == nil && got != want {
		r.Fail(Broken(fmt.Sprintf("a record has form %d; this version reads form %d", got, want)))
	}
}
