// SPDX-License-Identifier: Apache-2.0

package account

import (
	"errors"
	"strings"
	"testing"

	"restante/engine/mail"
)

// TestBearer: what is not of the mechanism's form is 501; a refusal is said in a
// challenge first.
func TestBearer(t *testing.T) {
	tests := []struct{ mech, said, name, token string }{
		{OAuthBearer, "n,a=joe@corp.test,^host=h^port=25^auth=Bearer abc^^", "joe@corp.test", "abc"},
		{OAuthBearer, "n,,^auth=Bearer abc^^", "", "abc"},
		{OAuthBearer, "n,a=a=2Cb=3Dc,^auth=bearer abc^^", "a,b=c", "abc"},
		{OAuthBearer, "n,a=joe^auth=Bearer abc^^", "", ""},
		{OAuthBearer, "y,,^auth=Bearer abc^^", "", ""},
		{OAuthBearer, "p=tls-unique,,^auth=Bearer abc^^", "", ""},
		{OAuthBearer, "n,,^auth=Basic abc^^", "", ""},
		{OAuthBearer, "n,,^auth=Bearer abc^", "", ""},
		{OAuthBearer, "n,,^^", "", ""},
		{OAuthBearer, "", "", ""},
		{XOAuth2, "user=joe@corp.test^auth=Bearer abc^^", "joe@corp.test", "abc"},
		{XOAuth2, "user=^auth=Bearer abc^^", "", ""},
		{XOAuth2, "user=joe^auth=Bearer ^^", "", ""},
		{XOAuth2, "auth=Bearer abc^^", "", ""},
	}
	for _, tt := range tests {
		name, token := "", ""
		s := Bearer(tt.mech, func(n, tok string) error { name, token = n, tok; return nil })
		_, done, err := s.Next([]byte(strings.ReplaceAll(tt.said, "^", "\x01")))
		r := mail.Reply{}
		if name != tt.name || token != tt.token || done != (tt.token != "") || !done && (!errors.As(err, &r) || r.Code != 501) {
			t.Errorf("%s %q: %q, %q, %v, %v", tt.mech, tt.said, name, token, done, err)
		}
	}
	no := &Refused{Reason: "no"}
	s := Bearer(XOAuth2, func(string, string) error { return no })
	if challenge, done, err := s.Next(nil); string(challenge) != "" || done || err != nil {
		t.Errorf("without an initial response: %q, %v, %v", challenge, done, err)
	}
	challenge, done, err := s.Next([]byte("user=joe\x01auth=Bearer abc\x01\x01"))
	if !strings.HasPrefix(string(challenge), "{") || done || err != nil {
		t.Errorf("refused: %q, %v, %v", challenge, done, err)
	}
	if _, _, err := s.Next([]byte{}); err != no {
		t.Errorf("the end: %v", err)
	}
}
