// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"restante/internal/testpeer"
)

// rsaKey is one for all tests: to make one takes long.
var rsaKey = sync.OnceValue(func() crypto.Signer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// write puts a file of each text into a new folder.
func write(t *testing.T, texts ...string) (files Files) {
	t.Helper()
	dir := t.TempDir()
	for i, text := range texts {
		name := filepath.Join(dir, string(rune('a'+i))+".pem")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	return files
}

func TestCertificatesFindTheirKeys(t *testing.T) {
	one, oneKey := testpeer.NewCertificate(t, testpeer.ECDSAKey(t), "one.test")
	two, twoKey := testpeer.NewCertificate(t, rsaKey(), "two.test")
	issuer, _ := testpeer.NewCertificate(t, testpeer.ECDSAKey(t), "issuer.test")
	private := rsaKey().(*rsa.PrivateKey)
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}))
	for _, tt := range []struct {
		name  string
		files []string
		want  string // names with the length of their chains, or the error
	}{
		{"a certificate and its key", []string{one, oneKey}, "one.test 1"},
		{"in one file", []string{oneKey + one}, "one.test 1"},
		{"with its issuer", []string{one + issuer, oneKey}, "one.test 2"},
		{"two in two files", []string{one + two, oneKey + twoKey}, "one.test 1, two.test 1"},
		{"two in two files, keys in another order", []string{two + one, oneKey + twoKey}, "two.test 1, one.test 1"},
		{"two in four files", []string{one + issuer, oneKey, two, twoKey}, "one.test 2, two.test 1"},
		{"chains in one file", []string{one + issuer + two + issuer, oneKey, twoKey}, "one.test 2, two.test 2"},
		{"an old form of a key", []string{two, pkcs1}, "two.test 1"},
		{"a text before it", []string{"subject=CN = one.test\n" + one, oneKey}, "one.test 1"},
		{"a key more", []string{one, oneKey + twoKey}, "one.test 1"},
		{"another's key", []string{one, twoKey}, "a.pem: its first certificate, for one.test, has no key in "},
		{"a second without its key", []string{one, oneKey, two}, "c.pem: its first certificate, for two.test, has no key in "},
		{"its issuer first", []string{issuer + one, oneKey}, "a.pem: its first certificate, for issuer.test, has no key in "},
		{"keys alone", []string{oneKey}, "none in "},
		{"no PEM", []string{one, "no key"}, "b.pem: has no PEM block"},
		{"nothing", []string{"", oneKey}, "a.pem: has no PEM block"},
		{"half of a certificate", []string{one[:len(one)/2], oneKey}, "a.pem: has a PEM block that is damaged or has no end"},
		{"half of a second certificate", []string{one + two[:len(two)/2], oneKey + twoKey}, "a.pem: has a PEM block that is damaged or has no end"},
		{"half of a key", []string{one, oneKey[:len(oneKey)/2]}, "b.pem: has a PEM block that is damaged or has no end"},
		{"a key with a password", []string{one, strings.ReplaceAll(oneKey, "PRIVATE", "ENCRYPTED PRIVATE")}, "b.pem: a key in it is encrypted; store it without a password"},
		{"no certificate in the block", []string{strings.ReplaceAll(oneKey, "PRIVATE KEY", "CERTIFICATE"), oneKey}, "a.pem: a certificate in it: x509"},
		{"no key in the block", []string{one, strings.ReplaceAll(one, "CERTIFICATE", "PRIVATE KEY")}, "b.pem: a key in it: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := New(write(t, tt.files...), slog.New(slog.DiscardHandler))
			err := c.Refresh(t.Context())
			var got []string
			for _, one := range c.list {
				got = append(got, one.Leaf.Subject.CommonName+" "+string(rune('0'+len(one.Certificate))))
			}
			if err != nil {
				got = []string{err.Error()}
			}
			if text := strings.Join(got, ", "); text != tt.want && (err == nil || !strings.Contains(text, tt.want)) {
				t.Errorf("%s, want %s", text, tt.want)
			}
		})
	}
}

// handshake gives the state of a caller's connection.
func handshake(t *testing.T, server, caller *tls.Config) (state tls.ConnectionState, err error) {
	t.Helper()
	near, far := net.Pipe()
	var both sync.WaitGroup
	both.Go(func() {
		_ = tls.Server(far, server).Handshake() // the caller has the error, too
		_ = far.Close()
	})
	defer both.Wait()
	defer near.Close()
	caller.InsecureSkipVerify = true
	c := tls.Client(near, caller)
	err = c.Handshake()
	return c.ConnectionState(), err
}

func TestCallersGetTheCertificateThatFits(t *testing.T) {
	pair := func(key crypto.Signer, names ...string) string {
		cert, secret := testpeer.NewCertificate(t, key, names...)
		return cert + secret
	}
	c := New(write(t,
		pair(testpeer.ECDSAKey(t), "first.test"), pair(rsaKey(), "first-rsa.test", "first.test"),
		pair(testpeer.ECDSAKey(t), "mail.second.test", "*.wild.test"), pair(rsaKey(), "third.test"),
	), slog.New(slog.DiscardHandler))
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	for _, tt := range []struct {
		name   string
		suites []uint16 // of TLS 1.2; nil for 1.3
		want   string
	}{
		{"", nil, "first.test"},
		{"", old, "first-rsa.test"},
		{"first.test", nil, "first.test"},
		{"FIRST.test", old, "first-rsa.test"},
		{"mail.second.test", nil, "mail.second.test"},
		{"x.wild.test", nil, "mail.second.test"},
		{"mail.second.test", old, "first-rsa.test"}, // its own is of no use to the caller
		{"third.test", nil, "third.test"},
		{"third.test", old, "third.test"},
		{"third.test", []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, "first.test"},
		{"other.test", nil, "first.test"},
		{"other.test", old, "first-rsa.test"},
	} {
		caller := &tls.Config{ServerName: tt.name, CipherSuites: tt.suites}
		if tt.suites != nil {
			caller.MaxVersion = tls.VersionTLS12
		}
		state, err := handshake(t, c.Config(Protocols{}), caller)
		if err != nil {
			t.Errorf("%q with %v: %v", tt.name, tt.suites, err)
		} else if got := state.PeerCertificates[0].Subject.CommonName; got != tt.want {
			t.Errorf("%q with %v gets %s, want %s", tt.name, tt.suites, got, tt.want)
		}
	}
	// One that does not fit is shown all the same: the caller says what it misses.
	single := New(write(t, pair(testpeer.ECDSAKey(t), "first.test")), slog.New(slog.DiscardHandler))
	if err := single.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := handshake(t, single.Config(Protocols{}), &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: old}); err == nil {
		t.Error("no cipher in common")
	}
}
