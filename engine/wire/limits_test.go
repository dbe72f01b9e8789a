// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

const toRcpt = hello + "\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.test>\r\n"

// TestJunkCommands: what leads to no message is counted up to the limit, and
// anew after a message.
func TestJunkCommands(t *testing.T) {
	const limit = 5
	message := "MAIL FROM:<>\r\nRCPT TO:<a@x.test>\r\nDATA\r\nx\r\n.\r\n"
	tests := []struct {
		name, say string
		ended     bool
	}{
		{"NOOP", strings.Repeat("NOOP\r\n", limit+1), true},
		{"RSET", strings.Repeat("RSET\r\n", limit+1), true},
		{"VRFY", strings.Repeat("VRFY a\r\n", limit+1), true},
		{"HELP", strings.Repeat("HELP\r\n", limit+1), true},
		{"EHLO and HELO", strings.Repeat("EHLO a\r\nHELO b\r\n", limit), true},
		{"MAIL and RSET", hello + "\r\n" + strings.Repeat("MAIL FROM:<>\r\nRSET\r\n", limit), true},
		{"empty chunks", toRcpt + strings.Repeat("BDAT 0\r\n", limit), true},
		{"NOOP between chunks", toRcpt + "BDAT 1\r\nx" + strings.Repeat("NOOP\r\n", limit), true},
		{"as many as may be", hello + "\r\n" + strings.Repeat("NOOP\r\n", limit-1), false},
		{"anew after each message", hello + "\r\n" + strings.Repeat(message+"RSET\r\nNOOP\r\n", limit), false},
		{"anew after a sign-in", hello + "\r\nNOOP\r\nNOOP\r\nAUTH PLAIN AGEAc2VjcmV0\r\n" + strings.Repeat("NOOP\r\n", limit), false},
		{"an empty last chunk", hello + "\r\n" + strings.Repeat("MAIL FROM:<>\r\nRCPT TO:<a@x.test>\r\nBDAT 1\r\nxBDAT 0 LAST\r\n", limit+1), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config()
			cfg.Limits.Junk = limit
			h := startHost(t, cfg)
			d := h.dial()
			d.send(tt.say + "QUIT\r\n")
			b, _ := io.ReadAll(d.r)
			if got := strings.HasSuffix(string(b), "\r\n421 4.7.0 Too many commands without a message, closing connection\r\n"); got != tt.ended {
				t.Errorf("ended %v, want %v: %q", got, tt.ended, b)
			}
		})
	}
}

// TestSessionWithoutMessageEnds: whatever a caller says, and however slowly,
// without a message it stays no longer than the limit.
func TestSessionWithoutMessageEnds(t *testing.T) {
	const stale, slow = "421 4.4.2 No message for too long, closing connection\r\n", "421 4.4.2 Data rate too low, closing connection\r\n"
	tests := []struct {
		name, first, again string
		reply              string
		least, most        time.Duration
	}{
		{"verbs", hello + "\r\n", "ETRN x.test\r\n", stale, 10 * time.Minute, 10 * time.Minute},
		{"transactions", hello + "\r\n", "MAIL FROM:<>\r\nRCPT TO:<a@x.test>\r\nRSET\r\n", stale, 10 * time.Minute, 10 * time.Minute},
		{"a sign-in that does not end", hello + "\r\n", "AUTH PLAIN\r\n*\r\n", stale, 10 * time.Minute, 10 * time.Minute},
		{"chunks of one octet", toRcpt, "BDAT 1\r\nx", slow, 2 * time.Minute, 3 * time.Minute},
		{"and after a message", toData + "x\r\n.\r\n", "MAIL FROM:<>\r\nRSET\r\n", stale, 10 * time.Minute, 10 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config()
			cfg.Limits.Session, cfg.Limits.Errors = 10*time.Minute, 0
			bubble(t, cfg, func(nc net.Conn, _ func() *fake) {
				start := time.Now()
				go func() {
					for say := tt.first; ; say = tt.again {
						if _, err := io.WriteString(nc, say); err != nil {
							return
						}
						time.Sleep(50 * time.Second)
					}
				}()
				b, _ := io.ReadAll(nc)
				if d := time.Since(start); d < tt.least || d > tt.most || !strings.HasSuffix(string(b), tt.reply) {
					t.Errorf("after %v: %q", d, b)
				}
			})
		})
	}
}

// TestLongMessageIsNoIdleSession: the time of a message does not count, whether
// it is taken or refused.
func TestLongMessageIsNoIdleSession(t *testing.T) {
	for name, size := range map[string]int64{"taken": 0, "refused": 1000} {
		t.Run(name, func(t *testing.T) {
			cfg := config()
			cfg.Limits.Session, cfg.MaxSize = 10*time.Minute, size
			bubble(t, cfg, func(nc net.Conn, _ func() *fake) {
				go func() {
					io.WriteString(nc, toData)
					for range 60 {
						time.Sleep(40 * time.Second)
						io.WriteString(nc, strings.Repeat("x", 4998)+"\r\n")
					}
					io.WriteString(nc, ".\r\n")
					time.Sleep(50 * time.Second)
					io.WriteString(nc, "NOOP\r\nQUIT\r\n")
				}()
				b, _ := io.ReadAll(nc)
				if !strings.HasSuffix(string(b), "\r\n250 2.0.0 OK\r\n221 2.0.0 hub.test closing connection\r\n") {
					t.Errorf("%q", b)
				}
			})
		})
	}
}

// TestWaits: after each verb its own time holds, and the log names the property;
// what is no verb leaves it as it is.
func TestWaits(t *testing.T) {
	waits := Waits{}
	for i, verb := range []string{Connect, "EHLO", "HELO", "MAIL", "RCPT", "DATA", "BDAT", "AUTH", WithinAuth, "TURN", "ATRN", "RSET"} {
		waits[verb] = Wait{time.Duration(i+1) * time.Second, "For" + verb}
	}
	const session, recipient = hello + "\r\n", hello + "\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.test>\r\n"
	for _, tt := range []struct{ after, say string }{
		{Connect, ""},
		{Connect, "NOO"},
		{"EHLO", session},
		{"EHLO", session + "MAI"},
		{"EHLO", session + "FOO BAR\r\n"},
		{"HELO", "HELO x.test\r\n"},
		{"MAIL", session + "MAIL FROM:<>\r\n"},
		{"MAIL", session + "MAIL FROM:nonsense\r\n"},
		{"RCPT", recipient},
		{"DATA", recipient + "DATA\r\n"},
		{"DATA", recipient + "DATA\r\nhalf a li"},
		{"DATA", recipient + "DATA\r\nx\r\n.\r\n"},
		{"BDAT", recipient + "BDAT 10\r\nhalf"},
		{"BDAT", recipient + "BDAT 1\r\nx"},
		{"BDAT", recipient + "BDAT 1\r\nxNOOP\r\n"},
		{"BDAT", session + "BDAT 10\r\nhalf"},
		{"AUTH", session + "AUTH PLAIN AGEAc2VjcmV0\r\n"},
		{"AUTH", session + "AUTH PLAIN\r\n*\r\n"},
		{WithinAuth, session + "AUTH PLAIN\r\n"},
		{WithinAuth, session + "AUTH PLAIN\r\nAG"},
		{"TURN", session + "TURN\r\n"},
		{"ATRN", session + "ATRN x.test\r\n"},
		{"RSET", session + "RSET\r\n"},
		{"VRFY", session + "VRFY a\r\n"}, // has none of its own
	} {
		t.Run(tt.say, func(t *testing.T) {
			cfg := config()
			cfg.Waits, cfg.Limits.BodyRate = waits, 0
			want := cfg.wait(tt.after)
			bubble(t, cfg, func(nc net.Conn, f func() *fake) {
				start := time.Now()
				go io.WriteString(nc, tt.say)
				b, _ := io.ReadAll(nc)
				if d := time.Since(start); d != want.Time || !strings.HasSuffix(string(b), "421 4.4.2 Idle timeout, closing connection\r\n") {
					t.Errorf("after %v, not %v: %q", d, want.Time, b)
				}
				cause := f().failed
				if _, broken := f().taken(); len(broken) > 0 {
					cause = broken[0]
				}
				if text := fmt.Sprintf("%s is %v", want.Property, want.Time); cause == nil || !strings.HasSuffix(cause.Error(), text) {
					t.Errorf("the cause is %v, not %s", cause, text)
				}
			})
		})
	}
}
