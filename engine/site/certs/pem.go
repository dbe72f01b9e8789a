// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// parse makes certificates of the texts of files. A certificate that one of the
// keys belongs to begins a chain; those behind it in the file are its issuers. So
// each key finds its certificate, in whatever file.
func parse(files Files, texts [][]byte) (list []*tls.Certificate, err error) {
	chains, keys := make([][]*x509.Certificate, len(files)), []crypto.Signer(nil)
	for i, text := range texts {
		c, k, err := decode(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", files[i], err)
		}
		chains[i], keys = c, append(keys, k...)
	}
	for i, chain := range chains {
		var last *tls.Certificate // of this file
		for _, c := range chain {
			if key := keyOf(c, keys); key != nil {
				last = &tls.Certificate{PrivateKey: key, Leaf: c}
				list = append(list, last)
			}
			if last == nil {
				return nil, fmt.Errorf("%s: its first certificate, for %s, has no key in %s", files[i], subject(c), files)
			}
			last.Certificate = append(last.Certificate, c.Raw)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("none in %s", files)
	}
	return list, nil
}

// decode reads the blocks of one file. Each has to be whole: a file that is being
// written is not.
func decode(text []byte) (chain []*x509.Certificate, keys []crypto.Signer, err error) {
	blocks := bytes.Count(text, []byte("-----BEGIN "))
	if blocks == 0 {
		return nil, nil, errors.New("has no PEM block")
	}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		blocks--
		switch {
		case block.Type == "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, nil, fmt.Errorf("a certificate in it: %w", err)
			}
			chain = append(chain, c)
		case block.Type == "ENCRYPTED PRIVATE KEY", block.Headers["DEK-Info"] != "":
			return nil, nil, errors.New("a key in it is encrypted; store it without a password")
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			key, err := parseKey(block.Bytes)
			if err != nil {
				return nil, nil, fmt.Errorf("a key in it: %w", err)
			}
			keys = append(keys, key)
		}
	}
	if blocks != 0 {
		return nil, nil, errors.New("has a PEM block that is damaged or has no end")
	}
	return chain, keys, nil
}

// parseKey reads a key in each form that PEM files have it in.
func parseKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if rsa, other := x509.ParsePKCS1PrivateKey(der); other == nil {
			return rsa, nil
		}
		if ec, other := x509.ParseECPrivateKey(der); other == nil {
			return ec, nil
		}
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%T cannot sign", key)
	}
	return signer, nil
}

// keyOf is nil where none of the keys belongs to c.
func keyOf(c *x509.Certificate, keys []crypto.Signer) crypto.Signer {
	for _, key := range keys {
		if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); ok && public.Equal(c.PublicKey) {
			return key
		}
	}
	return nil
}

// subject names a certificate for people.
func subject(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return cmp.Or(c.Subject.CommonName, c.Subject.String())
}
