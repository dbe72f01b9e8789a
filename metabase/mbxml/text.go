// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"restante/metabase"
	"restante/metabase/schema"
)

// text writes a value as IIS does. plain is false if the text would not read back
// the same: the value is then base64, for a Custom element.
func text(p schema.Prop, v metabase.Value) (s string, plain bool) {
	switch v.Type() {
	case metabase.DWordType:
		return dword(p, v.DWord()), true
	case metabase.BinaryType:
		return hex.EncodeToString(v.Bytes()), true
	case metabase.MultiSZType:
		list := v.Strings()
		for _, one := range list {
			if one == "" || strings.TrimSpace(one) != one || !printable(one) {
				return base64.StdEncoding.EncodeToString([]byte(strings.Join(list, "\x00"))), false
			}
		}
		return strings.Join(list, "\n\t\t\t"), true
	}
	if s := v.Str(); printable(s) {
		return s, true
	}
	return base64.StdEncoding.EncodeToString([]byte(v.Str())), false
}

// printable reports whether s reads back the same from an XML attribute.
func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || r == 0xfffe || r == 0xffff {
			return false
		}
	}
	return true
}

// dword is TRUE or FALSE, names joined by a bar, or the number. Bits without a
// name follow the names as one number.
func dword(p schema.Prop, n uint32) string {
	switch {
	case p.Syntax == schema.Boolean && n == 0:
		return "FALSE"
	case p.Syntax == schema.Boolean && n == 1:
		return "TRUE"
	case p.Syntax != schema.Flags || n == 0:
		return strconv.FormatUint(uint64(n), 10)
	}
	var names []string
	for _, f := range p.Flags {
		if f.Mask != 0 && n&f.Mask == f.Mask {
			names = append(names, cmp.Or(f.IIS, f.Name))
			n &^= f.Mask
		}
	}
	if n != 0 {
		names = append(names, strconv.FormatUint(uint64(n), 10))
	}
	return strings.Join(names, " | ")
}

// parse reads a value of type t as text or IIS writes it.
func parse(p schema.Prop, t metabase.Type, s string) (metabase.Value, error) {
	switch t {
	case metabase.DWordType:
		n, err := parseDWord(p, s)
		return metabase.DWord(n), err
	case metabase.StringType:
		return metabase.String(s), nil
	case metabase.ExpandSZType:
		return metabase.ExpandSZ(s), nil
	case metabase.BinaryType:
		b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
		if err != nil {
			return metabase.Value{}, errors.New("is not hexadecimal")
		}
		return metabase.Binary(b), nil
	case metabase.MultiSZType:
		var list []string
		for line := range strings.SplitSeq(s, "\n") {
			if line = strings.TrimSpace(line); line != "" {
				list = append(list, line)
			}
		}
		return metabase.MultiSZ(list...), nil
	}
	return metabase.Value{}, fmt.Errorf("has no data type (%v)", t)
}

func parseDWord(p schema.Prop, s string) (uint32, error) {
	s = strings.TrimSpace(s)
	switch {
	case strings.EqualFold(s, "TRUE"):
		return 1, nil
	case strings.EqualFold(s, "FALSE"), s == "":
		return 0, nil
	}
	var sum uint32
	for word := range strings.SplitSeq(s, "|") {
		n, err := parseFlag(p, strings.TrimSpace(word))
		if err != nil {
			return 0, err
		}
		sum |= n
	}
	return sum, nil
}

func parseFlag(p schema.Prop, word string) (uint32, error) {
	for _, f := range p.Flags {
		if p.Syntax == schema.Flags && strings.EqualFold(cmp.Or(f.IIS, f.Name), word) {
			return f.Mask, nil
		}
	}
	if n, err := schema.ParseNumber(word); err == nil {
		return n, nil
	}
	// Old files have negative numbers.
	if n, err := strconv.ParseInt(word, 10, 32); err == nil {
		return uint32(n), nil
	}
	if p.Syntax != schema.Flags {
		return 0, fmt.Errorf("%q is not a number", word)
	}
	return 0, fmt.Errorf("%q is neither a number nor one of its flags", word)
}

// fromBase64 reads a value that text wrote in base64.
func fromBase64(t metabase.Type, s string) (metabase.Value, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil {
		return metabase.Value{}, errors.New("is not base64")
	}
	switch t {
	case metabase.StringType:
		return metabase.String(string(raw)), nil
	case metabase.ExpandSZType:
		return metabase.ExpandSZ(string(raw)), nil
	case metabase.MultiSZType:
		return metabase.MultiSZ(strings.Split(string(raw), "\x00")...), nil
	}
	return metabase.Value{}, fmt.Errorf("a %v is not written in base64", t)
}

// parseAttributes reads the attributes of a Custom element, which may have none.
func parseAttributes(s string) (metabase.Attr, error) {
	if strings.Trim(s, "| \t") == "" {
		return 0, nil
	}
	return schema.ParseAttr(s)
}

func userType(u metabase.UserType) string {
	return cmp.Or(schema.UserTypeName(u), strconv.FormatUint(uint64(u), 10))
}

func parseUserType(s string) (metabase.UserType, error) {
	if strings.EqualFold(s, noUserType) {
		return 0, nil
	}
	return schema.ParseUserType(s)
}

// parseType reads a data type, or a syntax of IIS's schema, as in some of its
// files.
func parseType(s string) (metabase.Type, error) {
	switch strings.ToUpper(s) {
	case "BOOL":
		return metabase.DWordType, nil
	case "IPSECLIST", "NTACL":
		return metabase.BinaryType, nil
	case "MIMEMAP":
		return metabase.MultiSZType, nil
	}
	return schema.ParseType(s)
}
