// SPDX-License-Identifier: Apache-2.0

package item

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"restante/internal/record"
	"restante/metabase/key"
)

// A Type is the data type of a value, by IIS's numbers.
type Type uint32

// The data types.
const (
	AnyType      Type = 0 // in questions: whatever it is
	DWordType    Type = 1
	StringType   Type = 2
	BinaryType   Type = 3
	ExpandSZType Type = 4
	MultiSZType  Type = 5
)

func (t Type) String() string {
	names := [...]string{"ANY", "DWORD", "STRING", "BINARY", "EXPANDSZ", "MULTISZ"}
	if int(t) < len(names) {
		return names[t]
	}
	return "type " + strconv.Itoa(int(t))
}

// MaxValue bounds the octets of one value: larger things belong into files.
const MaxValue = 256 << 10

// A Value is a typed value that never changes. The zero Value has no type and
// cannot be stored.
type Value struct {
	kind   uint8
	secret bool // printed as asterisks
	num    uint32
	text   string // of MULTISZ: each string after its length as a uvarint
}

// DWord makes a 32-bit number.
func DWord(n uint32) Value { return Value{kind: uint8(DWordType), num: n} }

// String makes a string.
func String(s string) Value { return Value{kind: uint8(StringType), text: s} }

// ExpandSZ makes a string that may hold %VARIABLES%.
func ExpandSZ(s string) Value { return Value{kind: uint8(ExpandSZType), text: s} }

// Binary makes a run of bytes, of which it takes a copy.
func Binary(b []byte) Value { return Value{kind: uint8(BinaryType), text: string(b)} }

// MultiSZ makes a list of strings, of which it takes a copy.
func MultiSZ(s ...string) Value {
	n := 0
	for _, one := range s {
		n += len(one) + 2
	}
	b := make([]byte, 0, n)
	for _, one := range s {
		b = binary.AppendUvarint(b, uint64(len(one)))
		b = append(b, one...)
	}
	return Value{kind: uint8(MultiSZType), text: string(b)}
}

// Type is the data type; AnyType of the zero Value.
func (v Value) Type() Type { return Type(v.kind) }

// IsZero says that v is no value at all.
func (v Value) IsZero() bool { return v.kind == 0 }

// DWord is the number, 0 unless the type is DWORD.
func (v Value) DWord() uint32 { return v.num }

// Str is the text, "" unless the type is STRING or EXPANDSZ.
func (v Value) Str() string {
	if v.Type() == StringType || v.Type() == ExpandSZType {
		return v.text
	}
	return ""
}

// Strings is a copy of the list of a MULTISZ, never nil; of a STRING the one
// string; else nil.
func (v Value) Strings() []string {
	switch v.Type() {
	case StringType:
		return []string{v.text}
	case MultiSZType:
		list, _ := splitList(v.text)
		return list
	}
	return nil
}

// splitList reads what MultiSZ wrote; ok is false for anything else.
func splitList(text string) (list []string, ok bool) {
	list = []string{}
	for text != "" {
		n, used := uvarint(text)
		if used <= 0 || n > uint64(len(text)-used) {
			return list, false
		}
		list = append(list, text[used:used+int(n)])
		text = text[used+int(n):]
	}
	return list, true
}

func uvarint(s string) (uint64, int) {
	var x uint64
	for i := 0; i < len(s) && i < 9; i++ {
		x |= uint64(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			return x, i + 1
		}
	}
	return 0, 0
}

// Bytes is a copy of a BINARY, else nil.
func (v Value) Bytes() []byte {
	if v.Type() != BinaryType {
		return nil
	}
	return []byte(v.text)
}

// Size is the number of octets that the text of v takes, 0 of a DWORD.
func (v Value) Size() int { return len(v.text) }

// Equal says that type and content are the same.
func (v Value) Equal(w Value) bool {
	return v.kind == w.kind && v.num == w.num && v.text == w.text
}

// Asterisks stand for a secret wherever values are shown. Package schema refuses
// them as the value of a secure property: they have been read somewhere.
const Asterisks = "**********"

// String prints the value for people; a secure one as asterisks.
func (v Value) String() string {
	if v.secret {
		return Asterisks
	}
	switch v.Type() {
	case DWordType:
		return strconv.FormatUint(uint64(v.num), 10)
	case StringType, ExpandSZType:
		return v.text
	case BinaryType:
		return hex.EncodeToString([]byte(v.text))
	case MultiSZType:
		return strings.Join(v.Strings(), "\n")
	}
	return ""
}

// Format prints as String does whatever the verb: no verb shows a secret.
func (v Value) Format(f fmt.State, verb rune) {
	if verb == 'q' {
		fmt.Fprintf(f, "%q", v.String())
		return
	}
	io.WriteString(f, v.String())
}

// MarshalJSON gives a number, a string, an array of strings, hexadecimal
// digits or null; a secure value as asterisks.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.secret {
		return json.Marshal(Asterisks)
	}
	switch v.Type() {
	case DWordType:
		return json.Marshal(v.num)
	case MultiSZType:
		return json.Marshal(v.Strings())
	case AnyType:
		return []byte("null"), nil
	}
	return json.Marshal(v.String())
}

// Check says whether v can be stored.
func (v Value) Check() error {
	if v.Type() < DWordType || v.Type() > MultiSZType {
		return key.Errorf(key.Invalid, "the value has no type")
	}
	if len(v.text) > MaxValue {
		return key.Errorf(key.Invalid, "the value has %d octets, more than %d", len(v.text), MaxValue)
	}
	switch v.Type() {
	case StringType, ExpandSZType:
		return CheckText(v.text)
	case MultiSZType:
		for i, s := range v.Strings() {
			if err := CheckText(s); err != nil {
				return fmt.Errorf("string %d of the list: %w", i+1, err)
			}
		}
	}
	return nil
}

func CheckText(s string) error {
	if !utf8.ValidString(s) {
		return key.Errorf(key.Invalid, "is not valid UTF-8")
	}
	if strings.IndexByte(s, 0) >= 0 {
		return key.Errorf(key.Invalid, "holds a zero octet")
	}
	return nil
}

// AppendValue appends the stored form of v: its type, and a uvarint or the text
// after its length.
func AppendValue(b []byte, v Value) []byte {
	b = append(b, v.kind)
	if v.Type() == DWordType {
		return binary.AppendUvarint(b, uint64(v.num))
	}
	return record.AppendText(b, v.text)
}

// ReadValue reads what AppendValue appended after the type kind. A value that
// cannot be stored is an error of r.
func ReadValue(r *record.Reader, kind byte) Value {
	v := Value{kind: kind}
	if v.Type() == DWordType {
		v.num = r.Num32()
	} else {
		v.text = r.Text()
	}
	if r.Err() != nil {
		return Value{}
	}
	ok := v.Check() == nil
	if ok && v.Type() == MultiSZType {
		_, ok = splitList(v.text)
	}
	if !ok {
		r.Bad()
		return Value{}
	}
	return v
}
