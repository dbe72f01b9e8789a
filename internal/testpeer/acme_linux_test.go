// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/admin/api"
	"restante/engine/resolver/dnstest"
	"restante/internal/testpeer"
)

// startPebble starts the test server of ACME, which finds names by dns and calls them at
// those ports. It gives the URL of its directory and the file of its certificate.
func startPebble(t *testing.T, dns, http01, tlsALPN string) (directory, ca string) {
	t.Helper()
	dir := t.TempDir()
	ca, key := testpeer.WriteCertificate(t, dir, "localhost")
	addr := freePort(t)
	port := func(addr string) int {
		_, n := hostPort(t, addr)
		v, err := net.LookupPort("tcp", n)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": addr, "managementListenAddress": freePort(t), "certificate": ca, "privateKey": key,
		"httpPort": port(http01), "tlsPort": port(tlsALPN), "ocspResponderURL": "", "externalAccountBindingRequired": false,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "20")
	startFilter(t, "tcp", addr, "pebble", "-config", writeFile(t, filepath.Join(dir, "pebble.json"), string(config)), "-dnsserver", dns)
	_, n := hostPort(t, addr)
	return "https://localhost:" + n + "/dir", ca
}

// certificateFor shows the certificate that a caller gets who asks for a name.
func certificateFor(t *testing.T, addr, name string) tls.ConnectionState {
	t.Helper()
	l := dial(t, addr)
	say(t, l, "EHLO client.test", "250", "STARTTLS", "220")
	c := tls.Client(l.Conn, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState()
}

// TestCertificatesAreOrdered: nothing is ordered unless it is asked for; then the
// certificate of Pebble is served in place of the one of before, without a start, as soon as
// it is there; what is wrong with an order is shown with the time of the next try.
func TestCertificatesAreOrdered(t *testing.T) {
	testpeer.Need(t, "pebble")
	dns := dnstest.Serve(t, "hub.test. 60 IN A 127.0.0.1")
	http01, tlsALPN := freePort(t), freePort(t)
	directory, ca := startPebble(t, dns.Addr, http01, tlsALPN)
	t.Setenv("SSL_CERT_FILE", ca)
	s := startService(t)
	folder := filepath.Join(s.Data, "tls", "acme")
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("without an order there is %s: %v", folder, err)
	}
	before := certificateFor(t, s.Addr(1), "hub.test")
	issuer := func(name string) string {
		return certificateFor(t, s.Addr(1), name).PeerCertificates[0].Issuer.CommonName
	}

	applyBatch(t, s, "set /LM/SMTPSVC/1 AcmeTermsAgreed true", "set /LM/SMTPSVC/1 AcmeEmail joe@hub.test",
		"set /LM/SMTPSVC/1 AcmeNames more.test", "set /LM/SMTPSVC/1 AcmeChallenge 'http-01 "+http01+"'", "set /LM/SMTPSVC/1 AcmeDirectory "+directory)
	why := func() string { return call(t, s, api.Status, struct{}{}).Sites[0].Why }
	await(t, "the order of a name without an address fails", func() bool { return strings.Contains(why(), "next try at ") })
	if text := why(); !strings.Contains(text, "order a certificate: more.test: ") {
		t.Errorf("the site is shown as %q", text)
	}
	await(t, "the certificate of the other name is served", func() bool { return strings.HasPrefix(issuer("hub.test"), "Pebble Intermediate CA") })
	now := certificateFor(t, s.Addr(1), "hub.test")
	if err := now.PeerCertificates[0].VerifyHostname("hub.test"); err != nil || len(now.PeerCertificates) < 2 {
		t.Errorf("the certificate with its chain: %v, %d", err, len(now.PeerCertificates))
	}
	if got := certificateFor(t, s.Addr(1), "other.test").PeerCertificates[0]; !got.Equal(now.PeerCertificates[0]) || got.Equal(before.PeerCertificates[0]) {
		t.Errorf("who asks for another name gets one for %v", got.DNSNames)
	}
	if err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err == nil {
			if st, err := d.Info(); err != nil || st.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %v, %v", path, st.Mode(), err)
			}
		}
		return err
	}); err != nil {
		t.Error(err)
	}

	dns.Zone(t, "hub.test. 60 IN A 127.0.0.1\nmore.test. 60 IN A 127.0.0.1")
	set(t, s, "AcmeChallenge", "tls-alpn-01 "+tlsALPN)
	await(t, "the certificate of the other name is ordered by TLS-ALPN-01", func() bool { return strings.HasPrefix(issuer("more.test"), "Pebble Intermediate CA") })
	await(t, "nothing is wrong any more", func() bool { return why() == "" })
	if again := certificateFor(t, s.Addr(1), "hub.test"); !again.PeerCertificates[0].Equal(now.PeerCertificates[0]) {
		t.Error("a certificate that is there is ordered again")
	}
	set(t, s, "AcmeDirectory", "")
	if got := certificateFor(t, s.Addr(1), "hub.test"); !got.PeerCertificates[0].Equal(before.PeerCertificates[0]) {
		t.Errorf("without an authority, the certificate is of %s", got.PeerCertificates[0].Issuer)
	}
	if _, err := http.Get("http://" + http01); err == nil {
		t.Error("the address of challenges stays open")
	}
}
