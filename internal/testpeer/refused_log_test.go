// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"regexp"
	"testing"
	"time"

	"restante/internal/testpeer"
)

// TestRefusalsBeforeRcptAreLogged wants one line with site, session, address
// and reason for each refusal and failure that comes before a recipient.
func TestRefusalsBeforeRcptAreLogged(t *testing.T) {
	s := newLimitedService(t)
	const line = `(?m)^.* msg=refused .*site=1 .*client=127\.0\.0\.1 `
	tests := []struct {
		name    string
		say     string // after EHLO
		old     bool   // then a handshake with TLS 1.1
		setting []string
		want    string // how the line goes on
	}{
		{name: "a handshake with TLS 1.1", say: "STARTTLS\r\n", old: true, want: `verb=STARTTLS .*TLS handshake failed: .*unsupported versions.* session=\d+$`},
		{name: "a verb that is not known", say: "XYZZY c2VjcmV0\r\n", want: `verb="" what="" reply="500 5\.5\.2 .*" session=\d+$`},
		{name: "a malformed sender", say: "MAIL FROM:<a@@b>\r\n", want: `verb=MAIL what=.*a@@b.* reply="501 5\.1\.7 .* session=\d+$`},
		{name: "a sender before EHLO", say: "RCPT TO:<a@b.test>\r\n", want: `verb=RCPT .*reply="503 5\.5\.1 .* session=\d+$`},
		{name: "a mechanism that is not offered", say: "AUTH NTLM c2VjcmV0\r\n", want: `verb=AUTH what=NTLM reply="504 .* session=\d+$`},
		{name: "an address that may not connect", setting: []string{"IPSecurity", "192.0.2.0/24"}, want: `verb=connect what=127\.0\.0\.1:\d+ reply="554 5\.7\.1 Access denied" session=\d+$`},
	}
	for _, tt := range tests {
		if tt.setting != nil {
			runCommand(t, s, "", append([]string{"mb", "set", "SMTPSVC/1"}, tt.setting...)...)
		}
		conn, err := net.Dial("tcp", s.Addr(1))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		l := &testpeer.Client{Conn: conn, R: bufio.NewReader(conn)}
		if tt.setting == nil {
			if err := l.Expect("220"); err != nil {
				t.Fatal(err)
			}
			if err := l.Say("EHLO c.test", "250"); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = io.WriteString(conn, tt.say) // a refused caller may be gone
		_, _ = l.Reply()
		if tt.old {
			old := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
			if err := old.Handshake(); err == nil {
				t.Error("TLS 1.1 is spoken")
			}
		}
		l.Quit()
		row := regexp.MustCompile(line + tt.want)
		await(t, tt.name+" is logged", func() bool { return row.MatchString(s.Log()) })
		if n := len(row.FindAllString(s.Log(), -1)); n != 1 {
			t.Errorf("%s: %d lines", tt.name, n)
		}
	}
	if regexp.MustCompile(`c2VjcmV0`).MatchString(s.Log()) {
		t.Error("a credential is in the log")
	}
}
