// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"restante/metabase"
	"restante/metabase/schema"
)

// native gives a value as scripts work with it, see Object.Get.
func native(p schema.Prop, v metabase.Value) any {
	switch {
	case p.Attr&metabase.Secure != 0:
		return p.Format(v)[0]
	case p.Syntax == schema.Flag:
		return p.Bit(v).DWord() != 0
	case p.Syntax == schema.Boolean:
		return v.DWord() != 0
	case p.Syntax == schema.IPList:
		return p.Format(v)
	}
	switch v.Type() {
	case metabase.DWordType:
		return v.DWord()
	case metabase.BinaryType:
		return v.Bytes()
	case metabase.MultiSZType:
		return v.Strings()
	}
	return v.Str()
}

// parse reads words for p. A flag is a bit of what base holds.
func parse(p schema.Prop, base metabase.Value, words []string) (metabase.Value, error) {
	v, err := p.Parse(words)
	if err != nil || p.Syntax != schema.Flag {
		return v, err
	}
	return p.WithBit(base, v.DWord() != 0), nil
}
