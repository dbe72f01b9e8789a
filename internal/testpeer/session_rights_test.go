// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"io"
	"strings"
	"testing"

	"restante/internal/testpeer"
)

// A right that is taken away ends in the sessions that are open, at the next verb
// at the latest.
func TestRightsEndInOpenSessions(t *testing.T) {
	t.Parallel()
	s := startService(t)
	addAccount(t, s, "gone")
	addAccount(t, s, "changed")
	createHeldDomain(t, s, "held.test", account, "gone", "changed")
	sendNumbered(t, s, "x@held.test", 1)
	set(t, s, "RelayIpList", "192.0.2.1")
	set(t, s, "RelayForAuth", "true")
	for _, tt := range []struct {
		name, account string
		before        []string // pairs of commands and replies
		command       []string
		says          string // on its output
		after         []string
		closed        bool
	}{
		{"account delete", "gone", []string{"NOOP", "250"}, []string{"account", "delete", "gone"}, "deleted account gone, and ended 1 session\n", nil, true},
		{"account passwd", "changed", []string{"NOOP", "250"}, []string{"account", "passwd", "--password-stdin", "changed"}, "changed the password of account changed, and ended 1 session\n", nil, true},
		{"turn revoke", account, []string{"NOOP", "250"}, []string{"turn", "revoke", "1", "held.test", account}, "", []string{"TURN", "550 5.7.1", "ATRN held.test", "450 4.7.1", "ETRN held.test", "459 4.7.1"}, false},
		{"turn grant", account, []string{"TURN", "550 5.7.1"}, []string{"turn", "grant", "1", "held.test", account}, "", []string{"ETRN held.test", "250"}, false},
		{"relay for accounts", account, []string{"MAIL FROM:<a@b.test>", "250", "RCPT TO:<a@foreign.test>", "250", "RCPT TO:<b@foreign.test>", "250"},
			[]string{"mb", "set", "SMTPSVC/1", "RelayForAuth", "false"}, "", []string{"RCPT TO:<c@foreign.test>", "550 5.7.1", "DATA", "354", "x\r\n.", "550 5.7.1", "NOOP", "250"}, false},
		{"relay by address", "", []string{"MAIL FROM:<a@b.test>", "250", "RCPT TO:<a@foreign.test>", "550 5.7.1"},
			[]string{"mb", "set", "SMTPSVC/1", "RelayIpList", "127.0.0.1"}, "", []string{"RCPT TO:<a@foreign.test>", "250"}, false},
		{"ETRN for all", "", []string{"ETRN held.test", "459"}, []string{"mb", "set", "SMTPSVC/1", "EtrnAllow", "any"}, "", []string{"ETRN held.test", "250"}, false},
		{"limits stay", "", []string{"NOOP", "250"}, []string{"mb", "set", "SMTPSVC/1", "MaxRecipients", "1"}, "",
			[]string{"MAIL FROM:<a@b.test>", "250", "RCPT TO:<a@held.test>", "250", "RCPT TO:<b@held.test>", "250"}, false},
		{"addresses", "", []string{"NOOP", "250"}, []string{"mb", "set", "SMTPSVC/1", "IPSecurity", "192.0.2.1"}, "", []string{"NOOP", "421 4.7.1"}, true},
	} {
		l := dial(t, s.Addr(1))
		if tt.account != "" {
			if err := l.SignIn(tt.account, password); err != nil {
				t.Fatal(err)
			}
		}
		say(t, l, tt.before...)
		if out := runCommand(t, s, "another one", tt.command...); tt.says != "" && out != tt.says {
			t.Errorf("%s: says %q, want %q", tt.name, out, tt.says)
		}
		say(t, l, tt.after...)
		if !tt.closed {
			l.Quit()
			continue
		}
		rest, _ := io.ReadAll(l.R)
		if tt.after == nil && !strings.HasPrefix(string(rest), "421 4.7.0") {
			t.Errorf("%s: the session hears %q", tt.name, rest)
		}
	}
}

// A release under way stops before its next message.
func TestRightsEndInAReleaseUnderWay(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for _, tt := range []struct {
		who     string
		command []string
		says    string
	}{
		{"one", []string{"turn", "revoke", "1", "one.test", "one"}, "account one may no longer collect the mail of one.test at site 1, and ended 1 session\n"},
		{"two", []string{"account", "delete", "two"}, "deleted account two, and ended 1 session\n"},
		{"three", []string{"mb", "set", "SMTPSVC/1", "TurnRequireTls", "true"}, "revision "},
	} {
		domain := tt.who + ".test"
		addAccount(t, s, tt.who)
		createHeldDomain(t, s, domain, tt.who)
		sendNumbered(t, s, "x@"+domain, 3)
		l := signedIn(t, s.Addr(1), tt.who)
		say(t, l, "TURN", "250")
		said := ""
		caller := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
			if line == "." && said == "" {
				said = runCommand(t, s, "", tt.command...)
			}
			return ""
		}})
		caller.Serve(l.Conn)
		l.Close()
		if !strings.HasPrefix(said, tt.says) {
			t.Errorf("%s says %q, want %q", tt.command, said, tt.says)
		}
		if n := len(caller.Messages()); n != 1 {
			t.Errorf("%s: the caller got %d messages, want the one under way", tt.command, n)
		}
		await(t, "rest", func() bool { w := queueEntryFor(t, s, domain); return w.State == "held" && w.Messages == 2 })
	}
}
