// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/internal/testpeer"
)

// An authority issues certificates to clients.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	a := authority{cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}}
	a.cert.Raw = a.issue(t, *a.cert).Certificate[0]
	return a
}

// issue signs a certificate; the first one is its own.
func (a *authority) issue(t *testing.T, c x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if a.key == nil {
		a.key = key
	}
	if c.SerialNumber == nil {
		c.SerialNumber = big.NewInt(2)
	}
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) write(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// overTLS is a client that has greeted over STARTTLS with a certificate, and what
// EHLO answered there.
func overTLS(t *testing.T, s *testpeer.Service, certs ...tls.Certificate) (l *testpeer.Client, ehlo string) {
	t.Helper()
	plain, err := testpeer.Dial(s.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := plain.Say("STARTTLS", "220"); err != nil {
		t.Fatal(err)
	}
	secure := tls.Client(plain.Conn, &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if len(certs) == 0 {
			return new(tls.Certificate), nil
		}
		return &certs[0], nil // also where the authority is not asked for
	}})
	l = &testpeer.Client{Conn: secure, R: bufio.NewReader(secure)}
	if _, err := l.Write([]byte("EHLO c.test\r\n")); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := l.R.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %s", err, ehlo)
		}
		if ehlo += line; strings.HasPrefix(line, "250 ") {
			return l, ehlo
		}
	}
}

// TestClientCertificates signs in by EXTERNAL with certificates good and bad. None of
// them ends a connection.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	ours, foreign := newAuthority(t, "ours"), newAuthority(t, "foreign")
	name := func(cn string) x509.Certificate { return x509.Certificate{Subject: pkix.Name{CommonName: cn}} }
	expired, server, mailbox, host := name(account), name(account), name("Joe Doe"), name("")
	expired.NotBefore, expired.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Minute)
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	mailbox.EmailAddresses = []string{"nobody@corp.test", "joe@corp.test"}
	host.DNSNames = []string{"branch1.test"}
	between := x509.Certificate{Subject: pkix.Name{CommonName: "between"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	issued := ours.issue(t, between)
	sub := authority{cert: &between, key: issued.PrivateKey.(*ecdsa.PrivateKey)}
	chained := sub.issue(t, name(account))
	chained.Certificate = append(chained.Certificate, issued.Certificate[0])

	s := startService(t)
	addAccount(t, s, "joe@corp.test")
	addAccount(t, s, "branch1.test")
	createHeldDomain(t, s, "held.test", account)
	sendMessages(t, s, "held.test", 1)
	set(t, s, "ConnectionLimitExempt", "127.0.0.1")
	if l, ehlo := overTLS(t, s, ours.issue(t, name(account))); strings.Contains(ehlo, "EXTERNAL") || l.Say("AUTH EXTERNAL =", "504") != nil {
		t.Errorf("EXTERNAL without TlsClientCaFile: %s", ehlo)
	}
	set(t, s, "TlsClientCaFile", ours.write(t))
	set(t, s, "DefaultLogonDomain", "CORP")
	tests := []struct {
		what    string
		certs   []tls.Certificate
		ask     string // the identity of EXTERNAL
		offered bool
		account string // "": refused
	}{
		{"the common name", []tls.Certificate{ours.issue(t, name(account))}, "", true, account},
		{"the common name, in another case", []tls.Certificate{ours.issue(t, name(strings.ToUpper(account)))}, "", true, account},
		{"a mailbox", []tls.Certificate{ours.issue(t, mailbox)}, "", true, "joe@corp.test"},
		{"a host", []tls.Certificate{ours.issue(t, host)}, "", true, "branch1.test"},
		{"an intermediate authority", []tls.Certificate{chained}, "", true, account},
		{"its own name asked for", []tls.Certificate{ours.issue(t, name(account))}, account, true, account},
		{"its own name with the domain", []tls.Certificate{ours.issue(t, name(account))}, `CORP\` + account, true, account},
		{"its own name with another domain", []tls.Certificate{ours.issue(t, name(account))}, `OTHER\` + account, true, ""},
		{"another name asked for", []tls.Certificate{ours.issue(t, name(account))}, "joe@corp.test", true, ""},
		{"no account", []tls.Certificate{ours.issue(t, name("nobody"))}, "", true, ""},
		{"no name", []tls.Certificate{ours.issue(t, name(""))}, "", true, ""},
		{"another authority", []tls.Certificate{foreign.issue(t, name(account))}, "", false, ""},
		{"expired", []tls.Certificate{ours.issue(t, expired)}, "", false, ""},
		{"for servers", []tls.Certificate{ours.issue(t, server)}, "", false, ""},
		{"no certificate", nil, "", false, ""},
	}
	for _, tt := range tests {
		l, ehlo := overTLS(t, s, tt.certs...)
		if strings.Contains(ehlo, "EXTERNAL") != tt.offered {
			t.Errorf("%s: EHLO answers %s", tt.what, ehlo)
		}
		identity := "="
		if tt.ask != "" {
			identity = base64.StdEncoding.EncodeToString([]byte(tt.ask))
		}
		code := map[bool]string{true: "235 2.7.0", false: "535 5.7.8"}[tt.account != ""]
		if err := l.Say("AUTH EXTERNAL "+identity, code); err != nil {
			t.Errorf("%s: %v", tt.what, err)
		}
		if want := `"signed in" site=1 client=127.0.0.1 account=` + tt.account + ` mechanism=EXTERNAL tls=true`; tt.account != "" && !strings.Contains(s.Log(), want) {
			t.Errorf("%s: no line %s", tt.what, want)
		}
		turn := map[bool]string{true: "250", false: "450"}[tt.account == account]
		if tt.account == "" {
			turn = "530"
		}
		if err := sayATRN(t, l, turn); err != nil {
			t.Errorf("%s: %v", tt.what, err)
		}
		_ = l.Close()
	}
	l, err := testpeer.Dial(s.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Say("AUTH EXTERNAL =", "538"); err != nil {
		t.Errorf("in clear: %v", err)
	}
	l, _ = overTLS(t, s, ours.issue(t, name("branch1.test")))
	if err := l.Say("AUTH EXTERNAL", "334"); err != nil {
		t.Error(err)
	}
	if err := l.Say("=", "235"); err != nil {
		t.Error(err)
	}
	runCommand(t, s, "", "account", "delete", "branch1.test", "--yes")
	if err := l.Say("NOOP", "421"); err != nil {
		t.Errorf("the account is deleted: %v", err)
	}
}

// TestRemoteCertificate has a host that takes mail from who shows a certificate.
func TestRemoteCertificate(t *testing.T) {
	t.Parallel()
	cert, _ := testpeer.Certificate(t, "far.test", time.Now().Add(time.Hour))
	var shown sync.Map // by name
	mx := testpeer.NewMX(t, testpeer.MXOptions{TLS: &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert,
		VerifyConnection: func(state tls.ConnectionState) error {
			shown.Store(state.PeerCertificates[0].DNSNames[0], true)
			return nil
		},
	}})
	s := startService(t)
	pointDNS(t, s, mx.Addr, "far.test. IN A 127.0.0.1\n")
	sendMessage(t, s, sender, "secret", "x@far.test")
	awaitDeferred(t, s, "far.test")
	if len(mx.Messages()) > 0 {
		t.Fatal("the host takes mail without a certificate: the test shows nothing")
	}
	file := filepath.Join(t.TempDir(), "own.pem")
	write := func(name string) {
		t.Helper()
		certPEM, keyPEM := testpeer.NewCertificate(t, testpeer.ECDSAKey(t), name)
		if err := os.WriteFile(file, []byte(certPEM+keyPEM), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first.test")
	set(t, s, "RemoteCertificateFile", file)
	await(t, "the mail goes with a certificate", func() bool {
		retry(t, s, "")
		return len(mx.Messages()) == 1
	})
	write("second.test") // without another word
	sendMessage(t, s, sender, "secret", "x@far.test")
	await(t, "the mail goes with the new certificate", func() bool { return len(mx.Messages()) == 2 })
	for _, name := range []string{"first.test", "second.test"} {
		if _, ok := shown.Load(name); !ok {
			t.Errorf("the certificate of %s was not shown", name)
		}
	}
}
