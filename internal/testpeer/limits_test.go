// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bufio"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/internal/testpeer"
)

// TestLimitsHoldFromTheFirstStart floods a service on which nothing was set. The
// connection ends, and the log has the name of the property that ended it.
func TestLimitsHoldFromTheFirstStart(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	set(t, mail.service, "RelayIpList", "192.0.2.0/24") // this machine is a stranger, too
	mail.send(t, 1)
	const begin, rcpt = ehlo + "MAIL FROM:<evil@x.test>\r\n", "RCPT TO:<someone@else.test>\r\n"
	tests := []struct{ property, first, again string }{
		{"MaxSmtpErrors", ehlo, "FOO\r\n"},
		{"MaxSmtpErrors", begin, "RCPT TO:<@>\r\n"},
		{"MaxRefusedRecipients", begin, rcpt},
		{"MaxRefusedRecipients", begin, rcpt + rcpt + rcpt + "RSET\r\nMAIL FROM:<evil@x.test>\r\n"},
		{"MaxJunkCommands", "", "NOOP\r\n"},
		{"MaxJunkCommands", ehlo, "VRFY someone\r\n"},
		{"MaxJunkCommands", "", ehlo},
		{"MaxJunkCommands", begin, "RSET\r\nMAIL FROM:<evil@x.test>\r\n"},
		{"MaxJunkCommands", begin + "RCPT TO:<someone@held.test>\r\n", "BDAT 0\r\n"},
	}
	for _, tt := range tests {
		before := strings.Count(mail.service.Log(), tt.property+" is 100")
		if last := flood(t, mail.service.Addr(1), tt.first, tt.again); !strings.HasPrefix(last, "421 4.7.0 ") {
			t.Errorf("%s: %q a thousand times: %q", tt.property, tt.again, last)
		}
		await(t, tt.property+" is logged", func() bool { return strings.Count(mail.service.Log(), tt.property+" is 100") > before })
	}
	mail.send(t, 300) // in one connection
	mail.verify(t)
}

// flood says again a thousand times, and gives the last line that came.
func flood(t *testing.T, addr, first, again string) (last string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	go func() { _, _ = io.WriteString(conn, first+strings.Repeat(again, 1000)+quit) }()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		last = lines.Text()
	}
	return last
}

func TestConnectionsOfOneAddress(t *testing.T) {
	t.Parallel()
	s := startService(t)
	first := make([]net.Conn, 0, 1000)
	defer func() {
		for _, c := range first {
			c.Close()
		}
	}()
	greeting := func() string {
		conn, err := net.Dial("tcp", s.Addr(1))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		first = append(first, conn)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	for len(first) < cap(first) && strings.HasPrefix(greeting(), "220 ") {
	}
	last := greeting()
	if !strings.HasPrefix(last, "421 4.7.0 hub.test Too many connections from your address") {
		t.Errorf("connection %d: %q", len(first), last)
	}
	if !strings.Contains(s.Log(), "MaxConnectionsPerAddress is 200") {
		t.Error("the log does not name the property")
	}
	if told := runCommand(t, s, "", "explain", "1", "a@hub.test", "--client", "127.0.0.1"); !strings.Contains(told, "MaxConnectionsPerAddress") {
		t.Errorf("explain does not name the property:\n%s", told)
	}
	// A change is in force at once.
	for _, change := range [][]string{{"ConnectionLimitExempt", "127.0.0.0/8", "2001:db8::/32"}, {"MaxConnectionsPerAddress", "0"}, {"MaxConnectionsPerAddress", "500"}} {
		set(t, s, change[0], change[1:]...)
		if got := greeting(); !strings.HasPrefix(got, "220 ") {
			t.Errorf("after %q: %q", change, got)
		}
		runCommand(t, s, "", "mb", "unset", "SMTPSVC/1", change[0])
		if got := greeting(); !strings.HasPrefix(got, "421 4.7.0 ") {
			t.Errorf("after %q was taken back: %q", change, got)
		}
	}
	first[0].Close() // and some of those above the limit
	for _, c := range slices.Backward(first[len(first)-8:]) {
		c.Close()
	}
	await(t, "a connection is accepted again", func() bool { return strings.HasPrefix(greeting(), "220 ") })
}

// Each time-out of one verb ends a caller that is silent after it, and is named in
// the log.
func TestTimeoutOfEachVerb(t *testing.T) {
	t.Parallel()
	s := startService(t)
	const transaction, recipient = ehlo + "MAIL FROM:<a@x.test>\r\n", "RCPT TO:<a@hub.test>\r\n"
	var all sync.WaitGroup
	for property, say := range map[string]string{
		"SmtpConnectTimeout": "", "ServerListenTimeout": "NOO", "SmtpHeloTimeout": ehlo,
		"SmtpMailFromTimeout": transaction, "SmtpRcptToTimeout": transaction + recipient,
		"SmtpDataTimeout": transaction + recipient + "DATA\r\nhalf", "SmtpBdatTimeout": transaction + recipient + "BDAT 9\r\nhalf",
		"SmtpAuthTimeout": ehlo + "AUTH NONE\r\n", "SmtpSaslTimeout": ehlo + "AUTH PLAIN\r\n",
		"SmtpTurnTimeout": ehlo + "ATRN\r\n", "SmtpRsetTimeout": ehlo + "RSET\r\n",
	} {
		set(t, s, property, "1")
		conn, err := testpeer.Connect(s.Addr(1)) // with the greeting come its limits
		if err != nil {
			t.Fatal(err)
		}
		set(t, s, property, "0")
		all.Go(func() {
			defer conn.Close()
			_, _ = io.WriteString(conn, say)
			if b, _ := io.ReadAll(conn.R); !strings.Contains(string(b), "421 4.4.2 Idle timeout") {
				t.Errorf("%s: %q", property, b)
			}
			await(t, property+" is logged", func() bool { return strings.Contains(s.Log(), property+" is 1s") })
		})
	}
	all.Wait()
}
