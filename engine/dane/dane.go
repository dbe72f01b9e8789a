// SPDX-License-Identifier: Apache-2.0

// Package dane checks the certificate of a mail host against the TLSA records that
// the owner of its name publishes (RFC 7672, RFC 7671). It asks nobody: its caller
// answers for the records having been validated by DNSSEC.
package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Record is a TLSA record (RFC 6698 §2.1).
type Record struct {
	Usage, Selector, Matching uint8
	Data                      []byte
}

// Usages that SMTP has (RFC 7672 §3.1). The two others need authorities that
// everybody trusts, and are unusable.
const (
	anchor = 2 // DANE-TA: an issuer
	leaf   = 3 // DANE-EE: the host's own certificate or key
)

// Usable gives the records that a client can check (RFC 7672 §3.1, RFC 7671 §9): of
// digests of the same kind of data, the strongest alone counts.
func Usable(all []Record) (out []Record) {
	for _, r := range all {
		size, known := map[uint8]int{1: sha256.Size, 2: sha512.Size}[r.Matching]
		stronger := func(o Record) bool {
			return o.Usage == r.Usage && o.Selector == r.Selector && o.Matching == 2 && len(o.Data) == sha512.Size
		}
		switch {
		case r.Usage != anchor && r.Usage != leaf, r.Selector > 1:
		case r.Matching == 0 && len(r.Data) > 0:
			out = append(out, r)
		case known && len(r.Data) == size && !(r.Matching == 1 && slices.ContainsFunc(all, stronger)):
			out = append(out, r)
		}
	}
	return out
}

// Verify says why no record matches the certificates that a host has shown. Records
// are those that Usable gives; names are those that a certificate of an issuer which a
// record names may have: that of the record, and the domain that the mail is for.
func Verify(records []Record, names []string, state tls.ConnectionState) error {
	chain := state.PeerCertificates
	if len(chain) == 0 {
		return errors.New("the host shows no certificate")
	}
	var why error
	for _, r := range records {
		if r.Usage == leaf && r.matches(chain[0]) {
			return nil // RFC 7672 §3.1.1: whatever its names and dates
		}
	}
	for _, r := range records {
		if r.Usage != anchor {
			continue
		}
		err := r.issued(chain, names)
		if err == nil {
			return nil
		}
		if why == nil || !errors.Is(err, errOther) {
			why = err
		}
	}
	if why == nil {
		why = errOther
	}
	return why
}

var errOther = errors.New("the certificate is none that the TLSA records name")

func (r Record) matches(c *x509.Certificate) bool {
	data := c.Raw
	if r.Selector == 1 {
		data = c.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return bytes.Equal(data, r.Data)
}

// issued says why the issuer that r names has not issued the first certificate of
// chain for one of the names (RFC 7672 §3.1.2, §3.2.2).
func (r Record) issued(chain []*x509.Certificate, names []string) error {
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	found := false
	if full, err := x509.ParseCertificate(r.Data); err == nil && r.Selector == 0 && r.Matching == 0 {
		roots.AddCert(full) // the host need not show it
		found = true
	}
	for _, c := range chain {
		if r.matches(c) {
			roots.AddCert(c)
			found = true
		} else {
			others.AddCert(c)
		}
	}
	if !found {
		return errOther
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, CurrentTime: time.Now()}); err != nil {
		return err
	}
	if !slices.ContainsFunc(names, func(name string) bool { return chain[0].VerifyHostname(name) == nil }) {
		return fmt.Errorf("the certificate names none of %s", strings.Join(names, ", "))
	}
	return nil
}
