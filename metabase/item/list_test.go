// SPDX-License-Identifier: Apache-2.0

package item

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"restante/internal/record"
)

// TestList compares a List with a map through many changes.
func TestList(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var l List
	model := map[ID]uint32{}
	for step := range 2000 {
		id, n := ID(1+rnd.IntN(200)), rnd.Uint32()
		was, before := l, l.Find(id)
		_, had := model[id]
		if had && rnd.IntN(2) == 0 {
			l = l.Without(id)
			delete(model, id)
		} else {
			l = l.With(Property{ID: id, Value: DWord(n)})
			model[id] = n
		}
		if was.Find(id) != before {
			t.Fatalf("step %d: a list was changed in place", step)
		}
		for i, p := range l.All() {
			if i > 0 && l.All()[i-1].ID >= p.ID {
				t.Fatalf("step %d: not sorted: %v", step, l.All())
			}
		}
		if len(l.All()) != len(model) {
			t.Fatalf("step %d: %d properties, want %d", step, len(l.All()), len(model))
		}
		for id := range ID(202) {
			want, ok := model[id]
			if got := l.Find(id); (got != nil) != ok || ok && (got.Value.DWord() != want || !l.MayHave(BitOf(id))) {
				t.Fatalf("step %d: Find(%d) = %v, want %d, %v", step, id, got, want, ok)
			}
		}
	}
	if one := ListOf([]Property{{ID: 1}}); one.MayHave(BitOf(2)) {
		t.Error("a list of property 1 may have property 2")
	}
}

func TestStoredValue(t *testing.T) {
	for _, v := range []Value{DWord(7), DWord(1<<32 - 1), String(""), String("x"), ExpandSZ("%T%"), Binary([]byte{0, 1}), MultiSZ(), MultiSZ("a", "")} {
		b := AppendValue(nil, v)
		r := record.Read(b)
		if got := ReadValue(&r, r.Byte()); !got.Equal(v) || r.End() != nil {
			t.Errorf("%v %v reads back as %v, %v", v.Type(), v, got, r.End())
		}
		if v.Type() != DWordType && v.Size() != len(b)-2 {
			t.Errorf("%v has %d octets in %d", v, v.Size(), len(b))
		}
	}
	for _, b := range []string{"\x00\x00", "\x06\x00", "\x01", "\x02\x05abc", "\x02\x01\x00", "\x02\x01\xff", "\x05\x01\x07"} {
		r := record.Read([]byte(b))
		if got := ReadValue(&r, r.Byte()); r.Err() == nil || !got.IsZero() {
			t.Errorf("%q reads as %v %v", b, got.Type(), got)
		}
	}
}

func TestRedacted(t *testing.T) {
	p := Property{ID: 1, Attr: Secure, Value: String("correct-horse")}
	if got := p.Redacted(); got.Value.Str() != "" || got.Value.Type() != StringType || got.Value.String() != Asterisks {
		t.Errorf("redacted: %q, %v", got.Value.Str(), got.Value)
	}
	if got := p.Marked(); got.Value.Str() != "correct-horse" || bytes.Contains([]byte(got.Value.String()), []byte("horse")) {
		t.Errorf("marked: %q prints as %v", got.Value.Str(), got.Value)
	}
	p.Attr = 0
	if got := p.Redacted(); !got.Same(p) || got.Marked().Value.String() != "correct-horse" {
		t.Errorf("a plain property was redacted: %v", got)
	}
}
