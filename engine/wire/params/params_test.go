// SPDX-License-Identifier: Apache-2.0

package params

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
)

// all offers every extension.
var all = mail.Verbs{EightBit: true, DSN: true, RequireTLS: true, Priority: true, UTF8: true, Binary: true, Chunking: true, DeliverBy: true}

func TestParseMail(t *testing.T) {
	a := mail.Address{Local: "a", Domain: "x.test"}
	tests := []struct {
		in   string
		want Mail
		code int // of the refusal, 0 for none
	}{
		{"FROM:<>", Mail{}, 0},
		{"from:<a@X.test>", Mail{From: mail.Address{Local: "a", Domain: "x.test"}}, 0},
		{"FROM:  <a@x.test>\tBODY=7bit", Mail{From: mail.Address{Local: "a", Domain: "x.test"}}, 0},
		{`FROM:<"a> b"@x.test> SIZE=12 RET=full ENVID=a+2Bb AUTH=a+40b body=8bitmime`,
			Mail{From: mail.Address{Local: "a> b", Domain: "x.test"}, Size: 12, Body8: true, Ret: "FULL", EnvID: "a+2Bb"}, 0},
		{`FROM:<"a\"> b"@x.test>`, Mail{From: mail.Address{Local: `a"> b`, Domain: "x.test"}}, 0},
		{`FROM:<"a@x.test>`, Mail{}, 501},
		{"FROM:a<b@x.test>", Mail{}, 501},
		{"FROM:<a@x.test>>", Mail{}, 501},
		{"FROM:<a@x.test> SIZE=-1", Mail{}, 501},
		{"FROM:<a@x.test> SIZE", Mail{}, 501},
		{"FROM:<a@x.test> SIZE=99999999999999999999", Mail{From: a, Size: math.MaxInt64}, 0},
		{"FROM:<a@x.test> SIZE=9223372036854775808", Mail{From: a, Size: math.MaxInt64}, 0},
		// Passed on as they came; what no peer would take is dropped.
		{"FROM:<a@x.test> ENVID=a+2fb", Mail{From: a, EnvID: "a+2fb"}, 0},
		{"FROM:<a@x.test> ENVID=" + strings.Repeat("e", 1000), Mail{From: a, EnvID: strings.Repeat("e", 1000)}, 0},
		{"FROM:<a@x.test> ENVID=a=b", Mail{From: a}, 0},
		{"FROM:<a@x.test> ENVID=a+2", Mail{From: a}, 0},
		{"FROM:<a@x.test> ENVID=a+zz", Mail{From: a}, 0},
		{"FROM:<a@x.test> ENVID=", Mail{From: a}, 0},
		{"FROM:<a@x.test> AUTH=", Mail{From: a}, 0},
		{"FROM:<a@x.test> AUTH=joe+40b.test", Mail{From: a}, 0},
		{"FROM:<a@x.test> X", Mail{}, 555},
		{"FROM:<a@x.test> RET=HDRS ret=HDRS", Mail{}, 501},

		{"FROM:<jörg@bücher.test> smtputf8", Mail{From: mail.Address{Local: "jörg", Domain: "xn--bcher-kva.test"}, UTF8: true}, 0},
		{`FROM:<"jörg b"@x.test> SMTPUTF8 BODY=8BITMIME`, Mail{From: mail.Address{Local: "jörg b", Domain: "x.test"}, UTF8: true, Body8: true}, 0},
		{"FROM:<a@x.test> BODY=BinaryMIME", Mail{From: a, Binary: true}, 0},
		{"FROM:<a@x.test> BODY=BINARY", Mail{}, 501},
		{"FROM:<a@x.test> BY=0;R", Mail{}, 501},
		{"FROM:<a@x.test> BY=-5;RT", Mail{}, 501},
		{"FROM:<a@x.test> BY=5", Mail{}, 501},
		{"FROM:<a@x.test> BY=5;", Mail{}, 501},
		{"FROM:<a@x.test> BY=5;X", Mail{}, 501},
		{"FROM:<a@x.test> BY=5;RX", Mail{}, 501},
		{"FROM:<a@x.test> BY=5;TR", Mail{}, 501},
		{"FROM:<a@x.test> BY=;R", Mail{}, 501},
		{"FROM:<a@x.test> BY=+-5;N", Mail{}, 501},
		{"FROM:<a@x.test> BY=5s;N", Mail{}, 501},
		{"FROM:<a@x.test> BY=1234567890;N", Mail{}, 501},
		{"FROM:<a@x.test> BY=5;N by=5;N", Mail{}, 501},
		{"FROM:<> SMTPUTF8", Mail{UTF8: true}, 0},
		{"FROM:<jörg@x.test>", Mail{}, 553},
		{"FROM:<a@bücher.test> SIZE=1", Mail{}, 553},
		{"FROM:<a\xe4@x.test>", Mail{}, 553},
		{"FROM:<a\xe4@x.test> SMTPUTF8", Mail{}, 501},
		{"FROM:<a@b\xfccher.test> SMTPUTF8", Mail{}, 501},
		{"FROM:<a@-ü.test> SMTPUTF8", Mail{}, 501},
		{"FROM:<a\u0085@x.test> SMTPUTF8", Mail{}, 501},
		{"FROM:<a\u2028@x.test> SMTPUTF8", Mail{}, 501},
		{"FROM:<a@x.test> SMTPUTF8=yes", Mail{}, 501},
		{"FROM:<a@x.test> SMTPUTF8 SMTPUTF8", Mail{}, 501},
	}
	for _, tt := range tests {
		got, bad := ParseMail(tt.in, all, 0, 0)
		if bad.Code != tt.code || tt.code == 0 && got != tt.want {
			t.Errorf("ParseMail(%q) = %+v, %v; want %+v, %d", tt.in, got, bad, tt.want, tt.code)
		}
	}
}

// RFC 2852 §4: the by-value is a time from now on.
func TestParseBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(seconds int) time.Time { return time.Now().Add(time.Duration(seconds) * time.Second) }
		for value, want := range map[string]mail.Deadline{
			"120;R":        {At: at(120), Return: true},
			"+120;rt":      {At: at(120), Return: true, Trace: true},
			"59;n":         {At: at(59)},
			"0;N":          {At: at(0), Over: true},
			"-30;NT":       {At: at(-30), Trace: true, Over: true},
			"999999999;R":  {At: at(999999999), Return: true},
			"000000060;R":  {At: at(60), Return: true},
			"-999999999;N": {At: at(-999999999), Over: true},
		} {
			m, bad := ParseMail("FROM:<> BY="+value, all, 0, time.Minute)
			if bad.Code != 0 || m.By != want {
				t.Errorf("BY=%s is %+v, %v", value, m.By, bad)
			}
		}
		if _, bad := ParseMail("FROM:<> BY=59;R", all, 0, time.Minute); bad.String() != "501 5.5.4 BY is less than the 60 seconds that are needed here" {
			t.Errorf("below the least: %v", bad)
		}
	})
}

func TestParseRcpt(t *testing.T) {
	b := mail.Address{Local: "b", Domain: "y.test"}
	tests := []struct {
		in   string
		want Rcpt
		code int
		wide bool // MAIL had SMTPUTF8
	}{
		{"TO:<b@y.test>", Rcpt{To: mail.Address{Local: "b", Domain: "y.test"}}, 0, false},
		{"TO:<PostMaster>", Rcpt{To: mail.Address{Local: "PostMaster"}}, 0, false},
		{"TO:<b@[192.0.2.1]> NOTIFY=failure,DELAY ORCPT=rfc822;b+2B@y.test",
			Rcpt{To: mail.Address{Local: "b", Domain: "[192.0.2.1]"}, Notify: "FAILURE,DELAY", ORcpt: "rfc822;b+2B@y.test"}, 0, false},
		{"TO:<nobody>", Rcpt{To: mail.Address{Local: "nobody"}}, 0, false},
		{"TO:<@r.test:nobody>", Rcpt{}, 501, false},
		{"TO:<nobody@>", Rcpt{}, 501, false},
		{"TO:<b@y.test> NOTIFY=DELAY,DELAY", Rcpt{}, 501, false},
		{"TO:<b@y.test> NOTIFY=DELAY,", Rcpt{}, 501, false},
		{"TO:<b@y.test> ORCPT=rfc822;b+2b@y.test", Rcpt{To: b, ORcpt: "rfc822;b+2b@y.test"}, 0, false},
		{"TO:<b@y.test> ORCPT=rfc822;" + strings.Repeat("b", 1000), Rcpt{To: b, ORcpt: "rfc822;" + strings.Repeat("b", 1000)}, 0, false},
		{"TO:<b@y.test> ORCPT=;b", Rcpt{To: b}, 0, false},
		{"TO:<b@y.test> ORCPT=b@y.test", Rcpt{To: b}, 0, false},
		{"TO:<b@y.test> ORCPT=rfc822;b+4", Rcpt{To: b}, 0, false},
		{"TO:<b@y.test> SIZE=1", Rcpt{}, 555, false},

		{"TO:<jörg@bücher.test>", Rcpt{}, 553, false},
		{"TO:<jörg@bücher.test>", Rcpt{To: mail.Address{Local: "jörg", Domain: "xn--bcher-kva.test"}}, 0, true},
		{"TO:<j\xf6rg@y.test>", Rcpt{}, 501, true},
		{"TO:<b@y.test> ORCPT=utf-8;jörg@y.test", Rcpt{To: b, ORcpt: `utf-8;j\x{F6}rg@y.test`}, 0, true},
		{`TO:<b@y.test> ORCPT=utf-8;j\x{F6}rg@y.test`, Rcpt{To: b, ORcpt: `utf-8;j\x{F6}rg@y.test`}, 0, false},
		{"TO:<b@y.test> ORCPT=utf-8;jörg@y.test", Rcpt{To: b}, 0, false},
		{"TO:<b@y.test> ORCPT=rfc822;jörg@y.test", Rcpt{To: b}, 0, true},
		{"TO:<b@y.test> ORCPT=utf-8;j\xf6rg@y.test", Rcpt{To: b}, 0, true},
	}
	for _, tt := range tests {
		got, bad := ParseRcpt(tt.in, all, tt.wide)
		if bad.Code != tt.code || tt.code == 0 && got != tt.want {
			t.Errorf("ParseRcpt(%q) = %+v, %v; want %+v, %d", tt.in, got, bad, tt.want, tt.code)
		}
	}
}
