// SPDX-License-Identifier: Apache-2.0

package stored

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"restante/internal/seal"
	"restante/metabase/internal/tree"
	"restante/metabase/item"
	"restante/metabase/key"
)

func FuzzProperty(f *testing.F) {
	f.Add(uint32(36998), uint32(1), uint32(1), uint8(2), uint32(0), "text", true)
	f.Add(uint32(1), uint32(4), uint32(0), uint8(5), uint32(7), "\x01a\x00", false)
	f.Add(uint32(1), uint32(0), uint32(9), uint8(1), uint32(1<<31), "", true)
	machine := seal.New()
	f.Fuzz(func(t *testing.T, id, attr, ut uint32, kind uint8, num uint32, text string, secure bool) {
		p := item.Property{ID: item.ID(id), Attr: item.Attr(attr), UserType: item.UserType(ut), Rev: 7}
		switch item.Type(kind) {
		case item.DWordType:
			p.Value = item.DWord(num)
		case item.StringType:
			p.Value = item.String(text)
		case item.BinaryType:
			p.Value = item.Binary([]byte(text))
		case item.ExpandSZType:
			p.Value = item.ExpandSZ(text)
		case item.MultiSZType:
			p.Value = item.MultiSZ(strings.Split(text, "\n")...)
		}
		if secure {
			p.Attr |= item.Secure
		}
		if p.Attr &^= item.Volatile; p.Check() != nil {
			return
		}
		sealed := AppendSealed(nil, p, machine)
		r := NewReader(sealed, machine)
		if got := r.Property(); r.End() != nil || !got.Same(p) || got.Rev != p.Rev {
			t.Errorf("%v reads back as %v, %v", p, got, r.Err())
		}
		if p.Attr&item.Secure != 0 && len(text) > 4 && p.Value.Type() != item.DWordType && bytes.Contains(sealed, []byte(text)) {
			t.Errorf("the secure value %q is written in clear", text)
		}
	})
}

func FuzzDecodeNode(f *testing.F) {
	machine := seal.New()
	f.Add(AppendNode(nil, &tree.Node{Spelling: "a", Modified: 5, Items: item.ListOf([]item.Property{{ID: 1, Attr: item.Inherit, Value: item.DWord(1)}, {ID: 2, Attr: item.Secure, Value: item.String("pw")}, {ID: 3, Value: item.MultiSZ("a", "b")}})}, machine))
	f.Add([]byte{KeyForm, 0, 0, 0xff, 0xff, 0x03})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := NewReader(raw, machine)
		n := r.Node()
		if err := r.End(); err != nil {
			if key.KindOf(err) != key.Damaged {
				t.Errorf("%v is not of kind Damaged", err)
			}
			return
		}
		r = NewReader(AppendNode(nil, n, machine), machine)
		again := r.Node()
		if r.End() != nil || again.Spelling != n.Spelling || again.Modified != n.Modified || len(tree.DiffProperties(n.Items.All(), again.Items.All())) != 0 {
			t.Errorf("%v reads again as %v, %v", n, again, r.Err())
		}
	})
}

func FuzzNodeKey(f *testing.F) {
	for _, s := range []string{"/", "/LM/1", "/ſ/K", "/a b/*.c"} {
		f.Add(s, strings.ToUpper(s))
	}
	f.Fuzz(func(t *testing.T, s, o string) {
		p, err := key.ParsePath(s)
		q, bad := key.ParsePath(o)
		if err != nil || bad != nil {
			return
		}
		a, b := NodeKey(p), NodeKey(q)
		if (p.Within(q) && q.Within(p)) != bytes.Equal(a, b) {
			t.Errorf("%q and %q have the keys %q and %q", p, q, a, b)
		}
		if child := NodeKey(p.Join("x")); !bytes.HasPrefix(child, append(a, 0)) {
			t.Errorf("the key %q of a child of %q does not follow %q", child, p, a)
		}
	})
}

func FuzzPage(f *testing.F) {
	_, ops := NewPage(5, [][]byte{[]byte("one"), nil, []byte("three")})
	f.Add(ops[0].Value)
	f.Add([]byte{PageForm, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, value []byte) {
		p, body, err := OpenPage(5, value)
		var entries [][]byte
		if err == nil {
			entries, err = SplitPage(body)
		}
		if err != nil {
			if key.KindOf(err) != key.Damaged {
				t.Errorf("%v is not of kind Damaged", err)
			}
			return
		}
		if p.Parts == 0 {
			t.Error("a page without parts")
		}
		_, ops := NewPage(5, entries)
		if len(entries) == 0 || len(ops) != 1 {
			return
		}
		_, body, err = OpenPage(5, ops[0].Value)
		if again, bad := SplitPage(body); err != nil || bad != nil || !slices.EqualFunc(again, entries, bytes.Equal) {
			t.Errorf("%d entries read again as %d: %v, %v", len(entries), len(again), err, bad)
		}
	})
}

// A record that says VOLATILE, which no store writes, is that of an ordinary
// property.
func TestVolatileIsStoredAsAnyOther(t *testing.T) {
	p := item.Property{ID: 5, Attr: item.Inherit | item.Volatile, Value: item.DWord(7)}
	r := NewReader(AppendProperty(nil, p), seal.Key{})
	if got := r.Property(); got.Attr != item.Inherit || got.Value.DWord() != 7 || r.End() != nil {
		t.Errorf("reads as %v, %v", got, r.Err())
	}
}
