// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"restante/admin/api"
	"restante/internal/testpeer"
)

// answer gives the reply to RCPT for one recipient.
func answer(t *testing.T, s *testpeer.Service, to string) string {
	t.Helper()
	l := dial(t, s.Addr(1))
	defer l.Quit()
	say(t, l, "MAIL FROM:<a@sender.test>", "250")
	if _, err := l.Conn.Write([]byte("RCPT TO:<" + to + ">\r\n")); err != nil {
		t.Fatal(err)
	}
	reply, err := l.Reply()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(reply)
}

// TestUnknownRecipientsAreRefused: by a list in the tree and by a file, which is read
// again when it changes; explain says the same, status what cannot be read, and the
// log has each refusal.
func TestUnknownRecipientsAreRefused(t *testing.T) {
	t.Parallel()
	s := startService(t)
	createHeldDomain(t, s, "held.test", account)
	list := filepath.Join(t.TempDir(), "held.txt")
	write := func(text string) {
		if err := os.WriteFile(list+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(list+".new", list); err != nil {
			t.Fatal(err)
		}
	}
	check := func(to, want string) {
		t.Helper()
		await(t, to+" is answered "+want, func() bool { return strings.HasPrefix(answer(t, s, to), want) })
		told := call(t, s, api.Explain, api.ExplainRequest{Site: 1, Recipient: to})
		if !strings.HasPrefix(told.Reply, want) || told.Accepted != strings.HasPrefix(want, "250") {
			t.Errorf("explain says of %s %q (%s), want %q", to, told.Reply, told.Refusal, want)
		}
	}
	check("anybody@held.test", "250 2.1.5")
	runCommand(t, s, "", "mb", "set", "SMTPSVC/1/Domain/held.test", "Recipients", "joe", "ann@held.test")
	check("JOE@held.test", "250 2.1.5")
	check("ann@held.test", "250 2.1.5")
	check("postmaster@held.test", "250 2.1.5")
	check("anybody@held.test", "550 5.1.1")
	check("anybody@hub.test", "250 2.1.5") // another domain has its own
	await(t, "the refusal is logged", func() bool {
		return regexp.MustCompile(`(?m)msg=refused .*verb=RCPT what=anybody@held.test reply="550 5\.1\.1 .*session=\w+`).MatchString(s.Log())
	})

	runCommand(t, s, "", "mb", "set", "SMTPSVC/1/Domain/held.test", "RecipientsFile", list)
	check("new@held.test", "451 4.3.0") // there is no list, so that nobody is refused for good
	check("joe@held.test", "250 2.1.5")
	write("new@held.test\n")
	check("new@held.test", "250 2.1.5")
	check("anybody@held.test", "550 5.1.1")
	write("newer@held.test\nhalf@he")
	check("new@held.test", "250 2.1.5")
	await(t, "status names the file", func() bool {
		out := runCommand(t, s, "", "status")
		return strings.Contains(out, list) && strings.Contains(out, "half written")
	})
	write("newer@held.test\n")
	check("newer@held.test", "250 2.1.5")
	check("new@held.test", "550 5.1.1")
	if out := runCommand(t, s, "", "status"); strings.Contains(out, list) {
		t.Errorf("status still names the file:\n%s", out)
	}
	if out := runCommand(t, s, "", "domain", "show", "1", "held.test"); !strings.Contains(out, "2 listed, and those of "+list) {
		t.Errorf("domain show says\n%s", out)
	}
	for _, bad := range []string{"a b@held.test", "joe@@held.test"} {
		if out, err := s.Run(t.Context(), "", "mb", "set", "SMTPSVC/1/Domain/held.test", "Recipients", bad); err == nil || !strings.Contains(err.Error(), "Recipients") {
			t.Errorf("%s is taken for a recipient: %s, %v", bad, out, err)
		}
	}
}

// TestNeverRefuseAndLoops: a domain that never refuses puts unknown recipients off; a
// message that has our trace too often is refused; below the reserve of the disk, new
// mail is put off.
func TestNeverRefuseAndLoops(t *testing.T) {
	t.Parallel()
	s := startService(t)
	createHeldDomain(t, s, "held.test", account)
	applyBatch(t, s, "set /LM/SMTPSVC/1/Domain/held.test Recipients joe", "set /LM/SMTPSVC/1/Domain/held.test NeverRefuse true")
	if got := answer(t, s, "ann@held.test"); !strings.HasPrefix(got, "450 4.1.1") {
		t.Errorf("an unknown recipient is answered %q", got)
	}
	told := call(t, s, api.Explain, api.ExplainRequest{Site: 1, Recipient: "ann@held.test"})
	if !strings.HasPrefix(told.Reply, "450 4.1.1") || !slices.ContainsFunc(told.Why, func(r api.Reason) bool { return r.Property == "NeverRefuse" && r.Value == "true" }) {
		t.Errorf("explain says %+v", told)
	}

	sendText(t, s, "a@sender.test", "x@hub.test", "Subject: loop\r\n\r\n")
	dropped := awaitDropped(t, s, 1)[0]
	own := regexp.MustCompile(`(?s)Received: .*?\r\n(\t.*?\r\n)*`).FindString(dropped)
	send := func(times int) string {
		l := dial(t, s.Addr(1))
		defer l.Quit()
		err := l.Send("a@sender.test", "x@hub.test", testpeer.DotStuff([]byte(strings.Repeat(own, times)+"Subject: loop\r\n\r\n")))
		if err == nil {
			return "250"
		}
		return err.Error()
	}
	if got := send(5); got != "250" {
		t.Errorf("five times: %s", got)
	}
	if got := send(6); !strings.Contains(got, "554 5.4.6 Mail loop") {
		t.Errorf("six times %q: %s", own, got)
	}
	await(t, "the loop is logged", func() bool { return strings.Contains(s.Log(), "MaxOwnHops is 5") })
	set(t, s, "MaxOwnHops", "6")
	if got := send(6); got != "250" {
		t.Errorf("six of six: %s", got)
	}

	set(t, s, "DiskReserve", "1048576")
	if got := send(0); !strings.Contains(got, "452 4.3.1") {
		t.Errorf("below the reserve: %s", got)
	}
	await(t, "the reserve is logged", func() bool { return strings.Contains(s.Log(), "must stay free (DiskReserve)") })
	set(t, s, "DiskReserve", "1")
	if got := send(0); got != "250" {
		t.Errorf("above the reserve: %s", got)
	}
}
