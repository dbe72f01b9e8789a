// SPDX-License-Identifier: Apache-2.0

package stored

import (
	"encoding/binary"
	"errors"
	"time"

	"restante/internal/record"
	"restante/internal/seal"
	"restante/metabase/internal/tree"
	"restante/metabase/item"
	"restante/metabase/key"
)

// The numbers of the forms: the first octet of a record.
const (
	KeyForm   = 1 // the own data of a key
	EntryForm = 1 // the history of one revision
	metaForm  = 1
	PageForm  = 2 // in form 1 each record of the history was stored by itself
)

// sealedBit marks the type of a value whose payload is encrypted.
const sealedBit = 0x80

// AppendProperty appends p in clear.
func AppendProperty(b []byte, p item.Property) []byte {
	return item.AppendValue(appendHead(b, p), p.Value)
}

func appendHead(b []byte, p item.Property) []byte {
	b = binary.AppendUvarint(b, uint64(p.ID))
	b = binary.AppendUvarint(b, uint64(p.Attr))
	b = binary.AppendUvarint(b, uint64(p.UserType))
	return binary.AppendUvarint(b, uint64(p.Rev))
}

// AppendSealed appends p. The value of a secure property is encrypted under k.
func AppendSealed(b []byte, p item.Property, k seal.Key) []byte {
	b = appendHead(b, p)
	if p.Attr&item.Secure == 0 {
		return item.AppendValue(b, p.Value)
	}
	b = append(b, byte(p.Value.Type())|sealedBit)
	return record.AppendText(b, string(k.Seal(item.AppendValue(nil, p.Value), uint32(p.ID))))
}

// A Reader decodes a record of the store. key opens sealed values.
type Reader struct {
	record.Reader
	key seal.Key
}

// NewReader begins at the start of b. With the zero key a sealed value is an error.
func NewReader(b []byte, machine seal.Key) Reader { return Reader{record.Read(b), machine} }

// End returns the first error, or that octets are left over. What cannot be
// decoded is key.Damaged.
func (r *Reader) End() error {
	err := r.Reader.End()
	if broken, ok := err.(record.Broken); ok {
		return key.Errorf(key.Damaged, "%s", broken)
	}
	return err
}

// Property reads what AppendProperty or AppendSealed appended.
func (r *Reader) Property() item.Property {
	p := item.Property{ID: item.ID(r.Num32()), Attr: item.Attr(r.Num32()), UserType: item.UserType(r.Num32()), Rev: item.Rev(r.Num())}
	p.Attr &^= item.Volatile // a stored property is an ordinary one, whatever a made-up backup says
	kind := r.Byte()
	if kind&sealedBit == 0 {
		p.Value = item.ReadValue(&r.Reader, kind)
		return p.Marked()
	}
	sealed := r.Bytes()
	if r.Err() != nil {
		return item.Property{}
	}
	plain, err := r.key.Open(sealed, uint32(p.ID))
	if err != nil {
		kind := key.Damaged
		if errors.Is(err, seal.ErrNoKey) {
			kind = key.Invalid
		}
		r.Fail(key.Errorf(kind, "%v", err))
		return item.Property{}
	}
	inner := NewReader(plain, seal.Key{})
	p.Value = item.ReadValue(&inner.Reader, inner.Byte())
	if inner.End() != nil || byte(p.Value.Type()) != kind&^sealedBit || p.Attr&item.Secure == 0 {
		r.Bad()
		return item.Property{}
	}
	return p.Marked()
}

func (r *Reader) properties() []item.Property {
	n := r.Count()
	if n == 0 {
		return nil
	}
	out := make([]item.Property, 0, n)
	for range n {
		p := r.Property()
		if r.Err() != nil || len(out) > 0 && out[len(out)-1].ID >= p.ID {
			r.Bad()
			return nil
		}
		out = append(out, p)
	}
	return out
}

// AppendNode appends the name, time and properties of a key, the secure ones
// sealed under k.
func AppendNode(b []byte, n *tree.Node, k seal.Key) []byte {
	b = appendKey(b, n)
	for _, p := range n.Items.All() {
		b = AppendSealed(b, p, k)
	}
	return b
}

// Node reads what AppendNode or AppendClear appended. The node has no children.
func (r *Reader) Node() *tree.Node {
	r.Form(KeyForm)
	n := &tree.Node{Spelling: r.Text(), Modified: r.Int()}
	n.Items = item.ListOf(r.properties())
	return n
}

// AppendClear is AppendNode with nothing sealed.
func AppendClear(b []byte, n *tree.Node) []byte {
	b = appendKey(b, n)
	for _, p := range n.Items.All() {
		b = AppendProperty(b, p)
	}
	return b
}

// appendKey appends what AppendNode and AppendClear have in common.
func appendKey(b []byte, n *tree.Node) []byte {
	b = append(b, KeyForm)
	b = record.AppendText(b, n.Spelling)
	b = binary.AppendVarint(b, n.Modified)
	return binary.AppendUvarint(b, uint64(len(n.Items.All())))
}

// Meta is the record of the store's revision.
type Meta struct {
	Rev   item.Rev
	Time  time.Time
	Proof []byte // sealed by the machine key when the store was made
}

// Encode returns the stored form of m.
func (m Meta) Encode() []byte {
	b := []byte{metaForm}
	b = binary.AppendUvarint(b, uint64(m.Rev))
	b = binary.AppendVarint(b, m.Time.UnixNano())
	return record.AppendText(b, string(m.Proof))
}

// DecodeMeta reads what Encode returned.
func DecodeMeta(b []byte) (Meta, error) {
	r := NewReader(b, seal.Key{})
	r.Form(metaForm)
	m := Meta{Rev: item.Rev(r.Num()), Time: time.Unix(0, r.Int()).UTC()}
	m.Proof = []byte(r.Text())
	return m, r.End()
}

// The flags of a key in a history record.
const (
	flagAdded   = 1
	flagRemoved = 2
	flagOld     = 4
	flagNew     = 8
)

// AppendDelta appends d, the secure properties sealed under k.
func AppendDelta(b []byte, d tree.KeyDelta, k seal.Key) []byte {
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
			b = AppendSealed(b, *p.Old, k)
		}
		if p.New != nil {
			b = AppendSealed(b, *p.New, k)
		}
	}
	return b
}

// Delta reads what AppendDelta appended; its Node is nil.
func (r *Reader) Delta() tree.KeyDelta {
	flags := r.Byte()
	d := tree.KeyDelta{Added: flags&flagAdded != 0, Removed: flags&flagRemoved != 0}
	d.Path = key.Path(r.Text())
	if r.Err() == nil && (flags&^(flagAdded|flagRemoved) != 0 || d.Added && d.Removed || d.Path == key.Root && flags != 0 || d.Path.CheckStored() != nil) {
		r.Bad()
	}
	d.OldName, d.NewName = r.Text(), r.Text()
	d.OldModified, d.NewModified = r.Int(), r.Int()
	for range r.Count() {
		d.Props = append(d.Props, r.propDelta())
		if r.Err() != nil {
			return tree.KeyDelta{}
		}
	}
	return d
}

func (r *Reader) propDelta() (p tree.PropertyDelta) {
	flags := r.Byte()
	if flags&^(flagOld|flagNew) != 0 || flags == 0 {
		r.Bad()
		return tree.PropertyDelta{}
	}
	if flags&flagOld != 0 {
		old := r.Property()
		p.Old, p.ID = &old, old.ID
	}
	if flags&flagNew != 0 {
		next := r.Property()
		if p.Old != nil && p.Old.ID != next.ID {
			r.Bad()
		}
		p.New, p.ID = &next, next.ID
	}
	return p
}
