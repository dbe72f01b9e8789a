// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"restante/internal/testpeer"
)

// TestEachLimit exceeds each limit of a running service: the answer is that of its row
// in docs/limits.md, the log names the property, and 0 switches it off.
func TestEachLimit(t *testing.T) {
	t.Parallel()
	s := newLimitedService(t)
	set(t, s, "MaxRefusedRecipients", "0")
	set(t, s, "RelayIpList", "192.0.2.0/24")
	docs, err := os.ReadFile(filepath.Join("..", "..", "docs", "limits.md"))
	if err != nil {
		t.Fatal(err)
	}
	const (
		begin = ehlo + "MAIL FROM:<a@b.test>\r\n"
		rcpt  = "RCPT TO:<x@held.test>\r\n"
		body  = "DATA\r\nSubject: x\r\n\r\n"
		end   = "x\r\n.\r\n"
	)
	long := strings.Repeat(strings.Repeat("x", 98)+"\r\n", 20)
	tests := []struct {
		property, value string
		signIn          bool
		open            int    // connections that stay, beside the one that speaks
		say             string // in each of them, and then
		exceed          string
		reply           string // to that
	}{
		{property: "MaxConnections", value: "2", open: 2, reply: "421 4.3.2"},
		{property: "MaxEndpointConnections", value: "2", open: 2, reply: "421 4.3.2"},
		{property: "MaxConnectionsPerAddress", value: "2", open: 2, reply: "421 4.7.0"},
		{property: "MaxConnectionsPerMinute", value: "2", open: 2, reply: "421 4.7.0"},
		{property: "MaxMessagesPerHour", value: "1", exceed: begin + "RSET\r\nMAIL FROM:<a@b.test>\r\n", reply: "450 4.7.0"},
		{property: "MaxRecipientsPerHour", value: "1", exceed: begin + rcpt + rcpt, reply: "450 4.7.0"},
		{property: "MaxAccountMessagesPerHour", value: "1", signIn: true, exceed: "MAIL FROM:<a@b.test>\r\nRSET\r\nMAIL FROM:<a@b.test>\r\n", reply: "450 4.7.0"},
		{property: "MaxAccountRecipientsPerHour", value: "1", signIn: true, exceed: "MAIL FROM:<a@b.test>\r\n" + rcpt + rcpt, reply: "450 4.7.0"},
		{property: "MaxSmtpErrors", value: "1", exceed: ehlo + "FOO\r\nFOO\r\n", reply: "421 4.7.0"},
		{property: "MaxRefusedRecipients", value: "1", exceed: begin + "RCPT TO:<x@else.test>\r\nRCPT TO:<y@else.test>\r\n", reply: "421 4.7.0"},
		{property: "MaxJunkCommands", value: "2", exceed: ehlo + "NOOP\r\nNOOP\r\n", reply: "421 4.7.0"},
		{property: "MaxMessageSize", value: "1024", exceed: begin + rcpt + body + long + end, reply: "552 5.3.4"},
		{property: "MaxSessionSize", value: "1024", exceed: begin + rcpt + body + long[:800] + end + "MAIL FROM:<a@b.test> SIZE=900\r\n", reply: "421 4.3.2"},
		{property: "MaxRecipients", value: "1", exceed: begin + rcpt + "RCPT TO:<y@held.test>\r\n", reply: "452 4.5.3"},
		{property: "SessionTimeout", value: "1", exceed: begin, reply: "421 4.4.2"},
	}
	for _, tt := range tests {
		before := map[string]string{"MaxMessageSize": "0", "MaxSessionSize": "0", tt.property: tt.value}
		for p, v := range before {
			set(t, s, p, v)
		}
		if tt.property == "MaxSessionSize" {
			set(t, s, "MaxMessageSize", "1024")
		}
		last := exceed(t, s, tt.open, tt.signIn, tt.exceed, tt.property != "SessionTimeout")
		if !strings.HasPrefix(last, tt.reply+" ") {
			t.Errorf("%s: answered %q, want %s", tt.property, last, tt.reply)
		}
		if tt.reply[0] != '5' {
			await(t, tt.property+" is in the log", func() bool { return strings.Contains(s.Log(), ": "+tt.property+" is ") })
		}
		set(t, s, tt.property, "0")
		if last := exceed(t, s, tt.open, tt.signIn, tt.exceed, true); strings.HasPrefix(last, tt.reply+" ") {
			t.Errorf("%s 0: answered %q", tt.property, last)
		}
		row := ""
		for line := range strings.Lines(string(docs)) {
			if strings.HasPrefix(line, "| `"+tt.property+"` ") {
				row = line
			}
		}
		if !strings.Contains(row, "`"+tt.reply+"`") {
			t.Errorf("docs/limits.md: the row of %s does not have `%s`: %q", tt.property, tt.reply, row)
		}
	}
}

// exceed opens connections from an address of its own, speaks in another one, and gives
// the last reply that came before its end, which it asks for with quit.
func exceed(t *testing.T, s *testpeer.Service, open int, signIn bool, say string, quits bool) string {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: nextAddress()}}
	dial := func() *testpeer.Client {
		t.Helper()
		c, err := d.Dial("tcp", s.Addr(1))
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		return &testpeer.Client{Conn: c, R: bufio.NewReader(c)}
	}
	for range open {
		l := dial()
		defer l.Close()
		if err := l.Expect("220"); err != nil {
			t.Fatal(err)
		}
	}
	l := dial()
	defer l.Close()
	if signIn {
		if err := errors.Join(l.Expect("220"), l.Say("EHLO caller.test", "250"), l.SignIn(account, password)); err != nil {
			t.Fatal(err)
		}
	}
	if quits {
		say += quit
	}
	_, _ = io.WriteString(l.Conn, say) // a refused caller may be gone
	last := ""
	for {
		r, err := l.R.ReadString('\n')
		if err != nil || strings.HasPrefix(r, "221 ") {
			return last
		}
		last = strings.TrimSpace(r)
	}
}

var addresses int

func nextAddress() net.IP {
	addresses++
	return net.IPv4(127, 0, 78, byte(addresses))
}
