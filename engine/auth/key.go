// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"

	"restante/engine/mail"
)

// A Key signs mail by DKIM. Its selector names the record in DNS with its public half.
type Key struct {
	Selector string
	Replaces []string // selectors of the keys whose place it takes when its rotation ends; none: no rotation has made it
	signer   crypto.Signer
}

// The types of keys, as DNS has them.
const (
	RSA     = "rsa"     // of 2,048 bits
	Ed25519 = "ed25519" // RFC 8463
)

const rsaBits = 2048

// NewKey makes a key of a type.
func NewKey(selector, kind string) (k Key, err error) {
	k.Selector = selector
	switch kind {
	case RSA:
		k.signer, err = rsa.GenerateKey(rand.Reader, rsaBits)
	case Ed25519:
		_, k.signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("%q is no type of key: there are %s and %s", kind, RSA, Ed25519)
	}
	return k, err
}

// Secret is a key with its private half in words, as [ParseKey] reads it.
func (k Key) Secret() string {
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		panic("auth: a key of no known type") // NewKey and ParseKey make none
	}
	text := k.Selector + " " + base64.StdEncoding.EncodeToString(der)
	if len(k.Replaces) > 0 {
		text += replaces + strings.Join(k.Replaces, " ")
	}
	return text
}

const replaces = " replaces "

// minRSABits: RFC 8301 §3.2 has verifiers refuse shorter ones.
const minRSABits = 1024

// ParseKey reads SELECTOR and, behind a blank, a private key: PKCS #8 or, of RSA, PKCS
// #1, in base64. Behind that may be Replaces. The error says nothing of the key.
func ParseKey(text string) (Key, error) {
	selector, secret, _ := strings.Cut(text, " ")
	if CheckSelector(selector) != nil { // it may be a key
		return Key{}, errors.New("the key does not begin with a selector and a blank")
	}
	secret, old, _ := strings.Cut(secret, replaces)
	der, err := base64.StdEncoding.DecodeString(strings.TrimSpace(secret))
	if err != nil {
		return Key{}, fmt.Errorf("selector %s: the key is not base64", selector)
	}
	any, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if any, err = x509.ParsePKCS1PrivateKey(der); err != nil {
			return Key{}, fmt.Errorf("selector %s: no private key by PKCS #8 or PKCS #1", selector)
		}
	}
	switch key := any.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < minRSABits {
			return Key{}, fmt.Errorf("selector %s: an RSA key of %d bits, and verifiers take none below %d", selector, key.N.BitLen(), minRSABits)
		}
		return Key{selector, strings.Fields(old), key}, nil
	case ed25519.PrivateKey:
		return Key{selector, strings.Fields(old), key}, nil
	}
	return Key{}, fmt.Errorf("selector %s: the key is neither of RSA nor of Ed25519", selector)
}

// CheckSelector reports what is wrong with a selector (RFC 6376 §3.1).
func CheckSelector(s string) error {
	other := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.'
	}
	if _, err := mail.ParseDomain(s); err != nil || len(s) > 200 || strings.HasSuffix(s, ".") || strings.ContainsFunc(s, other) {
		return fmt.Errorf("%q is no selector: it has labels of ASCII letters, digits and hyphens, with dots between them, such as s2026 or s2026.mail", s)
	}
	return nil
}

// Type is RSA or Ed25519.
func (k Key) Type() string {
	if _, ok := k.signer.(*rsa.PrivateKey); ok {
		return RSA
	}
	return Ed25519
}

// Name is that of the record in DNS.
func (k Key) Name(d mail.Domain) string { return k.Selector + "._domainkey." + string(d) }

// Record is the text of the record in DNS.
func (k Key) Record() string {
	public := []byte(nil)
	switch key := k.signer.Public().(type) {
	case *rsa.PublicKey:
		public, _ = x509.MarshalPKIXPublicKey(key) // it never fails
	case ed25519.PublicKey:
		public = key
	}
	return "v=DKIM1; k=" + k.Type() + "; p=" + base64.StdEncoding.EncodeToString(public)
}

// A Publication says whether the record of a key is in DNS.
type Publication string

// What a look-up finds.
const (
	Published Publication = "published"
	Missing   Publication = "missing"
	Different Publication = "different" // there is another record, or more than one
	Unknown   Publication = "unknown"   // DNS gave no answer
)

// Look looks the record of a key up. The text is what else was found, or why nothing is
// known.
func (k Key) Look(ctx context.Context, dns DNS, d mail.Domain) (Publication, string) {
	found, err := dns.LookupTXT(ctx, k.Name(d))
	no := (*net.DNSError)(nil)
	switch {
	case errors.As(err, &no) && no.IsNotFound, err == nil && len(found) == 0:
		return Missing, ""
	case err != nil:
		return Unknown, err.Error()
	case len(found) > 1:
		return Different, strings.Join(found, " | ")
	case !k.is(found[0]):
		return Different, found[0]
	}
	return Published, ""
}

// is reports whether a record has this key for signatures of mail by SHA-256.
func (k Key) is(record string) bool {
	tags := map[string]string{"v": "DKIM1", "k": RSA, "h": "sha256", "s": "*"}
	for tag := range strings.SplitSeq(record, ";") {
		if name, value, ok := strings.Cut(tag, "="); ok {
			tags[strings.TrimSpace(name)] = strings.Join(strings.Fields(value), "")
		}
	}
	has := func(tag string, values ...string) bool {
		for one := range strings.SplitSeq(tags[tag], ":") {
			for _, v := range values {
				if one == v {
					return true
				}
			}
		}
		return false
	}
	_, public, _ := strings.Cut(k.Record(), "p=")
	return tags["v"] == "DKIM1" && tags["k"] == k.Type() && tags["p"] == public && has("h", "sha256") && has("s", "*", "email")
}
