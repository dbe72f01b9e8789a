// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"testing"

	"restante/engine/mail"
)

func TestParseMail(t *testing.T) {
	tests := []struct {
		in   string
		want MailArgs
		code int // of the refusal, 0 for none
	}{
		{"FROM:<>", MailArgs{}, 0},
		{"from:<a@X.test>", MailArgs{From: mail.Address{Local: "a", Domain: "x.test"}}, 0},
		{"FROM:  <a@x.test>\tBODY=7bit", MailArgs{From: mail.Address{Local: "a", Domain: "x.test"}}, 0},
		{`FROM:<"a> b"@x.test> SIZE=12 RET=full ENVID=a+2Bb AUTH=a+40b body=8bitmime`,
			MailArgs{From: mail.Address{Local: "a> b", Domain: "x.test"}, Size: 12, Body8: true, Ret: "FULL", EnvID: "a+2Bb", Auth: "a+40b"}, 0},
		{`FROM:<"a\"> b"@x.test>`, MailArgs{From: mail.Address{Local: `a"> b`, Domain: "x.test"}}, 0},
		{`FROM:<"a@x.test>`, MailArgs{}, 501},
		{"FROM:a<b@x.test>", MailArgs{}, 501},
		{"FROM:<a@x.test>>", MailArgs{}, 501},
		{"FROM:<a@x.test> SIZE=-1", MailArgs{}, 501},
		{"FROM:<a@x.test> SIZE", MailArgs{}, 501},
		{"FROM:<a@x.test> SIZE=9223372036854775808", MailArgs{}, 552},
		{"FROM:<a@x.test> ENVID=a=b", MailArgs{}, 501},
		{"FROM:<a@x.test> AUTH=", MailArgs{}, 501},
		{"FROM:<a@x.test> X", MailArgs{}, 555},
		{"FROM:<a@x.test> RET=HDRS ret=HDRS", MailArgs{}, 501},
	}
	for _, tt := range tests {
		got, bad := parseMail(tt.in, all, true)
		if bad.Code != tt.code || tt.code == 0 && got != tt.want {
			t.Errorf("parseMail(%q) = %+v, %v; want %+v, %d", tt.in, got, bad, tt.want, tt.code)
		}
	}
	if _, bad := parseMail("FROM:<> AUTH=<>", all, false); bad.Code != 555 {
		t.Errorf("AUTH= where no sign-in is offered: %v", bad)
	}
}

func TestParseRcpt(t *testing.T) {
	tests := []struct {
		in   string
		want RcptArgs
		code int
	}{
		{"TO:<b@y.test>", RcptArgs{To: mail.Address{Local: "b", Domain: "y.test"}}, 0},
		{"TO:<PostMaster>", RcptArgs{To: mail.Address{Local: "PostMaster"}}, 0},
		{"TO:<b@[192.0.2.1]> NOTIFY=failure,DELAY ORCPT=rfc822;b+2B@y.test",
			RcptArgs{To: mail.Address{Local: "b", Domain: "[192.0.2.1]"}, Notify: "FAILURE,DELAY", ORcpt: "rfc822;b+2B@y.test"}, 0},
		{"TO:<nobody>", RcptArgs{}, 501},
		{"TO:<b@y.test> NOTIFY=DELAY,DELAY", RcptArgs{}, 501},
		{"TO:<b@y.test> NOTIFY=DELAY,", RcptArgs{}, 501},
		{"TO:<b@y.test> ORCPT=;b", RcptArgs{}, 501},
		{"TO:<b@y.test> SIZE=1", RcptArgs{}, 555},
	}
	for _, tt := range tests {
		got, bad := parseRcpt(tt.in, all)
		if bad.Code != tt.code || tt.code == 0 && got != tt.want {
			t.Errorf("parseRcpt(%q) = %+v, %v; want %+v, %d", tt.in, got, bad, tt.want, tt.code)
		}
	}
}
