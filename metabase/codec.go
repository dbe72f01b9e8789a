// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"encoding/binary"
	"errors"
	"time"

	"restante/internal/record"
	"restante/internal/seal"
	"restante/metabase/item"
	"restante/metabase/key"
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
	return item.AppendValue(appendHead(b, p), p.Value)
}

func appendHead(b []byte, p Property) []byte {
	b = binary.AppendUvarint(b, uint64(p.ID))
	b = binary.AppendUvarint(b, uint64(p.Attr))
	b = binary.AppendUvarint(b, uint64(p.UserType))
	return binary.AppendUvarint(b, uint64(p.Rev))
}

// appendSealed writes p, the value of a secure one encrypted.
func appendSealed(b []byte, p Property, k seal.Key) []byte {
	b = appendHead(b, p)
	if p.Attr&Secure == 0 {
		return item.AppendValue(b, p.Value)
	}
	b = append(b, byte(p.Value.Type())|sealedBit)
	return record.AppendText(b, string(k.Seal(item.AppendValue(nil, p.Value), uint32(p.ID))))
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
		return key.Errorf(Damaged, "%s", broken)
	}
	return err
}

func (r *reader) property() Property {
	p := Property{ID: ID(r.Num32()), Attr: Attr(r.Num32()), UserType: UserType(r.Num32()), Rev: Rev(r.Num())}
	kind := r.Byte()
	if kind&sealedBit == 0 {
		p.Value = item.ReadValue(&r.Reader, kind)
		return p.Marked()
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
		r.Fail(key.Errorf(kind, "%v", err))
		return Property{}
	}
	inner := read(plain, seal.Key{})
	p.Value = item.ReadValue(&inner.Reader, inner.Byte())
	if inner.end() != nil || byte(p.Value.Type()) != kind&^sealedBit || p.Attr&Secure == 0 {
		r.Bad()
		return Property{}
	}
	return p.Marked()
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
func appendNode(b []byte, n *Node, k seal.Key) []byte {
	b = append(b, keyForm)
	b = record.AppendText(b, n.Spelling)
	b = binary.AppendVarint(b, n.Modified)
	b = binary.AppendUvarint(b, uint64(len(n.Items.All())))
	for _, p := range n.Items.All() {
		b = appendSealed(b, p, k)
	}
	return b
}

func (r *reader) node() *Node {
	r.Form(keyForm)
	n := &Node{Spelling: r.Text(), Modified: r.Int()}
	n.Items = item.ListOf(r.properties())
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

func appendDelta(b []byte, d KeyDelta, k seal.Key) []byte {
	var flags byte
	if d.Added {
		flags |= flagAdded
	}
	if d.Removed {
		flags |= flagRemoved
	}
	b = append(b, flags)
	b = record.AppendText(b, string(d.Path))
	b = record.AppendText(b, d.OldName)
	b = record.AppendText(b, d.NewName)
	b = binary.AppendVarint(b, d.OldModified)
	b = binary.AppendVarint(b, d.NewModified)
	b = binary.AppendUvarint(b, uint64(len(d.Props)))
	for _, p := range d.Props {
		flags = 0
		if p.Old != nil {
			flags |= flagOld
		}
		if p.New != nil {
			flags |= flagNew
		}
		b = append(b, flags)
		if p.Old != nil {
			b = appendSealed(b, *p.Old, k)
		}
		if p.New != nil {
			b = appendSealed(b, *p.New, k)
		}
	}
	return b
}

func (r *reader) delta() KeyDelta {
	flags := r.Byte()
	d := KeyDelta{Added: flags&flagAdded != 0, Removed: flags&flagRemoved != 0}
	d.Path = Path(r.Text())
	if r.Err() == nil && (flags&^(flagAdded|flagRemoved) != 0 || d.Added && d.Removed || d.Path == Root && flags != 0 || d.Path.Check() != nil) {
		r.Bad()
	}
	d.OldName, d.NewName = r.Text(), r.Text()
	d.OldModified, d.NewModified = r.Int(), r.Int()
	for range r.Count() {
		d.Props = append(d.Props, r.propDelta())
		if r.Err() != nil {
			return KeyDelta{}
		}
	}
	return d
}

func (r *reader) propDelta() (p PropertyDelta) {
	flags := r.Byte()
	if flags&^(flagOld|flagNew) != 0 || flags == 0 {
		r.Bad()
		return PropertyDelta{}
	}
	if flags&flagOld != 0 {
		old := r.property()
		p.Old, p.ID = &old, old.ID
	}
	if flags&flagNew != 0 {
		next := r.property()
		if p.Old != nil && p.Old.ID != next.ID {
			r.Bad()
		}
		p.New, p.ID = &next, next.ID
	}
	return p
}
