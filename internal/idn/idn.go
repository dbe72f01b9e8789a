// SPDX-License-Identifier: Apache-2.0

// Package idn converts internationalized domains between U-labels and A-labels (RFC
// 5890), and the names of mailboxes to the form in which they are compared.
package idn

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// profile maps as UTS #46 does for look-ups, without its transitional rules: case and
// width do not count, and ß is no ss.
var profile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false))

// maxName bounds the work for a name: no longer one has an A-label form of 255 octets.
const maxName = 1020

// ToASCII gives a domain with A-labels in place of its U-labels. It is the one place
// that decides which names are the same. The caller checks lengths. The error does not
// repeat the name.
func ToASCII(domain string) (string, error) {
	if len(domain) > maxName {
		return "", errors.New("is longer than 255 octets")
	}
	ascii, err := profile.ToASCII(domain)
	if err != nil || strings.ContainsRune(domain, utf8.RuneError) { // idna takes octets that are not UTF-8 for that
		return "", errors.New("is no internationalized domain name (RFC 5890)")
	}
	return ascii, nil
}

// ToUnicode gives a domain with U-labels in place of its A-labels. A name with a label
// that is no A-label stays as it is.
func ToUnicode(domain string) string {
	if !strings.Contains(domain, "xn--") {
		return domain
	}
	if unicode, err := profile.ToUnicode(domain); err == nil {
		return unicode
	}
	return domain
}

// Embed writes characters beyond ASCII as RFC 6533 §3 embeds them in an address of type
// utf-8: \x{E9}. Octets that are not UTF-8 stay.
func Embed(address string) string {
	if IsASCII(address) || !utf8.ValidString(address) {
		return address
	}
	var b strings.Builder
	for _, r := range address {
		if r < utf8.RuneSelf {
			b.WriteByte(byte(r))
		} else {
			fmt.Fprintf(&b, `\x{%02X}`, r)
		}
	}
	return b.String()
}

// IsASCII reports whether s has no octet beyond ASCII.
func IsASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Fold gives the name of a mailbox in the form in which names are compared: without
// case, and composed (NFC, RFC 6532 §3.1).
func Fold(local string) string {
	if IsASCII(local) {
		return strings.ToLower(local)
	}
	return norm.NFC.String(strings.ToLower(norm.NFC.String(local)))
}
