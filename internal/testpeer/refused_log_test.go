// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"restante/admin/api"
	clients "restante/engine/account"
	"restante/internal/testpeer"
)

// TestRefusalsAreLogged wants one line with site, session, address, HELO, account,
// verb and reply for each refusal and failure, before a recipient and after.
func TestRefusalsAreLogged(t *testing.T) {
	s := newLimitedService(t)
	const (
		begin = "MAIL FROM:<a@b.test>\r\nRCPT TO:<x@held.test>\r\n"
		body  = "Subject: x\r\n\r\nx\r\n.\r\n"
	)
	tests := []struct {
		name    string
		say     string // after EHLO
		signIn  bool   // before it
		old     bool   // then a handshake with TLS 1.1
		setting []string
		want    string // how the line goes on
	}{
		{name: "a handshake with TLS 1.1", say: "STARTTLS\r\n", old: true, want: `helo=c.test account="" verb=STARTTLS .*TLS handshake failed: the caller's TLS is too old \(TlsMinVersion, TlsOldDevices\): .*unsupported versions.*`},
		{name: "a verb that is not known", say: "XYZZY c2VjcmV0\r\n", want: `helo=c.test account="" verb="" what="" reply="500 5\.5\.2 .*"`},
		{name: "a malformed sender", say: "MAIL FROM:<a@@b>\r\n", want: `helo=c.test account="" verb=MAIL what=.*a@@b.* reply="501 5\.1\.7 .*`},
		{name: "a recipient before MAIL", say: "RCPT TO:<a@b.test>\r\n", want: `helo=c.test account="" verb=RCPT .*reply="503 5\.5\.1 .*`},
		{name: "a mechanism that is not offered", say: "AUTH NTLM c2VjcmV0\r\n", want: `helo=c.test account="" verb=AUTH what=NTLM reply="504 .*`},
		{name: "a recipient without a domain", say: "MAIL FROM:<a@b.test>\r\nRCPT TO:<x@[]>\r\n", want: `helo=c.test account="" verb=RCPT what=.* reply="501 5\.1\.3 .*`},
		{name: "a message that is too big", say: begin + "DATA\r\n" + strings.Repeat(strings.Repeat("x", 98)+"\r\n", messageLimit/100+2) + ".\r\n", want: `helo=c.test account="" verb=DATA what=[0-9a-v]{20} reply="552 5\.3\.4 .*`},
		{name: "a message in a circle", say: begin + "DATA\r\n" + strings.Repeat("Received: x\r\n", 101) + body, want: `helo=c.test account="" verb=DATA what=[0-9a-v]{20} reply="554 5\.4\.6 .*`},
		{name: "a message without recipients", say: "MAIL FROM:<a@b.test>\r\nDATA\r\n", want: `helo=c.test account="" verb=DATA what="" reply="50?[0-9.]* .*`},
		{name: "a chunk behind a refused one", say: "MAIL FROM:<a@b.test>\r\nBDAT 3 LAST\r\nabc", want: `helo=c.test account="" verb=BDAT what="3 LAST" reply="503 .*`},
		{name: "ETRN of a stranger", say: "ETRN held.test\r\n", want: `helo=c.test account="" verb=ETRN what=held.test reply="459 .*`},
		{name: "TURN before the sign-in", say: "TURN\r\n", want: `helo=c.test account="" verb=TURN what="" reply="530 .*`},
		{name: "a refusal of an account", signIn: true, say: "AUTH PLAIN\r\n", want: `helo=c.test account=` + account + ` verb=AUTH what=PLAIN reply="503 .*`},
		{name: "a bare line feed in a message", say: begin + "DATA\r\nx\ny\r\n.\r\n", want: `helo=c.test account="" verb=DATA what=[0-9a-v]{20} reply="5\d\d .*`},
		{name: "a stranger's relay", setting: []string{"RelayIpList", "192.0.2.0/24"}, say: "MAIL FROM:<a@b.test>\r\nRCPT TO:<x@else.test>\r\n", want: `helo=c.test account="" verb=RCPT what=x@else.test reply="550 5\.7\.1 .*`},
		{name: "one recipient too many", setting: []string{"MaxRecipients", "1"}, say: begin + "RCPT TO:<y@held.test>\r\n", want: `helo=c.test account="" verb=RCPT what=y@held.test reply="452 4\.5\.3 .*`},
		{name: "an address that may not connect", setting: []string{"IPSecurity", "192.0.2.0/24"}, want: `helo="" account="" verb=connect what=127\.0\.0\.1:\d+ reply="554 5\.7\.1 Access denied"`},
	}
	for _, tt := range tests {
		if tt.setting != nil {
			set(t, s, tt.setting[0], tt.setting[1:]...)
		}
		before := len(s.Log())
		conn, err := net.Dial("tcp", s.Addr(1))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		l := &testpeer.Client{Conn: conn, R: bufio.NewReader(conn)}
		if tt.say != "" {
			err = errors.Join(l.Expect("220"), l.Say("EHLO c.test", "250"))
			if tt.signIn {
				err = errors.Join(err, l.SignIn(account, password))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		_, _ = io.WriteString(conn, tt.say) // a refused caller may be gone
		if tt.old {
			_, _ = l.Reply()
			old := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
			if err := old.Handshake(); err == nil {
				t.Error("TLS 1.1 is spoken")
			}
		} else {
			_, _ = io.WriteString(conn, "QUIT\r\n")
			_, _ = io.Copy(io.Discard, l.R)
		}
		conn.Close()
		line := regexp.MustCompile(`(?m)^.* msg=refused .*site=1 .*client=127\.0\.0\.1 .*$`)
		want := regexp.MustCompile(` client=127\.0\.0\.1 ` + tt.want + ` session=[0-9a-v]{12}$`)
		var got []string
		await(t, tt.name+" is logged", func() bool { got = line.FindAllString(s.Log()[before:], -1); return len(got) > 0 })
		if len(got) != 1 || !want.MatchString(got[0]) {
			t.Errorf("%s: want one line with %s\ngot %s", tt.name, want, strings.Join(got, "\n"))
		}
	}
	if strings.Contains(s.Log(), "c2VjcmV0") {
		t.Error("a credential is in the log")
	}
}

// TestLogsHaveNoSecrets signs in by each mechanism, with the right password and with a
// wrong one, and says credentials where they do not belong.
func TestLogsHaveNoSecrets(t *testing.T) {
	s := startService(t)
	set(t, s, "LogExtFileFlags", "2097151")
	set(t, s, "LogType", "on")
	const wrong = "battery staple"
	b64 := base64.StdEncoding.EncodeToString
	secrets := []string{}
	say := func(lines ...string) (last string) {
		t.Helper()
		l, err := testpeer.Dial(s.Addr(1))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Quit()
		for _, line := range lines {
			if _, err := io.WriteString(l.Conn, line+"\r\n"); err != nil {
				t.Fatal(err)
			}
			if last, err = l.Reply(); err != nil {
				t.Fatal(err)
			}
		}
		return last
	}
	for _, pass := range []string{password, wrong} {
		code := "535"
		if pass == password {
			code = "235"
		}
		all := b64([]byte("\x00" + account + "\x00" + pass))
		secrets = append(secrets, pass, b64([]byte(pass)), all, all[8:24], strings.TrimRight(b64([]byte(pass))[4:], "="))
		for _, lines := range [][]string{
			{"AUTH PLAIN " + all}, {"AUTH PLAIN", all}, {"AUTH LOGIN", b64([]byte(account)), b64([]byte(pass))}, {"AUTH LOGIN " + b64([]byte(account)), b64([]byte(pass))},
		} {
			if r := say(lines...); !strings.HasPrefix(r, code) {
				t.Errorf("%q is answered %q", lines, r)
			}
		}
		for _, mechanism := range []string{"CRAM-MD5", "SCRAM-SHA-256"} {
			r, said := signInBy(t, s.Addr(1), mechanism, pass)
			if !strings.HasPrefix(r, code) {
				t.Errorf("%s is answered %q", mechanism, r)
			}
			secrets = append(secrets, said...)
		}
		for _, line := range []string{all, "PASS " + pass, "AUTH " + all, "AUTH PLAIN x" + all, "AUTH PLAIN " + all + " x", "AUTH  " + b64([]byte(pass)), "AUTH=PLAIN " + all, "AUTHPLAIN " + all} {
			if r := say(line); !strings.HasPrefix(r, "50") {
				t.Errorf("%q is answered %q", line, r)
			}
		}
	}
	await(t, "the log file has the last sign-in", func() bool { return strings.Count(w3cLog(t, s), "AUTH") >= 20 })
	for _, secret := range secrets {
		for name, log := range map[string]string{"the service's log": s.Log(), "the log file": w3cLog(t, s)} {
			if strings.Contains(log, secret) || strings.Contains(log, strings.ReplaceAll(secret, " ", "+")) {
				t.Errorf("%s has %q", name, secret)
			}
		}
	}
	if n := strings.Count(s.Log(), `msg="sign-in refused"`); n == 0 || n != strings.Count(s.Log(), `reply="535 5.7.8`) {
		t.Errorf("%d lines about refused sign-ins", n)
	}
	if strings.Count(s.Log(), `msg="signed in"`) != 6 {
		t.Error("not each sign-in has a line")
	}
}

// signInBy signs in by a mechanism with a response to a challenge, and gives the last
// reply and what was said.
func signInBy(t *testing.T, addr, mechanism, pass string) (last string, said []string) {
	t.Helper()
	l, err := testpeer.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Quit()
	_, client, err := clients.SignIn{Name: account, Password: clients.Secret(pass), Mechanisms: []string{mechanism}, InClear: true}.Begin(t.Context(), []string{mechanism}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, first, err := client.Start()
	if err != nil {
		t.Fatal(err)
	}
	line := "AUTH " + mechanism
	if first != nil {
		line += " " + base64.StdEncoding.EncodeToString(first)
	}
	for {
		if _, err := io.WriteString(l.Conn, line+"\r\n"); err != nil {
			t.Fatal(err)
		}
		if last, err = l.Reply(); err != nil || !strings.HasPrefix(last, "334 ") {
			return last, said
		}
		challenge, err := base64.StdEncoding.DecodeString(last[len("334 "):])
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Next(challenge)
		if err != nil {
			t.Fatal(err)
		}
		line = base64.StdEncoding.EncodeToString(response)
		if line != "" {
			said = append(said, line, string(response))
		}
	}
}

// w3cLog is the log file of site 1.
func w3cLog(t *testing.T, s *testpeer.Service) (all string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Data, "LogFiles", "SMTPSVC1", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all += string(text)
	}
	return all
}

// TestOneIDTellsTheLifeOfAMessage follows a message by the ID of the session that
// brought it.
func TestOneIDTellsTheLifeOfAMessage(t *testing.T) {
	s := newLimitedService(t)
	l, err := testpeer.Dial(s.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Quit()
	list := call(t, s, api.Sessions, api.SiteRequest{Site: 1})
	if len(list) != 1 {
		t.Fatalf("sessions: %v", list)
	}
	id := string(list[0].ID)
	if err := errors.Join(l.SignIn(account, password), l.Say("RCPT TO:<x@hub.test>", "503"), l.Send(sender, "x@hub.test", []byte("Subject: x\r\n\r\nx\r\n.\r\n"))); err != nil {
		t.Fatal(err)
	}
	file := awaitDropped(t, s, 1)[0]
	if !strings.Contains(file, "session "+id) {
		t.Errorf("the trace field has no %s:\n%s", id, file)
	}
	if err := l.Send(sender, "x@held.test", []byte("Subject: x\r\n\r\nx\r\n.\r\n")); err != nil {
		t.Fatal(err)
	}
	held := call(t, s, api.QueueMessages, api.QueueRequest{Domain: "held.test"})
	if len(held) != 1 {
		t.Fatalf("held: %v", held)
	}
	if m := call(t, s, api.QueueShow, api.MessageRequest{ID: string(held[0].ID)}); string(m.Envelope.Session) != id {
		t.Errorf("queue show has the session %q, want %s", m.Envelope.Session, id)
	}
	for _, event := range []string{`"signed in"`, "refused", "accepted", "delivered", "held"} {
		line := regexp.MustCompile(`(?m)^.* msg=` + event + ` .*session=` + id + `$`)
		await(t, event+" has the session", func() bool { return line.MatchString(s.Log()) })
	}
}
