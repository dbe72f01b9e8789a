// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"restante/admin/api"
	"restante/internal/testpeer"
)

// A tokenServer gives tokens, and a host asks it which ones are good.
type tokenServer struct {
	URL string

	mu      sync.Mutex // guards what follows
	grants  []string   // that were asked by
	issued  int        // access tokens
	refresh string     // token that is taken
	good    int        // the first one that the host takes
	down    bool
	pending int // questions for the device code before it counts as typed
}

func newTokenServer(t *testing.T) *tokenServer {
	t.Helper()
	s := &tokenServer{pending: 1, refresh: "refresh-secret"}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	s.URL = h.URL
	return s
}

func (s *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = r.ParseForm()
	w.Header().Set("Content-Type", "application/json")
	refuse := func(code int, text string) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"error":%q}`, text)
	}
	grant := r.Form.Get("grant_type")
	switch {
	case s.down:
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	case r.Form.Get("client_id") != "app":
		refuse(401, "invalid_client")
		return
	case r.URL.Path == "/device":
		fmt.Fprintf(w, `{"device_code":"device-secret","user_code":"WXYZ","verification_uri":"%s/go","expires_in":600,"interval":1}`, s.URL)
		return
	case strings.HasSuffix(grant, "device_code") && s.pending > 0 && r.Form.Get("device_code") == "device-secret":
		s.pending--
	case grant == "refresh_token" && r.Form.Get("refresh_token") != s.refresh, grant == "client_credentials" && r.Form.Get("client_secret") != "client-secret":
		refuse(400, "invalid_grant")
		return
	}
	if grant == "refresh_token" { // as Microsoft does, the older one ends
		s.refresh += "+"
	}
	s.issued++
	s.grants = append(s.grants, grant)
	fmt.Fprintf(w, `{"access_token":"access-%d","expires_in":3600,"refresh_token":%q}`, s.issued, s.refresh)
}

// host answers as smtp.office365.com does.
func (s *tokenServer) host() func(line string) string {
	encrypted := false
	return func(line string) string {
		verb, rest, _ := strings.Cut(line, " ")
		switch {
		case verb == "STARTTLS":
			encrypted = true
		case verb == "EHLO" && encrypted:
			encrypted = false // the next connection begins without
			return "250-mx.test\r\n250-SIZE 157286400\r\n250-AUTH LOGIN XOAUTH2\r\n250 8BITMIME"
		case verb == "AUTH":
			raw, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "XOAUTH2 "))
			var n int
			if got, _ := fmt.Sscanf(string(raw), "user=u@corp.test\x01auth=Bearer access-%d\x01\x01", &n); got == 1 && s.takes(n) {
				return "235 2.7.0 Authentication successful"
			}
			return "535 5.7.3 Authentication unsuccessful [host.test]"
		}
		return ""
	}
}

func (s *tokenServer) takes(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return n >= s.good
}

func (s *tokenServer) set(change func()) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	return slices.Clone(s.grants)
}

// TestServiceSignsInByTokens: at a host that takes tokens alone, the service signs in by
// those that a person's sign-in, a refresh token and the application's secret give. What
// goes wrong defers the mail with the words of who refused.
func TestServiceSignsInByTokens(t *testing.T) {
	t.Parallel()
	server, s := newTokenServer(t), startService(t)
	cert, err := tls.LoadX509KeyPair(testpeer.WriteCertificate(t, t.TempDir(), "mx.test"))
	if err != nil {
		t.Fatal(err)
	}
	mx := testpeer.NewMX(t, testpeer.MXOptions{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Answer: server.host()})
	applyBatch(t, s, "set SMTPSVC/1 SmartHost "+mx.Addr, "set SMTPSVC/1 SmartHostType 2", "set SMTPSVC/1 RouteAction sasl", "set SMTPSVC/1 RouteUserName u@corp.test",
		"set SMTPSVC/1 RouteOauth '"+server.URL+"/token "+server.URL+"/device'", "set SMTPSVC/1 RouteOauthClientId app", "set SMTPSVC/1 RouteOauthScopes mail offline",
		"set SMTPSVC/1 SmtpSSLRequireTrustedCA false", "set SMTPSVC/1 SmtpSSLCertHostnameValidation false")
	deferred := func(domain, want string) {
		t.Helper()
		sendMessage(t, s, sender, "deferred", "x@"+domain)
		if w := awaitDeferred(t, s, domain); !strings.Contains(w.LastError, want) || w.LastError[0] != '4' && !strings.HasPrefix(want, "535") {
			t.Errorf("%s: %s, want %s", domain, w.LastError, want)
		}
	}
	deferred("early.test", "there is no access token: there is no RouteOauthRefreshToken, which `domain oauth` gets")

	rev := call(t, s, api.Status, struct{}{}).Revision
	said := runCommand(t, s, "", "--json", "domain", "oauth", "1", "hub.test", "--if-rev", fmt.Sprint(rev), "--confirm", "1h")
	first, rest, _ := strings.Cut(said, "\n")
	if !strings.Contains(rest, `"until":"`) {
		t.Errorf("domain oauth --confirm says %q", rest)
	}
	if !strings.Contains(first, `"user_code":"WXYZ"`) || !strings.Contains(first, `"verification_uri":"`+server.URL+`/go"`) || !strings.Contains(rest, `"path":"/LM/SMTPSVC/1"`) || strings.Contains(said, "secret") {
		t.Errorf("domain oauth says %q", said)
	}
	awaitSubjects(t, mx, 1)
	server.set(func() { server.good = server.issued + 1 })
	sendMessage(t, s, sender, "again", "x@far.test")
	awaitSubjects(t, mx, 2)
	applyBatch(t, s, "unset SMTPSVC/1 RouteOauthRefreshToken", "set SMTPSVC/1 RouteOauthSecret client-secret")
	sendMessage(t, s, sender, "by the application", "x@app.test")
	awaitSubjects(t, mx, 3)
	if got, want := server.set(func() {}), []string{"urn:ietf:params:oauth:grant-type:device_code", "refresh_token", "refresh_token", "client_credentials"}; !slices.Equal(got, want) {
		t.Errorf("tokens were asked for by %q, want %q", got, want)
	}
	if m := mx.Messages(); slices.ContainsFunc(m, func(one testpeer.Message) bool { return !one.TLS }) {
		t.Errorf("a message came without TLS: %+v", m)
	}

	server.set(func() { server.good = 1 << 30 })
	deferred("refused.test", "535 5.7.3 Authentication unsuccessful [host.test]")
	server.set(func() { server.down = true })
	deferred("down.test", " answers 503 Service Unavailable")
	applyBatch(t, s, "set SMTPSVC/1 RouteOauthClientId other")
	server.set(func() { server.down = false })
	deferred("client.test", " says invalid_client")
	if log := s.Log(); strings.Contains(log, "-secret") || strings.Contains(log, "access-") {
		t.Error("the log has a secret")
	}
}
