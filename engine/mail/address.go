// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"restante/internal/idn"
)

// A Domain is a host or mail domain in canonical form: lower case, without a
// trailing dot, made of letters, digits and hyphens (underscore is tolerated),
// internationalized labels as A-labels (RFC 5890), or an address literal such as
// [192.0.2.1] or [IPv6:2001:db8::1]. Build one with [ParseDomain]. Two names are the
// same domain if their Domains are equal.
type Domain string

// An Address is a mailbox. Its local part may be UTF-8 (RFC 6531), as it came: it is
// not normalized. It is kept without quotes; String puts them back where RFC 5321 §4.1.2 needs them. A quoted local part whose dots
// would make it no Dot-string keeps its quotes. The zero Address is the null
// reverse-path, written <>.
type Address struct {
	Local  string
	Domain Domain
}

// maxDomain is the longest name that DNS has (RFC 1035 §2.3.4).
const maxDomain = 255

// ParseDomain gives the canonical form of s.
func ParseDomain(s string) (Domain, error) {
	bad := func(why string) (Domain, error) { return "", fmt.Errorf("domain %q: %s", s, why) }
	if strings.HasPrefix(s, "[") {
		return parseLiteral(s)
	}
	name := s
	if !idn.IsASCII(name) {
		var err error
		if name, err = idn.ToASCII(s); err != nil {
			return bad(err.Error())
		}
	}
	if name = strings.TrimSuffix(name, "."); name == "" {
		return bad("is empty")
	}
	if len(name) > maxDomain {
		return bad("is longer than 255 octets")
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return bad("each label has 1 to 63 octets")
		}
		if label[0] == '-' || label[len(label)-1] == '-' {
			return bad("a label neither begins nor ends with a hyphen")
		}
		for _, c := range []byte(label) {
			letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
			if !letter && (c < '0' || c > '9') && c != '-' && c != '_' {
				return bad("only letters, digits and hyphens")
			}
		}
	}
	return Domain(strings.ToLower(name)), nil
}

func parseLiteral(s string) (Domain, error) {
	inner, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return "", fmt.Errorf("domain %q: the literal has no closing bracket", s)
	}
	if rest, ok := cutPrefixFold(inner, "IPv6:"); ok {
		ip, err := netip.ParseAddr(rest)
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", fmt.Errorf("domain %q: not an IPv6 address literal", s)
		}
		return Domain("[IPv6:" + ip.String() + "]"), nil
	}
	ip, err := netip.ParseAddr(inner)
	if err != nil || !ip.Is4() {
		return "", fmt.Errorf("domain %q: not an address literal", s)
	}
	return Domain("[" + ip.String() + "]"), nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// Literal gives the address of an address literal; ok is false for a name.
func (d Domain) Literal() (ip netip.Addr, ok bool) {
	inner, ok := strings.CutPrefix(string(d), "[")
	if !ok {
		return netip.Addr{}, false
	}
	inner = strings.TrimPrefix(strings.TrimSuffix(inner, "]"), "IPv6:")
	ip, err := netip.ParseAddr(inner)
	return ip, err == nil
}

// Unicode is the domain with U-labels, for people.
func (d Domain) Unicode() string { return idn.ToUnicode(string(d)) }

// Below says that d is parent or a name below it.
func (d Domain) Below(parent Domain) bool {
	return d == parent || strings.HasSuffix(string(d), "."+string(parent))
}

// ParseAddress reads what stands between the angle brackets of a path: a
// mailbox, or "" for the null address. A source route (RFC 5321 §F.2) is
// accepted and dropped. The local part may be a dot-atom or a quoted string;
// an address that could not be written back safely is refused.
func ParseAddress(s string) (Address, error) {
	if s == "" {
		return Address{}, nil
	}
	bad := func(err error) (Address, error) { return Address{}, fmt.Errorf("address %q: %w", s, err) }
	rest := s
	if strings.HasPrefix(rest, "@") {
		_, after, ok := strings.Cut(rest, ":")
		if !ok {
			return bad(errors.New("a source route has no mailbox"))
		}
		rest = after
	}
	// The last @ parts them: a quoted local part may hold others.
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return bad(errors.New("has no domain"))
	}
	local, err := parseLocal(rest[:at])
	if err != nil {
		return bad(err)
	}
	domain, err := ParseDomain(rest[at+1:])
	if err != nil {
		return bad(err)
	}
	return Address{Local: local, Domain: domain}, nil
}

// ParseMailbox is ParseAddress for a mailbox that may have no domain. The site that
// it comes to gives it one, by [Address.In].
func ParseMailbox(s string) (Address, error) {
	a, err := ParseAddress(s)
	if err == nil || strings.HasPrefix(s, "@") {
		return a, err
	}
	if local, bad := parseLocal(s); bad == nil {
		return Address{Local: local}, nil
	}
	return a, err
}

// ParseListed is ParseMailbox for an entry of a list, whose local part is a dot-atom
// or quoted: one with a comma would be two addresses in one. The error does not
// repeat the text.
func ParseListed(s string) (Address, error) {
	local, bare := s, s == "" || s[0] != '"'
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		local = s[:at]
	}
	switch {
	case s == "*":
		return Address{}, errors.New("* is not everybody: an empty list, without a file, takes every mailbox")
	case !utf8.ValidString(s):
		return Address{}, errors.New("is not UTF-8")
	case bare && strings.ContainsAny(local, ",; \t@"):
		return Address{}, errors.New("is more than one address: one address per word, or line of a file")
	case bare && !isDotAtom(local):
		return Address{}, errors.New("has a local part that must be quoted")
	}
	a, err := ParseMailbox(s)
	if err != nil {
		return Address{}, errors.New("is neither an address nor a local part")
	}
	return a, nil
}

// ParseAddressIn is ParseMailbox for one that comes to a site whose default domain
// is d, "" for none. "" stays the null address.
func ParseAddressIn(s string, d Domain) (Address, error) {
	a, err := ParseMailbox(s)
	if err == nil && a.NoDomain() && d == "" {
		return ParseAddress(s) // says what is missing
	}
	return a.In(d), err
}

// ASCII reports whether every host can take a: its local part has no character beyond
// ASCII.
func (a Address) ASCII() bool { return idn.IsASCII(a.Local) }

// FoldLocal gives a local part in the form in which lists compare it: without case, and
// composed (NFC).
func FoldLocal(local string) string { return idn.Fold(local) }

// IsASCII reports whether s has no octet beyond ASCII.
func IsASCII(s string) bool { return idn.IsASCII(s) }

// EmbedUnicode writes characters beyond ASCII as RFC 6533 §3 embeds them in an address
// of type utf-8.
func EmbedUnicode(s string) string { return idn.Embed(s) }

// NoDomain reports whether a has a local part alone.
func (a Address) NoDomain() bool { return a.Domain == "" && a.Local != "" }

// In is a in the domain d, if it has none of its own.
func (a Address) In(d Domain) Address {
	if a.NoDomain() {
		a.Domain = d
	}
	return a
}

// parseLocal reads a local part in either form. Which of them is a mailbox, its
// own host judges: RFC 5321 §2.3.11. A dot at the end, or two in a row, are
// common in the field, and so are lengths over 64 octets.
func parseLocal(s string) (string, error) {
	if s == "" {
		return "", errors.New("has no local part")
	}
	if strings.ContainsFunc(s, outsideText) {
		return "", errors.New("the local part has what is no text in UTF-8")
	}
	if s[0] != '"' {
		for _, c := range []byte(s) {
			if c <= ' ' || c == 0x7f || strings.IndexByte(`"<>@\`, c) >= 0 {
				return "", errors.New("the local part must be quoted")
			}
		}
		return s, nil
	}
	if len(s) < 2 || s[len(s)-1] != '"' {
		return "", errors.New("the quoted local part has no end")
	}
	out, err := unquote(s[1 : len(s)-1])
	if err == nil && isAtoms(out) && !isDotAtom(out) {
		return `"` + out + `"`, nil // without its quotes it would be another form
	}
	return out, err
}

// outsideText reports whether r has no place in a local part: it stands for octets that
// are not UTF-8, is a control character beyond ASCII, or would end a line.
func outsideText(r rune) bool {
	return r == utf8.RuneError || r >= utf8.RuneSelf && unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Noncharacter_Code_Point)
}

func unquote(inner string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(inner); i++ {
		c := inner[i]
		if c == '"' {
			return "", errors.New("a bare quote in the local part")
		}
		if c == '\\' {
			if i++; i == len(inner) {
				return "", errors.New("the local part ends in a backslash")
			}
			c = inner[i]
		}
		if c < ' ' || c == 0x7f {
			return "", errors.New("a control octet in the local part")
		}
		out.WriteByte(c)
	}
	return out.String(), nil
}

// isAtoms says that s is made of atoms and dots alone, wherever the dots stand. Atoms
// may be UTF-8 (RFC 6531 §3.3).
func isAtoms(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c == 0x7f || strings.IndexByte(`"(),:;<>@[\]`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isDotAtom is RFC 5321 §4.1.2 Dot-string.
func isDotAtom(s string) bool {
	return isAtoms(s) && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..")
}

// keepsQuotes says that a local part has the quotes that it came with.
func keepsQuotes(s string) bool {
	inner, ok := strings.CutPrefix(s, `"`)
	inner, end := strings.CutSuffix(inner, `"`)
	return ok && end && isAtoms(inner) && !isDotAtom(inner)
}

// IsNull says that a is the null address <>.
func (a Address) IsNull() bool { return a == Address{} }

// String is the mailbox as it is written between angle brackets, quoted where
// that is needed; "" for the null address.
func (a Address) String() string {
	if a.NoDomain() {
		return a.localText()
	}
	if a.IsNull() {
		return ""
	}
	return a.localText() + "@" + string(a.Domain)
}

func (a Address) localText() string {
	if isAtoms(a.Local) || keepsQuotes(a.Local) {
		return a.Local
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(a.Local) {
		if c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
	return b.String()
}

// MarshalJSON writes the mailbox as String does.
func (a Address) MarshalJSON() ([]byte, error) { return json.Marshal(a.String()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (a *Address) UnmarshalJSON(b []byte) error {
	var s string
	err := json.Unmarshal(b, &s)
	if err != nil {
		return err
	}
	*a, err = ParseAddress(s)
	return err
}

// AddressLiteral is an address as RFC 5321 §4.1.3 writes it; "unknown" for none.
func AddressLiteral(ip netip.Addr) string {
	if !ip.IsValid() {
		return "unknown"
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		return "[IPv6:" + ip.String() + "]"
	}
	return "[" + ip.String() + "]"
}
