// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"restante/admin/api"
)

// The profile of a link bounds what a call takes, in a session and in a day, also after a
// restart, and says what it keeps and why.
func TestLinkProfiles(t *testing.T) {
	t.Parallel()
	s := startService(t)
	createHeldDomain(t, s, "held.test", account)
	if out := runCommand(t, s, "", "mb", "ls", "SMTPSVC/1/Links"); strings.Join(strings.Fields(out), " ") != "hf iridium lan vsat" {
		t.Errorf("the ready profiles are %q", out)
	}
	if out, err := s.Run(t.Context(), "", "mb", "set", "SMTPSVC/1/Domain/held.test", "LinkProfile", "iridum"); err == nil ||
		!strings.Contains(err.Error(), `there is no link profile "iridum" below /LM/SMTPSVC/1/Links; did you mean "iridium"?`) {
		t.Errorf("a profile that is not there: %q, %v", out, err)
	}
	applyBatch(t, s, "add SMTPSVC/1/Links/ship IIsSmtpLink", "set SMTPSVC/1/Links/ship LinkOrder size", "set SMTPSVC/1/Links/ship LinkSizeCeiling 20000",
		"set SMTPSVC/1/Links/ship LinkSessionBytes 11500", "set SMTPSVC/1/Links/ship LinkDayBytes 17000", "set SMTPSVC/1/Links/ship ReleaseIdleTimeout 300",
		"set SMTPSVC/1/Links/ship LinkSessionMinutes 600", "set SMTPSVC/1/Links/ship LinkDayMinutes 600", "set SMTPSVC/User LinkProfile ship")
	for _, kb := range []int{30, 5, 7, 3, 4} {
		sendText(t, s, "a@from.test", "x@held.test", fmt.Sprintf("Subject: %d\r\n\r\n%s", kb, strings.Repeat(strings.Repeat("x", 98)+"\r\n", kb*10)))
	}
	turn := func(want ...string) {
		t.Helper()
		mx := newMX(t)
		collectByTurn(t, s, account, mx)
		if got := subjects(t, mx); !slices.Equal(got, want) {
			t.Errorf("TURN took %q, want %q", got, want)
		}
	}
	check := func(outcome string) {
		t.Helper()
		last := call(t, s, api.TurnHistory, api.HistoryRequest{})[0]
		if last.Outcome != outcome {
			t.Errorf("the call came to %q, want %q", last.Outcome, outcome)
		}
	}
	turn("3", "4")
	session := call(t, s, api.TurnHistory, api.HistoryRequest{})[0]
	if session.Messages != 2 || session.Left != 3 || !strings.HasPrefix(session.Outcome, "link ship keeps 1 of 3") ||
		!strings.Contains(session.Outcome, " bytes beyond its size ceiling of 20000 bytes, 2 of 12") || !strings.HasSuffix(session.Outcome, " bytes beyond its budget of a session, 11500 bytes") {
		t.Errorf("the history has %+v", session)
	}
	if line := lastLine(s.Log(), "msg=released"); !strings.Contains(line, session.Outcome) || !strings.Contains(line, "in_doubt=0") {
		t.Errorf("the log has %s", line)
	}
	if out := runCommand(t, s, "", "domain", "show", "1", "held.test"); !strings.Contains(out, "2 of 5 messages, ") || !strings.Contains(out, "1 message of 29.") {
		t.Errorf("domain show says\n%s", out)
	}
	if d := queueEntryFor(t, s, "held.test"); d.TooLarge != 1 || d.SizeCeiling != 20000 {
		t.Errorf("queue list has %+v", d)
	}
	turn("5") // 7 is beyond what is left of the day
	if err := s.Halt(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	turn()
	applyBatch(t, s, "set SMTPSVC/1/Links/ship LinkDayBytes 12000")
	say(t, signedIn(t, s.Addr(1), account), "TURN", "450 4.3.2 the budget of today is used up")
	check("link ship: the budget of the day is used up")
	say(t, signedIn(t, s.Addr(1), account), "ETRN held.test", "458 4.3.2 the budget of today is used up")

	// The domain's profile is for who has none, and has a day of its own; so are its ETRN and
	// an administrator's release.
	mx := newMX(t)
	pointDomain(t, s, "held.test", mx.Addr)
	applyBatch(t, s, "unset SMTPSVC/User LinkProfile", "set SMTPSVC/1/Domain/held.test LinkProfile ship")
	runCommand(t, s, "", "queue", "release", "held.test")
	await(t, "the release takes one message", func() bool { return len(mx.Messages()) == 1 && queueEntryFor(t, s, "held.test").State == "held" })
	await(t, "its outcome is told", func() bool {
		return strings.HasPrefix(call(t, s, api.TurnHistory, api.HistoryRequest{})[0].Outcome, "link ship keeps 1 of 3")
	})
	applyBatch(t, s, "rm SMTPSVC/1/Links/ship")
	turn("30")
	if out := s.Log(); !strings.Contains(out, "LinkProfile names no key below Links: no limits hold") {
		t.Errorf("the log says nothing of the profile that is gone:\n%s", out)
	}
}

// lastLine is the last line of text that contains part.
func lastLine(text, part string) (last string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			last = line
		}
	}
	return last
}
