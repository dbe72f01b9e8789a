// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"os"
	"path/filepath"
	"regexp"
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
		return regexp.MustCompile(`(?m)msg=refused .*verb=RCPT what=anybody@held.test reply="550 5\.1\.1 .*session=\d+`).MatchString(s.Log())
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
