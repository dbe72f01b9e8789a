// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"encoding/binary"

	"restante/internal/record"
	"restante/metabase"
	"restante/metabase/item"
)

// AppendKey appends a key in the form that UnpackKeys reads, without its Rev and
// those of its properties. The value of a secure property is left out.
func AppendKey(b []byte, k Key) []byte {
	b = record.AppendText(b, string(k.Path))
	b = record.AppendText(b, k.Class)
	exists := byte(0)
	if k.Exists {
		exists = 1
	}
	return appendProperties(appendProperties(append(b, exists), k.Stored), k.Inherited)
}

func appendProperties(b []byte, list []metabase.Property) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, p := range list {
		b = binary.AppendUvarint(b, uint64(p.ID))
		b = binary.AppendUvarint(b, uint64(p.Attr))
		b = binary.AppendUvarint(b, uint64(p.UserType))
		b = item.AppendValue(b, p.Redacted().Value)
	}
	return b
}

// UnpackKeys reads keys, which are of revision rev, until the end of b.
func UnpackKeys(b []byte, rev metabase.Rev) (keys []Key, err error) {
	r := record.Read(b)
	for len(r.Rest()) > 0 {
		k := Key{Path: metabase.Path(r.Text()), Class: r.Text(), Exists: r.Byte() == 1, Rev: rev}
		k.Stored = properties(&r)
		k.Inherited = properties(&r)
		keys = append(keys, k)
	}
	return keys, r.End()
}

func properties(r *record.Reader) []metabase.Property {
	n := r.Count()
	if n == 0 {
		return nil
	}
	list := make([]metabase.Property, 0, min(n, 64))
	for range n {
		p := metabase.Property{ID: metabase.ID(r.Num32()), Attr: metabase.Attr(r.Num32()), UserType: metabase.UserType(r.Num32())}
		p.Value = item.ReadValue(r, r.Byte())
		list = append(list, p.Marked())
	}
	return list
}
