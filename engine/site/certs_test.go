// SPDX-License-Identifier: Apache-2.0

package site

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/testpeer"
)

// writeCert puts a self-signed certificate for name into dir.
func writeCert(t *testing.T, dir, name string) TLSFiles {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := TLSFiles{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	for file, block := range map[string]*pem.Block{
		files.Cert: {Type: "CERTIFICATE", Bytes: der}, files.Key: {Type: "PRIVATE KEY", Bytes: raw},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func name(t *testing.T, c *certReloader) string {
	t.Helper()
	cert, err := c.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Subject.CommonName
}

func TestCertificateFollowsItsFiles(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c, err := loadCerts(writeCert(t, dir, "one.test"), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		writeCert(t, dir, "the-second.test")
		if got := name(t, c); got != "one.test" {
			t.Errorf("it looks at the files each time: %s", got)
		}
		time.Sleep(certCheckInterval)
		if got := name(t, c); got != "the-second.test" {
			t.Errorf("new files are not read: %s", got)
		}
		if err := os.WriteFile(c.files.Cert, []byte("no certificate"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(certCheckInterval)
		if got := name(t, c); got != "the-second.test" {
			t.Errorf("a broken file is taken: %s", got)
		}
		if err := os.Remove(c.files.Cert); err != nil {
			t.Fatal(err)
		}
		time.Sleep(certCheckInterval)
		if got := name(t, c); got != "the-second.test" {
			t.Errorf("a missing file is taken for one: %s", got)
		}
	})
}

func lists(l *testpeer.Client, keyword string) bool {
	_, _ = l.Write([]byte("EHLO again.test\r\n"))
	var lines []string
	for {
		line, err := l.R.ReadString('\n')
		if err != nil || len(line) < 4 {
			return false
		}
		lines = append(lines, strings.TrimSpace(line[4:]))
		if line[3] == ' ' {
			return slices.Contains(lines, keyword)
		}
	}
}

func TestMissingCertificateIsTheState(t *testing.T) {
	set := newSettings(t)
	cfg := set.make(1, loopback)
	cfg.TLS = TLSFiles{filepath.Join(set.dir, "cert.pem"), filepath.Join(set.dir, "key.pem")}
	h := runSite(t, cfg, set, &Ports{})
	h.must(Start)
	if st := h.Status(); st.State != Started || !strings.Contains(st.Why, cfg.TLS.Cert) {
		t.Errorf("%+v", st)
	}
	// What does not concern the certificate is in force all the same.
	also := *cfg
	also.Rev, also.Session.Limits.Size = 2, 100
	if st := h.settle(&also); st.Running != 2 || !strings.Contains(st.Why, cfg.TLS.Cert) {
		t.Errorf("another change: %+v", st)
	}
	missing := *cfg
	missing.Rev, missing.TLS = 3, TLSFiles{filepath.Join(set.dir, "none.pem"), filepath.Join(set.dir, "none.key")}
	if st := h.settle(&missing); st.Running != 2 || !strings.Contains(st.Why, "none.pem") {
		t.Errorf("another missing certificate: %+v", st)
	}
	h.settle(&also)
	if lists(h.dial(), "STARTTLS") {
		t.Error("STARTTLS is offered without a certificate")
	}
	writeCert(t, set.dir, "hub.test")
	h.until(func() bool { return h.Status().Why == "" })
	l := h.dial()
	if !lists(l, "STARTTLS") {
		t.Fatal("STARTTLS is not offered")
	}
	if err := l.Say("STARTTLS", "220"); err != nil {
		t.Fatal(err)
	}
	tc := tls.Client(l.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := tc.Handshake(); err != nil || tc.ConnectionState().PeerCertificates[0].Subject.CommonName != "hub.test" {
		t.Errorf("handshake: %v", err)
	}
	// Another pair that is not there: what is there stays.
	next := h.make(3, loopback)
	next.TLS = missing.TLS
	if st := h.settle(next); st.Running != 2 || !strings.Contains(st.Why, "none.pem") || !lists(h.dial(), "STARTTLS") {
		t.Errorf("the old certificate is gone: %q", st.Why)
	}
	// None at all is what was asked for.
	if st := h.settle(h.make(4, loopback)); st.Running != 4 || st.Why != "" {
		t.Errorf("TLS off: %+v", st)
	}
	if lists(h.dial(), "STARTTLS") {
		t.Error("STARTTLS is still offered")
	}
}

func TestImplicitTLS(t *testing.T) {
	set := newSettings(t)
	cfg := set.make(1, loopback)
	cfg.Bindings[0].TLS = true
	cfg.TLS = writeCert(t, set.dir, "hub.test")
	h := runSite(t, cfg, set, &Ports{})
	h.must(Start)
	c, err := tls.Dial("tcp", h.addr(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 3)
	if _, err := c.Read(b); err != nil || string(b) != "220" {
		t.Errorf("greeted by %q, %v", b, err)
	}
}

// To read a pipe as a certificate would block the site.
func TestCertificateIsNoRegularFile(t *testing.T) {
	dir := t.TempDir()
	files := writeCert(t, dir, "hub.test")
	_, err := loadCerts(TLSFiles{dir, files.Key}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), dir+" is not a regular file") {
		t.Errorf("a folder as a certificate: %v", err)
	}
}
