// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"

	"restante/engine/account"
	"restante/engine/mail"
)

// countedTokens gives the next one after a refusal.
type countedTokens struct{ n int }

func (c *countedTokens) Get(context.Context) (string, error) { return fmt.Sprint("t", c.n), nil }
func (c *countedTokens) Refused(string)                      { c.n++ }

// asOverTLS signs in as if the connection had TLS.
type asOverTLS struct{ account.SignIn }

func (s asOverTLS) Begin(ctx context.Context, offered []string, _ *tls.ConnectionState) (string, sasl.Client, error) {
	return s.SignIn.Begin(ctx, offered, &tls.ConnectionState{})
}

// A token that the host refuses is tried once more with another one, and no mechanism
// after that; the error has the host's words.
func TestTokensThatAHostRefuses(t *testing.T) {
	say := func(form, token string) string {
		text := strings.NewReplacer("^", "\x01", "TOKEN", token).Replace(form)
		return base64.StdEncoding.EncodeToString([]byte(text)) + "\r\n"
	}
	x := func(token string) string { return "AUTH XOAUTH2 " + say("user=u^auth=Bearer TOKEN^^", token) }
	b := func(token string) string { return "AUTH OAUTHBEARER " + say("n,a=u,^auth=Bearer TOKEN^^", token) }
	const (
		microsoft = "250-mx.test|250 AUTH LOGIN XOAUTH2"
		google    = "250-mx.test|250 AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH"
		no        = "535 5.7.3 Authentication unsuccessful [x.prod.outlook.com]"
		bad       = "535-5.7.8 Username and Password not accepted. For more information, go to|535 5.7.8  https://support.google.com/mail/?p=BadCredentials"
	)
	json := "334 " + base64.StdEncoding.EncodeToString([]byte(`{"status":"400","schemes":"Bearer"}`))
	greet := func(list string, more ...peerStep) []peerStep {
		return append([]peerStep{{"", "220 hi"}, {"EHLO", list}}, more...)
	}
	for _, tt := range []struct {
		name  string
		steps []peerStep
		want  string // of the error, "" for none
		said  string // of the cause
		used  int    // tokens that were refused
	}{
		{"taken", greet(microsoft, peerStep{x("t0"), "235 2.7.0 yes"}), "", "", 0},
		{"taken as the second one", greet(microsoft, peerStep{x("t0"), no}, peerStep{x("t1"), "235 2.7.0 yes"}), "", "", 1},
		{"by JSON, then taken", greet(google, peerStep{b("t0"), json}, peerStep{"AQ==\r\n", bad}, peerStep{b("t1"), "235 2.7.0 Accepted"}), "", "", 1},
		{"both", greet(microsoft, peerStep{x("t0"), no}, peerStep{x("t1"), no}), no, "", 2},
		{"both by JSON", greet(google, peerStep{b("t0"), json}, peerStep{"AQ==\r\n", bad}, peerStep{b("t1"), json}, peerStep{"AQ==\r\n", bad}),
			"535 5.7.8 Username and Password not accepted. For more information, go to", `{"status":"400","schemes":"Bearer"}`, 2},
		{"by XOAUTH2 and JSON", greet("250-mx.test|250 AUTH XOAUTH2", peerStep{x("t0"), json}, peerStep{"\r\n", bad}, peerStep{x("t1"), json}, peerStep{"\r\n", bad}), "535 5.7.8 ", `"status":"400"`, 2},
		{"hung up on the second one", greet(microsoft, peerStep{x("t0"), no}, peerStep{x("t1"), "HANGUP"}), no, "", 1},
		{"for a while", greet(microsoft, peerStep{x("t0"), "454 4.7.0 Temporary authentication failure"}), "454 4.7.0 Temporary", "", 0},
		{"a mechanism of name only", greet(google, peerStep{b("t0"), "504 5.7.4 Unrecognized authentication type"}, peerStep{x("t0"), "235 yes"}), "", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nc, done := scriptedPeer(t, tt.steps)
			tokens := &countedTokens{}
			in := asOverTLS{account.SignIn{Name: "u", Mechanisms: account.ByToken, Token: tokens}}
			c, err := NewClient(t.Context(), nc, ClientOptions{Hello: "me.test", Auth: in})
			var r mail.Reply
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want != "" && (!errors.As(err, &r) || !strings.HasPrefix(r.String(), tt.want) || !r.Peer || r.Phase != "AUTH"):
				t.Errorf("error %v (%+v), want %s", err, r, tt.want)
			case tt.said != "" && (r.Cause == nil || !strings.Contains(r.Cause.Error(), tt.said)):
				t.Errorf("the cause is %v, want %s", r.Cause, tt.said)
			}
			if err == nil {
				c.Close()
			}
			if miss := <-done; miss != "" {
				t.Errorf("peer: %s", miss)
			}
			if tokens.n != tt.used {
				t.Errorf("%d tokens were refused", tokens.n)
			}
		})
	}
}
