// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"restante/admin/api"
	"restante/internal/testpeer"
)

// TestHostileTextIsShownEscaped puts control, C1 and bidirectional characters
// wherever a stranger, a peer or a delegate can, and wants none of them in an
// answer for people, in an error or in the log.
func TestHostileTextIsShownEscaped(t *testing.T) {
	t.Parallel()
	const text = "x\x1b[2J\u009b31m\u202eexe\u2066"
	s := startService(t)
	mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if strings.HasPrefix(line, "RCPT") {
			return "451 4.2.0 " + text + "\xff"
		}
		return ""
	}})
	call(t, s, api.DomainCreate, api.DomainCreateRequest{Site: 1, Name: "out.test", SmartHost: mx.Addr, Relay: true})
	createHeldDomain(t, s, "held.test", account)
	const name = "x\u202eexe\u2066" // where the tree takes no control characters; as a key's name not even these
	const key = "SMTPSVC/1/" + name
	runCommand(t, s, "", "mb", "set", "SMTPSVC/1", "ServerComment", name)
	runCommand(t, s, "", "mb", "set", "SMTPSVC/1", "BadMailDirectory", "Mailroot/"+name)
	l := dial(t, s.Addr(1))
	say(t, l, "EHLO \u009b"+name, "250", "MAIL FROM:<a@sender.test>", "250", "RCPT TO:<b@held.test>", "250", "RCPT TO:<b@out.test>", "250", "DATA", "354",
		"Subject: "+text+"\r\n\r\n"+text+"\xff\r\n.", "250")
	w := awaitDeferred(t, s, "out.test")
	id := call(t, s, api.QueueMessages, api.QueueRequest{Domain: "held.test"})[0].ID
	_, _ = l.Write([]byte("RCPT TO:<" + text + "@x.test>\r\n"))
	_, _ = l.Reply()
	checkEscaped(t, "a peer's reply", w.LastError)
	for _, args := range [][]string{
		{"mb", "add", key}, {"status"}, {"site", "list"}, {"site", "show", "1"}, {"site", "sessions", "1"}, {"site", "rename", "1", text}, {"site", "list"},
		{"domain", "list", "1"}, {"domain", "show", "1", "held.test"}, {"domain", "show", "1", text}, {"account", "list"}, {"turn", "list"},
		{"account", "delete", text}, {"queue", "list"}, {"queue", "messages", "out.test"}, {"queue", "messages", text}, {"queue", "show", string(id)},
		{"queue", "trace", text}, {"queue", "trace", "a@sender.test"}, {"mb", "ls", "SMTPSVC/1"}, {"mb", "tree", "SMTPSVC/1"}, {"mb", "tree", key},
		{"mb", "show", "SMTPSVC/1", "--all", "--attributes"}, {"mb", "show", text}, {"mb", "find", "ServerComment"}, {"mb", "find", text},
		{"mb", "log", "--changes"}, {"mb", "diff", "1"}, {"mb", "get", text, "ServerComment"}, {"mb", "get", "SMTPSVC/1", text}, {"mb", "rm", text},
		{"mb", "watch", "--since", "1", "--count", "3"}, {"mb", "schema", text}, {"mb", "backup", text}, {"mb", "backup", name}, {"mb", "backups"}, {"mb", "export", "/LM", filepath.Join(t.TempDir(), name)},
		{"mb", "import", text}, {"mb", "restore", text}, {"mb", "apply", text}, {"mb", "apply", "-", text}, {"mb", "revert", "2", "--dry-run"}, {"run", text}, {"run", "@" + text},
		{"explain", "1", text + "@held.test"}, {"explain", "1", "b@held.test", "--account", text}, {text}, {"mb", text}, {"--" + text},
		{"__complete", "--", "site", "show", ""}, {"__complete", "--", "mb", "ls", "SMTPSVC/1/"}, {"adsutil", text},
		{"mb", "cp", key, key + "2"}, {"mb", "mv", key, key + "3"}, {"domain", "delete", "1", text}, {"queue", "export", filepath.Join(t.TempDir(), text)}, {"queue", "import", text},
	} {
		_, out, problems := tryCommand(t, s, "set "+text+" "+text+" 1\n", append([]string{"--yes"}, args...)...)
		checkEscaped(t, strings.Join(args, " "), out+problems)
	}
	checkEscaped(t, "the log", s.Log())
	if out := runCommand(t, s, "", "queue", "show", "--body", string(id)); !strings.Contains(out, text+"\xff\r\n") {
		t.Errorf("a message to a pipe is not as it came: %q", out)
	}
	if out := runCommand(t, s, "", "--json", "mb", "get", "SMTPSVC/1", "ServerComment"); !strings.Contains(out, "\"value\":\""+name+"\"") {
		t.Errorf("JSON has the escapes of people: %s", out)
	}
}

// checkEscaped wants no character in text that a terminal could obey.
func checkEscaped(t *testing.T, what, text string) {
	t.Helper()
	bad := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
	for line := range strings.Lines(text) {
		if strings.ContainsFunc(line, bad) || !utf8.ValidString(line) {
			t.Errorf("%+q prints %+q", what, line)
		}
	}
}
