// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"encoding/binary"
	"errors"
	"time"

	"restante/internal/record"
	"restante/internal/seal"
)

// A record on disk is a sequence of uvarints and length-prefixed strings. It
// begins with the number of its form.
const (
	keyForm    = 1
	recordForm = 1
	metaForm   = 1
	pageForm   = 2 // 1 was a record by itself
)

// sealedBit marks the type of a value whose payload is encrypted.
const sealedBit = 0x80

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
	return record.AppendText(b, v.text)
}

// appendSealed writes p, the value of a secure one encrypted.
func appendSealed(b []byte, p Property, k seal.Key) []byte {
	b = appendHead(b, p)
	if p.Attr&Secure == 0 {
		return appendPayload(b, p.Value)
	}
	b = append(b, p.Value.kind|sealedBit)
	return record.AppendText(b, string(k.Seal(appendPayload(nil, p.Value), uint32(p.ID))))
}

// A reader decodes a record of the store. key opens sealed values.
type reader struct {
	record.Reader
	key seal.Key
}

func read(b []byte, key seal.Key) reader { return reader{record.Read(b), key} }

// end returns the first error, or that octets are left over.
func (r *reader) end() error {
	err := r.End()
	if broken, ok := err.(record.Broken); ok {
		return because(Damaged, "%s", broken)
	}
	return err
}

func (r *reader) property() Property {
	p := Property{ID: ID(r.Num32()), Attr: Attr(r.Num32()), UserType: UserType(r.Num32()), Rev: Rev(r.Num())}
	kind := r.Byte()
	if kind&sealedBit == 0 {
		p.Value = r.payload(kind)
		return p.marked()
	}
	sealed := r.Bytes()
	if r.Err() != nil {
		return Property{}
	}
	plain, err := r.key.Open(sealed, uint32(p.ID))
	if err != nil {
		kind := Damaged
		if errors.Is(err, seal.ErrNoKey) {
			kind = Invalid
		}
		r.Fail(because(kind, "%v", err))
		return Property{}
	}
	inner := read(plain, seal.Key{})
	p.Value = inner.payload(inner.Byte())
	if inner.end() != nil || p.Value.kind != kind&^sealedBit || p.Attr&Secure == 0 {
		r.Bad()
		return Property{}
	}
	return p.marked()
}

func (r *reader) payload(kind byte) Value {
	v := Value{kind: kind}
	if v.Type() == DWordType {
		v.num = r.Num32()
	} else {
		v.text = r.Text()
	}
	if r.Err() == nil && v.check() != nil {
		r.Bad()
		return Value{}
	}
	if _, ok := splitList(v.text); v.Type() == MultiSZType && !ok {
		r.Bad()
		return Value{}
	}
	return v
}

func (r *reader) properties() []Property {
	n := r.Count()
	if n == 0 {
		return nil
	}
	out := make([]Property, 0, n)
	for range n {
		p := r.property()
		if r.Err() != nil || len(out) > 0 && out[len(out)-1].ID >= p.ID {
			r.Bad()
			return nil
		}
		out = append(out, p)
	}
	return out
}

// appendNode writes the name, time and properties of a key.
func appendNode(b []byte, n *node, k seal.Key) []byte {
	b = append(b, keyForm)
	b = record.AppendText(b, n.name)
	b = binary.AppendVarint(b, n.modified)
	b = binary.AppendUvarint(b, uint64(len(n.items.list)))
	for _, p := range n.items.list {
		b = appendSealed(b, p, k)
	}
	return b
}

func (r *reader) node() *node {
	r.Form(keyForm)
	n := &node{name: r.Text(), modified: r.Int()}
	n.items = itemsOf(r.properties())
	return n
}

// meta is the record of the store's revision.
type meta struct {
	rev   Rev
	time  time.Time
	proof []byte // sealed by the machine key when the store was made
}

func (m meta) encode() []byte {
	b := []byte{metaForm}
	b = binary.AppendUvarint(b, uint64(m.rev))
	b = binary.AppendVarint(b, m.time.UnixNano())
	return record.AppendText(b, string(m.proof))
}

func decodeMeta(b []byte) (meta, error) {
	r := read(b, seal.Key{})
	r.Form(metaForm)
	m := meta{rev: Rev(r.Num()), time: time.Unix(0, r.Int()).UTC()}
	m.proof = []byte(r.Text())
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
	b = record.AppendText(b, string(d.path))
	b = record.AppendText(b, d.oldName)
	b = record.AppendText(b, d.newName)
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
	flags := r.Byte()
	d := keyDelta{added: flags&flagAdded != 0, removed: flags&flagRemoved != 0}
	d.path = Path(r.Text())
	if r.Err() == nil && (flags&^(flagAdded|flagRemoved) != 0 || d.added && d.removed || d.path == Root && flags != 0 || d.path.check() != nil) {
		r.Bad()
	}
	d.oldName, d.newName = r.Text(), r.Text()
	d.oldMod, d.newMod = r.Int(), r.Int()
	for range r.Count() {
		d.props = append(d.props, r.propDelta())
		if r.Err() != nil {
			return keyDelta{}
		}
	}
	return d
}

func (r *reader) propDelta() (p propDelta) {
	flags := r.Byte()
	if flags&^(flagOld|flagNew) != 0 || flags == 0 {
		r.Bad()
		return propDelta{}
	}
	if flags&flagOld != 0 {
		old := r.property()
		p.old, p.id = &old, old.ID
	}
	if flags&flagNew != 0 {
		next := r.property()
		if p.old != nil && p.old.ID != next.ID {
			r.Bad()
		}
		p.new, p.id = &next, next.ID
	}
	return p
}
