// SPDX-License-Identifier: Apache-2.0

package pull

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
	"restante/internal/testpeer"
)

// A script is what a holder says and, behind "<", the line that it waits for before it
// goes on. "sleep D" waits.
type script []string

// play follows the script; heard are the lines that came.
func (s script) play(c net.Conn) (heard []string) {
	r := bufio.NewReader(c)
	for _, step := range s {
		verb, rest, _ := strings.Cut(step, " ")
		switch verb {
		case "<":
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return heard
				}
				line = strings.TrimRight(line, "\r\n")
				heard = append(heard, line)
				if len(line) > 3 && line[3] == '-' && line[0] == rest[0] {
					continue // of a reply with several lines
				}
				if !strings.HasPrefix(line, rest) {
					return append(heard, "wanted "+rest)
				}
				break
			}
		case "sleep":
			d, _ := time.ParseDuration(rest)
			time.Sleep(d)
		default:
			if _, err := io.WriteString(c, step); err != nil {
				return heard
			}
		}
	}
	return heard
}

// callScript calls a holder that follows a script.
func callScript(t *testing.T, s script, local *sink, change func(*Options)) (res Result, heard []string, err error) {
	t.Helper()
	done := make(chan []string, 1)
	o := options(t, newHub(), local)
	o.Verb = TURN
	o.Dial = dialer(func(c net.Conn) { done <- s.play(c) }, local, -1)
	if change != nil {
		change(&o)
	}
	res, err = Call(t.Context(), o)
	return res, <-done, err
}

// turned is a conversation up to the reversal, as IIS holds it: keywords in lower case,
// AUTH=LOGIN alone, its own prompts.
var turned = script{
	"220 iis.test Microsoft ESMTP MAIL Service, Version: 6.0 ready\r\n",
	"< EHLO pull.test", "250-iis.test Hello [192.0.2.1]\r\n250-auth=login\r\n250-turn\r\n250-8bitmime\r\n250 OK\r\n",
	"< AUTH LOGIN", "334 VXNlcm5hbWU6\r\n", "< YW5uYQ==", "334 UGFzc3dvcmQ6\r\n", "< c2VjcmV0", "235 LOGIN authentication successful\r\n",
	"< TURN", "250 OK\r\n",
	"< 220 pull.test",
}

func TestHolderThatSpeaksAsIISDoes(t *testing.T) {
	local := &sink{}
	s := append(slices.Clone(turned), "ehlo iis.test\r\n", "< 250 ",
		"mail from:<a@from.test> size=40\r\n", "< 250", "rcpt to:<one@held.test>\r\n", "< 250",
		"data\r\n", "< 354", "Subject: x\r\n\r\nbare\nline\r\n..dot\r\n"+strings.Repeat("long", 5000)+"\r\n", ".\r\n", "< 250",
		"mail from:<>\r\n", "< 250", "rcpt to:<one@held.test>\r\n", "< 250", "data\r\n", "< 354", "\r\nTURN\r\n.\r\n", "< 250",
		"auth login\r\n", "< 50", "etrn a.test\r\n", "< 50", "turn\r\n", "< 5", "atrn\r\n", "< 5", "quit\r\n", "< 221")
	res, heard, err := callScript(t, s, local, nil)
	if err != nil || res.Broken != nil || res.Messages[Taken] != 2 {
		t.Fatalf("%+v, %v; heard %q", res, err, heard)
	}
	checkOnce(t, local, held{to: []string{"one@held.test"}, body: "Subject: x\r\n\r\nbare\r\nline\r\n.dot\r\n" + strings.Repeat("long", 5000) + "\r\n"},
		held{to: []string{"one@held.test"}, body: "\r\nTURN\r\n"})
}

// A message that is larger than the local server takes, and that does not say so before,
// is refused to the holder, and told.
func TestMessageThatIsTooLargeForTheLocalServer(t *testing.T) {
	s := append(slices.Clone(turned), "EHLO x\r\n", "< 250 ", "MAIL FROM:<a@from.test>\r\n", "< 250", "RCPT TO:<one@held.test>\r\n", "< 250",
		"DATA\r\n", "< 354", strings.Repeat("large\r\n", 50)+".\r\n", "< 552", "QUIT\r\n", "< 221")
	local := &sink{ehlo: []string{"SIZE 100"}}
	res, heard, err := callScript(t, s, local, nil)
	if err != nil || res.Broken != nil || fmt.Sprint(res.Messages) != fmt.Sprint(map[Outcome]int{Refused: 1}) {
		t.Errorf("%+v, %v; heard %q", res, err, heard)
	}
	checkOnce(t, local)
}

// A message may come by BDAT, and octet for octet.
func TestChunksAreTaken(t *testing.T) {
	local := &sink{}
	s := append(slices.Clone(turned), "EHLO x\r\n", "< 250 ", "MAIL FROM:<a@from.test>\r\nRCPT TO:<one@held.test>\r\n", "< 250", "< 250",
		"BDAT 5\r\n.\r\n..", "< 250", "BDAT 4 LAST\r\n\r\n\r\n", "< 250", "QUIT\r\n", "< 221")
	res, heard, err := callScript(t, s, local, nil)
	if err != nil || res.Broken != nil || res.Messages[Taken] != 1 {
		t.Fatalf("%+v, %v; heard %q", res, err, heard)
	}
	checkOnce(t, local, held{to: []string{"one@held.test"}, body: ".\r\n..\r\n\r\n"})
}

func TestHoldersThatOfferLittle(t *testing.T) {
	for _, tt := range []struct {
		s       script
		refused bool
		want    string
	}{
		{script{"220 x\r\n", "< EHLO", "250 x\r\n"}, true, "sign-in: the holder refuses: it offers no sign-in that can be used; known are SCRAM-SHA-256, CRAM-MD5, PLAIN, LOGIN"},
		{script{"220 x\r\n", "< EHLO", "250-x\r\n250 AUTH GSSAPI NTLM\r\n"}, true, "it offers no sign-in that can be used"},
		{script{"220 x\r\n", "< EHLO", "502 no\r\n", "< HELO", "250 x\r\n"}, true, "it offers no sign-in that can be used"},
		{script{"554 go away\r\n"}, false, "554 go away"},
		{script{"220 x\r\n", "< EHLO", "250-x\r\n250 AUTH PLAIN\r\n", "< AUTH PLAIN", "454 4.7.0 later\r\n"}, false, "454 4.7.0 later"},
		{append(slices.Clone(turned[:len(turned)-2]), "502 what?\r\n"), true, "TURN: the holder refuses: 502 what?"},
		{append(slices.Clone(turned[:len(turned)-2]), "250 OK\r\n220 me, too\r\n"), false, "more stands behind the reply"},
		{append(slices.Clone(turned[:len(turned)-2]), "250 OK\r\n"), false, ""}, // and hangs up
	} {
		res, heard, err := callScript(t, tt.s, &sink{}, nil)
		if err == nil {
			err = res.Broken
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, ErrRefused) != tt.refused {
			t.Errorf("%v, refused %v; want %s; heard %q", err, errors.Is(err, ErrRefused), tt.want, heard)
		}
	}
}

// A password that is refused by one mechanism is not shown by another one, and counts once.
func TestRefusedPasswordIsNotTriedAgain(t *testing.T) {
	s := script{"220 x\r\n", "< EHLO", "250-x\r\n250 AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN\r\n", "< AUTH SCRAM-SHA-256 ", "535 5.7.8 wrong\r\n", "< QUIT"}
	_, heard, err := callScript(t, s, &sink{}, nil)
	if !errors.Is(err, ErrRefused) || strings.Contains(strings.Join(heard, "\n"), "AUTH PLAIN") || strings.Contains(strings.Join(heard, "\n"), "AUTH CRAM") {
		t.Errorf("%v; heard %q", err, heard)
	}
}

// The strongest mechanism that the holder offers is used.
func TestStrongestMechanismInCommon(t *testing.T) {
	for offered, want := range map[string]string{
		"PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256": "AUTH SCRAM-SHA-256 ", "LOGIN PLAIN cram-md5": "AUTH CRAM-MD5", "LOGIN PLAIN GSSAPI": "AUTH PLAIN ", "NTLM LOGIN": "AUTH LOGIN",
	} {
		s := script{"220 x\r\n", "< EHLO", "250-x\r\n250 auth " + offered + "\r\n", "< " + want, "454 later\r\n"}
		_, heard, err := callScript(t, s, &sink{}, nil)
		if err == nil || len(heard) != 2 || !strings.HasPrefix(heard[1], want) {
			t.Errorf("%s: %v; heard %q", offered, err, heard)
		}
	}
}

func TestSlowHolderIsWaitedForAndADeadLineIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := &sink{}
		s := append(slices.Clone(turned[:len(turned)-2]), "sleep 9m50s", "250 OK\r\n", "< 220", "sleep 4m", "EHLO x\r\n", "< 250 ",
			"MAIL FROM:<a@from.test>\r\n", "< 250", "RCPT TO:<one@held.test>\r\n", "< 250", "DATA\r\n", "< 354", "one\r\n", "sleep 4m", "two\r\n.\r\n", "< 250", "QUIT\r\n", "< 221")
		res, heard, err := callScript(t, s, local, nil)
		if err != nil || res.Broken != nil || res.Messages[Taken] != 1 {
			t.Errorf("%+v, %v; heard %q", res, err, heard)
		}
		s = append(slices.Clone(turned), "EHLO x\r\n", "< 250 ", "MAIL FROM:<a@from.test>\r\n", "< 250", "RCPT TO:<one@held.test>\r\n", "< 250", "DATA\r\n", "< 354", "half\r\n", "sleep 24h")
		for _, dead := range []struct {
			script
			implicit bool
		}{{s, false}, {script{"sleep 24h"}, true}} {
			o := options(t, newHub(), local)
			if o.Verb = TURN; dead.implicit {
				o.Security, o.TLS = Implicit, &tls.Config{ServerName: "hub.test"}
			}
			o.Dial = dialer(func(c net.Conn) { dead.play(c) }, local, -1)
			begin := time.Now()
			res, err := Call(t.Context(), o)
			if took := time.Since(begin); err == nil && res.Broken == nil || took > time.Hour || len(res.Messages) != 0 {
				t.Errorf("%+v, %v after %v", res, err, took)
			}
		}
		checkOnce(t, local, held{to: []string{"one@held.test"}, body: "one\r\ntwo\r\n"})
		time.Sleep(25 * time.Hour) // until the scripts end
	})
}

// A local server that does not answer is named, before the holder gives up waiting, and no
// further message is tried.
func TestLocalServerThatIsSilentIsNamed(t *testing.T) {
	for _, verb := range []string{"MAIL", "RCPT"} {
		synctest.Test(t, func(t *testing.T) {
			h, local := newHub(), &sink{ehlo: everything}
			local.answer = func(line string) string {
				if strings.HasPrefix(line, verb) {
					return "SILENT"
				}
				return ""
			}
			for _, body := range []string{"one\r\n", "two\r\n"} {
				h.hold(&held{from: "a@from.test", to: []string{"one@held.test", "two@held.test"}, body: body})
			}
			begin := time.Now()
			res, err := call(t, options(t, h, local))
			want := "local server local:25: " + verb + ": it is silent for 4m0s"
			if took := time.Since(begin); err != nil || res.Broken == nil || res.Broken.Error() != want || took >= 5*time.Minute {
				t.Errorf("%s: %v, %v after %v; want %s", verb, err, res.Broken, took, want)
			}
			if len(h.waiting()) != 2 || len(h.returned) != 0 || local.total() != 0 {
				t.Errorf("%s: %d wait, %d returned", verb, len(h.waiting()), len(h.returned))
			}
		})
	}
}

// Idle calls every interval, waits longer after failures, and ends between two messages.
func TestIdleCallsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, local := newHub(), &sink{ehlo: everything}
		o := options(t, h, local)
		ctx, stop := context.WithCancel(t.Context())
		begin, calls := time.Now(), 0
		var last time.Duration
		err := Idle(ctx, o, time.Minute, func(res Result, err error, wait time.Duration) {
			calls++
			switch {
			case calls <= 3:
				if at := time.Since(begin).Round(time.Second); err != nil || wait != time.Minute || at != time.Duration(calls-1)*time.Minute {
					t.Errorf("call %d after %v: %v, the next in %v", calls, at, err, wait)
				}
				h.hold(&held{from: "a@from.test", to: []string{"one@held.test"}, body: strings.Repeat("x\r\n", calls)})
				local.down.Store(calls == 3)
			case calls < 20:
				if err == nil || wait < 3*time.Second || wait > longestWait*5/4 || calls < 9 && wait < last {
					t.Errorf("call %d: %v, the next in %v after one in %v", calls, err, wait, last)
				}
				last = wait
			default:
				local.down.Store(false)
				if err == nil && len(res.Messages) > 0 {
					stop()
				}
			}
		})
		if err != nil || len(h.waiting()) != 0 || local.total() != 3 || last < longestWait/2 {
			t.Errorf("%v; %d wait, %d came, the last wait was %v", err, len(h.waiting()), local.total(), last)
		}
		h.refuses = mail.Reply{Code: 550, Enhanced: "7.1", Text: "no"}
		if err := Idle(t.Context(), o, time.Minute, func(Result, error, time.Duration) {}); !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
	})
}

// A signal ends a call behind the message under way.
func TestStopEndsACallBetweenMessages(t *testing.T) {
	h, local := newHub(), &sink{ehlo: everything}
	sent := held{from: "a@from.test", to: []string{"one@held.test"}, body: "one\r\n"}
	h.hold(copies([]held{sent})...)
	h.hold(&held{from: "a@from.test", to: []string{"one@held.test"}, body: "two\r\n"})
	ctx, stop := context.WithCancel(t.Context())
	local.answer = func(line string) string {
		if line == "DATA" {
			stop()
		}
		return ""
	}
	o := options(t, h, local)
	o.Dial = dialerOver(sockets, func(c net.Conn) {
		h.serve(context.WithoutCancel(t.Context()), c)
	}, local, -1)
	res, err := Call(ctx, o)
	ended.Wait()
	if err != nil || !errors.Is(res.Broken, context.Canceled) || res.Messages[Taken] != 1 || len(h.waiting()) != 1 {
		t.Errorf("%+v, %v; %d wait", res, err, len(h.waiting()))
	}
	checkOnce(t, local, sent)
}

// A signal cuts a message whose octets do not come, or whose answer does not, after a time
// of grace. What the local server did not take stays.
func TestStopDoesNotWaitForASilentPeer(t *testing.T) {
	for _, silent := range []string{"holder", "local server"} {
		synctest.Test(t, func(t *testing.T) {
			local := &sink{ehlo: everything}
			s := append(slices.Clone(turned), "EHLO x\r\n", "< 250 ", "MAIL FROM:<a@from.test>\r\n", "< 250", "RCPT TO:<one@held.test>\r\n", "< 250", "DATA\r\n", "< 354", "half\r\n")
			if silent == "holder" {
				s = append(s, "sleep 24h")
			} else {
				s = append(s, ".\r\n", "< 250")
				local.answer = func(line string) string { return map[string]string{".": "SILENT"}[line] }
			}
			o := options(t, newHub(), local)
			o.Verb = TURN
			o.Dial = dialer(func(c net.Conn) { s.play(c) }, local, -1)
			ctx, stop := context.WithCancel(t.Context())
			begin := time.Now()
			time.AfterFunc(time.Minute, stop)
			res, err := Call(ctx, o)
			if took := time.Since(begin) - time.Minute; err != nil || !errors.Is(res.Broken, context.Canceled) || took < graceTime || took > 2*graceTime+quitTime || local.total() != 0 {
				t.Errorf("a silent %s: %+v, %v after %v", silent, res, err, took)
			}
			time.Sleep(25 * time.Hour) // until the script ends
		})
	}
}

// The answer to QUIT is not waited for when all is said.
func TestHolderThatDoesNotAnswerQuit(t *testing.T) {
	for reply, verb := range map[string]Verb{"250 OK\r\n": ETRN, "453 nothing\r\n": ATRN} {
		synctest.Test(t, func(t *testing.T) {
			s := append(slices.Clone(turned[:len(turned)-3]), "< "+string(verb), reply, "< QUIT", "sleep 1h")
			o := options(t, newHub(), &sink{})
			o.Verb, o.Dial = verb, dialer(func(c net.Conn) { s.play(c) }, &sink{}, -1)
			begin := time.Now()
			res, err := Call(t.Context(), o)
			if took := time.Since(begin); err != nil || !strings.HasPrefix(reply, res.Reply.String()) || took > quitTime {
				t.Errorf("%s: %+v, %v after %v", verb, res, err, took)
			}
			time.Sleep(2 * time.Hour) // until the script ends
		})
	}
}

// The holder's certificate must be right, by STARTTLS and from the first octet; then
// the password goes by whatever the holder offers.
func TestCertificateOfTheHolder(t *testing.T) {
	cert, roots := testpeer.Certificate(t, "hub.test", time.Now().Add(time.Hour))
	for _, how := range []Security{StartTLS, Implicit} {
		for _, tt := range []struct {
			cfg  *tls.Config
			want string
		}{
			{&tls.Config{ServerName: "hub.test", RootCAs: roots}, ""},
			{&tls.Config{ServerName: "other.test", RootCAs: roots}, "certificate is valid for hub.test, not other.test"},
			{&tls.Config{ServerName: "hub.test"}, "certificate"},
			{&tls.Config{ServerName: "other.test", InsecureSkipVerify: true}, ""},
		} {
			h, local := newHub(), &sink{ehlo: everything}
			h.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
			h.hold(&held{from: "a@from.test", to: []string{"one@held.test"}, body: "x\r\n"})
			o := options(t, h, local)
			o.Security, o.TLS = how, tt.cfg
			o.Dial = dialerOver(sockets, func(c net.Conn) {
				if how == Implicit {
					c = tls.Server(c, h.tls)
					h.tls = nil
				}
				h.serve(context.WithoutCancel(t.Context()), c)
			}, local, -1)
			res, err := call(t, o)
			if tt.want == "" && (err != nil || res.Broken != nil || local.total() != 1) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s: %v, %v; want %q", how, err, res.Broken, tt.want)
			}
			if tt.want != "" && (len(h.asked) != 0 || local.total() != 0) {
				t.Errorf("%s: the holder was asked %q", how, h.asked)
			}
		}
	}
}
