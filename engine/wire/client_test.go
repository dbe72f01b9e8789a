// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"restante/engine/account"
	"restante/engine/mail"
)

// A step of a scripted peer: it waits for a line that begins with in ("" for
// none), and says out; HANGUP instead hangs up.
type peerStep struct{ in, out string }

// scriptedPeer plays the steps on its end and reports what it got instead, or
// "" at the end of the script. What comes after DATA's 354 is one line of the
// script: BODY, which takes all up to the final dot.
func scriptedPeer(t *testing.T, steps []peerStep) (net.Conn, <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan string, 1)
	go func() {
		defer theirs.Close()
		theirs.SetDeadline(time.Now().Add(time.Minute))
		done <- play(theirs, steps)
	}()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, done
}

func play(nc net.Conn, steps []peerStep) string {
	r := bufio.NewReader(nc)
	for _, s := range steps {
		for want := range strings.SplitSeq(s.in, "|") {
			if want == "" {
				continue
			}
			line, err := r.ReadString('\n')
			for want == "BODY" && err == nil && line != ".\r\n" {
				line, err = r.ReadString('\n')
			}
			if want != "BODY" && !strings.HasPrefix(line, want) || err != nil {
				return fmt.Sprintf("got %q, %v; want %q", line, err, want)
			}
		}
		if s.out == "HANGUP" {
			return ""
		}
		io.WriteString(nc, strings.ReplaceAll(s.out, "|", "\r\n")+"\r\n")
	}
	return ""
}

func message(body string, to ...string) Outgoing {
	m := Outgoing{From: mail.Address{Local: "a", Domain: "x.test"}, Size: int64(len(body)), Body: strings.NewReader(body)}
	for _, s := range to {
		m.To = append(m.To, mail.Recipient{Address: mail.Address{Local: s, Domain: "y.test"}})
	}
	return m
}

const (
	pipelining = "250-mx.test hello|250-PIPELINING|250-8bitmime|250-dsn|250 size 1000"
	plainEHLO  = "250 mx.test hello"
)

// Each conversation sends one message to b and c and gives what came of it:
// the replies, or "error" and a piece of it.
func TestSend(t *testing.T) {
	tests := []struct {
		name  string
		steps []peerStep
		want  []string
		next  string // of a second Send's error, "" for none
	}{
		{"pipelined", []peerStep{{"", "220 mx.test"}, {"EHLO me.test", pipelining},
			{"MAIL FROM:<a@x.test> SIZE=4|RCPT TO:<b@y.test>|RCPT TO:<c@y.test>|DATA", "250 ok|250 ok|250 ok|354 go"}, {"BODY", "250 2.6.0 got it"},
			{"MAIL|RCPT|RCPT|DATA", "250 ok|250 ok|250 ok|354 go"}, {"BODY", "250 2.6.0 got it"}},
			[]string{"250 2.6.0 got it", "250 2.6.0 got it"}, ""},
		{"one by one", []peerStep{{"", "220 mx.test"}, {"EHLO me.test", plainEHLO},
			{"MAIL FROM:<a@x.test>\r\n", "250 ok"}, {"RCPT TO:<b@y.test>\r\n", "550-5.1.1 no|550 5.1.1 never"}, {"RCPT", "251 ok"}, {"DATA", "354 go"}, {"BODY", "250 got it"},
			{"MAIL", "250"}, {"RCPT", "250"}, {"RCPT", "250"}, {"DATA", "354"}, {"BODY", "250"}},
			[]string{"550 5.1.1 no / never", "250 got it"}, ""},
		{"HELO only at the peer", []peerStep{{"", "220-mx.test|220 hello"}, {"EHLO me.test", "500 what"}, {"HELO me.test", "250 mx.test"},
			{"MAIL", "250 ok"}, {"RCPT", "250"}, {"RCPT", "250 ok"}, {"DATA", "354 go"}, {"BODY", "452 4.3.1 full"},
			{"MAIL", "250"}, {"RCPT", "250"}, {"RCPT", "250"}, {"DATA", "354"}, {"BODY", "250"}},
			[]string{"452 4.3.1 full", "452 4.3.1 full"}, ""},
		{"sender refused, pipelined", []peerStep{{"", "220 mx.test"}, {"EHLO", pipelining},
			{"MAIL|RCPT|RCPT|DATA", "550 5.7.1 not you|503 what|503 what|503 what"}, {"MAIL|RCPT|RCPT|DATA", "250|250|250|354"}, {"BODY", "250"}},
			[]string{"550 5.7.1 not you", "550 5.7.1 not you"}, ""},
		{"sender refused, and yet 354", []peerStep{{"", "220 mx.test"}, {"EHLO", pipelining},
			{"MAIL|RCPT|RCPT|DATA", "450 later|503 what|503 what|354 go"}, {".\r\n", "554 nobody"}, {"MAIL|RCPT|RCPT|DATA", "250|250|250|354"}, {"BODY", "250"}},
			[]string{"450 later", "450 later"}, ""},
		{"sender refused, one by one", []peerStep{{"", "220 mx.test"}, {"EHLO", plainEHLO}, {"MAIL", "550 no"}, {"MAIL", "250"}, {"RCPT", "250"}, {"RCPT", "250"}, {"DATA", "354"}, {"BODY", "250"}},
			[]string{"550 no", "550 no"}, ""},
		{"no recipient is good, and yet 354", []peerStep{{"", "220 mx.test"}, {"EHLO", pipelining},
			{"MAIL|RCPT|RCPT|DATA", "250 ok|550 no|451 later|354 go"}, {".\r\n", "250 odd"}, {"MAIL|RCPT|RCPT|DATA", "250|250|250|354"}, {"BODY", "250"}},
			[]string{"550 no", "451 later"}, ""},
		{"no recipient is good", []peerStep{{"", "220 mx.test"}, {"EHLO", pipelining},
			{"MAIL|RCPT|RCPT|DATA", "250 ok|550 no|451 later|554 nobody"}, {"RSET|MAIL|RCPT|RCPT|DATA", "250|250|250|250|354"}, {"BODY", "250"}},
			[]string{"550 no", "451 later"}, ""},
		{"no recipient is good, one by one", []peerStep{{"", "220 mx.test"}, {"EHLO", plainEHLO},
			{"MAIL", "250 ok"}, {"RCPT", "550 no"}, {"RCPT", "550 no"}, {"RSET", "250"}, {"MAIL", "250"}, {"RCPT", "250"}, {"RCPT", "250"}, {"DATA", "354"}, {"BODY", "250"}},
			[]string{"550 no", "550 no"}, ""},
		{"DATA refused", []peerStep{{"", "220 mx.test"}, {"EHLO", pipelining},
			{"MAIL|RCPT|RCPT|DATA", "250 ok|250 ok|550 no|451 4.3.0 no disk"}, {"RSET|MAIL|RCPT|RCPT|DATA", "250|250|250|250|354"}, {"BODY", "250"}},
			[]string{"451 4.3.0 no disk", "550 no"}, ""},
		{"421 in the group", []peerStep{{"", "220 mx.test"}, {"EHLO", pipelining}, {"MAIL|RCPT|RCPT|DATA", "250|550 no|421 4.3.2 bye"}},
			[]string{"550 no", "421 4.3.2 bye"}, "421 4.3.2 bye"},
		{"421 after the dot", []peerStep{{"", "220 mx.test"}, {"EHLO", pipelining}, {"MAIL|RCPT|RCPT|DATA", "250|250|250|354"}, {"BODY", "421 bye"}},
			[]string{"421 bye", "421 bye"}, "421 bye"},
		{"hangs up after MAIL", []peerStep{{"", "220 mx.test"}, {"EHLO", plainEHLO}, {"MAIL", "HANGUP"}}, []string{"error", "hung up"}, "hung up"},
		{"hangs up within the group", []peerStep{{"", "220 mx.test"}, {"EHLO", pipelining}, {"MAIL|RCPT|RCPT|DATA", "250|550 no"}}, []string{"error", "hung up"}, "hung up"},
		{"hangs up after the dot", []peerStep{{"", "220 mx.test"}, {"EHLO", pipelining}, {"MAIL|RCPT|RCPT|DATA", "250|250|250|354"}, {"BODY", "HANGUP"}}, []string{"error", "after the dot"}, "after"},
		{"yes to DATA", []peerStep{{"", "220 mx.test"}, {"EHLO", plainEHLO}, {"MAIL", "250"}, {"RCPT", "250"}, {"RCPT", "250"}, {"DATA", "250 queued"}}, []string{"error", "no SMTP"}, "no SMTP"},
		{"354 to MAIL", []peerStep{{"", "220 mx.test"}, {"EHLO", plainEHLO}, {"MAIL", "354 go"}}, []string{"error", "no SMTP"}, "no SMTP"},
		{"334 after the dot", []peerStep{{"", "220 mx.test"}, {"EHLO", pipelining}, {"MAIL|RCPT|RCPT|DATA", "250|250|250|354"}, {"BODY", "334 x"}}, []string{"error", "no SMTP"}, "no SMTP"},
		{"garbage", []peerStep{{"", "220 mx.test"}, {"EHLO", pipelining}, {"MAIL|RCPT|RCPT|DATA", "HTTP/1.0 400"}}, []string{"error", "no SMTP"}, "no SMTP"},
		{"a reply without end", []peerStep{{"", "220 mx.test"}, {"EHLO", pipelining}, {"MAIL|RCPT|RCPT|DATA", strings.Repeat("250-and|", 10000)}}, []string{"error", "does not end"}, "no SMTP"},
		{"overlong lines", []peerStep{{"", "220 mx.test"}, {"EHLO", pipelining}, {"MAIL|RCPT|RCPT|DATA", "250 " + strings.Repeat("x", 5000) + "|550 no|250-" + strings.Repeat("y", 9000) + "|250 ok|354 go"}, {"BODY", "250 got it"}},
			[]string{"550 no", "250 got it"}, "MAIL: "},
		{"a line without end", []peerStep{{"", "220 mx.test"}, {"EHLO", pipelining}, {"MAIL|RCPT|RCPT|DATA", "250 " + strings.Repeat("x", 40000)}}, []string{"error", "does not end"}, "no SMTP"},
		{"codes that differ", []peerStep{{"", "220 mx.test"}, {"EHLO", pipelining}, {"MAIL|RCPT|RCPT|DATA", "250|250-ok|550 no|550-no|250 ok|554 nobody"}, {"RSET|MAIL|RCPT|RCPT|DATA", "250|250|250|250|354"}, {"BODY", "250"}},
			[]string{"550 ok / no", "550 no / ok"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nc, done := scriptedPeer(t, tt.steps)
			c, err := NewClient(t.Context(), nc, ClientOptions{Hello: "me.test"})
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Send(t.Context(), message("hi\r\n", "b", "c"))
			checkSent(t, got, err, tt.want)
			_, err = c.Send(t.Context(), message("hi\r\n", "b", "c"))
			if tt.next == "" && err != nil || tt.next != "" && (err == nil || !strings.Contains(err.Error(), tt.next)) {
				t.Errorf("next Send: %v, want %q", err, tt.next)
			}
			c.Close()
			if miss := <-done; miss != "" {
				t.Errorf("peer: %s", miss)
			}
		})
	}
}

func checkSent(t *testing.T, got []mail.Reply, err error, want []string) {
	t.Helper()
	if want[0] == "error" {
		if err == nil || !strings.Contains(err.Error(), want[1]) {
			t.Errorf("Send: %v, want %q", err, want[1])
		}
		return
	}
	if err != nil || len(got) != len(want) {
		t.Fatalf("Send = %v, %v", got, err)
	}
	for i := range want {
		if got[i].String() != want[i] {
			t.Errorf("recipient %d: %q, want %q", i, got[i], want[i])
		}
	}
}

func TestNewClient(t *testing.T) {
	overTLS := account.SignIn{Name: "u", Password: "p", Mechanisms: account.ByPassword}
	inClear := overTLS
	inClear.InClear = true
	tests := []struct {
		name  string
		opts  ClientOptions
		steps []peerStep
		want  string // of the error, "" for none
		reply bool   // it is the peer's word
	}{
		{"refused", ClientOptions{}, []peerStep{{"", "554 5.7.1 go away"}}, "554 5.7.1 go away", true},
		{"busy", ClientOptions{}, []peerStep{{"", "421 busy"}}, "421 busy", true},
		{"EHLO refused", ClientOptions{}, []peerStep{{"", "220 hi"}, {"EHLO", "550 no"}}, "550 no", true},
		{"a yes that is none", ClientOptions{}, []peerStep{{"", "250 hi"}}, "no SMTP", false},
		{"a command for a greeting", ClientOptions{}, []peerStep{{"", "EHLO you.test"}}, "no SMTP", false},
		{"hangs up", ClientOptions{}, []peerStep{{"", "HANGUP"}}, "hung up", false},
		{"HELO wanted", ClientOptions{UseHELO: true}, []peerStep{{"", "220 hi"}, {"HELO me.test", "250 mx.test"}}, "", false},
		{"TLS not configured", ClientOptions{TLSPolicy: TLSRequired}, []peerStep{{"", "220 hi"}, {"EHLO", plainEHLO}}, "not configured", false},
		{"TLS not offered", ClientOptions{TLSPolicy: TLSRequired, TLS: &tls.Config{}}, []peerStep{{"", "220 hi"}, {"EHLO", plainEHLO}}, "does not offer", false},
		{"TLS refused", ClientOptions{TLSPolicy: TLSRequired, TLS: &tls.Config{}}, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250 starttls"}, {"STARTTLS", "454 later"}}, "454 later", true},
		{"TLS refused, and not needed", ClientOptions{TLS: &tls.Config{}}, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250 STARTTLS"}, {"STARTTLS", "454 later"}}, "", false},
		{"more behind STARTTLS", ClientOptions{TLS: &tls.Config{}}, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250 STARTTLS"}, {"STARTTLS", "220 go|250 injected"}}, "stands behind", false},
		{"no handshake", ClientOptions{TLS: &tls.Config{ServerName: "mx.test"}}, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250 STARTTLS"}, {"STARTTLS", "220 go"}}, "no TLS with the peer", false},
		{"AUTH not offered", ClientOptions{Auth: inClear}, []peerStep{{"", "220 hi"}, {"EHLO", plainEHLO}}, "454 4.7.4 offers no sign-in", true},
		{"AUTH refused", ClientOptions{Auth: inClear}, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250 AUTH=PLAIN"}, {"AUTH PLAIN AHUAcA==", "535 5.7.8 no"}}, "535 5.7.8 no", true},
		{"AUTH without TLS", ClientOptions{Auth: overTLS}, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250 AUTH PLAIN"}}, "454 4.7.11 offers no TLS, and there is no sign-in without it", true},
		{"AUTH and STARTTLS refused", ClientOptions{TLS: &tls.Config{}, Auth: overTLS}, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250-STARTTLS|250 AUTH PLAIN"}, {"STARTTLS", "454 later"}}, "454 4.7.11 offers STARTTLS and answered it with 454 later; there is no sign-in without it", true},
		{"AUTH as it may in clear, and STARTTLS refused", ClientOptions{TLS: &tls.Config{}, Auth: inClear}, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250-STARTTLS|250 AUTH PLAIN CRAM-MD5"}, {"STARTTLS", "554 5.7.3 no"}}, "answered it with 554 5.7.3 no; there is no sign-in", true},
		{"AUTH LOGIN alone", ClientOptions{Auth: inClear}, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250 AUTH LOGIN XOAUTH2"}, {"AUTH LOGIN\r\n", "334 VXNlcm5hbWU6"}, {"dQ==", "334 UGFzc3dvcmQ6"}, {"cA==", "235 yes"}}, "", false},
		{"AUTH by a mechanism of name only", ClientOptions{Auth: inClear}, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250 AUTH CRAM-MD5 LOGIN PLAIN"}, {"AUTH CRAM-MD5", "504 5.5.4 not here"}, {"AUTH PLAIN AHUAcA==", "235 yes"}}, "", false},
		{"AUTH by a mechanism that cannot check it", ClientOptions{Auth: inClear}, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250 AUTH CRAM-MD5 PLAIN"}, {"AUTH CRAM-MD5", "334 PDFAeD4="}, {"dSA", "535 no secret"}, {"AUTH PLAIN AHUAcA==", "235 yes"}}, "", false},
		{"AUTH with a wrong password", ClientOptions{Auth: inClear}, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250 AUTH PLAIN LOGIN"}, {"AUTH PLAIN", "535 5.7.8 no"}}, "535 5.7.8 no", true},
		{"AUTH put off", ClientOptions{Auth: inClear}, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250 AUTH PLAIN LOGIN"}, {"AUTH PLAIN", "454 4.7.0 later"}}, "454 4.7.0 later", true},
		{"AUTH without proof", ClientOptions{Auth: inClear}, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250 AUTH SCRAM-SHA-256"}, {"AUTH SCRAM-SHA-256", "235 yes"}}, "the host has not proved that it knows the password", false},

		{"AUTH", ClientOptions{Auth: inClear}, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250 auth login plain"}, {"AUTH PLAIN AHUAcA==", "235 yes"}}, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nc, done := scriptedPeer(t, tt.steps)
			tt.opts.Hello = "me.test"
			c, err := NewClient(t.Context(), nc, tt.opts)
			var r mail.Reply
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %v, want %q", err, tt.want)
			case errors.As(err, &r) != tt.reply:
				t.Errorf("error %#v: is it the peer's word: %v", err, !tt.reply)
			case err == nil && c.PeerName() != "mx.test":
				t.Errorf("peer's name %q", c.PeerName())
			}
			if err == nil {
				c.Close()
			}
			if miss := <-done; miss != "" && tt.want == "" {
				t.Errorf("peer: %s", miss)
			}
		})
	}
}

func TestSendParameters(t *testing.T) {
	m := message("hi\r\n", "b")
	m.From.Local, m.Ret, m.EnvID, m.Body8Bit = "a b", "HDRS", "q", true
	m.To[0].Notify, m.To[0].ORcpt = "NEVER", "rfc822;o@y.test"
	m.To = append(m.To, mail.Recipient{Address: mail.Address{Local: "x\r\nDATA", Domain: "y.test"}}, mail.Recipient{})
	for list, group := range map[string]string{
		pipelining:                   `MAIL FROM:<"a b"@x.test> SIZE=4 BODY=8BITMIME RET=HDRS ENVID=q` + "\r\n|RCPT TO:<b@y.test> NOTIFY=NEVER ORCPT=rfc822;o@y.test\r\n|DATA",
		"250-mx.test|250 PIPELINING": `MAIL FROM:<"a b"@x.test>` + "\r\n|RCPT TO:<b@y.test>\r\n|DATA",
	} {
		nc, done := scriptedPeer(t, []peerStep{{"", "220 hi"}, {"EHLO", list}, {group, "250|250|354"}, {"BODY", "250 got it"}, {"QUIT", "221 bye"}})
		c, err := NewClient(t.Context(), nc, ClientOptions{Hello: "me.test"})
		if err != nil {
			t.Fatal(err)
		}
		m.Body = strings.NewReader("hi\r\n")
		got, err := c.Send(t.Context(), m)
		checkSent(t, got, err, []string{"250 got it", "553 5.1.3 the address cannot be written", "553 5.1.3 the address cannot be written"})
		if err := c.Quit(t.Context()); err != nil {
			t.Error(err)
		}
		if miss := <-done; miss != "" {
			t.Errorf("peer: %s", miss)
		}
	}
}

// RFC 3030: a binary message goes by BDAT, whole and as it is, or not at all.
func TestSendBinary(t *testing.T) {
	const both = "250-mx.test|250-PIPELINING|250-CHUNKING|250 BINARYMIME"
	for _, tt := range []struct {
		name  string
		steps []peerStep
		want  string // the reply for the recipient; "": none
		err   string
	}{
		{"pipelined", []peerStep{{"EHLO", both}, {"MAIL FROM:<a@x.test> BODY=BINARYMIME\r\n|RCPT", "250|250"}, {"BDAT 9 LAST\r\n|.\r\n|a\rb\n|\x00\n", "250 got it"}, {"QUIT", "221 bye"}}, "250 got it", ""},
		{"one by one", []peerStep{{"EHLO", "250-mx.test|250-BINARYMIME|250 CHUNKING"}, {"MAIL", "250"}, {"RCPT", "250"}, {"BDAT 9 LAST|.|a|\x00", "552 5.3.4 no"}, {"QUIT", "221 bye"}}, "552 5.3.4 no", ""},
		{"the recipient is refused", []peerStep{{"EHLO", both}, {"MAIL|RCPT|BDAT 9 LAST\r\n|.\r\n|a\rb\n|\x00\n", "250|550 5.1.1 no|503 nobody"}, {"QUIT", "221 bye"}}, "550 5.1.1 no", ""},
		{"the sender is refused", []peerStep{{"EHLO", both}, {"MAIL|RCPT|BDAT 9 LAST\r\n|.\r\n|a\rb\n|\x00\n", "550 5.7.1 no|503 what|250 got it"}, {"QUIT", "221 bye"}}, "550 5.7.1 no", ""},
		{"no BINARYMIME", []peerStep{{"EHLO", "250-mx.test|250 CHUNKING"}, {"QUIT", "221 bye"}}, "550 5.6.3 the message needs BINARYMIME, and mx.test does not offer it", ""},
		{"no CHUNKING", []peerStep{{"EHLO", "250-mx.test|250 BINARYMIME"}, {"QUIT", "221 bye"}}, "550 5.6.3 the message needs BINARYMIME, and mx.test does not offer it", ""},
		{"cut short", []peerStep{{"EHLO", both}, {"MAIL|RCPT", "250|250"}, {"BDAT 10 LAST|.|a|\x00|there is no more", "250 got it"}}, "", "9 octets instead of 10"},
	} {
		nc, done := scriptedPeer(t, append([]peerStep{{"", "220 hi"}}, tt.steps...))
		c, err := NewClient(t.Context(), nc, ClientOptions{Hello: "me.test"})
		if err != nil {
			t.Fatal(err)
		}
		m := message(".\r\na\rb\n\x00\n", "b")
		m.Binary, m.Body8Bit = true, true
		if tt.err != "" {
			m.Size++
		}
		got, err := c.Send(t.Context(), m)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) || err == nil && got[0].String() != tt.want || err != nil && got[0].Code != 0 {
			t.Errorf("%s: %v, %v; want %q, %q", tt.name, got, err, tt.want, tt.err)
		}
		_ = c.Quit(t.Context())
		if miss := <-done; (miss != "") != (tt.err != "") {
			t.Errorf("%s: peer: %s", tt.name, miss)
		}
	}
}

// RFC 2852 §4.1.4: a host that offers DELIVERBY is told what is left of the time; after it,
// or where a host needs longer, nothing of mode R goes out.
func TestSendDeadline(t *testing.T) {
	soon, past := time.Now().Add(time.Hour+time.Minute), time.Now().Add(-time.Minute)
	for _, tt := range []struct {
		offer, params string // of MAIL; "": nothing is sent
		by            mail.Deadline
	}{
		{"250-mx.test|250 DELIVERBY 60", " BY=36", mail.Deadline{At: soon, Return: true}},
		{"250-mx.test|250 DELIVERBY", " BY=36", mail.Deadline{At: soon, Trace: true}},
		{"250-mx.test|250 DELIVERBY 7200", " BY=36", mail.Deadline{At: soon}},
		{"250-mx.test|250 DELIVERBY 7200", "", mail.Deadline{At: soon, Return: true}},
		{"250-mx.test|250 DELIVERBY", "", mail.Deadline{At: past, Return: true}},
		{"250-mx.test|250 DELIVERBY", " BY=-", mail.Deadline{At: past}},
		{"250 mx.test", "\r\n", mail.Deadline{At: soon, Return: true}},
		{"250 mx.test", "", mail.Deadline{At: past, Return: true}},
		{"250 mx.test", "\r\n", mail.Deadline{At: past}},
	} {
		steps, want := []peerStep{{"", "220 hi"}, {"EHLO", tt.offer}}, "550 5.4.7 the time is over by which the sender wanted the message delivered"
		if tt.params != "" {
			steps, want = append(steps, peerStep{"MAIL FROM:<a@x.test>" + tt.params, "250"}, peerStep{"RCPT", "250"}, peerStep{"DATA", "354"}, peerStep{"BODY", "250 got it"}), "250 got it"
		}
		nc, done := scriptedPeer(t, append(steps, peerStep{"QUIT", "221 bye"}))
		c, err := NewClient(t.Context(), nc, ClientOptions{Hello: "me.test"})
		if err != nil {
			t.Fatal(err)
		}
		m := message("hi\r\n", "b")
		m.By = tt.by
		got, err := c.Send(t.Context(), m)
		checkSent(t, got, err, []string{want})
		_ = c.Quit(t.Context())
		if miss := <-done; miss != "" {
			t.Errorf("%+v: peer: %s", tt, miss)
		}
	}
	s := sending{m: Outgoing{By: mail.Deadline{At: time.Now().Add(5e9 * time.Second), Return: true, Trace: true}}}
	if s.secondsLeft() != 999_999_999 || byMode(s.m.By) != "RT" || byMode(mail.Deadline{Trace: true}) != "NT" {
		t.Errorf("%d;%s", s.secondsLeft(), byMode(s.m.By))
	}
}

func TestSendTooBig(t *testing.T) {
	nc, _ := scriptedPeer(t, []peerStep{{"", "220 hi"}, {"EHLO", pipelining}})
	c, err := NewClient(t.Context(), nc, ClientOptions{Hello: "me.test"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Send(t.Context(), message(strings.Repeat("x", 1001), "b"))
	checkSent(t, got, err, []string{"552 5.3.4 1001 octets are more than the 1000 that the peer takes"})
}

// A body that cannot be read must not become a message that is cut short.
func TestSendBrokenBody(t *testing.T) {
	nc, done := scriptedPeer(t, []peerStep{{"", "220 hi"}, {"EHLO", pipelining}, {"MAIL|RCPT|DATA", "250|250|354"}, {"BODY", "250 got it"}})
	c, err := NewClient(t.Context(), nc, ClientOptions{Hello: "me.test"})
	if err != nil {
		t.Fatal(err)
	}
	m := message("", "b")
	m.Body = io.MultiReader(strings.NewReader("half\r\n"), iotest.ErrReader(errors.New("disk gone")))
	if got, err := c.Send(t.Context(), m); err == nil || !strings.Contains(err.Error(), "disk gone") || got[0].Code != 0 {
		t.Errorf("Send = %v, %v", got, err)
	}
	if miss := <-done; !strings.Contains(miss, "EOF") {
		t.Errorf("the peer took it for a message: %q", miss)
	}
}

// A peer that refuses in the middle and hangs up has its refusal recorded.
func TestSendRefusedEarly(t *testing.T) {
	nc, _ := scriptedPeer(t, []peerStep{{"", "220 hi"}, {"EHLO", "250-mx.test|250 PIPELINING"}, {"MAIL|RCPT|DATA", "250|250|354"}, {"", "552 5.3.4 too much"}})
	c, err := NewClient(t.Context(), nc, ClientOptions{Hello: "me.test"})
	if err != nil {
		t.Fatal(err)
	}
	m := message("", "b")
	m.Body = io.LimitReader(zeros{}, 64<<20)
	got, err := c.Send(t.Context(), m)
	if err != nil && strings.Contains(err.Error(), "reset") {
		t.Skip("the system threw the reply away with the connection")
	}
	checkSent(t, got, err, []string{"552 5.3.4 too much"})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func TestClientContext(t *testing.T) {
	nc, _ := scriptedPeer(t, []peerStep{{"", "220 hi"}, {"EHLO", plainEHLO}, {"MAIL", "250"}, {"RCPT|x", ""}})
	c, err := NewClient(t.Context(), nc, ClientOptions{Hello: "me.test"})
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("no time left")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(gone) })
	if _, err := c.Send(ctx, message("hi\r\n", "b")); !errors.Is(err, gone) {
		t.Errorf("Send = %v", err)
	}
	if _, err := c.Send(t.Context(), message("hi\r\n", "b")); err == nil {
		t.Error("the conversation goes on")
	}
}

// A peer that stops reading within a body does not hold us for ever.
func TestPeerStopsReading(t *testing.T) {
	nc, _ := scriptedPeer(t, []peerStep{{"", "220 hi"}, {"EHLO", plainEHLO}, {"MAIL", "250"}, {"RCPT", "250"}, {"DATA", "354 go"}, {"x", ""}, {"BODY", ""}})
	c, err := NewClient(t.Context(), nc, ClientOptions{Hello: "me.test", Timeouts: Timeouts{DataBlock: 100 * time.Millisecond, DataDone: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	m := message("", "b")
	m.Body = io.LimitReader(zeros{}, 64<<20)
	if got, err := c.Send(t.Context(), m); err == nil {
		t.Errorf("Send = %v", got)
	}
}
