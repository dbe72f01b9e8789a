// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"encoding/binary"
	"errors"
	"time"

	"restante/internal/seal"
)

// What is written to the disk is a run of uvarints and of strings after their
// lengths. Every record begins with the number of its form.
const (
	keyForm    = 1
	recordForm = 1
	metaForm   = 1
)

// sealedBit marks the type of a value whose payload is encrypted.
const sealedBit = 0x80

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendProperty writes p in clear.
func appendProperty(b []byte, p Property) []byte {
	return appendPayload(appendHead(b, p), p.Value)
}

func appendHead(b []byte, p Property) []byte {
	b = binary.AppendUvarint(b, uint64(p.ID))
	b = binary.AppendUvarint(b, uint64(p.Attr))
	b = binary.AppendUvarint(b, uint64(p.UserType))
	return binary.AppendUvarint(b, uint64(p.Rev))
}

func appendPayload(b []byte, v Value) []byte {
	b = append(b, v.kind)
	if v.Type() == DWordType {
		return binary.AppendUvarint(b, uint64(v.num))
	}
	return appendText(b, v.text)
}

// appendSealed writes p, the value of a secure one encrypted.
func appendSealed(b []byte, p Property, k seal.Key) []byte {
	b = appendHead(b, p)
	if p.Attr&Secure == 0 {
		return appendPayload(b, p.Value)
	}
	b = append(b, p.Value.kind|sealedBit)
	return appendText(b, string(k.Seal(appendPayload(nil, p.Value), uint32(p.ID))))
}

// A reader takes a record apart. After the first mistake everything it gives
// is zero, and err says so.
type reader struct {
	rest []byte
	key  seal.Key
	err  error
}

func (r *reader) bad() {
	if r.err == nil {
		r.err = because(Damaged, "a record of the store does not read")
	}
	r.rest = nil
}

func (r *reader) num() uint64 {
	n, used := binary.Uvarint(r.rest)
	if used <= 0 {
		r.bad()
		return 0
	}
	r.rest = r.rest[used:]
	return n
}

func (r *reader) num32() uint32 {
	n := r.num()
	if n > 1<<32-1 {
		r.bad()
		return 0
	}
	return uint32(n)
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.bad()
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

func (r *reader) bytes() []byte {
	n := r.num()
	if n > uint64(len(r.rest)) {
		r.bad()
		return nil
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) text() string { return string(r.bytes()) }

// count reads how many things follow; each has at least one octet, so that a
// damaged number asks for no memory.
func (r *reader) count() int {
	n := r.num()
	if n > uint64(len(r.rest)) {
		r.bad()
		return 0
	}
	return int(n)
}

// form reads the number that a record begins with.
func (r *reader) form(want byte) {
	if got := r.byte(); r.err == nil && got != want {
		r.err = because(Damaged, "a record has form %d; this version reads form %d", got, want)
		r.rest = nil
	}
}

// end says what was wrong, or that something was left over.
func (r *reader) end() error {
	if r.err == nil && len(r.rest) > 0 {
		r.bad()
	}
	return r.err
}

func (r *reader) property() Property {
	p := Property{ID: ID(r.num32()), Attr: Attr(r.num32()), UserType: UserType(r.num32()), Rev: Rev(r.num())}
	kind := r.byte()
	if kind&sealedBit == 0 {
		p.Value = r.payload(kind)
		return p.marked()
	}
	sealed := r.bytes()
	if r.err != nil {
		return Property{}
	}
	plain, err := r.key.Open(sealed, uint32(p.ID))
	if err != nil {
		kind := Damaged
		if errors.Is(err, seal.ErrNoKey) {
			kind = Invalid
		}
		r.err, r.rest = because(kind, "%v", err), nil
		return Property{}
	}
	inner := reader{rest: plain}
	p.Value = inner.payload(inner.byte())
	if inner.end() != nil || p.Value.kind != kind&^sealedBit || p.Attr&Secure == 0 {
		r.bad()
		return Property{}
	}
	return p.marked()
}

func (r *reader) payload(kind byte) Value {
	v := Value{kind: kind}
	if v.Type() == DWordType {
		v.num = r.num32()
	} else {
		v.text = r.text()
	}
	if r.err == nil && v.check() != nil {
		r.bad()
		return Value{}
	}
	if _, ok := splitList(v.text); v.Type() == MultiSZType && !ok {
		r.bad()
		return Value{}
	}
	return v
}

func (r *reader) properties() []Property {
	n := r.count()
	if n == 0 {
		return nil
	}
	out := make([]Property, 0, n)
	for range n {
		p := r.property()
		if r.err != nil || len(out) > 0 && out[len(out)-1].ID >= p.ID {
			r.bad()
			return nil
		}
		out = append(out, p)
	}
	return out
}

// appendNode writes what a key holds itself.
func appendNode(b []byte, n *node, k seal.Key) []byte {
	b = append(b, keyForm)
	b = appendText(b, n.name)
	b = binary.AppendVarint(b, n.modified)
	b = binary.AppendUvarint(b, uint64(len(n.props)))
	for _, p := range n.props {
		b = appendSealed(b, p, k)
	}
	return b
}

func (r *reader) time() int64 {
	n, used := binary.Varint(r.rest)
	if used <= 0 {
		r.bad()
		return 0
	}
	r.rest = r.rest[used:]
	return n
}

func (r *reader) node() *node {
	r.form(keyForm)
	n := &node{name: r.text(), modified: r.time()}
	n.props = r.properties()
	return n
}

// meta is the one record that says where the store stands.
type meta struct {
	rev   Rev
	time  time.Time
	proof []byte // sealed by the machine key when the store was made
}

func (m meta) encode() []byte {
	b := []byte{metaForm}
	b = binary.AppendUvarint(b, uint64(m.rev))
	b = binary.AppendVarint(b, m.time.UnixNano())
	return appendText(b, string(m.proof))
}

func decodeMeta(b []byte) (meta, error) {
	r := reader{rest: b}
	r.form(metaForm)
	m := meta{rev: Rev(r.num()), time: time.Unix(0, r.time()).UTC()}
	m.proof = []byte(r.text())
	return m, r.end()
}

// The flags of a key in a history record.
const (
	flagAdded   = 1
	flagRemoved = 2
	flagOld     = 4
	flagNew     = 8
)

func appendDelta(b []byte, d keyDelta, k seal.Key) []byte {
	var flags byte
	if d.added {
		flags |= flagAdded
	}
	if d.removed {
		flags |= flagRemoved
	}
	b = append(b, flags)
	b = appendText(b, string(d.path))
	b = appendText(b, d.oldName)
	b = appendText(b, d.newName)
	b = binary.AppendVarint(b, d.oldMod)
	b = binary.AppendVarint(b, d.newMod)
	b = binary.AppendUvarint(b, uint64(len(d.props)))
	for _, p := range d.props {
		flags = 0
		if p.old != nil {
			flags |= flagOld
		}
		if p.new != nil {
			flags |= flagNew
		}
		b = append(b, flags)
		if p.old != nil {
			b = appendSealed(b, *p.old, k)
		}
		if p.new != nil {
			b = appendSealed(b, *p.new, k)
		}
	}
	return b
}

func (r *reader) delta() keyDelta {
	flags := r.byte()
	d := keyDelta{added: flags&flagAdded != 0, removed: flags&flagRemoved != 0}
	d.path = Path(r.text())
	if r.err == nil && (flags&^(flagAdded|flagRemoved) != 0 || d.added && d.removed || d.path == Root && flags != 0 || d.path.check() != nil) {
		r.bad()
	}
	d.oldName, d.newName = r.text(), r.text()
	d.oldMod, d.newMod = r.time(), r.time()
	for range r.count() {
		d.props = append(d.props, r.propDelta())
		if r.err != nil {
			return keyDelta{}
		}
	}
	return d
}

func (r *reader) propDelta() (p propDelta) {
	flags := r.byte()
	if flags&^(flagOld|flagNew) != 0 || flags == 0 {
		r.bad()
		return propDelta{}
	}
	if flags&flagOld != 0 {
		old := r.property()
		p.old, p.id = &old, old.ID
	}
	if flags&flagNew != 0 {
		next := r.property()
		if p.old != nil && p.old.ID != next.ID {
			r.bad()
		}
		p.new, p.id = &next, next.ID
	}
	return p
}
