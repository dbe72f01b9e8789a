// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"restante/engine/account"
)

// A callerLog has what the log of a Server was told.
type callerLog struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (l *callerLog) add(e Exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf("%s|%s|%d", e.Verb, e.Arg, e.Reply.Code))
}

// TestExchangesAreLogged: the log is told of each command with its reply, in
// order, once, and of no credential.
func TestExchangesAreLogged(t *testing.T) {
	tests := []struct {
		name, say string
		want      []string
	}{
		{"a message", hello + "|MAIL FROM:<a@x.test> SIZE=1|RCPT TO:<b@x.test>|DATA|x|.", []string{"MAIL|FROM:<a@x.test> SIZE=1|250", "RCPT|TO:<b@x.test>|250", "DATA||250"}},
		{"refusals of the Session", hello + "|MAIL FROM:<no@x.test>", []string{"MAIL|FROM:<no@x.test>|550"}},
		{"refusals of our own", hello + "|RCPT TO:<b@x.test>|EXPN x", []string{"RCPT|TO:<b@x.test>|503", "EXPN|x|502"}},
		{"a sign-in", hello + "|AUTH PLAIN AGEAc2VjcmV0", []string{"AUTH|PLAIN|235"}},
		{"a sign-in in two lines", hello + "|AUTH PLAIN|AGEAc2VjcmV0", []string{"AUTH|PLAIN|235"}},
		{"one that fails", hello + "|AUTH\tplain\tAGEAYg==|AUTH PLAIN|*", []string{"AUTH|PLAIN|535", "AUTH|PLAIN|501"}},
		{"credentials out of place", hello + "|AUTH c2VjcmV0|c2VjcmV0|SECRET", []string{"AUTH||504", "||500", "||500"}},
		{"words that are no verb", hello + "|aHVudGVy|PassWord|mypassword xyz|USER joe|PASS secret| AUTH secret", []string{"||500", "||500", "||500", "||500", "||500", "||500"}},
		{"BDAT", hello + "|MAIL FROM:<>|RCPT TO:<b@x.test>|BDAT 1|x|NOOP between|VRFY joe|BDAT 1 LAST|y",
			[]string{"MAIL|FROM:<>|250", "RCPT|TO:<b@x.test>|250", "BDAT|1|250", "NOOP|between|250", "VRFY|joe|503", "BDAT|1 LAST|250"}},
		{"a series that is taken back", hello + "|MAIL FROM:<>|RCPT TO:<b@x.test>|BDAT 1|x|RSET", []string{"MAIL|FROM:<>|250", "RCPT|TO:<b@x.test>|250", "BDAT|1|250", "RSET||250"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var l callerLog
			cfg := config()
			cfg.Log = l.add
			h := startHost(t, cfg)
			d := h.dial()
			d.send(unfold(tt.say + "|QUIT"))
			io.Copy(io.Discard, d.r)
			h.end()
			want := append(append([]string{"EHLO|me.test|250"}, tt.want...), "QUIT||221")
			if !slices.Equal(l.lines, want) {
				t.Errorf("logged %q, want %q", l.lines, want)
			}
		})
	}
}

// TestExchangesAreMeasured: the octets of a command are those that came for it,
// the message among them.
func TestExchangesAreMeasured(t *testing.T) {
	got := map[string][2]int64{}
	cfg := config()
	cfg.Log = func(e Exchange) { got[e.Verb+e.Arg] = [2]int64{e.Received, e.Sent} }
	h := startHost(t, cfg)
	d := h.dial()
	d.expect("", "220")
	d.expect(hello, "250")
	d.expect("MAIL FROM:<>", "250")
	rcpt := d.expect("RCPT TO:<b@x.test>", "250")
	d.expect("DATA", "354")
	data := d.expect("..x\r\n.", "250")
	d.expect("MAIL FROM:<a@x.test>", "250")
	d.expect("RCPT TO:<c@x.test>", "250")
	d.send("BDAT 4\r\nab\r\n")
	d.expect("", "250")
	d.send("BDAT 2 LAST\r\n\r\n")
	d.expect("", "250")
	h.end()
	for verb, want := range map[string][2]int64{
		"RCPTTO:<b@x.test>": {int64(len("RCPT TO:<b@x.test>")) + 2, int64(len(rcpt)) + 2},
		"DATA":              {int64(len("DATA\r\n.x\r\n")), int64(len(data)) + 2},
		"BDAT4":             {int64(len("BDAT 4\r\n")) + 4, int64(len("250 2.0.0 4 octets received\r\n"))},
	} {
		if got[verb] != want {
			t.Errorf("%s: %d, want %d", verb, got[verb], want)
		}
	}
	if n := got["BDAT2 LAST"][0]; n != int64(len("BDAT 2 LAST\r\n"))+2 {
		t.Errorf("the last BDAT: %d octets", n)
	}
}

// TestCommandsWithoutReplyAreLogged: a command that is broken off has a line, too,
// with the reply that the caller did not wait for, and so has a failed handshake.
func TestCommandsWithoutReplyAreLogged(t *testing.T) {
	for say, want := range map[string]string{
		toData + "half a mess":                         "DATA||451|0",
		toData[:len(toData)-6] + "BDAT 9 LAST\r\nhalf": "BDAT|9 LAST|451|0",
		"EHLO me.test\r\nAUTH PLAIN\r\n":               "AUTH|PLAIN|0|0",
		"STARTTLS\r\n":                                 "STARTTLS||454|0",
		"EHLO me.test\r\nNOOP\r\nMAI":                  "NOOP||250|14", // what is no line is no command
	} {
		var last string
		cfg := config()
		cfg.TLS, _ = certificate(t)
		cfg.Log = func(e Exchange) { last = fmt.Sprintf("%s|%s|%d|%d", e.Verb, e.Arg, e.Reply.Code, e.Sent) }
		h := startHost(t, cfg)
		d := h.dial()
		d.send(say)
		if strings.HasPrefix(say, "STARTTLS") {
			d.expect("", "220")
			d.expect("", "220")
			d.send("no handshake\r\n")
		}
		closeWrite(d.nc)
		io.Copy(io.Discard, d.r)
		h.end()
		if last != want {
			t.Errorf("%q: the last line is %s, want %s", say, last, want)
		}
	}
}

// TestRefusedLinesAreMeasured: lines that are not run have their octets.
func TestRefusedLinesAreMeasured(t *testing.T) {
	for say, want := range map[string]int64{
		strings.Repeat("x", maxLine) + "\r\n": maxLine + 2,
		strings.Repeat("x", 5010) + "\r\n":    5012,
		strings.Repeat("x", 40000) + "\r\n":   40002,
		"NOOP\n":                              5,
	} {
		var got int64
		cfg := config()
		cfg.Log = func(e Exchange) {
			if e.Reply.Code == 500 {
				got = e.Received
			}
		}
		h := startHost(t, cfg)
		d := h.dial()
		d.send(say)
		closeWrite(d.nc)
		io.Copy(io.Discard, d.r)
		h.end()
		if got != want {
			t.Errorf("a line of %d octets: %d", len(say), got)
		}
	}
}

// TestClientLog: the log of a Client is told of each command and reply, and of no
// credential.
func TestClientLog(t *testing.T) {
	by := func(mech string) SignIn {
		return account.SignIn{Name: "u", Password: "secret", Mechanisms: []string{mech}, InClear: true}
	}
	for name, tt := range map[string]struct {
		auth  SignIn
		steps []peerStep
		want  string
	}{
		"plain": {by(account.Plain), []peerStep{{"AUTH PLAIN AHUAc2VjcmV0", "235 yes"}}, "AUTH PLAIN|235 yes"},
		"login": {by(account.Login), []peerStep{{"AUTH LOGIN", "334 VXNlcm5hbWU6"}, {"dQ==", "334 UGFzc3dvcmQ6"}, {"c2VjcmV0", "235 yes"}}, "AUTH LOGIN|235 yes"},
		"no":    {nil, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			steps := append([]peerStep{{"", "220 gr\xfc\xdfe"}, {"EHLO", "250-mx.test hello|250 AUTH PLAIN LOGIN"}}, tt.steps...)
			steps = append(steps, peerStep{"MAIL FROM:<a@x.test>", "250 2.1.0 ok"}, peerStep{"RCPT TO:<b@y.test>", "550 5.1.1 no"}, peerStep{"QUIT", "221 bye"})
			nc, _ := scriptedPeer(t, steps)
			var lines []string
			c, err := NewClient(t.Context(), nc, ClientOptions{
				Hello: "me.test", Auth: tt.auth,
				Log: func(l Line) { lines = append(lines, strings.TrimSpace(l.Verb+" "+l.Text)) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Send(t.Context(), message("x\r\n", "b")); err != nil {
				t.Fatal(err)
			}
			if err := c.Quit(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := "220 gr\xfc\xdfe|EHLO me.test|250-mx.test hello|" + tt.want + "|MAIL FROM:<a@x.test>|250 2.1.0 ok|RCPT TO:<b@y.test>|550 5.1.1 no|QUIT|221 bye"
			if got := strings.Join(lines, "|"); got != strings.ReplaceAll(want, "||", "|") {
				t.Errorf("logged %q, want %q", got, want)
			}
		})
	}
}
