// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"restante/metabase"
)

// ParseType reads the name of a data type, in any case, or its number.
func ParseType(s string) (metabase.Type, error) {
	for t := metabase.DWordType; t <= metabase.MultiSZType; t++ {
		if strings.EqualFold(s, t.String()) || s == strconv.Itoa(int(t)) {
			return t, nil
		}
	}
	return 0, invalid("%q is no data type; allowed are DWORD, STRING, BINARY, EXPANDSZ and MULTISZ", clip(s))
}

// ParseAttr reads the text of [metabase.Attr]: names separated by bars, commas or
// blanks, in any case, or a number.
func ParseAttr(s string) (a metabase.Attr, err error) {
	words := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("|, \t", r) })
	if len(words) == 0 {
		return 0, invalid("needs attributes; NO_ATTRIBUTES is none of them")
	}
	for _, w := range words {
		bit, err := parseAttrWord(w)
		if err != nil {
			return 0, err
		}
		a |= bit
	}
	return a, nil
}

// attrNames are the bits that have a name.
const attrNames = metabase.Inherit | metabase.Secure | metabase.Reference | metabase.Volatile | metabase.IsInherited |
	metabase.InsertPath | metabase.LocalMachineOnly | metabase.Locked

func parseAttrWord(word string) (metabase.Attr, error) {
	if strings.EqualFold(word, metabase.Attr(0).String()) {
		return 0, nil
	}
	if n, err := ParseNumber(word); err == nil {
		return metabase.Attr(n), nil
	}
	var names []string
	for rest := uint32(attrNames); rest != 0; rest &= rest - 1 {
		bit := metabase.Attr(1) << bits.TrailingZeros32(rest)
		if strings.EqualFold(word, bit.String()) {
			return bit, nil
		}
		names = append(names, bit.String())
	}
	return 0, invalid("there is no attribute %q%s", clip(word), suggest(word, names))
}

// userTypes are the names of IIS.
var userTypes = map[metabase.UserType]string{
	metabase.UTServer: "IIS_MD_UT_SERVER", metabase.UTFile: "IIS_MD_UT_FILE",
	metabase.UTWAM: "IIS_MD_UT_WAM", metabase.UTApp: "ASP_MD_UT_APP",
}

// UserTypeName is IIS's name for a user type, "" where it has none.
func UserTypeName(u metabase.UserType) string { return userTypes[u] }

// UserTypeText is the number, and IIS's name for it where it has one.
func UserTypeText(u metabase.UserType) string {
	if name := userTypes[u]; name != "" {
		return fmt.Sprintf("%d (%s)", u, name)
	}
	return strconv.FormatUint(uint64(u), 10)
}

// ParseUserType reads a number, or IIS's name for it.
func ParseUserType(s string) (metabase.UserType, error) {
	for u, name := range userTypes {
		if strings.EqualFold(s, name) {
			return u, nil
		}
	}
	n, err := ParseNumber(s)
	if err != nil {
		return 0, invalid("%q is no user type; allowed are a number, IIS_MD_UT_SERVER, IIS_MD_UT_FILE, IIS_MD_UT_WAM and ASP_MD_UT_APP", clip(s))
	}
	return metabase.UserType(n), nil
}
