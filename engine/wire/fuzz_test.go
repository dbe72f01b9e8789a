// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/engine/wire/dotstuff"
	"restante/engine/wire/params"
)

// vocabulary is what the fuzzed caller may say. Octets of a BDAT stand behind
// its line. A line alone is random octets' place.
var vocabulary = []string{
	"EHLO a.test", "HELO a.test", "EHLO", "EHLO refused.test",
	"MAIL FROM:<a@x.test>", "MAIL FROM:<>", "MAIL FROM:<no@x.test>", "MAIL FROM:<a@x.test> SIZE=99999", "mail from:a@x.test",
	"RCPT TO:<b@y.test>", "RCPT TO:<no@y.test>", "RCPT TO:<later@y.test>", "RCPT TO:<postmaster>", "RCPT TO:<", "RCPT TO:<b@y.test> NOTIFY=NEVER",
	"DATA", "DATA x", "RSET", "NOOP", "NOOP x", "VRFY b", "EXPN b", "HELP", "TURN x", "ATRN a", "ETRN a.test", "ETRN", "STARTTLS", "XYZZY", "", "\x00", "A B\rC",
	"BDAT 5\r\nQUIT\r", "BDAT 6 LAST\r\nab\r\n.\r", "BDAT 0", "BDAT 0 LAST", "BDAT 2\r\n\r\n", "BDAT 3 LAST\r\na\nb", "BDAT 2000 LAST\r\n" + strings.Repeat("x", 2000),
	"AUTH PLAIN", "AUTH PLAIN AGEAYg==", signIn, "AUTH NTLM", "AUTH PLAIN !", "AUTH", strings.Repeat("y", 3000),
}

// say is what goes out for the n-th word.
func say(n byte) string {
	s := vocabulary[int(n)%len(vocabulary)]
	if strings.HasPrefix(s, "BDAT ") && strings.Contains(s, "\r\n") {
		return s
	}
	return s + "\r\n"
}

// FuzzServerCommands lets a caller say commands one by one, each with exactly
// one reply, and then the same octets at once in random segments: the replies
// must be the same, and the Session's calls in an order that makes sense.
func FuzzServerCommands(f *testing.F) {
	f.Add([]byte{0, 4, 9, 15, 18}, uint64(1))
	f.Add([]byte{0, 4, 9, 32, 17, 33, 18, 35}, uint64(2))
	f.Add([]byte{0, 38, 39, 40, 41, 4, 4, 9, 36, 37, 33}, uint64(3))
	f.Fuzz(func(t *testing.T, words []byte, seed uint64) {
		if len(words) > 200 {
			return
		}
		cfg := config()
		cfg.Limits.Errors, cfg.MaxSize = 0, 5000
		said, replies := lockstep(t, cfg, words)
		out, ses := talkTo(t, cfg, said, rand.New(rand.NewPCG(seed, 0)))
		if out != replies {
			t.Errorf("%q: at once\n%q, one by one\n%q", said, out, replies)
		}
		checkOrder(t, ses.calls)
	})
}

// lockstep says one word at a time and gives all that was said and replied.
func lockstep(t *testing.T, cfg Config, words []byte) (said, replies string) {
	srv := NewServer(slog.New(slog.DiscardHandler))
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	var ses *fake
	go func() {
		defer close(done)
		srv.Serve(context.Background(), theirs, cfg, func(c *Caller) Session { ses = &fake{caller: c}; return ses })
	}()
	ours.SetDeadline(time.Now().Add(time.Minute))
	d := &dialer{t: t, nc: ours, r: bufio.NewReader(ours)}
	var in, out strings.Builder
	hear := func() string {
		r := d.reply()
		out.WriteString(strings.ReplaceAll(r, "|", "\r\n") + "\r\n")
		return r
	}
	put := func(s string) { in.WriteString(s); d.send(s) }
	hear()
	ended := false
	for _, w := range words {
		put(say(w))
		r := hear()
		switch r[:3] {
		case "354":
			put(strings.Repeat("..x\r\n", int(w)) + ".\r\n")
			hear()
		case "334":
			put("*\r\n")
			hear()
		}
		if ended = strings.Contains(r, "Bare CR or LF"); ended {
			break
		}
	}
	if !ended {
		d.send("QUIT\r\n") // talkTo does, too
	}
	hear()
	if extra, _ := io.ReadAll(d.r); len(extra) > 0 {
		t.Errorf("%q: more replies than commands: %q", in.String(), extra)
	}
	<-done
	ours.Close()
	checkOrder(t, ses.calls)
	return in.String(), out.String()
}

// checkOrder holds the promise of the seam: Mail never before a greeting, Rcpt
// and Data never without Mail.
func checkOrder(t *testing.T, calls []string) {
	t.Helper()
	hello, inMail := false, false
	for i, c := range calls {
		word, _, _ := strings.Cut(c, " ")
		switch {
		case word == "hello":
			hello = hello || !strings.Contains(c, "refused.test")
		case word == "mail" && (!hello || inMail), (word == "rcpt" || word == "data") && !inMail, word == "close" && i+1 < len(calls):
			t.Errorf("%s is out of order in %q", c, calls)
			return
		}
		switch word {
		case "mail":
			inMail = !strings.HasPrefix(c, "mail no@")
		case "reset":
			inMail = false
		}
	}
}

// octets is a connection that says what r has.
type octets struct {
	net.Conn
	r io.Reader
}

func (o *octets) Read(p []byte) (int, error)      { return o.r.Read(p) }
func (o *octets) SetReadDeadline(time.Time) error { return nil }

// A client and a server that both are ours agree on every body.
func FuzzStuff(f *testing.F) {
	f.Add([]byte(".\r\n.."), uint64(1))
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		var wire bytes.Buffer
		var s dotstuff.Stuffer
		rnd := rand.New(rand.NewPCG(seed, 0))
		if err := s.Copy(func(p []byte) error { wire.Write(p); return nil }, &pieces{b, rnd}); err != nil {
			t.Fatal(err)
		}
		got, bare, left, ok := decoded(wire.String())
		want := normal(string(b))
		if want != "" && !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		if !ok || bare || left != 0 || got != want {
			t.Errorf("%q goes out as %q, which is %q; want %q", b, wire.String(), got, want)
		}
	})
}

// normal makes a line end of every CR and LF.
func normal(s string) string {
	return strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n").Replace(s)
}

// pieces gives b in pieces of random length.
type pieces struct {
	b   []byte
	rnd *rand.Rand
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(to[:min(len(to), 1+p.rnd.IntN(5))], p.b)
	p.b = p.b[n:]
	return n, nil
}

// FuzzParams holds the parameters of MAIL and RCPT to their forms: what is taken
// can go on to a peer as it is, and reads back as the same.
func FuzzParams(f *testing.F) {
	for _, s := range []string{
		"FROM:<a@x.test> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=a+2Bb", "TO:<b@y.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+40y.test",
		`from:<"a>b"@x.test> AUTH=<>`, "FROM:<> SIZE=99999999999999999999", "TO:<@r.test,@s.test:b@y.test>", "TO:<postmaster> NOTIFY=NEVER",
		"FROM:<a@x.test> SIZE=1 size=2", "FROM:<a@x.test> REQUIRETLS MT-PRIORITY=-9 HOLDFOR=3600", "FROM:<a@x.test> HOLDUNTIL=2030-01-01T00:00:00Z;R", "TO: <b@y.test>\tORCPT=;", `TO:<"\"@y.test>`, "TO:<b@y.test>NOTIFY=NEVER",
		"FROM:<jörg@bücher.test> SMTPUTF8", "FROM:<a\xe4@x.test> SMTPUTF8", "TO:<jörg@y.test> ORCPT=utf-8;jörg@y.test", "FROM:<a@x.test> BY=-120;NT", "FROM:<a@x.test> BY=+99;R", `TO:<b@y.test> ORCPT=utf-8;j\x{F6}rg@y.test`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		plain := func(s string) bool { return s == "" || isGraphic(s) }
		if m, bad := params.ParseMail(arg, all, time.Hour, time.Minute); bad.Code == 0 {
			if m.Size < 0 || m.Priority < -9 || m.Priority > 9 || time.Until(m.HoldUntil) > time.Hour || !plain(m.EnvID) || !plain(m.Ret) {
				t.Errorf("%q is %+v", arg, m)
			}
			if !m.From.NoDomain() {
				checkPath(t, m.From)
			}
		} else if bad.Code < 500 || bad.Code > 559 {
			t.Errorf("%q is refused by %v", arg, bad)
		}
		if r, bad := params.ParseRcpt(arg, all, true); bad.Code == 0 {
			if r.To.IsNull() || !plain(r.Notify) || !plain(r.ORcpt) {
				t.Errorf("%q is %+v", arg, r)
			}
			if !r.To.NoDomain() {
				checkPath(t, r.To)
			}
		} else if bad.Code < 500 || bad.Code > 559 {
			t.Errorf("%q is refused by %v", arg, bad)
		}
	})
}

// checkPath reads the path that we write for a as a server would.
func checkPath(t *testing.T, a mail.Address) {
	t.Helper()
	p, ok := path(a)
	if !ok {
		t.Errorf("%#v was taken, and cannot be written", a)
		return
	}
	again, bad := params.ParseMail("FROM:"+p+" SMTPUTF8", all, 0, 0)
	if bad.Code != 0 || again.From != a {
		t.Errorf("%#v is written %q, which is %#v, %v", a, p, again.From, bad)
	}
}

// FuzzHello lets a caller give any name: the reply names it on one line, and the
// mail goes through.
func FuzzHello(f *testing.F) {
	for _, s := range []string{"a.test", "[192.0.2.1]", "[IPv6:::1]", "", " x", "a\tb", "\x1b[2J", "a\x00b", "\u202e", strings.Repeat("x", 3000), "é"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, name string, extended bool) {
		if strings.ContainsAny(name, "\r\n") || len(name) > 2000 {
			return // another line, or one that is too long
		}
		verb := "HELO "
		if extended {
			verb = "EHLO "
		}
		out, ses := talkTo(t, config(), verb+name+"\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\nx\r\n.\r\n", nil)
		if strings.ContainsFunc(out, func(r rune) bool { return r < ' ' && r != '\r' && r != '\n' || r > '~' }) {
			t.Errorf("%q is answered %q", name, out)
		}
		if bodies, _ := ses.taken(); len(bodies) != 1 && !strings.Contains(out, "\r\n500 ") && !strings.Contains(out, "\r\n501 ") {
			t.Errorf("%q costs the mail: %q", name, out)
		}
	})
}

// FuzzChunks sends one message in one chunk and in many: what comes of it, and
// of the command behind it, is the same.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("a\r\n.\r\nb\r\n"), uint64(1))
	f.Add([]byte("QUIT\r\n"), uint64(2))
	f.Add([]byte("a\rb\nc"), uint64(3))
	f.Add([]byte("\r\n.\r\nMAIL FROM:<evil@x.test>\r\n"), uint64(4))
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		if len(body) > 4000 {
			return
		}
		const begin = "EHLO a.test\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n"
		rnd := rand.New(rand.NewPCG(seed, 0))
		one := begin + fmt.Sprintf("BDAT %d LAST\r\n%s", len(body), body)
		many := begin
		for left := body; ; {
			n := rnd.IntN(len(left) + 1)
			if n == len(left) {
				many += fmt.Sprintf("BDAT %d LAST\r\n%s", n, left)
				break
			}
			many += fmt.Sprintf("BDAT %d\r\n%s", n, left[:n])
			left = left[n:]
		}
		_, a := talkTo(t, config(), one, nil)
		out, b := talkTo(t, config(), many, rnd)
		wantBodies, wantBroken := a.taken()
		bodies, broken := b.taken()
		if !slices.Equal(bodies, wantBodies) || len(broken) != len(wantBroken) {
			t.Errorf("%q: in one chunk %q, %v; as %q: %q, %v", body, wantBodies, wantBroken, many, bodies, broken)
		}
		if len(a.from) != 1 || len(b.from) != 1 {
			t.Errorf("%q: octets of a chunk ran as a command: %q", body, out)
		}
		checkOrder(t, b.calls)
	})
}

// A scriptedConn is a peer that says what it says, whatever it is told.
type scriptedConn struct {
	octets
	said bytes.Buffer // to the peer
}

func (s *scriptedConn) Write(p []byte) (int, error)      { return s.said.Write(p) }
func (s *scriptedConn) SetDeadline(time.Time) error      { return nil }
func (s *scriptedConn) SetWriteDeadline(time.Time) error { return nil }
func (s *scriptedConn) Close() error                     { return nil }

// FuzzPeer hands a message to a host that says anything: each recipient has a
// reply, or the conversation ends with an error; our side speaks in commands, and
// says the same to the same host.
func FuzzPeer(f *testing.F) {
	for _, s := range []string{
		"220 x\r\n250-x\r\n250-PIPELINING\r\n250-SIZE 10\r\n250 DSN\r\n250 a\r\n250 b\r\n550 c\r\n354 d\r\n250 e\r\n221 f\r\n",
		"220 x\r\n502 no\r\n250 x\r\n250 a\r\n250 b\r\n250 c\r\n354 d\r\n421 4.3.2 bye\r\n", "554 5.7.1 go\r\n", "220 x\r\n250-x\r\n250 SIZE\r\n451 a\r\n",
		"220 x\r\n250-x\r\n250-AUTH PLAIN\r\n250 PIPELINING\r\n235 ok\r\n250 a\r\n550 b\r\n550 c\r\n354 d\r\n554 e\r\n250 f\r\n",
		"220-a\r\n", "220 x\r\n250 x\r\n250 a\r\n354 b\r\n250 c\r\n250 d\r\n", "220 x\r\n250-x\r\n250 AUTH PLAIN\r\n334 ====\r\n",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, said []byte, signIn bool) {
		converse := func() (string, []mail.Reply, error) {
			nc := &scriptedConn{octets: octets{r: bytes.NewReader(said)}}
			opts := ClientOptions{Hello: "hub.test"}
			if signIn {
				opts.Auth = account.SignIn{Name: "u", Password: "p", Mechanisms: []string{account.Plain}, InClear: true}
			}
			c, err := NewClient(t.Context(), nc, opts)
			if err != nil {
				return nc.said.String(), nil, err
			}
			replies, err := c.Send(t.Context(), message("x\r\n.\r\n", "b", "c"))
			c.Quit(t.Context())
			return nc.said.String(), replies, err
		}
		told, replies, err := converse()
		for _, r := range replies {
			if r.Code == 0 && err == nil || r.Code != 0 && (r.Code < 200 || r.Code > 599) {
				t.Errorf("%q: %+v, %v", said, replies, err)
			}
		}
		commands, _, _ := strings.Cut(told, "DATA\r\n")
		for line := range strings.Lines(commands) {
			verb, _, _ := strings.Cut(strings.TrimSuffix(line, "\r\n"), " ")
			if !slices.Contains([]string{"EHLO", "HELO", "AUTH", "MAIL", "RCPT", "RSET", "QUIT", "*"}, verb) && !signIn || !strings.HasSuffix(line, "\r\n") {
				t.Errorf("%q is told %q", said, line)
			}
		}
		if again, sameReplies, sameErr := converse(); again != told || !slices.EqualFunc(sameReplies, replies, sameReply) || (sameErr == nil) != (err == nil) {
			t.Errorf("%q is told %q, then %q; %v, then %v", said, told, again, err, sameErr)
		}
	})
}

func sameReply(a, b mail.Reply) bool {
	return a.Code == b.Code && a.Enhanced == b.Enhanced && a.Text == b.Text
}
