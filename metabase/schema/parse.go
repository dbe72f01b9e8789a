// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"restante/metabase"
)

// Parse reads a value as people, scripts and files write it, and returns it in
// canonical form. Each syntax accepts the text of [Prop.Format], and:
//
//   - numbers: decimal, 0x hex, -1 for the greatest
//   - sizes: the same, and decimal beyond a DWORD
//   - booleans: true, false, 1, 0, in any case
//   - enumerations: the name or the number
//   - flags: names as on the command line or as in IIS, and numbers, parted by
//     commas, bars or blanks
//   - lists: one argument per string
//   - bindings: ip:port:host, ADDR:PORT, [IPV6]:PORT or :PORT
//   - IP lists: addresses, ADDR/BITS and "ADDR, MASK"; or the hexadecimal form
//   - BINARY: hexadecimal digits
//
// No arguments are an empty list; a single value needs one. Secure values, which
// Format hides, are read like others. Errors are of kind [metabase.Invalid] and
// say what is allowed; the errors of several strings of a list are [Several]. A
// class is returned as the schema spells it. A property that the table does not
// know takes a STRING or, with more arguments than one, a MULTISZ; see
// [Prop.As].
func (p Prop) Parse(args []string) (metabase.Value, error) {
	v, err := p.parse(args)
	if err == nil && p.ID == metabase.KeyType {
		v = metabase.String(spelledClass(v.Str()))
	}
	if err == nil {
		err = p.Valid(v)
		if err != nil && p.Type == metabase.DWordType && strings.HasPrefix(strings.TrimSpace(args[0]), "-") {
			err = fmt.Errorf("%q is the DWORD %d: %w", clip(args[0]), v.DWord(), err)
		}
	}
	if err != nil {
		return metabase.Value{}, err
	}
	return v, nil
}

func (p Prop) parse(args []string) (v metabase.Value, err error) {
	switch p.Type {
	case metabase.DWordType:
		if p.Syntax == Size {
			return parseSizeValue(args)
		}
		n, err := p.parseNumber(args)
		return metabase.DWord(n), err
	case metabase.StringType:
		s, err := p.parseString(args)
		return metabase.String(s), err
	case metabase.ExpandSZType:
		s, err := p.parseString(args)
		return metabase.ExpandSZ(s), err
	case metabase.MultiSZType:
		list, err := p.parseList(args)
		return metabase.MultiSZ(list...), err
	case metabase.BinaryType:
		b, err := p.parseBinary(args)
		return metabase.Binary(b), err
	}
	if len(args) == 1 {
		return metabase.String(args[0]), nil
	}
	return metabase.MultiSZ(args...), nil
}

// single returns the single argument.
func single(args []string) (string, error) {
	switch len(args) {
	case 0:
		return "", wrongCount("needs a value")
	case 1:
		return args[0], nil
	}
	return "", wrongCount("takes one value and got %d; put quotes around one that has blanks", len(args))
}

func (p Prop) parseNumber(args []string) (uint32, error) {
	if p.Syntax == Flags {
		return p.parseFlags(args)
	}
	s, err := single(args)
	if err != nil {
		return 0, err
	}
	s = strings.TrimSpace(s)
	if p.Syntax == Boolean || p.Syntax == Flag {
		switch strings.ToLower(s) {
		case "true", "1":
			return 1, nil
		case "false", "0":
			return 0, nil
		}
		return 0, invalid("%q is neither true nor false", clip(s))
	}
	for _, f := range p.Flags {
		if strings.EqualFold(f.Name, s) {
			return f.Mask, nil
		}
	}
	if n, err := ParseNumber(s); err == nil {
		return n, nil
	}
	if p.Syntax == Enum {
		return 0, invalid("%q is none of %s%s", clip(s), p.named(), Suggest(s, p.names()))
	}
	return 0, p.noNumber(s)
}

// noNumber is the error of a word that is no DWORD.
func (p Prop) noNumber(word string) error {
	by := ""
	if p.Name != "" { // of another one the caller tells what is stored
		by = "; by the schema it is a DWORD"
	}
	return invalid("%q is no number from 0 to 4294967295, decimal or 0x hex%s", clip(word), by)
}

// ParseNumber reads a DWORD, decimal or 0x hex; a leading zero is not octal, and -1
// is the greatest, as in old files of IIS.
func ParseNumber(s string) (uint32, error) {
	if s == "-1" {
		return maxDWord, nil
	}
	digits, base := s, 10
	if len(s) > 2 && (s[:2] == "0x" || s[:2] == "0X") {
		digits, base = s[2:], 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	return uint32(n), err
}

// ParseSize reads a number of octets: decimal, as a DWORD or as a STRING has it.
func ParseSize(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, invalid("%q is no number of octets from 0 to 9223372036854775807", clip(s))
	}
	return int64(n), nil
}

// SizeOf is the number of octets of a value of syntax Size.
func SizeOf(v metabase.Value) (int64, error) {
	if v.Type() == metabase.StringType {
		return ParseSize(v.Str())
	}
	return int64(v.DWord()), nil
}

// parseSizeValue gives a DWORD where the number is one, else a STRING.
func parseSizeValue(args []string) (metabase.Value, error) {
	s, err := single(args)
	if err != nil {
		return metabase.Value{}, err
	}
	s = strings.TrimSpace(s)
	if n, err := ParseNumber(s); err == nil && !strings.HasPrefix(s, "-") {
		return metabase.DWord(n), nil
	}
	n, err := ParseSize(s)
	return metabase.String(strconv.FormatInt(n, 10)), err
}

// parseFlags also takes Format's own form: "514 (etrn_cmd, smarthost)".
func (p Prop) parseFlags(args []string) (n uint32, err error) {
	if len(args) == 0 {
		return 0, wrongCount("needs a value")
	}
	words := strings.FieldsFunc(strings.Join(args, ","), func(r rune) bool {
		return strings.ContainsRune(",|() \t\r\n", r)
	})
	if len(words) == 0 {
		return 0, invalid("needs a number or names of flags; 0 is none of them")
	}
	var bad []error
next:
	for _, w := range words {
		for _, f := range p.Flags {
			if strings.EqualFold(w, f.Name) || f.IIS != "" && strings.EqualFold(w, f.IIS) {
				n |= f.Mask
				continue next
			}
		}
		bits, err := ParseNumber(w)
		switch {
		case err != nil && strings.ContainsRune("-0123456789", rune(w[0])): // no flag begins so
			bad = append(bad, p.noNumber(w))
		case err != nil:
			bad = append(bad, invalid("there is no flag %q%s; allowed are a number and %s", clip(w), Suggest(w, p.names()), p.named()))
		}
		n |= bits
	}
	if len(bad) > 0 {
		return 0, joined(bad)
	}
	return n, nil
}

func (p Prop) parseString(args []string) (string, error) {
	if p.Syntax == MinuteList && len(args) > 1 {
		args = []string{strings.Join(args, ",")}
	}
	s, err := single(args)
	if err != nil {
		return "", err
	}
	if p.Syntax == DomainName {
		return strings.TrimSuffix(strings.TrimSpace(s), "."), nil
	}
	if p.Syntax == Hosts {
		return strings.Join(splitHosts(s), ","), nil
	}
	if forms[p.Syntax].words {
		return strings.Join(splitWords(s), ","), nil
	}
	return s, nil
}

// splitWords parts at commas, semicolons and blanks.
func splitWords(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' || unicode.IsSpace(r) })
}

// parseList reads the strings of a list and leaves out what comes twice. All
// that is wrong is in the error.
func (p Prop) parseList(args []string) (list []string, err error) {
	form := forms[p.Syntax]
	if form.words {
		args = splitWords(strings.Join(args, ","))
	}
	switch {
	case p.Syntax == Accounts:
		return args, checkSeparate(args)
	case form.canon == nil:
		return args, nil
	}
	var bad []error
	for _, s := range args {
		s, err := form.canon(strings.TrimSpace(s))
		if err != nil {
			bad = append(bad, err)
		} else if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	if len(bad) > 0 {
		return nil, joined(bad)
	}
	return list, nil
}

// SplitAccounts parts a string of several accounts, as IIS accepts it, at commas,
// semicolons and blanks. A Windows domain before a backslash is left out: accounts
// here have none.
func SplitAccounts(s string) (names []string) {
	for _, name := range splitWords(s) {
		if _, name, _ = CutLogonDomain(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// CutLogonDomain parts DOMAIN\user, the name of an account in a domain of Windows.
func CutLogonDomain(name string) (domain, user string, found bool) {
	i := strings.LastIndexByte(name, '\\')
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}

// CutLogonDomains gives the names without a Windows domain before a backslash. What
// has several names in it stays, to be refused.
func CutLogonDomains(names []string) []string {
	out := slices.Clone(names)
	for i, name := range out {
		if _, user, _ := CutLogonDomain(name); user != "" && !strings.ContainsAny(name, ",;") {
			out[i] = user
		}
	}
	return out
}

// checkSeparate refuses several accounts in one argument, and one with a domain of
// Windows.
func checkSeparate(args []string) error {
	var bad []error
	for _, arg := range args {
		if _, name, found := CutLogonDomain(arg); found && !strings.ContainsAny(arg, ",;") {
			bad = append(bad, invalid("%q: accounts here have no domain of Windows; say %s", clip(arg), name))
			continue
		}
		if !strings.ContainsAny(arg, ",;") {
			continue
		}
		names := strings.FieldsFunc(arg, func(r rune) bool { return r == ',' || r == ';' })
		for i := range names {
			if names[i] = strings.TrimSpace(names[i]); strings.ContainsAny(names[i], " '") {
				names[i] = strconv.Quote(names[i])
			}
		}
		bad = append(bad, invalid("%q would be one account; give each as an argument of its own: %s", clip(arg), strings.Join(names, " ")))
	}
	return joined(bad)
}

func (p Prop) parseBinary(args []string) ([]byte, error) {
	if p.Syntax == IPList {
		return parseIPList(args)
	}
	digits := strings.TrimPrefix(strings.Join(args, ""), "0x")
	b, err := hex.DecodeString(digits)
	if err != nil {
		return nil, invalid("%q is not written in pairs of hexadecimal digits", clip(digits))
	}
	return b, nil
}

// Valid checks that v is a value of the property, by type, form and range, in
// canonical form.
func (p Prop) Valid(v metabase.Value) error {
	expanded := v.Type() == metabase.ExpandSZType && p.Type == metabase.StringType
	large := v.Type() == metabase.StringType && p.Syntax == Size && v.Str() != ""
	if p.Type != metabase.AnyType && v.Type() != p.Type && !expanded && !large {
		return invalid("is a %s and takes no %s", p.Type, v.Type())
	}
	if p.HasDefault() && v.Equal(p.Default) {
		return nil
	}
	switch v.Type() {
	case metabase.DWordType:
		return p.validNumber(v.DWord())
	case metabase.StringType, metabase.ExpandSZType:
		return p.validString(v.Str())
	case metabase.MultiSZType:
		return p.validList(v.Strings())
	case metabase.BinaryType:
		if p.Syntax == IPList {
			return validIPList(v.Bytes())
		}
	}
	return nil
}

func (p Prop) validNumber(n uint32) error {
	switch p.Syntax {
	case Flags, "":
		return nil
	case Boolean, Flag:
		if n > 1 {
			return invalid("%d is neither true (1) nor false (0)", n)
		}
		return nil
	case Enum:
		for _, f := range p.Flags {
			if f.Mask == n {
				return nil
			}
		}
		return invalid("%d is none of %s", n, p.named())
	}
	if (int64(n) < p.Min || int64(n) > p.Max) && !(p.OrZero && n == 0) {
		return invalid("%d is out of range; allowed is %d to %d%s%s", n, p.Min, p.Max, p.inUnit(), p.orZero())
	}
	return nil
}

func (p Prop) orZero() string {
	if p.OrZero {
		return ", or 0"
	}
	return ""
}

func (p Prop) inUnit() string {
	if p.Unit == "" || p.Unit == "count" || p.Unit == "port" {
		return ""
	}
	return " " + p.Unit
}

func (p Prop) validString(s string) error {
	if err := printable(s); err != nil || s == "" {
		return err
	}
	if check := forms[p.Syntax].check; check != nil {
		return check(s)
	}
	return nil
}

func (p Prop) validList(list []string) error {
	if p.Syntax == "" {
		return nil // unknown to the table
	}
	seen := map[string]bool{}
	var bad []error
	for i, s := range list {
		key := strings.ToLower(s)
		err := printable(s)
		switch {
		case s == "":
			err = invalid("string %d of the list is empty", i+1)
		case err == nil && p.Syntax != List && seen[key]:
			err = invalid("%q stands in the list twice", clip(s))
		case err == nil:
			err = p.validElement(s)
		}
		seen[key] = true
		if err != nil {
			bad = append(bad, err)
		}
	}
	return joined(bad)
}

func (p Prop) validElement(s string) error {
	canon := forms[p.Syntax].canon
	if canon == nil {
		return nil
	}
	again, err := canon(s)
	if err == nil && again != s {
		return invalid("%q is not in canonical form, which is %q", clip(s), again)
	}
	return err
}

// printable refuses characters that would break a line of a protocol or a file.
func printable(s string) error {
	if !utf8.ValidString(s) {
		return invalid("is not valid UTF-8")
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }); i >= 0 {
		return invalid("has a control character at octet %d", i+1)
	}
	return nil
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
