// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"strconv"
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

// MaxEndpointConnections counts the callers of one address and port, and NotDeletable
// keeps a site until it is set to false.
func TestEndpointConnectionsAndGuardedSite(t *testing.T) {
	t.Parallel()
	s := startService(t)
	set(t, s, "MaxEndpointConnections", "1")
	first := dial(t, s.Addr(1))
	if _, err := testpeer.Connect(s.Addr(1)); err == nil || !strings.Contains(err.Error(), "421 4.3.2") {
		t.Errorf("a second caller: %v", err)
	}
	if !strings.Contains(s.Log(), "MaxEndpointConnections is 1") {
		t.Error("the log does not name the property")
	}
	first.Quit()
	await(t, "the next caller is taken", func() bool {
		l, err := testpeer.Connect(s.Addr(1))
		if err == nil {
			l.Close()
		}
		return err == nil
	})

	runCommand(t, s, "", "site", "create", "--name", "two", "--bind", "127.0.0.1:0", "--domain", "two.test")
	runCommand(t, s, "", "mb", "set", "SMTPSVC/2", "NotDeletable", "true")
	for _, args := range [][]string{{"--yes", "site", "delete", "2", "--discard"}, {"--yes", "mb", "rm", "SMTPSVC/2", "--recursive"}, {"mb", "mv", "SMTPSVC/2", "SMTPSVC/3"}} {
		if code, out, problem := tryCommand(t, s, "", args...); code != 4 || !strings.Contains(problem, "NotDeletable") {
			t.Errorf("%q: exit %d, %q, %q", args, code, out, problem)
		}
	}
	runCommand(t, s, "", "mb", "set", "SMTPSVC/2", "NotDeletable", "false")
	runCommand(t, s, "", "--yes", "site", "delete", "2", "--discard")
}

// With EnableReverseDnsLookup the trace field says what DNS says of the caller.
func TestReverseDNS(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for i, on := range []bool{false, true} {
		set(t, s, "EnableReverseDnsLookup", strconv.FormatBool(on))
		l := dial(t, s.Addr(1))
		say(t, l, "EHLO forged.test", "250", "MAIL FROM:<a@hub.test>", "250", "RCPT TO:<b@hub.test>", "250", "DATA", "354", "x\r\n.", "250")
		got := strings.Join(awaitDropped(t, s, i+1), "\n")
		if said := strings.Contains(got, "[127.0.0.1] unverified)") || strings.Contains(got, "[127.0.0.1] RDNS failed)"); said != on {
			t.Errorf("with %v: %q", on, got)
		}
	}
}
