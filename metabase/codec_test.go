// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"bytes"
	"strings"
	"testing"

	"restante/internal/seal"
)

func FuzzProperty(f *testing.F) {
	f.Add(uint32(36998), uint32(1), uint32(1), uint8(2), uint32(0), "text", true)
	f.Add(uint32(1), uint32(4), uint32(0), uint8(5), uint32(7), "\x01a\x00", false)
	f.Add(uint32(1), uint32(0), uint32(9), uint8(1), uint32(1<<31), "", true)
	key := seal.New()
	f.Fuzz(func(t *testing.T, id, attr, ut uint32, kind uint8, num uint32, text string, secure bool) {
		p := Property{ID: ID(id), Attr: Attr(attr), UserType: UserType(ut), Rev: 7}
		switch Type(kind) {
		case DWordType:
			p.Value = DWord(num)
		case StringType:
			p.Value = String(text)
		case BinaryType:
			p.Value = Binary([]byte(text))
		case ExpandSZType:
			p.Value = ExpandSZ(text)
		case MultiSZType:
			p.Value = MultiSZ(strings.Split(text, "\n")...)
		}
		if secure {
			p.Attr |= Secure
		}
		if p.Check() != nil {
			return
		}
		sealed := appendSealed(nil, p, key)
		r := read(sealed, key)
		if got := r.property(); r.end() != nil || !got.Same(p) || got.Rev != p.Rev {
			t.Errorf("%v reads back as %v, %v", p, got, r.Err())
		}
		if p.Attr&Secure != 0 && len(text) > 4 && p.Value.Type() != DWordType && bytes.Contains(sealed, []byte(text)) {
			t.Errorf("the secure value %q is written in clear", text)
		}
	})
}
