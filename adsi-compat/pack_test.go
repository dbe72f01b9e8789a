// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"reflect"
	"testing"

	"restante/metabase"
)

// Packed keys read back as they were, but for secrets; a part of them is an error.
func TestPackedKeys(t *testing.T) {
	keys := []Key{
		{Path: "/"},
		{Path: "/LM/ä", Class: "C", Exists: true, Rev: 7, Stored: []metabase.Property{
			{ID: 1, Attr: metabase.Inherit, UserType: 2, Value: metabase.DWord(1<<32 - 1)},
			{ID: 2, Value: metabase.MultiSZ("a", "", "b")},
			{ID: 3, Attr: metabase.Secure, Value: metabase.String("secret")},
		}, Inherited: []metabase.Property{{ID: 4, Attr: metabase.IsInherited, Value: metabase.Binary([]byte{0, 255})}}},
	}
	var b []byte
	for _, k := range keys {
		b = AppendKey(b, k)
	}
	want := keys
	want[0].Rev = 7
	want[1].Stored[2] = want[1].Stored[2].Redacted()
	got, err := UnpackKeys(b, 7)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	whole := map[int]bool{0: true, len(AppendKey(nil, keys[0])): true}
	for i := range b {
		if _, err := UnpackKeys(b[:i], 7); (err == nil) != whole[i] {
			t.Errorf("%d of %d octets: %v", i, len(b), err)
		}
	}
}
