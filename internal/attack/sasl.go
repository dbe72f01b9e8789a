// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"restante/internal/testpeer"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// cheats are lines of one conversation each, behind EHLO. None may sign in.
func cheats() [][]string {
	plain := func(s string) []string { return []string{"AUTH PLAIN " + b64(s)} }
	long := strings.Repeat("A", 20000)
	scram := func(first, final string) []string { return []string{"AUTH SCRAM-SHA-256 " + b64(first), b64(final)} }
	return [][]string{
		plain("\x00alice\x00wrong"), plain("\x00alice\x00"), plain("\x00\x00"), plain(""), plain("alice"), plain("\x00alice\x00" + password + "\x00x"),
		plain("\x00" + account + "\x00" + password + "\x00"), plain("root\x00alice\x00" + password), plain("\x00alice\x00 " + password), plain("\x00ali\x00ce\x00" + password),
		plain("\x00alice\x00" + strings.Repeat("p", 3000)), plain("\x00" + strings.Repeat("u", 3000) + "\x00p"), plain("\x00alice@hub.test\x00\xff\xfe"), plain("\x00*\x00*"), plain("\x00alice' OR '1'='1\x00x"),
		{"AUTH PLAIN"}, {"AUTH PLAIN", "*"}, {"AUTH PLAIN", ""}, {"AUTH PLAIN", "="}, {"AUTH PLAIN ="}, {"AUTH PLAIN !!!!"}, {"AUTH PLAIN AA=A"}, {"AUTH PLAIN A"}, {"AUTH PLAIN " + long}, {"AUTH PLAIN", long},
		{"AUTH PLAIN " + strings.TrimRight(b64("\x00alice\x00wrong"), "=")}, {"AUTH PLAIN " + b64("\x00alice\x00" + password)[:20], b64("\x00alice\x00" + password)[20:]},
		{"AUTH LOGIN", b64("alice"), b64("wrong")}, {"AUTH LOGIN", b64("alice"), "*", b64(password)}, {"AUTH LOGIN", "*", b64("alice"), b64(password)}, {"AUTH LOGIN " + b64("alice"), "MAIL FROM:<a@hub.test>"},
		{"AUTH LOGIN", "", ""}, {"AUTH LOGIN", b64("alice"), b64("")}, {"AUTH LOGIN", "RSET", "NOOP"}, {"AUTH LOGIN", b64("alice"), long},
		{"AUTH CRAM-MD5", b64("alice")}, {"AUTH CRAM-MD5", b64("alice 00000000000000000000000000000000")}, {"AUTH CRAM-MD5", "*"}, {"AUTH CRAM-MD5", b64(" ")}, {"AUTH CRAM-MD5 " + b64("alice x")}, {"AUTH CRAM-MD5", long},
		scram("n,,n=alice,r=x", "c=biws,r=x,p=AAAA"), scram("y,,n=alice,r=x", ""), scram("p=tls-unique,,n=alice,r=x", "c=,r=,p="), scram("n,a=root,n=alice,r=x", "c=biws"), scram("n,,n=,r=", "p="), scram("n,,m=1,n=alice,r=x", "x"), scram(",,,,", ",,,"),
		scram("n,,n=nobody,r=x", "c=biws,r=x,p=AAAA"), scram("n,,n=a=2Cb=3D=3,r=x", "x"), {"AUTH SCRAM-SHA-256", "=", "=", "="}, {"AUTH SCRAM-SHA-256-PLUS " + b64("p=tls-exporter,,n=alice,r=x")},
		{"AUTH"}, {"AUTH NTLM"}, {"AUTH GSSAPI"}, {"AUTH EXTERNAL " + b64("alice")}, {"AUTH EXTERNAL ="}, {"AUTH ANONYMOUS " + b64("a@b")}, {"AUTH XOAUTH2 x"}, {"AUTH plain\x00 x"}, {"AUTH PLAIN x y"}, {"auth cram-md5 =", "*"},
		{"MAIL FROM:<a@hub.test>", "AUTH PLAIN " + b64("\x00alice\x00"+password), "RSET"}, {"MAIL FROM:<a@hub.test> AUTH=alice", "RSET"},
		{"AUTH CRAM-MD5", "STARTTLS"}, {"AUTH CRAM-MD5", "AUTH PLAIN " + b64("\x00alice\x00"+password)}, {"STARTTLS now", "AUTH PLAIN " + b64("\x00alice\x00wrong")},
	}
}

// mayRelay asks for a recipient that only an account may send to.
func mayRelay(c *testpeer.Client) (relays, ended bool) {
	say(c, "RSET\r\n")
	say(c, "MAIL FROM:<a@hub.test>\r\n")
	r := say(c, "RCPT TO:<x@evil.test>\r\n")
	say(c, "RSET\r\n")
	return strings.HasPrefix(r, "25"), r == ""
}

// signIns plays all cheats, and some that need more than lines.
func signIns(_ context.Context, a *attack) error {
	if err := a.honest(); err != nil {
		return err
	}
	var plays []func(*testpeer.Client) error
	for _, lines := range cheats() {
		for _, pipelined := range []bool{false, true} {
			plays = append(plays, func(c *testpeer.Client) error { a.cheat(c, lines, pipelined); return nil })
		}
	}
	plays = append(plays, a.replay, a.inject)
	errs := make([]error, len(plays))
	var all sync.WaitGroup
	for i, play := range plays { // at once: guesses are answered slowly
		all.Go(func() { errs[i] = a.trySignIn(i, play) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (a *attack) trySignIn(n int, play func(*testpeer.Client) error) error {
	c, err := a.dial(fmt.Sprintf("127.30.%d.%d", n/250, 1+n%250))
	if err != nil {
		return err
	}
	defer c.Close()
	a.count("tried")
	say(c, "EHLO caller.test\r\n")
	if err := play(c); err != nil {
		return err
	}
	switch relays, ended := mayRelay(c); {
	case relays:
		a.fail("try %d relays", n)
	case ended:
		a.count("disconnected")
	default:
		a.count("not signed in")
	}
	return nil
}

// honest shows that the question of mayRelay can be answered with yes.
func (a *attack) honest() error {
	c, err := a.dial("127.30.99.1")
	if err != nil {
		return err
	}
	defer c.Close()
	say(c, "EHLO caller.test\r\n")
	if relays, _ := mayRelay(c); relays {
		return errors.New("nobody signed in, and may relay")
	}
	if err := c.SignIn(account, password); err != nil {
		return err
	}
	if relays, _ := mayRelay(c); !relays {
		return errors.New("the account signed in, and may not relay")
	}
	return nil
}

func (a *attack) cheat(c *testpeer.Client, lines []string, pipelined bool) {
	if pipelined {
		_, _ = io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n")
	}
	for _, line := range lines {
		r := ""
		if pipelined {
			r, _ = c.Reply()
		} else {
			r = say(c, line+"\r\n")
		}
		if strings.HasPrefix(r, "235") {
			a.fail("%.80q signs in", lines)
		}
		if r == "" {
			return
		}
	}
}

// replay answers a challenge with the response to another one.
func (a *attack) replay(c *testpeer.Client) error {
	r := say(c, "AUTH CRAM-MD5\r\n")
	say(c, "*\r\n")
	challenge, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(r, "334 "))
	if err != nil {
		return nil // it is throttled, and gives none
	}
	say(c, "AUTH CRAM-MD5\r\n")
	if r := say(c, b64(testpeer.AnswerCRAM(account, password, challenge))+"\r\n"); strings.HasPrefix(r, "235") {
		a.fail("the response to another challenge signs in")
	}
	return nil
}

// inject sends commands in clear behind STARTTLS, as one between caller and service
// could: they must be gone with the handshake.
func (a *attack) inject(c *testpeer.Client) error {
	if _, err := io.WriteString(c, "STARTTLS\r\nAUTH PLAIN "+b64("\x00"+account+"\x00"+password)+"\r\n"); err != nil {
		return err
	}
	if r, _ := c.Reply(); !strings.HasPrefix(r, "220") {
		return fmt.Errorf("STARTTLS: %s", r)
	}
	nc := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true}) // the service's own certificate
	if err := nc.Handshake(); err != nil {
		return nil // refused as a whole
	}
	c.Conn = nc
	c.R.Reset(nc)
	say(c, "EHLO caller.test\r\n")
	return nil
}
