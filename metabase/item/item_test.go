// SPDX-License-Identifier: Apache-2.0

package item

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"restante/metabase/key"
)

func TestValue(t *testing.T) {
	raw := []byte{1, 2}
	list := []string{"a", "", "b\x01"}
	tests := []struct {
		v       Value
		typ     Type
		dword   uint32
		str     string
		strings []string
		bytes   []byte
		printed string
		json    string
	}{
		{DWord(0xFFFFFFFF), DWordType, 0xFFFFFFFF, "", nil, nil, "4294967295", "4294967295"},
		{String("x"), StringType, 0, "x", []string{"x"}, nil, "x", `"x"`},
		{ExpandSZ("%T%"), ExpandSZType, 0, "%T%", nil, nil, "%T%", `"%T%"`},
		{Binary(raw), BinaryType, 0, "", nil, []byte{1, 2}, "0102", `"0102"`},
		{MultiSZ(list...), MultiSZType, 0, "", list, nil, "a\n\nb\x01", `["a","","b\u0001"]`},
		{MultiSZ(), MultiSZType, 0, "", []string{}, nil, "", "[]"},
		{Value{}, AnyType, 0, "", nil, nil, "", "null"},
	}
	raw[0], list[0] = 9, "changed" // a value has copies of what it was made from
	for _, tt := range tests {
		if tt.v.Type() == MultiSZType && len(tt.strings) > 0 {
			tt.strings = []string{"a", "", "b\x01"}
		}
		v := tt.v
		if v.Type() != tt.typ || v.DWord() != tt.dword || v.Str() != tt.str ||
			!slices.Equal(v.Strings(), tt.strings) || !bytes.Equal(v.Bytes(), tt.bytes) {
			t.Errorf("%v: %v %v %q %q %v", tt.typ, v.Type(), v.DWord(), v.Str(), v.Strings(), v.Bytes())
		}
		if v.String() != tt.printed || fmt.Sprintf("%d", v) != tt.printed {
			t.Errorf("%v prints %q, want %q", tt.typ, v.String(), tt.printed)
		}
		if got, err := json.Marshal(v); err != nil || string(got) != tt.json {
			t.Errorf("%v is %s in JSON, %v; want %s", tt.typ, got, err, tt.json)
		}
		for _, other := range tests {
			if v.Equal(other.v) != (other.typ == tt.typ && other.printed == tt.printed) {
				t.Errorf("%v.Equal(%v) = %v", v, other.v, v.Equal(other.v))
			}
		}
	}
}

func TestPropertyCheck(t *testing.T) {
	tests := []struct {
		p    Property
		want error
	}{
		{Property{ID: 1, Value: DWord(1)}, nil},
		{Property{ID: 1, Attr: Inherit | Secure | Locked | InsertPath | Reference | LocalMachineOnly, Value: String("")}, nil},
		{Property{ID: 61537, Value: Binary(nil)}, nil},
		{Property{ID: 0, Value: DWord(1)}, key.Invalid},
		{Property{ID: 1}, key.Invalid},
		{Property{ID: 1, Value: Value{kind: 6}}, key.Invalid},
		{Property{ID: 1, Attr: partialPath, Value: DWord(1)}, key.Invalid},
		{Property{ID: 1, Attr: IsInherited, Value: DWord(1)}, key.Invalid},
		{Property{ID: 1, Attr: 0x200, Value: DWord(1)}, key.Invalid},
		{Property{ID: 1, Attr: Volatile | Secure, Value: DWord(1)}, key.Invalid},
		{Property{ID: KeyType, Value: DWord(1)}, key.Invalid},
		{Property{ID: 1, Value: String("a\x00b")}, key.Invalid},
		{Property{ID: 1, Value: String("\xff")}, key.Invalid},
		{Property{ID: 1, Value: MultiSZ("fine", "a\x00b")}, key.Invalid},
		{Property{ID: 1, Value: String(strings.Repeat("x", MaxValue+1))}, key.Invalid},
	}
	for _, tt := range tests {
		if err := tt.p.Check(); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%v: %v, want %v", tt.p, err, tt.want)
		}
	}
}

func TestInserted(t *testing.T) {
	tests := []struct {
		p    Property
		want Value
		ok   bool
	}{
		{Property{Attr: InsertPath, Value: String("at <%INSERT_PATH%>!")}, String("at /x!"), true},
		{Property{Attr: InsertPath, Value: MultiSZ("<%INSERT_PATH%>", "b")}, MultiSZ("/x", "b"), true},
		{Property{Attr: InsertPath, Value: ExpandSZ("<%INSERT_PATH%><%INSERT_PATH%>")}, ExpandSZ("/x/x"), true},
		{Property{Value: String("<%INSERT_PATH%>")}, String("<%INSERT_PATH%>"), false},
		{Property{Attr: InsertPath, Value: String("none")}, String("none"), false},
	}
	for _, tt := range tests {
		if got, ok := tt.p.Inserted("/x"); !got.Equal(tt.want) || ok != tt.ok {
			t.Errorf("%v: %q, %v", tt.p, got, ok)
		}
	}
}

func TestAttrString(t *testing.T) {
	for a, want := range map[Attr]string{
		0: "NO_ATTRIBUTES", Inherit | Secure: "INHERIT | SECURE", Locked | 0x400: "LOCKED | 0x400",
	} {
		if got := a.String(); got != want {
			t.Errorf("%#x: %q, want %q", uint32(a), got, want)
		}
	}
}
