// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/engine/resolver/dnstest"
	"restante/internal/testpeer"
	"restante/internal/testpeer/postfix"
)

// startUnbound has an unbound validate a zone, and gives its address.
func startUnbound(t *testing.T, origin, zone, anchor string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	dir := t.TempDir()
	conf := fmt.Sprintf(`server:
 interface: 127.0.0.1
 port: %s
 do-daemonize: no
 username: ""
 chroot: ""
 directory: %q
 pidfile: ""
 use-syslog: no
 logfile: ""
 verbosity: 1
 module-config: "validator iterator"
 trust-anchor: %q
auth-zone:
 name: %q
 zonefile: "zone"
 for-upstream: yes
 for-downstream: no
 fallback-enabled: no
remote-control:
 control-enable: no
`, port, dir, strings.ReplaceAll(anchor, "\t", " "), origin)
	for name, text := range map[string]string{"zone": zone, "conf": conf} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	startFilter(t, "tcp", "127.0.0.1:"+port, "unbound", "-d", "-c", filepath.Join(dir, "conf"))
	return "127.0.0.1:" + port
}

// TestDaneByUnboundAndPostfix has unbound validate the zone of a Postfix.
func TestDaneByUnboundAndPostfix(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "postfix", "unbound")
	cert, key := testpeer.WriteCertificate(t, t.TempDir(), "internal.test")
	s, sink := startService(t), testpeer.StartSink(t)
	p, err := postfix.Start(t.Context(), t.TempDir(), 20,
		"smtpd_tls_security_level = may", "smtpd_tls_cert_file = "+cert, "smtpd_tls_key_file = "+key, "smtpd_tls_received_header = yes",
		"relayhost = [127.0.0.1]:"+portOf(t, sink.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()

	raw, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(c.RawSubjectPublicKeyInfo))
	port := portOf(t, p.Addr)
	zone := ""
	for host, digest := range map[string]string{"good": sum, "wrong": strings.Repeat("ab", 32), "forged": sum} {
		zone += fmt.Sprintf("to-%[1]s MX 10 mx-%[1]s\nmx-%[1]s A 127.0.0.1\n_%[2]s._tcp.mx-%[1]s TLSA 3 1 1 %[3]s\n", host, port, digest)
	}
	zone += "to-none MX 10 mx-none\nmx-none A 127.0.0.1\n"
	text, anchor := dnstest.Signed(t, "signed.example", zone, "_"+port+"._tcp.mx-forged.signed.example")
	dns := startUnbound(t, "signed.example", text, anchor)
	applyBatch(t, s, "set /LM/SMTPSVC/1 DnsServers "+dns, "set /LM/SMTPSVC/1 RemoteSmtpPort "+port, "set /LM/SMTPSVC/1 AllowLoopbackHosts true", "set /LM/SMTPSVC/1 UseMtaSts false")

	for _, host := range []string{"good", "none", "wrong", "forged"} {
		sendMessage(t, s, sender, host, "x@to-"+host+".signed.example")
	}
	await(t, "Postfix passes on what it may have", func() bool { return len(sink.Messages()) == 2 })
	for host, rule := range map[string]string{"good": "tls_rule=dane", "none": ""} {
		got := runCommand(t, s, "", "queue", "trace", "x@to-"+host+".signed.example")
		if !strings.Contains(got, `tls="TLS 1.3"`) || !strings.Contains(got, rule) || rule == "" && strings.Contains(got, "tls_rule") {
			t.Errorf("%s: the trace says\n%s", host, got)
		}
	}
	if w := awaitDeferred(t, s, "to-wrong.signed.example"); !strings.Contains(w.LastError, "no trusted TLS connection to mx-wrong.signed.example (DANE)") {
		t.Errorf("records that do not match: %q", w.LastError)
	}
	if w := awaitDeferred(t, s, "to-forged.signed.example"); !strings.Contains(w.LastError, "mx-forged.signed.example gives no answer about its TLSA records") {
		t.Errorf("records that are forged: %q", w.LastError)
	}
	if n := len(sink.Messages()); n != 2 {
		t.Errorf("%d messages were passed on", n)
	}
}
