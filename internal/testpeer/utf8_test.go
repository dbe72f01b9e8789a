// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/internal/testpeer"
	"restante/internal/testpeer/postfix"
)

// sendUTF8 is what a program does that sends by Python's smtplib: it says SMTPUTF8 where
// the addresses need it.
const sendUTF8 = `
import smtplib, sys
from email.message import EmailMessage
m = EmailMessage()
m["From"], m["To"], m["Subject"] = "señor@bücher.test", "jörg@away.test", "grün"
m.set_content("größer\n")
with smtplib.SMTP(sys.argv[1], int(sys.argv[2])) as s:
    s.send_message(m)
`

// TestAddressesBeyondASCIIPassBothWays: from smtplib by the service to Postfix, and from
// Postfix to the service.
func TestAddressesBeyondASCIIPassBothWays(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "postfix", "python3")
	s := startService(t)
	host, port := hostPort(t, s.Addr(1))
	boxes := t.TempDir()
	if err := os.Chmod(boxes, 0o777); err != nil { // Postfix delivers as nobody
		t.Fatal(err)
	}
	p, err := postfix.Start(t.Context(), t.TempDir(), 20, "smtputf8_enable = yes",
		"transport_maps = inline:{hub.test=smtp:["+host+"]:"+port+"}",
		"virtual_mailbox_domains = away.test", "virtual_mailbox_base = "+boxes, "virtual_mailbox_maps = static:box/",
		"virtual_mailbox_limit = 0", "virtual_minimum_uid = 1", "virtual_uid_maps = static:65534", "virtual_gid_maps = static:65534")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	defer func() {
		if t.Failed() {
			t.Logf("Postfix:\n%s", p.Log())
		}
	}()
	pointDomain(t, s, "away.test", p.Addr)
	if code, out := runProgram(t, "", "python3", "-c", sendUTF8, host, port); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	var files []string
	await(t, "Postfix has it in a mailbox", func() bool {
		files, err = filepath.Glob(filepath.Join(boxes, "box", "new", "*"))
		return err == nil && len(files) == 1
	})
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<señor@xn--bcher-kva.test>", "Delivered-To: jörg@away.test", "with UTF8SMTP", "Subject: grün"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}

	say(t, dial(t, p.Addr), "MAIL FROM:<señor@away.test> SMTPUTF8", "250", "RCPT TO:<größe@hub.test>", "250", "DATA", "354",
		"Subject: grün\r\n\r\nx\r\n.", "250", "QUIT", "221")
	got := awaitDropped(t, s, 1)[0]
	for _, want := range []string{"x-sender: señor@away.test\r\nx-receiver: größe@hub.test\r\n", "with UTF8SMTP", "for <größe@hub.test>", "Subject: grün\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

// TestHeldMailBeyondASCIIStays: a caller that does not offer SMTPUTF8 leaves it, and the
// administrator sees why.
func TestHeldMailBeyondASCIIStays(t *testing.T) {
	t.Parallel()
	s := startService(t)
	createHeldDomain(t, s, "bücher.test", account)
	say(t, dial(t, s.Addr(1)), "EHLO client.test", "250", "MAIL FROM:<a@client.test> SMTPUTF8", "250", "RCPT TO:<jörg@BÜCHER.test>", "250", "DATA", "354",
		"Subject: x\r\n.", "250", "QUIT", "221")
	mx := newMX(t)
	collectByTurn(t, s, account, mx)
	if len(mx.Messages()) != 0 {
		t.Errorf("came %+v", mx.Messages())
	}
	for _, command := range [][]string{{"domain", "show", "1", "bücher.test"}, {"queue", "list"}, {"queue", "messages", "bücher.test"}, {"queue", "trace", "jörg@bücher.test"}} {
		if out := runCommand(t, s, "", command...); !strings.Contains(out, "450 4.6.7 the recipient's address needs SMTPUTF8, and mx.test does not offer it") {
			t.Errorf("%q: %s", command, out)
		}
	}
}
