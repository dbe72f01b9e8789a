// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"restante/internal/testpeer"
)

// TestTokenSignIns signs in with the tokens of an issuer, and collects mail.
func TestTokenSignIns(t *testing.T) {
	t.Parallel()
	issuer := testpeer.NewIssuer(t)
	s := startService(t)
	createHeldDomain(t, s, "held.test", "joe@corp.test")
	sendMessages(t, s, "held.test", 1)
	set(t, s, "ConnectionLimitExempt", "127.0.0.1")
	set(t, s, "OauthAudience", "smtp.test")
	set(t, s, "OauthIssuer", issuer.URL)
	ours, local := issuer.Token(t, nil), issuer.Token(t, map[string]any{"email": account})
	tests := []struct{ what, say, token, want, turn string }{
		{"OAUTHBEARER", "n,a=joe@corp.test,^auth=Bearer TOKEN^^", ours, "235 2.7.0", "250"},
		{"OAUTHBEARER without a name", "n,,^host=hub.test^port=25^auth=Bearer TOKEN^^", ours, "235 2.7.0", "250"},
		{"XOAUTH2", "user=joe@corp.test^auth=Bearer TOKEN^^", ours, "235 2.7.0", "250"},
		{"XOAUTH2 of an account that is kept", "user=TestServer^auth=Bearer TOKEN^^", local, "235 2.7.0", "450"},
		{"XOAUTH2 for another", "user=boss@corp.test^auth=Bearer TOKEN^^", ours, "334 {", "535"},
		{"OAUTHBEARER expired", "n,,^auth=Bearer TOKEN^^", issuer.Token(t, map[string]any{"exp": 1}), "334 {", "535"},
		{"OAUTHBEARER no account", "n,,^auth=Bearer TOKEN^^", issuer.Token(t, map[string]any{"email": "a/b"}), "334 {", "535"},
		{"OAUTHBEARER malformed", "n,,^auth=Basic TOKEN^^", ours, "501 5.5.2", "530"},
		{"XOAUTH2 oversize", "user=joe^auth=Bearer TOKEN^^", strings.Repeat("A", 20_000), "500 5.", ""},
		{"XOAUTH2 by OauthAccountClaim", "user=TestServer^auth=Bearer TOKEN^^", issuer.Token(t, map[string]any{"upn": account}), "235 2.7.0", "450"},
		{"XOAUTH2 without OauthAccountClaim", "user=TestServer^auth=Bearer TOKEN^^", local, "334 {", "535"},
	}
	for _, tt := range tests {
		if strings.HasSuffix(tt.what, "OauthAccountClaim") {
			set(t, s, "OauthAccountClaim", "upn")
		}
		l, err := testpeer.Dial(s.Addr(1))
		if err != nil {
			t.Fatal(err)
		}
		mechanism, _, _ := strings.Cut(tt.what, " ")
		text := strings.NewReplacer("^", "\x01", "TOKEN", tt.token).Replace(tt.say)
		if _, err := l.Write([]byte("AUTH " + mechanism + "\r\n" + base64.StdEncoding.EncodeToString([]byte(text)) + "\r\n")); err != nil {
			t.Fatal(err)
		}
		if err := l.Expect("334"); err != nil {
			t.Errorf("%s: %v", tt.what, err)
		}
		got, err := l.Reply()
		if raw, is := strings.CutPrefix(got, "334 "); is {
			text, _ := base64.StdEncoding.DecodeString(raw)
			got = "334 " + string(text)
		}
		if err != nil || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, %v; want %s", tt.what, got, err, tt.want)
		}
		if next := map[string]string{"535": "="}[tt.turn]; next != "" {
			if err := l.Say(next, "535 5.7.8"); err != nil {
				t.Errorf("%s: %v", tt.what, err)
			}
		} else if tt.turn != "" {
			if err := sayATRN(t, l, tt.turn); err != nil {
				t.Errorf("%s: %v", tt.what, err)
			}
		}
		_ = l.Close()
	}
	if !strings.Contains(s.Log(), "account=joe@corp.test mechanism=OAUTHBEARER") || strings.Contains(s.Log(), ours[len(ours)-20:]) {
		t.Error("the log lacks a sign-in, or has a token")
	}
}

// sayATRN asks for the mail of held.test, once the session before has let it go.
func sayATRN(t *testing.T, l *testpeer.Client, want string) (err error) {
	t.Helper()
	await(t, "the mail is let go", func() bool {
		err = l.Say("ATRN held.test", want)
		return err == nil || !strings.Contains(err.Error(), "handed over already")
	})
	return err
}
