// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"restante/internal/testpeer"
)

// A proxy that is taken out of its list may say nothing more in open sessions, and
// those of the clients that it told end at the next verb.
func TestProxiesLoseTheirTrustInOpenSessions(t *testing.T) {
	t.Parallel()
	s := startService(t)
	createHeldDomain(t, s, "held.test", account)
	set(t, s, "RelayForAuth", "true")
	set(t, s, "RelayIpList", "192.0.2.5")
	const ehlo, name, login = "EHLO client.test", "XCLIENT ADDR=192.0.2.5", "XCLIENT ADDR=192.0.2.5 LOGIN=" + account
	const proxied = "PROXY TCP4 192.0.2.5 192.0.2.1 1025 25"
	mail, rcpt := "MAIL FROM:<a@b.test>", "RCPT TO:<a@foreign.test>"
	for _, tt := range []struct {
		name, property string
		before, after  []string // pairs of commands and replies
		closed         bool
	}{
		{"no client told", "XclientFrom", []string{ehlo, "250"}, []string{login, "550 5.7.1", name, "550 5.7.1", "NOOP", "250", mail, "250", rcpt, "550 5.7.1"}, false},
		{"an address told", "XclientFrom", []string{name, "220", ehlo, "250"}, []string{mail, "421 4.7.1"}, true},
		{"named anew", "XclientFrom", []string{name, "220", ehlo, "250"}, []string{login, "421 4.7.1"}, true},
		{"before EHLO", "XclientFrom", []string{login, "220"}, []string{ehlo, "421 4.7.1"}, true},
		{"an account told", "XclientFrom", []string{login, "220", ehlo, "250", mail, "250", rcpt, "250"}, []string{rcpt, "421 4.7.1"}, true},
		{"within a message", "XclientFrom", []string{login, "220", ehlo, "250", mail, "250", rcpt, "250"}, []string{"DATA", "421 4.7.1"}, true},
		{"TURN", "XclientFrom", []string{login, "220", ehlo, "250"}, []string{"TURN", "421 4.7.1"}, true},
		{"a header", "ProxyFrom", []string{proxied, "220", ehlo, "250", mail, "250", rcpt, "250"}, []string{rcpt, "421 4.7.1"}, true},
		{"a header of its own", "ProxyFrom", []string{"PROXY UNKNOWN", "220", ehlo, "250"}, []string{"NOOP", "250"}, false},
		{"none at connect", "", []string{ehlo, "250"}, []string{"NOOP", "250"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.property != "" {
				runCommand(t, s, "", "mb", "set", "SMTPSVC/1", tt.property, "127.0.0.1")
			}
			conn, err := net.Dial("tcp", s.Addr(1))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			l := &testpeer.Client{Conn: conn, R: bufio.NewReader(conn)}
			if tt.property != "ProxyFrom" {
				if err := l.Expect("220"); err != nil {
					t.Fatal(err)
				}
			}
			say(t, l, tt.before...)
			if tt.property != "" {
				runCommand(t, s, "", "mb", "unset", "SMTPSVC/1", tt.property)
			}
			say(t, l, tt.after...)
			if !tt.closed {
				return
			}
			if rest, err := io.ReadAll(l.R); err != nil || len(rest) > 0 {
				t.Errorf("the session goes on: %q, %v", rest, err)
			}
		})
	}
}
