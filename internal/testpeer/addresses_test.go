// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"path/filepath"
	"strings"
	"testing"

	"restante/internal/testpeer"
)

// viaSmartHost has all remote mail of site 1 go to a sink.
func viaSmartHost(t *testing.T, s *testpeer.Service) *testpeer.Sink {
	t.Helper()
	sink := testpeer.StartSink(t)
	applyBatch(t, s, "set /LM/SMTPSVC/1 SmartHost '"+sink.Addr+"'", "set /LM/SMTPSVC/1 SmartHostType 2")
	return sink
}

// sendText sends one message by one connection.
func sendText(t *testing.T, s *testpeer.Service, from, to, text string) {
	t.Helper()
	l, err := testpeer.Dial(s.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Quit()
	if err := l.Send(from, to, testpeer.DotStuff([]byte(text))); err != nil {
		t.Fatal(err)
	}
}

func awaitSink(t *testing.T, sink *testpeer.Sink, n int) []testpeer.Received {
	t.Helper()
	got, err := sink.Await(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Mail that a device submits gets the fields that it lacks, above its own; what it
// has stays, and mail for a held domain passes through.
func TestSubmittedMailIsCompleted(t *testing.T) {
	t.Parallel()
	s := startService(t)
	sink := viaSmartHost(t, s)
	const own = "From: <scanner@hub.test>\r\nSubject: scan\r\n\r\nbody\r\n"
	sendText(t, s, "scanner", "joe@far.test", own)
	whole := "Date: Mon, 2 Mar 2026 10:00:00 +0000\r\nMessage-ID: <own@scanner>\r\n" + own
	sendText(t, s, "scanner", "joe@far.test", whole)
	got := awaitSink(t, sink, 2)
	for _, m := range got {
		head, ok := strings.CutSuffix(string(m.Data), own)
		dates, ids := strings.Count(head, "\r\nDate: "), strings.Count(head, "\r\nMessage-ID: <")
		if !ok || dates != 1 || ids != 1 || m.From != "scanner@hub.test" {
			t.Errorf("from %s: %d Date and %d Message-ID in %q", m.From, dates, ids, m.Data)
		}
		if strings.Contains(head, "own@scanner") != strings.HasSuffix(string(m.Data), whole) {
			t.Errorf("the fields of the sender are changed: %q", m.Data)
		}
	}
	createHeldDomain(t, s, "held.test", account)
	sendText(t, s, "scanner", "joe@held.test", own)
	l, err := testpeer.Dial(s.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SignIn(account, password); err != nil {
		t.Fatal(err)
	}
	if err := l.Say("TURN", "250"); err != nil {
		t.Fatal(err)
	}
	if err := l.Receive(func(m testpeer.Received) error {
		if head, ok := strings.CutSuffix(string(m.Data), own); !ok || strings.Contains(head, "\r\nDate:") {
			t.Errorf("mail that passes through is %q", m.Data)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestMasquerade: the domain of a local sender is another one towards other hosts, in
// MAIL FROM alone; foreign and null senders stay, and so do files of the Drop folder.
func TestMasquerade(t *testing.T) {
	t.Parallel()
	s := startService(t)
	sink := viaSmartHost(t, s)
	const text = "From: <joe@hub.test>\r\nSubject: masked\r\n\r\nbody\r\n"
	n := 0
	for _, tt := range []struct {
		name, from, want string
		change           []string
	}{
		{"off", "joe@hub.test", "joe@hub.test", []string{"set /LM/SMTPSVC/1 MasqueradeDomain corp.test"}},
		{"a local sender", "joe@hub.test", "joe@corp.test", []string{"set /LM/SMTPSVC/1 DoMasquerade true"}},
		{"one without a domain", "root", "root@corp.test", nil},
		{"a foreign sender", "joe@else.test", "joe@else.test", nil},
		{"the null sender", "", "", nil},
		{"no domain", "joe@hub.test", "joe@hub.test", []string{"unset /LM/SMTPSVC/1 MasqueradeDomain"}},
	} {
		if tt.change != nil {
			applyBatch(t, s, tt.change...)
		}
		sendText(t, s, tt.from, "x@far.test", text)
		n++
		m := awaitSink(t, sink, n)[n-1]
		if m.From != tt.want || !strings.HasSuffix(string(m.Data), text) {
			t.Errorf("%s: MAIL FROM:<%s>, want <%s>; the message is %q", tt.name, m.From, tt.want, m.Data)
		}
	}
	applyBatch(t, s, "set /LM/SMTPSVC/1 MasqueradeDomain corp.test")
	sendText(t, s, "joe@hub.test", "x@hub.test", text)
	if files := awaitDropped(t, s, 1); !strings.Contains(files[0], "x-sender: joe@hub.test\r\n") {
		t.Errorf("in the Drop folder is %q", files[0])
	}
}

// TestAliasesAreStamped: mail for an alias is queued for the default domain, and once
// for a recipient whose names are several; postmaster's goes to PostmasterEmail.
func TestAliasesAreStamped(t *testing.T) {
	t.Parallel()
	s := startService(t)
	sink := viaSmartHost(t, s)
	runCommand(t, s, "", "domain", "create", "1", "alias.test", "--alias")
	sendMessage(t, s, "a@sender.test", "alias", "joe@alias.test", "joe@hub.test", "ann@ALIAS.test")
	if got := awaitDropped(t, s, 1)[0]; !strings.HasPrefix(got, "x-sender: a@sender.test\r\nx-receiver: joe@hub.test\r\nx-receiver: ann@hub.test\r\nReceived: ") {
		t.Errorf("got\n%s", got)
	}
	applyBatch(t, s, "set /LM/SMTPSVC/1 PostmasterEmail admin@far.test")
	sendMessage(t, s, "a@sender.test", "trouble", "postmaster", "postmaster@alias.test")
	if got := awaitSink(t, sink, 1)[0]; len(got.To) != 1 || got.To[0] != "admin@far.test" {
		t.Errorf("mail for postmaster goes to %q", got.To)
	}
}

// TestCopiesOfReports: SendNdrTo gets each report of a failure, and PostmasterEmail with
// its name is whom reports are from. SendBadTo is told of bad mail, which is in Badmail, too.
func TestCopiesOfReports(t *testing.T) {
	t.Parallel()
	s := startService(t)
	sink := viaSmartHost(t, s)
	applyBatch(t, s, "set /LM/SMTPSVC/1 ReportCollectTime 1", "set /LM/SMTPSVC/1 SendNdrTo watch@far.test",
		"set /LM/SMTPSVC/1 PostmasterEmail admin@far.test", "set /LM/SMTPSVC/1 PostmasterName 'The Postmaster'")
	runCommand(t, s, "", "domain", "create", "1", "gone.test", "--remote", "--smart-host", "[127.0.0.1]:1")
	sendMessage(t, s, "joe@far.test", "lost", "x@gone.test")
	awaitDeferred(t, s, "gone.test")
	runCommand(t, s, "", "queue", "bounce", "--domain", "gone.test", "--yes")
	got := awaitSink(t, sink, 1)
	to := got[0].To
	if len(got) == 1 && len(to) != 2 {
		got = awaitSink(t, sink, 2)
		to = append(to, got[1].To...)
	}
	if strings.Join(to, " ") != "joe@far.test watch@far.test" || got[0].From != "" {
		t.Errorf("the report is from <%s> to %q", got[0].From, to)
	}
	if !strings.HasPrefix(string(got[0].Data), "From: \"The Postmaster\" <admin@far.test>\r\n") {
		t.Errorf("the report is %q", got[0].Data)
	}
	n := len(got)
	applyBatch(t, s, "set /LM/SMTPSVC/1 SendBadTo bad@far.test", "set /LM/SMTPSVC/1 ReportCollectTime 3600")
	sendMessage(t, s, "", "lost report", "x@gone.test")
	awaitDeferred(t, s, "gone.test")
	runCommand(t, s, "", "queue", "bounce", "--domain", "gone.test", "--yes")
	bad := awaitSink(t, sink, n+1)[n]
	if len(bad.To) != 1 || bad.To[0] != "bad@far.test" || bad.From != "" || !strings.Contains(string(bad.Data), "lost report") ||
		!strings.Contains(string(bad.Data), "Final-Recipient: rfc822; x@gone.test") {
		t.Errorf("the report of bad mail is from <%s> to %q:\n%s", bad.From, bad.To, bad.Data)
	}
	if kept, _ := filepath.Glob(filepath.Join(s.Data, "Mailroot", "Badmail", "*.eml")); len(kept) != 1 {
		t.Errorf("in Badmail are %q", kept)
	}
}
