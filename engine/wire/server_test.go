// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"strings"
	"testing"

	"restante/engine/mail"
)

const hello = "EHLO me.test"

// conversations are what a caller says, see unfold, and how each reply begins;
// where the caller is to say nothing, there stands a hyphen. The greeting has
// been read.
var conversations = []struct {
	name  string
	steps [][2]string
	alter func(*Config)
	set   func(*host)
}{
	{name: "a message", steps: [][2]string{
		{hello, "250-hub.test greets me.test|250-PIPELINING|250-SIZE|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250-BINARYMIME|250-DSN|250-MT-PRIORITY|250-DELIVERBY|250-ETRN|250-VRFY|250-HELP|250-TURN|250-ENHANCEDSTATUSCODES|250-ATRN|250-AUTH PLAIN LAST CRAM-MD5|250 AUTH=PLAIN LAST CRAM-MD5"},
		{"MAIL FROM:<a@x.test> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=q+2Bz AUTH=<>", "250 2.1.5 sender ok"},
		{"RCPT TO:<b@y.test> NOTIFY=success,delay ORCPT=rfc822;b@y.test", "250 2.1.5 recipient ok"},
		{"DATA", "354 "},
		{"Subject: x\r\n\r\n..dot\r\n.", "250 2.0.0 queued as m1"},
		{"QUIT", "221 2.0.0 hub.test"},
		{"-", "EOF"},
	}},
	{name: "HELO has no list and no status", steps: [][2]string{{"HELO me.test", "250 hub.test greets me.test"}}},
	{name: "EHLO without a name", steps: [][2]string{{"EHLO", "250-hub.test greets [127.0.0.1]"}}},
	{name: "EHLO with more than a name", steps: [][2]string{
		{"EHLO Lab PC", "250-hub.test greets Lab|"}, {"HELO a\tb", "250 hub.test greets a"}, {"EHLO [127.0.0.1] printer on floor 2", "250-hub.test greets [127.0.0.1]|"},
		{"EHLO " + strings.Repeat("x", 300), "250-hub.test greets " + strings.Repeat("x", 255) + "|"}, {"EHLO a\"<b>@", "250-hub.test greets a\"<b>@|"}, {"MAIL FROM:<>", "250"},
	}},
	{name: "EHLO refused", steps: [][2]string{{"EHLO refused.test", "550 5.7.1 not you"}, {"MAIL FROM:<>", "503 5.5.1"}}},
	{name: "verbs before EHLO", steps: [][2]string{
		{"NOOP", "250 2.0.0"}, {"RSET", "250 2.0.0"}, {"VRFY x", "252 2.5.2"}, {"VRFY", "501 5.5.4"}, {"HELP", "214 2.0.0 Commands: EHLO HELO AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY ETRN TURN ATRN HELP QUIT"},
		{"MAIL FROM:<>", "503 5.5.1"}, {"RCPT TO:<a@b.test>", "503 5.5.1"}, {"DATA", "503 5.5.1"},
		{"AUTH PLAIN", "503 5.5.1"}, {"ETRN x.test", "503 5.5.1"}, {"TURN", "503 5.5.1"}, {"ATRN", "503 5.5.1"},
	}},
	{name: "sequence", steps: [][2]string{
		{hello, "250"},
		{"RCPT TO:<a@b.test>", "503 5.5.1"}, {"DATA", "503 5.5.1"},
		{"MAIL FROM:<a@x.test>", "250"}, {"MAIL FROM:<a@x.test>", "503 5.5.1"}, {"DATA", "503 5.5.1"},
		{"AUTH PLAIN", "503 5.5.1"}, {"ETRN x.test", "503 5.5.1"}, {"TURN", "503 5.5.1"}, {"ATRN", "503 5.5.1"},
		{"RCPT TO:<no@b.test>", "550-5.1.1 nobody|550 5.1.1 of that name"}, {"DATA", "554 5.5.1"},
		{"RSET", "250 2.0.0"}, {"DATA", "503 5.5.1"},
	}},
	{name: "unknown verbs", steps: [][2]string{
		{hello, "250"}, {"STARTTLSX", "500 5.5.2"}, {"XYZZY", "500 5.5.2"}, {"", "500 5.5.2"}, {"EXPN a", "502 5.5.1"},
		{"SEND FROM:<a@b.test>", "502 5.5.1"}, {"STARTTLS", "502 5.5.1"}, {"NOOP\x00", "500 5.5.2"}, {"NO\x08OP", "500 5.5.2"},
		{"MA\u0131L FROM:<a@x.test>", "500 5.5.2"}, {"R\u017fET", "500 5.5.2"}, // a dotless i, a long s
		{"noop  ", "250"}, {"rset ", "250"}, {"RSET x", "501 5.5.4"}, {"DATA x", "501 5.5.4"}, {"QUIT x", "501 5.5.4"},
	}, alter: func(c *Config) { c.Limits.Errors = 0 }},
	{name: "MAIL's syntax", steps: [][2]string{
		{hello, "250"}, {"MAIL", "501 5.5.4"}, {"MAIL FROM:", "501 5.5.4"}, {"MAIL FROM:<a@x.test", "501 5.5.4"}, {"MAIL FROM:<a@@x.test>", "501 5.1.7"},
		{"MAIL FROM:<a@x.test>X", "501 5.5.4"}, {"MAIL FROM:<a@x.test> FOO=1", "555 5.5.4"}, {"MAIL FROM:<a@x.test> SIZE=1 SIZE=1", "501 5.5.4"},
		{"MAIL FROM:<a@x.test> SIZE=x", "501 5.5.4"},
		{"MAIL FROM:<a@x.test> BODY=BINARY", "501 5.5.4"}, {"MAIL FROM:<a@x.test> BODY=9BIT", "501 5.5.4"}, {"MAIL FROM:<\xc3\xa4@x.test>", "553 5.6.7"},
		{"MAIL FROM:<a@x.test> RET=NONE", "501 5.5.4"}, {"MAIL FROM:<a@x.test> SMTPUTF9", "555 5.5.4"},
		{"MAIL FROM:<mute@x.test>", "451 4.3.0"}, {"MAIL FROM:<later@x.test>", "451 4.7.1 later"},
		{"mail from: a@x.test  SIZE=1000", "250"},
	}, alter: func(c *Config) { c.Limits.Errors = 0; c.MaxSize = 1000 }},
	{name: "RCPT's syntax", steps: [][2]string{
		{hello, "250"}, {"MAIL FROM:<>", "250"}, {"RCPT TO:<>", "501 5.1.3"}, {"RCPT FROM:<a@x.test>", "501 5.5.4"}, {"RCPT TO:<a@x.test> NOTIFY=NEVER,DELAY", "501 5.5.4"},
		{"RCPT TO:<a@x.test> NOTIFY=", "501 5.5.4"}, {"RCPT TO:<a@x.test> ORCPT=x", "250"}, {"RCPT TO:<a@x.test> BY=1", "555 5.5.4"},
		{`RCPT TO:<"victim@evil> NOTIFY=NEVER <x"@ours.test>`, "250"}, {"RCPT TO:<Postmaster>", "250"}, {"RCPT TO:<@r.test:a@x.test>", "250"},
	}, alter: func(c *Config) { c.Limits.Errors = 0 }},
	{name: "parameters of what is off", steps: [][2]string{
		{hello, "250-hub.test greets me.test|250-SIZE 5|250-AUTH"}, {"MAIL FROM:<a@x.test> BODY=8BITMIME", "555 "}, {"MAIL FROM:<a@x.test> RET=FULL", "555 "},
		{"ETRN a.test", "502 "}, {"TURN", "502 "}, {"ATRN", "502 "}, {"BDAT 3|abcNOOP", "502 "}, {"-", "250 OK"},
	}, alter: func(c *Config) { c.Verbs = mail.Verbs{}; c.MaxSize = 5 }},
	{name: "a 421 of the session ends it", steps: [][2]string{{hello, "250"}, {"MAIL FROM:<leave@x.test>", "421 4.3.2 bye"}, {"-", "EOF"}}},
	{name: "a bug ends one caller", steps: [][2]string{{hello, "250"}, {"MAIL FROM:<bug@x.test>", "421 4.3.0"}, {"-", "EOF"}}},
	{name: "too many errors", steps: [][2]string{{"A", "500"}, {"B", "500"}, {"NOOP", "250"}, {"C", "421 4.7.0"}, {"-", "EOF"}}, alter: func(c *Config) { c.Limits.Errors, c.MaxSize = 2, 1 }},
	{name: "an overlong line", steps: [][2]string{{strings.Repeat("x", 100<<10)[:60<<10], "500 5.5.2"}, {"NOOP", "250"}}},
	{name: "a line without end", steps: [][2]string{{strings.Repeat("x", 200<<10), "421 4.7.0"}, {"-", "EOF"}}},
	{name: "the longest line", steps: [][2]string{{"NOOP " + strings.Repeat("x", 2048-7), "250"}, {"NOOP " + strings.Repeat("x", 2048-6), "500 5.5.2"}, {"NOOP", "250"}}},
	{name: "the longest line of AUTH", steps: [][2]string{
		{hello, "250"}, {"AUTH PLAIN " + strings.Repeat("A", 2512), "535 5.7.8"}, {"auth plain " + strings.Repeat("A", 12288-13), "501 5.5.2"},
		{"AUTH PLAIN " + strings.Repeat("A", 12288-12), "500 5.5.2"}, {"AUTHOR " + strings.Repeat("A", 2048), "500 5.5.2 Line too long"}, {"NOOP", "250"},
	}, alter: func(c *Config) { c.Limits.Errors = 0 }},
	{name: "AUTH", steps: [][2]string{
		{hello, "250"}, {"AUTH", "501 5.5.4"}, {"AUTH NTLM", "504 5.5.4"}, {"AUTH PLAIN !", "501 5.5.2"},
		{"AUTH PLAIN", "334 "}, {"*", "501 5.5.2"}, {"AUTH PLAIN", "334 "}, {"AGE", "501 5.5.2"}, {"AUTH PLAIN =", "535 5.7.8"},
		{"AUTH PLAIN", "334 "}, {strings.Repeat("A", 12300), "500 5.5.6"}, {"NOOP", "250"},
		{"AUTH PLAIN AGEAYg==", "535 5.7.8"}, {"AUTH PLAIN AGEAbGF0ZXI=", "454 4.7.0 later"}, {"AUTH CRAM-MD5", "504 5.5.4"},
		{"auth plain", "334 "}, {"AGEAc2VjcmV0", "235 2.7.0"}, {"AUTH PLAIN", "503 5.5.1"}, {hello, "250"}, {"AUTH PLAIN", "503 5.5.1"},
	}, alter: func(c *Config) { c.Limits.Errors = 0 }},
	{name: "AUTH with a last word", steps: [][2]string{
		{hello, "250"}, {"AUTH LAST", "334 dj1wcm9vZg=="}, {"*", "501"}, {"TURN", "530 5.7.0"}, {"AUTH LAST", "334 dj1wcm9vZg=="}, {"", "235 2.7.0"}, {"TURN", "450 4.7.1"},
	}},
	{name: "ETRN", steps: [][2]string{
		{hello, "250"}, {"ETRN", "500 5.5.4"}, {"ETRN nodots", "501 5.5.4"}, {"ETRN a b.test", "501 5.5.4"}, {"ETRN x.test", "250 2.0.0 queuing for x.test"},
		{"ETRN @x.test", "250 2.0.0 queuing for @x.test"}, {"ETRN #q|ETRN [192.0.2.1]", "250"}, {"-", "250"},
	}},
	{name: "a list of recipients", steps: [][2]string{
		{hello, "250"}, {"XRECIPIENTS a.test ADD x", "250 2.0.0 - - 0"}, {"MAIL FROM:<>", "250"}, {"XRECIPIENTS a.test", "503 5.5.1"},
	}},
	{name: "TURN and ATRN refused", steps: [][2]string{
		{hello, "250"}, {"TURN", "530 5.7.0"}, {"ATRN", "530 5.7.0"}, {"AUTH PLAIN AGEAc2VjcmV0", "235"}, {"TURN x", "501 5.5.4"}, {"ATRN a", "501 5.5.4"},
		{"ATRN a.test,,b.test", "501 5.5.4"}, {"TURN|NOOP", "503 5.5.0"}, {"-", "250 2.0.0 OK"}, {"ATRN|QUIT X|NOOP", "503 5.5.0"}, {"-", "501 5.5.4"}, {"-", "250 2.0.0 OK"}, {"TURN", "450 4.7.1"}, {"ATRN a.test, b.test", "450 4.7.1"}, {"NOOP", "250"},
	}},
	{name: "ODMR", steps: [][2]string{
		{hello, "250-hub.test greets me.test|250-PIPELINING|250-ENHANCEDSTATUSCODES|250-ATRN|250-AUTH "}, {"MAIL FROM:<>", "502 5.5.1"}, {"TURN", "502 5.5.1"}, {"ETRN a.test", "502 5.5.1"},
		{"VRFY a", "502 5.5.1"}, {"ATRN", "530 5.7.0"}, {"AUTH PLAIN AGEAc2VjcmV0", "235"}, {"MAIL FROM:<>", "502 5.5.1"}, {"ATRN", "450"},
	}, alter: func(c *Config) { c.ODMR = true }},
	{name: "no STARTTLS, but demanded", steps: [][2]string{
		{hello, "250"}, {"MAIL FROM:<>", "530 5.7.0"}, {"AUTH PLAIN", "530 5.7.0"}, {"RSET", "530 5.7.0"}, {"NOOP", "250"}, {"XYZZY", "500"}, {"QUIT", "221"},
	}, set: needTLS},
	{name: "BDAT", steps: [][2]string{
		{hello, "250"}, {"BDAT 5|helloNOOP", "503 5.5.1"}, {"-", "250"}, {"MAIL FROM:<>", "250"}, {"BDAT 6 LAST|QUIT\r\n|NOOP", "503 5.5.1"}, {"-", "250"},
		{"RCPT TO:<no@x.test>", "550"}, {"BDAT 0 LAST", "554 5.5.1"},
		{"RCPT TO:<a@x.test>", "250"}, {"BDAT 4|ab\r\n|BDAT 3|.\r\n|BDAT 1|\r|NOOP", "250 2.0.0 4 octets received"}, {"-", "250 2.0.0 3 "}, {"-", "250 2.0.0 1 "}, {"-", "250 2.0.0 OK"},
		{"MAIL FROM:<>", "503"}, {"BDAT 3 last|\ncd~", "250 2.0.0 queued as m1"}, {"BDAT 2 LAST|xy~", "503"},
		{"MAIL FROM:<>", "250"}, {"RCPT TO:<a@x.test>", "250"}, {"BDAT 2|ab|RSET", "250 2.0.0 2"}, {"-", "250 2.0.0 OK"}, {"DATA", "503"},
		{"MAIL FROM:<>", "250"}, {"RCPT TO:<a@x.test>", "250"}, {"BDAT 2|ab|QUIT", "250"}, {"-", "221"}, {"-", "EOF"},
	}, alter: func(c *Config) { c.Limits.Errors = 0 }},
	{name: "BDATs sent ahead of a refusal are one error", steps: [][2]string{
		{hello, "250"}, {"MAIL FROM:<>", "250"}, {"RCPT TO:<a@x.test>", "250"},
		{"BDAT 2|no|BDAT 1|x|BDAT 1|x|BDAT 1 LAST|x~", "552 5.3.4"}, {"-", "503"}, {"-", "503"}, {"-", "503"},
		{"BDAT 1|x|BDAT 1|x|BDAT 1 LAST|xNOOP", "503"}, {"-", "503"}, {"-", "503"}, {"-", "250"},
		{"BDAT 1|xNOOP", "503"}, {"-", "250"}, // another series
		{"BDAT 1|x~", "421 4.7.0"}, {"-", "EOF"}, // and another
	}, alter: func(c *Config) { c.Limits.Errors, c.MaxSize = 2, 1 }},
	{name: "a bare LF in a chunk", steps: [][2]string{
		{hello, "250"}, {"MAIL FROM:<>", "250"}, {"RCPT TO:<a@x.test>", "250"}, {"BDAT 2|a\n|BDAT 1 LAST|x|RSET", "550 5.6.0"}, {"-", "421 4.7.0"}, {"-", "EOF"},
	}},
	{name: "BDAT of no size", steps: [][2]string{{hello, "250"}, {"MAIL FROM:<>", "250"}, {"RCPT TO:<a@x.test>", "250"}, {"BDAT 13 LASTX|MAIL FROM:<z@x.test>", "501 5.5.4"}, {"-", "421 4.7.0"}, {"-", "EOF"}}},
	{name: "BDAT over the limit", steps: [][2]string{
		{hello, "250"}, {"MAIL FROM:<>", "250"}, {"RCPT TO:<a@x.test>", "250"}, {"BDAT 3|abc|BDAT 3|abc|BDAT 1 LAST|x~", "250"}, {"-", "552 5.3.4"}, {"-", "503"},
	}, alter: func(c *Config) { c.MaxSize = 5 }},
	{name: "the limit to the octet", steps: [][2]string{
		{hello, "250"}, {"MAIL FROM:<>", "250"}, {"RCPT TO:<a@x.test>", "250"}, {"DATA", "354"}, {"abc\r\n.", "250"},
		{"MAIL FROM:<>", "250"}, {"RCPT TO:<a@x.test>", "250"}, {"DATA", "354"}, {"abcd\r\n.", "552 5.3.4"}, {"NOOP", "250"},
		{"MAIL FROM:<>", "250"}, {"RCPT TO:<a@x.test>", "250"}, {"DATA", "354"}, {"...\r\n..\r\n.", "552 5.3.4"},
		{"MAIL FROM:<>", "250"}, {"RCPT TO:<a@x.test>", "250"}, {"DATA", "354"}, {"....\r\n.", "250"},
	}, alter: func(c *Config) { c.MaxSize = 5 }},
	{name: "everything in one segment", steps: [][2]string{
		{hello + "|MAIL FROM:<a@x.test>|RCPT TO:<b@x.test>|DATA|hi|.|MAIL FROM:<a@x.test>|RSET|NOOP|QUIT", "250-"},
		{"-", "250 2.1.5"}, {"-", "250 2.1.5"}, {"-", "354"}, {"-", "250 2.0.0 queued"}, {"-", "250"}, {"-", "250"}, {"-", "250"}, {"-", "221"}, {"-", "EOF"},
	}},
}

func TestConversations(t *testing.T) {
	for _, tt := range conversations {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config()
			if tt.alter != nil {
				tt.alter(&cfg)
			}
			opts := []func(*host){}
			if tt.set != nil {
				opts = append(opts, tt.set)
			}
			d := startHost(t, cfg, opts...).dial()
			d.expect("", "220 hub.test ")
			for _, s := range tt.steps {
				if s[0] != "-" {
					d.send(unfold(s[0]))
				}
				d.expect("", s[1])
			}
		})
	}
}

// unfold makes line ends of bars, and puts one at the end unless there stands
// a ~. Behind the octets of a BDAT comes none.
func unfold(s string) string {
	s, open := strings.CutSuffix(s, "~")
	parts := strings.Split(s, "|")
	var b strings.Builder
	for i, p := range parts {
		b.WriteString(p)
		if octets := i > 0 && strings.HasPrefix(parts[i-1], "BDAT "); !octets && i+1 < len(parts) {
			b.WriteString("\r\n")
		}
	}
	if !open {
		b.WriteString("\r\n")
	}
	return b.String()
}
