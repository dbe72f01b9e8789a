// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"errors"
	"fmt"
	"strconv"

	"restante/metabase"
	"restante/metabase/schema"
)

// secret stands for a value that is not shown.
const secret = "**********"

// native gives an item's value as scripts work with it, see Object.Get.
func native(p schema.Prop, item metabase.Property) any {
	v := item.Value
	switch {
	case (p.Attr|item.Attr)&metabase.Secure != 0:
		return secret
	case p.Syntax == schema.Flag:
		return p.Bit(v).DWord() != 0
	case p.Syntax == schema.Boolean:
		return v.DWord() != 0
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

// typed gives a property that no table knows the type of what is stored or, for
// the first one, of the script's value.
func typed(p schema.Prop, stored metabase.Type, value any) schema.Prop {
	if p.Type != metabase.AnyType {
		return p
	}
	p.Type = stored
	if stored == metabase.AnyType {
		switch value.(type) {
		case float64, bool:
			p.Type = metabase.DWordType
		case []string:
			p.Type = metabase.MultiSZType
		default:
			p.Type = metabase.StringType
		}
	}
	switch p.Type {
	case metabase.DWordType:
		p.Syntax = schema.Integer
	case metabase.MultiSZType:
		p.Syntax = schema.List
	case metabase.BinaryType:
		p.Syntax = schema.Binary
	default:
		p.Syntax = schema.String
	}
	return p
}

// parse makes p's value of a script's.
func parse(p schema.Prop, value any) (metabase.Value, error) {
	words, err := texts(p, value)
	if err != nil {
		return metabase.Value{}, err
	}
	if p.Type == metabase.ExpandSZType { // only an item that is stored says so
		p.Type = metabase.StringType
		v, err := p.Parse(words)
		return metabase.ExpandSZ(v.Str()), err
	}
	return p.Parse(words)
}

// texts gives a script's value as the words that p reads.
func texts(p schema.Prop, value any) ([]string, error) {
	switch v := value.(type) {
	case string:
		return []string{v}, nil
	case []string:
		return v, nil
	case float64:
		return []string{strconv.FormatFloat(v, 'f', -1, 64)}, nil
	case bool:
		if p.Syntax == schema.Integer && p.Name == "" {
			return []string{map[bool]string{true: "1", false: "0"}[v]}, nil
		}
		return []string{strconv.FormatBool(v)}, nil
	case IPList:
		if p.Syntax != schema.IPList {
			return nil, errors.New("takes no list of addresses that are granted and denied")
		}
		return v.words(p)
	}
	return nil, fmt.Errorf("takes no %T", value)
}
