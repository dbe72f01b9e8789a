// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"strings"
	"testing"

	"restante/internal/testpeer"
)

// VRFY and HELP say what AllowVerify and the other switches let them.
func TestAllowVerify(t *testing.T) {
	t.Parallel()
	s := startService(t)
	l := dial(t, s.Addr(1))
	say(t, l, "VRFY someone", "252 2.5.2", "VRFY <nobody@hub.test>", "252 2.5.2", "EXPN staff", "502 5.5.1", "HELP", "214 2.0.0 Commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY ")
	set(t, s, "AllowVerify", "false")
	l = dial(t, s.Addr(1))
	say(t, l, "VRFY someone", "502 5.5.1", "EXPN staff", "502 5.5.1", "HELP", "214 2.0.0 Commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP ETRN ")
}

// What SmtpOutboundCommandSupportOptions leaves out is not used towards a host that
// offers it, whether we connect or it calls.
func TestOutboundExtensions(t *testing.T) {
	t.Parallel()
	s, base := startService(t), testpeer.NewMX(t, testpeer.MXOptions{})
	createHeldDomain(t, s, "held.test", account)
	pointDNS(t, s, base.Addr, "far.test. IN A 127.0.0.1\n")
	for i, row := range []struct{ options, with, without string }{
		{"7", " BODY=8BITMIME RET=HDRS", ""},
		{"0x40", " RET=HDRS", "BODY="},
		{"0x400000", " BODY=8BITMIME", "RET="},
		{"0", "", "RET= BODY="},
	} {
		set(t, s, "SmtpOutboundCommandSupportOptions", row.options)
		caller := newMX(t)
		for _, to := range []string{"x@held.test", "x@far.test"} {
			l := dial(t, s.Addr(1))
			say(t, l, "MAIL FROM:<a@hub.test> BODY=8BITMIME RET=HDRS", "250", "RCPT TO:<"+to+">", "250", "DATA", "354", "x\r\n.", "250")
		}
		await(t, "the message is delivered", func() bool { return len(base.Messages()) > i })
		collectByTurn(t, s, account, caller)
		got := append(caller.Messages(), base.Messages()[i:]...)
		if len(got) != 2 {
			t.Fatalf("%d messages came", len(got))
		}
		for _, m := range got {
			params := strings.Join(m.Params, "|")
			bad := !strings.Contains(params, row.with)
			for _, word := range strings.Fields(row.without) {
				bad = bad || strings.Contains(params, word)
			}
			if bad {
				t.Errorf("with %s: %q", row.options, params)
			}
		}
	}
}

// With AcceptBareLinefeed a line that a bare LF ends is a line, dots and all.
func TestBareLinefeedAndDots(t *testing.T) {
	t.Parallel()
	s := startService(t)
	set(t, s, "AcceptBareLinefeed", "true")
	l := dial(t, s.Addr(1))
	say(t, l, "MAIL FROM:<a@hub.test>", "250", "RCPT TO:<b@hub.test>", "250", "DATA", "354", "Subject: x\n\none\n..two\n.\nthree\r\n.", "250")
	if got := awaitDropped(t, s, 1); !strings.Contains(got[0], "\r\none\r\n.two\r\n.\r\nthree\r\n") {
		t.Errorf("%q", got[0])
	}
}
