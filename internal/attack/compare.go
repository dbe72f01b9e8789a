// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"restante/internal/testpeer"
	"restante/internal/testpeer/postfix"
)

// pieces are what a conversation with both servers is made of. Each means the same to
// both by RFC 5321; what differs by design is in known.
var pieces = []string{
	"EHLO x.test\r\n", "HELO x.test\r\n", "EHLO\r\n", "MAIL FROM:<a@b.test>\r\n", "mail from:<a@b.test>\r\n", "MAIL FROM:<>\r\n", "MAIL FROM:<a@b.test> SIZE=100\r\n",
	"MAIL FROM:<a@b.test> BODY=8BITMIME\r\n", "MAIL FROM:<a@b.test> X=Y\r\n", "MAIL FROM:<a@b.test> SIZE=99999999999\r\n", "MAIL FROM:a b\r\n", "MAIL FROM:<a@b.test\r\n", "MAIL\r\n", "MAIL FROM:\r\n",
	"RCPT TO:<x@hub.test>\r\n", "RCPT TO:<x@hub.test>\r\n", "RCPT TO:<X.Y+z@HUB.test>\r\n", "RCPT TO:<\"x y\"@hub.test>\r\n", "RCPT TO:<x@evil.test>\r\n", "RCPT TO:<x@hub.test> X=Y\r\n", "RCPT TO:<>\r\n", "RCPT TO:<@hub.test>\r\n",
	"RCPT TO:<x@hub.test\r\n", "RCPT\r\n", "RCPT TO:<x@hub.test> NOTIFY=NEVER\r\n", "RCPT TO:<x@hub.test> NOTIFY=NEVER,DELAY\r\n",
	"DATA\r\nx\r\n\r\nx\r\n.\r\n", "DATA\r\n.\r\n", "DATA\r\n..\r\n.x\r\n\r\n.\r\n", "DATA\r\nx\r\n.\r\nMAIL FROM:<c@d.test>\r\n", "DATA\r\nx\n.\nx\r\n.\r\n", "DATA\r\nx\n.\r\nx\r\n.\r\n", "DATA\r\nx\r\n.\nMAIL FROM:<c@d.test>\r\n.\r\n", "DATA\r\nx\r.\r\r\n.\r\n",
	"DATA x\r\n", "RSET\r\n", "RSET x\r\n", "NOOP\r\n", "NOOP x\r\n", "VRFY x@hub.test\r\n", "XYZZY\r\n", "\r\n", "NOOP \r\n", "EXPN x\r\n",
	"BDAT 5 LAST\r\nx\r\n\r\n", "BDAT 3\r\nx\r\n", "BDAT 0 LAST\r\n", "BDAT x\r\n", "BDAT\r\n", "BDAT 5\r\nRSET\n", "NOOP\n", "STARTTLS x\r\n",
}

// comparable has a site without limits, without relay and without its tolerances.
const comparable = `set SITE MaxSmtpErrors 0
set SITE MaxJunkCommands 0
set SITE MaxRefusedRecipients 0
set SITE MaxConnectionsPerMinute 0
set SITE MaxMessagesPerHour 0
set SITE MaxRecipientsPerHour 0
set SITE RelayIpList none
set SITE SmtpHeloNoDomain false
set SITE SmtpMailNoHelo false
`

// known are pairs of a reply of ours and one of Postfix's that differ by design, as
// docs/esmtp.md says. "" stands for any.
var known = [][2]string{
	{"", "after BDAT"},
	{"Bare CR or LF", ""},
	{"250 2.1.0", "552 5.3.4 Message size exceeds"},
}

// compare has the same octets answered by the service and by Postfix, and compares the
// classes of the replies and what is taken.
func compare(ctx context.Context, a *attack) (err error) {
	if err := postfix.Missing(); err != nil {
		a.count("left out: Postfix is not installed")
		return nil
	}
	dir, err := os.MkdirTemp("", "restante-compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	ours, err := testpeer.StartService(ctx, a.restante, filepath.Join(dir, "data"), "--bind", "127.0.0.1:0", "--domain", "hub.test", "--fqdn", "hub.test")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.Halt()) }()
	if _, err := ours.Run(ctx, strings.ReplaceAll(comparable, "SITE", "/LM/SMTPSVC/1"), "mb", "apply"); err != nil {
		return err
	}
	theirs, err := postfix.Start(ctx, filepath.Join(dir, "postfix"), 20, "relay_domains = hub.test", "relay_transport = discard:", "mynetworks =", "smtpd_relay_restrictions = reject_unauth_destination",
		"strict_rfc821_envelopes = yes", "smtpd_helo_required = yes", "smtpd_error_sleep_time = 0", "smtpd_soft_error_limit = 1000", "smtpd_hard_error_limit = 1001", "smtpd_junk_command_limit = 1000",
		"smtpd_forbidden_commands =", "message_size_limit = 33554432", "smtpd_forbid_bare_newline = yes", "smtpd_forbid_bare_newline_exclusions =", "smtpd_discard_ehlo_keywords =", "smtpd_tls_security_level = none")
	if err != nil {
		return err
	}
	defer theirs.Stop()
	rnd, seen := a.random(), map[string]bool{}
	for time.Now().Before(a.until) && ctx.Err() == nil {
		text := conversation(rnd)
		got, err := converse(ours.Addr(1), text)
		if err != nil {
			return err
		}
		want, err := converse(theirs.Addr, text)
		if err != nil {
			return err
		}
		a.count("conversations with both")
		first, second, differ := difference(got, want)
		what := first[:3] + " for " + second[:3]
		switch {
		case !differ:
		case slices.ContainsFunc(known, func(k [2]string) bool { return strings.Contains(first, k[0]) && strings.Contains(second, k[1]) }):
			a.count("known differences")
		case !seen[what]:
			seen[what] = true
			a.fail("Postfix answers otherwise: %q for %q, to %q\n  ours:    %q\n  Postfix: %q", first, second, text, got, want)
		}
	}
	return err
}

// conversation is what a caller says at once.
func conversation(rnd *rand.Rand) string {
	text := ""
	if rnd.IntN(8) > 0 {
		text = "EHLO x.test\r\n"
	}
	for range 1 + rnd.IntN(7) {
		text += pieces[rnd.IntN(len(pieces))]
		if rnd.IntN(3) == 0 { // a whole transaction, which what was said before must not disturb
			text += "MAIL FROM:<a@b.test>\r\nRCPT TO:<x@hub.test>\r\nDATA\r\nx\r\n\r\nx\r\n.\r\n"
		}
	}
	return text + "QUIT\r\n"
}

// converse sends a text at once and gives the replies, one line each, after the greeting.
func converse(addr, text string) (replies []string, err error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	if _, err := r.ReadString('\n'); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c, text); err != nil {
		return nil, err
	}
	for {
		line, err := r.ReadString('\n')
		switch {
		case err != nil && line == "" && len(replies) > 0: // also a reset: the server may have left octets unread
			return replies, nil
		case err != nil:
			return nil, fmt.Errorf("%s answers %q with %q: %w", addr, text, replies, err)
		case len(line) > 3 && line[3] != '-':
			replies = append(replies, strings.TrimSpace(line))
		}
	}
}

// difference gives the first two replies whose classes differ.
func difference(ours, theirs []string) (a, b string, differ bool) {
	at := func(all []string, i int) string {
		if i >= len(all) {
			return "nothing"
		}
		return all[i]
	}
	for i := range max(len(ours), len(theirs)) {
		a, b := at(ours, i), at(theirs, i)
		switch {
		case closes(a) && closes(b):
			return "nothing", "nothing", false
		case strings.Contains(a, "Need RCPT command") && strings.Contains(b, "no valid recipients"):
			return "nothing", "nothing", false // after a BDAT that is refused only RSET has a meaning (RFC 3030 §2)
		case a[0] != b[0] || closes(a) != closes(b):
			return a, b, true
		}
	}
	return "nothing", "nothing", false
}

// closes reports whether a server ends the connection with a reply, as both do with
// one that may be two. Ours tells first what is wrong.
func closes(reply string) bool {
	return strings.HasPrefix(reply, "421") || strings.HasPrefix(reply, "521") || strings.Contains(reply, "Bare CR or LF") || strings.Contains(reply, "Syntax: BDAT")
}
