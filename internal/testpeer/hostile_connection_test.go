// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/engine/resolver/dnstest"
	"restante/internal/testpeer"
)

// Commands that an attacker on the path injects behind STARTTLS are discarded, even
// when the handshake succeeds (RFC 3207 §4.2).
func TestCommandsPipelinedBehindSTARTTLSAreDiscarded(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 1)
	for _, behind := range []string{"", "EHLO evil.test\r\n", smuggledCommands, "AUTH LOGIN\r\n", "NOOP"} {
		conn, err := net.Dial("tcp", mail.service.Addr(1))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		plain := &testpeer.Client{Conn: conn, R: bufio.NewReader(conn)}
		err = errors.Join(plain.Expect("220"), plain.Say("EHLO c.test", "250"), plain.Say("MAIL FROM:<evil@x.test>", "250"), plain.Say("RSET", "250"))
		if err != nil {
			t.Fatal(err)
		}
		if err := plain.Say("STARTTLS\r\n"+behind, "220"); err != nil {
			t.Fatal(err)
		}
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // self-signed
		if err := secure.Handshake(); err != nil {
			t.Fatalf("behind STARTTLS %q: %v", behind, err)
		}
		l := &testpeer.Client{Conn: secure, R: bufio.NewReader(secure)}
		// No reply to anything in clear comes first, and EHLO is forgotten.
		for _, step := range [][2]string{{"MAIL FROM:<evil@x.test>", "503"}, {"EHLO c.test", "250"}, {"DATA", "503"}, {"STARTTLS", "503"}, {"QUIT", "221"}} {
			if err := l.Say(step[0], step[1]); err != nil {
				t.Errorf("behind STARTTLS %q: %v", behind, err)
			}
		}
	}
	mail.verify(t)
}

func TestIdleClientsLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 1)
	set(t, mail.service, "MaxConnectionsPerAddress", "0")
	for i := range 200 {
		conn, err := net.Dial("tcp", mail.service.Addr(1))
		if err != nil {
			t.Fatalf("caller %d: %v", i, err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if i%2 == 0 {
			continue // does not read the greeting
		}
		l := &testpeer.Client{Conn: conn, R: bufio.NewReader(conn)}
		if err := errors.Join(l.Expect("220"), l.Say("EHLO c.test", "250"), l.Say("MAIL FROM:<evil@x.test>", "250")); err != nil {
			t.Fatalf("caller %d: %v", i, err)
		}
	}
	await(t, "all sessions are listed", func() bool {
		return strings.Count(runCommand(t, mail.service, "", "site", "sessions", "1"), "127.0.0.1:") >= 200
	})
	mail.send(t, 1)
	// With the limit reached, the next caller is told so, and the others stay.
	set(t, mail.service, "MaxConnections", "200")
	if _, err := testpeer.Dial(mail.service.Addr(1)); err == nil || !strings.Contains(err.Error(), "421 4.3.2") {
		t.Errorf("one too many: %v", err)
	}
	runCommand(t, mail.service, "", "site", "end-session", "1", "--all")
	await(t, "a connection is accepted again", func() bool {
		l, err := testpeer.Dial(mail.service.Addr(1))
		if err == nil {
			l.Quit()
		}
		return err == nil
	})
	mail.verify(t)
}

// A client that sends an octet now and then, sends nothing, or reads nothing is
// disconnected after ConnectionTimeout.
func TestSlowClientsAreDisconnected(t *testing.T) {
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 1)
	set(t, mail.service, "ConnectionTimeout", "1")
	set(t, mail.service, "SessionTimeout", "3")
	set(t, mail.service, "MinBodyRate", "100")
	rows := []struct {
		name    string
		first   string // at once
		trickle string // octet by octet, again and again
		want    string // the last reply
	}{
		{"nothing at all", "", "", "421 4.4.2"},
		{"nothing after EHLO", ehlo, "", "421 4.4.2"},
		{"a verb octet by octet", ehlo, "NOOP", "421 4.4.2"},
		{"an endless line octet by octet", ehlo + strings.Repeat("x", 5000), "x", "421 4.4.2"},
		{"nothing after 354", data, "", "421 4.4.2"},
		{"a message octet by octet", data, "x", "421 4.4.2"},
		{"verbs without end", ehlo, "RSET\r\n", "421 4.4.2 No message"},
		{"chunks of an octet", transaction, "BDAT 1\r\nx", "421 4.4.2 Data rate"},
		{"a chunk octet by octet", transaction + "BDAT 10000 LAST\r\n", "x", "421 4.4.2"},
		{"a chunk that was refused, octet by octet", ehlo + "BDAT 10000 LAST\r\n", "x", "421 4.4.2"},
		{"AUTH octet by octet", ehlo + "AUTH LOGIN\r\n", "A", "421 4.4.2"},
		{"a handshake that does not come", ehlo + "STARTTLS\r\n", "", "220 2.0.0"},
	}
	var all sync.WaitGroup
	for _, row := range rows {
		all.Go(func() {
			last, took := trickle(mail.service.Addr(1), row.first, row.trickle)
			if !strings.HasPrefix(last, row.want) || took > 10*time.Second {
				t.Errorf("%s: %q after %v, want %q in a few seconds", row.name, last, took, row.want)
			}
		})
	}
	all.Wait()
	runCommand(t, mail.service, "", "mb", "unset", "SMTPSVC/1", "ConnectionTimeout")
	mail.send(t, 1)
	mail.verify(t)
}

// trickle gives the last line before the connection ended, and how long that took.
func trickle(addr, first, octets string) (last string, took time.Duration) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err.Error(), 0
	}
	begin := time.Now()
	_ = conn.SetDeadline(begin.Add(30 * time.Second))
	var writer sync.WaitGroup
	defer writer.Wait()
	defer conn.Close()
	gone := make(chan struct{})
	defer close(gone)
	writer.Go(func() {
		_, _ = io.WriteString(conn, first)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for i := 0; octets != ""; i++ {
			select {
			case <-tick.C:
				_, _ = io.WriteString(conn, octets[i%len(octets):][:1])
			case <-gone:
				return
			}
		}
	})
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		last = lines.Text()
	}
	if errors.Is(lines.Err(), os.ErrDeadlineExceeded) {
		last = "never disconnected; " + last
	}
	return last, time.Since(begin)
}

func TestMaxSmtpErrorsEndsASession(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 1)
	set(t, mail.service, "MaxSmtpErrors", "5")
	wireRow{steps: []string{ehlo + strings.Repeat("FOO\r\n", 10), "250 500 500 500 500 500 421_4.7.0 closed"}}.run(t, mail.service.Addr(1))
	mail.send(t, 1)
	mail.verify(t)
}

func TestEtrnRequireAuthAndTurnRequireTls(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 2)
	for _, prop := range []string{"EtrnRequireAuth", "TurnRequireTls"} {
		set(t, mail.service, prop, "true")
	}
	rows := []wireRow{
		{name: "ETRN by an anonymous client", steps: []string{ehlo + "ETRN held.test\r\nETRN foreign.test\r\n" + quit, "250 530_5.7.0 530 221"}},
		{name: "ETRN by another account", account: "other", steps: []string{"ETRN held.test\r\n", "459_4.7.1", quit, "221"}},
		{name: "TURN in clear", account: account, steps: []string{"TURN\r\n", "530_5.7.0", "ATRN held.test\r\n", "530", quit, "221"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.run(t, mail.service.Addr(1)) })
	}
	runCommand(t, mail.service, "", "mb", "unset", "SMTPSVC/1", "TurnRequireTls")
	// Two calls of one account: the second ends the first, and no message is sent twice.
	first, err := testpeer.Dial(mail.service.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if err := errors.Join(first.SignIn(account, password), first.Say("TURN", "250")); err != nil {
		t.Fatal(err)
	}
	second, err := testpeer.Dial(mail.service.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(second.SignIn(account, password), second.Say("TURN", "250")); err != nil {
		t.Error(err)
	}
	_ = first.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.Copy(io.Discard, first.R); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the first line does not end")
	}
	second.Close()
	await(t, "the lease ends with its connection", func() bool {
		l, err := testpeer.Dial(mail.service.Addr(1))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return errors.Join(l.SignIn(account, password), l.Say("TURN", "250")) == nil
	})
	await(t, "the second lease ends with its connection", func() bool {
		return !strings.Contains(runCommand(t, mail.service, "", "site", "sessions", "1"), "release")
	})
	mail.verify(t)
}

// Mail stays held when an ETRN makes the service look for a host that DNS
// does not have, or that is the service itself.
func TestEtrnForAHostThatCannotBeFound(t *testing.T) {
	t.Parallel()
	zones := map[string]string{
		"no such domain":     "other.test. 60 IN A 127.0.0.1\n",
		"no mail by null MX": "held.test. 60 IN MX 0 .\n",
		"no address":         "held.test. 60 IN TXT \"x\"\n",
		"ourselves":          "held.test. 60 IN MX 10 hub.test.\nhub.test. 60 IN A 127.0.0.1\n",
	}
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 3)
	for name, zone := range zones {
		t.Run(name, func(t *testing.T) {
			set(t, mail.service, "DnsServers", dnstest.Serve(t, zone).Addr)
			before := strings.Count(mail.service.Log(), "unreachable")
			wireRow{account: account, steps: []string{"ETRN held.test\r\n", "250", quit, "221"}}.run(t, mail.service.Addr(1))
			await(t, "it was tried", func() bool { return strings.Count(mail.service.Log(), "unreachable") > before })
			if got := runCommand(t, mail.service, "", "queue", "list"); !strings.Contains(got, "held") {
				t.Errorf("it is not held any more:\n%s", got)
			}
		})
	}
	mail.verify(t)
	if strings.Contains(mail.service.Log(), "msg=failed") || strings.Contains(mail.service.Log(), "msg=dsn") {
		t.Error("mail was returned")
	}
}
