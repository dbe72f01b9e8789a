// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/internal/testpeer"
)

// TestMtaStsOverHTTPS has a service fetch policies, and keep to them after its end and
// that of their server and their records.
func TestMtaStsOverHTTPS(t *testing.T) {
	const at = "127.0.0.77"
	l, err := net.Listen("tcp", at+":443") // the port of policies
	if err != nil {
		testpeer.Without(t, "port 443 for tests", err)
	}
	certPEM, keyPEM := testpeer.NewCertificate(t, testpeer.ECDSAKey(t), "mx.test", "mta-sts.good.test", "mta-sts.other.test")
	pair, err := tls.X509KeyPair([]byte(certPEM), []byte(keyPEM))
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte(certPEM), 0o600); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := map[string]string{"mta-sts.good.test": "mx.test", "mta-sts.other.test": "mx9.test"}[r.Host]
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "version: STSv1\r\nmode: enforce\r\nmx: %s\r\nmax_age: 86400\r\n", host)
	}))
	web.Listener.Close()
	web.Listener, web.TLS = l, &tls.Config{Certificates: []tls.Certificate{pair}}
	web.StartTLS()
	defer web.Close()

	t.Setenv("SSL_CERT_FILE", ca)
	mx := testpeer.NewMX(t, testpeer.MXOptions{TLS: &tls.Config{Certificates: []tls.Certificate{pair}}})
	s := startService(t)
	hosts := "good.test. MX 10 mx.test.\nother.test. MX 10 mx.test.\nmx.test. A 127.0.0.1\n"
	dns := pointDNS(t, s, mx.Addr, hosts+`
_mta-sts.good.test. TXT "v=STSv1; id=1"
_mta-sts.other.test. TXT "v=STSv1; id=1"
mta-sts.good.test. A `+at+`
mta-sts.other.test. A `+at+"\n")
	sendMessage(t, s, sender, "proved", "x@good.test")
	sendMessage(t, s, sender, "another host", "x@other.test")
	await(t, "the mail goes to the host of the policy", func() bool { return len(mx.Messages()) == 1 })
	if got := runCommand(t, s, "", "queue", "trace", "x@good.test"); !strings.Contains(got, "tls_rule=sts") {
		t.Errorf("the trace says\n%s", got)
	}
	const why = "mx.test is none of the hosts in the MTA-STS policy of other.test"
	if w := awaitDeferred(t, s, "other.test"); !strings.Contains(w.LastError, why) {
		t.Errorf("a host that is not in the policy: %q", w.LastError)
	}

	if err := s.Halt(); err != nil {
		t.Fatal(err)
	}
	web.Close()
	dns.Zone(t, hosts)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	told := strings.Count(s.Log(), why)
	await(t, "the policy holds after a restart", func() bool {
		retry(t, s, "other.test")
		return strings.Count(s.Log(), why) > told
	})
	if n := len(mx.Messages()); n != 1 {
		t.Errorf("%d messages went to a host that is not in the policy", n-1)
	}
	set(t, s, "UseMtaSts", "false")
	await(t, "without policies the mail goes", func() bool {
		retry(t, s, "other.test")
		return len(mx.Messages()) == 2
	})
}
