// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/admin/api"
)

// A host pushes the list of its recipients with its call; others are refused from then on,
// also after a restart, until the domain does not want the list any more.
func TestPushedRecipients(t *testing.T) {
	t.Parallel()
	s := startService(t)
	createHeldDomain(t, s, "held.test", account)
	dir := t.TempDir()
	write := func(name, text string) string {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	secret, list := write("password", password+"\n"), write("list", "joe\nann@held.test\n")
	push := func(fails bool, args ...string) string {
		t.Helper()
		out, err := s.Run(t.Context(), "", append([]string{"pull", s.Addr(1), "--user", account, "--password-file", secret, "--tls", "none", "--recipients", list}, args...)...)
		if (err != nil) != fails {
			t.Errorf("%q: %s, %v", args, out, err)
		}
		if err != nil {
			out += err.Error()
		}
		return out
	}
	check := func(to, want string) {
		t.Helper()
		l := dial(t, s.Addr(1))
		defer l.Quit()
		say(t, l, "MAIL FROM:<a@from.test>", "250")
		say(t, l, "RCPT TO:<"+to+">", want)
	}
	if out := push(true, "--etrn", "held.test"); !strings.Contains(out, "the holder refuses: recipients of held.test: 550 5.7.1") {
		t.Errorf("a list that nobody wants: %s", out)
	}
	check("eve@held.test", "250")
	applyBatch(t, s, "set SMTPSVC/1/Domain/held.test PushedRecipients true", "set SMTPSVC/1 MaxPushedRecipients 2")
	check("eve@held.test", "250") // nothing is pushed yet
	push(false, "--etrn", "held.test")
	known := func() {
		t.Helper()
		check("Joe@held.test", "250")
		check("ann@held.test", "250")
		check("postmaster@held.test", "250")
		check("eve@held.test", "550 5.1.1")
	}
	known()
	d := call(t, s, api.DomainShow, api.DomainRequest{Site: 1, Name: "held.test"})
	if p := d.Pushed; p == nil || p.Count != 2 || p.By != account || p.At.IsZero() {
		t.Errorf("domain show has %+v", p)
	}
	if out := runCommand(t, s, "", "domain", "show", "1", "held.test"); !strings.Contains(out, "a list of 2 that "+account+" pushed at ") {
		t.Errorf("domain show says\n%s", out)
	}
	write("list", "joe\nann\neve\n")
	if out := push(true, "--etrn", "held.test"); !strings.Contains(out, "552 5.3.4 too many recipients") {
		t.Errorf("a list that is too long: %s", out)
	}
	if err := s.Halt(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	known()
	if out := runCommand(t, s, "", "explain", "1", "eve@held.test"); !strings.Contains(out, "PushedRecipients") {
		t.Errorf("explain says\n%s", out)
	}
	applyBatch(t, s, "set SMTPSVC/1/Domain/held.test PushedRecipients false")
	check("eve@held.test", "250")
	applyBatch(t, s, "set SMTPSVC/1/Domain/held.test PushedRecipients true")
	check("eve@held.test", "250") // the list is gone
}
