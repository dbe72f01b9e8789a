// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/engine/wire/params"
)

const signIn = "AUTH PLAIN AGEAc2VjcmV0"

// encrypt does the caller's side of a handshake that was agreed on.
func (d *dialer) encrypt(cfg *tls.Config) {
	d.t.Helper()
	tc := tls.Client(d.nc, cfg)
	if err := tc.Handshake(); err != nil {
		d.t.Fatal(err)
	}
	d.nc, d.r = tc, bufio.NewReader(tc)
}

func TestStartTLS(t *testing.T) {
	cfg := config()
	var trust *tls.Config
	cfg.TLS, trust = certificate(t)
	h := startHost(t, cfg)
	d := h.dial()
	d.expect("", "220")
	if got := d.expect(hello, "250-"); !strings.Contains(got, "|250-STARTTLS|") {
		t.Errorf("not offered: %q", got)
	}
	d.expect("STARTTLS x", "501 5.5.4")
	d.expect(signIn, "235")
	d.expect("MAIL FROM:<a@x.test>", "250")
	d.expect("STARTTLS", "503 5.5.1")
	d.expect("RSET", "250")
	// What is put behind the command in clear is never run (RFC 3207 §6).
	d.send("STARTTLS\r\nEHLO evil.test\r\nMAIL FROM:<evil@x.test>\r\n")
	d.expect("", "220 2.0.0")
	d.encrypt(trust)
	// No greeting comes, and nothing is left of what was said in clear.
	d.expect("MAIL FROM:<a@x.test>", "503 5.5.1 Send EHLO first")
	if got := d.expect("EHLO tls.test", "250-hub.test greets tls.test|"); strings.Contains(got, "STARTTLS") {
		t.Errorf("offered again: %q", got)
	}
	d.expect("STARTTLS", "503 5.5.1")
	d.expect("TURN", "530 5.7.0")
	d.expect(signIn, "235")
	f := d.session(h)
	if _, on := f.caller.TLS(); !on || f.caller.Hello() != "tls.test" || f.caller.Account() != "a" {
		t.Errorf("caller: TLS %v, hello %q, account %q", on, f.caller.Hello(), f.caller.Account())
	}
	d.expect("MAIL FROM:<b@x.test>", "250")
	d.expect("QUIT", "221")
	d.expect("", "EOF")
	if calls := f.seen(); slices.Contains(calls, "mail evil@x.test") || slices.Contains(calls, "hello evil.test true") {
		t.Errorf("the injected commands were run: %q", calls)
	}
}

func TestStartTLSWithoutHandshake(t *testing.T) {
	cfg := config()
	cfg.TLS, _ = certificate(t)
	h := startHost(t, cfg)
	d := h.dial()
	d.expect("", "220")
	d.expect("STARTTLS", "220")
	d.send("EHLO clear.test\r\nQUIT\r\n")
	if b, _ := io.ReadAll(d.r); strings.Contains(string(b), "250") || strings.Contains(string(b), "421") {
		t.Errorf("a word in clear after STARTTLS: %q", b)
	}
}

func needTLS(h *host) {
	h.clear = mail.Reply{Code: 530, Enhanced: "7.0", Text: "Must issue a STARTTLS command first"}
}

func TestTLSDemanded(t *testing.T) {
	cfg := config()
	var trust *tls.Config
	cfg.TLS, trust = certificate(t)
	h := startHost(t, cfg, needTLS)
	d := h.dial()
	d.expect("", "220")
	d.expect(hello, "250-")
	d.expect("MAIL FROM:<a@x.test>", "530 5.7.0")
	d.expect("HELO x.test", "530 5.7.0")
	d.expect("STARTTLS", "220")
	d.encrypt(trust)
	d.expect(hello, "250-")
	d.expect("MAIL FROM:<a@x.test>", "250")
}

func TestImplicitTLS(t *testing.T) {
	cfg := config()
	var trust *tls.Config
	cfg.TLS, trust = certificate(t)
	cfg.ImplicitTLS = true
	h := startHost(t, cfg, needTLS)
	d := h.dial()
	d.encrypt(trust)
	d.expect("", "220")
	if got := d.expect(hello, "250-"); strings.Contains(got, "STARTTLS") {
		t.Errorf("offered within TLS: %q", got)
	}
	d.expect("MAIL FROM:<a@x.test>", "250")
}

// Both ends of ours, with all that they can: TLS, a sign-in, many messages.
func TestBothEnds(t *testing.T) {
	cfg := config()
	var trust *tls.Config
	cfg.TLS, trust = certificate(t)
	h := startHost(t, cfg)
	for _, without := range [][]string{nil, {"PIPELINING"}} {
		nc, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewClient(t.Context(), nc, ClientOptions{
			Hello: "me.test", TLS: trust, TLSPolicy: TLSRequired, Without: without,
			Auth: account.SignIn{Name: "u", Password: "secret", Mechanisms: account.ByPassword},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, on := c.TLS(); !on || !c.Supports("chunking") || c.PeerName() != "hub.test" {
			t.Errorf("TLS %v, name %q", on, c.PeerName())
		}
		f := <-h.fakes
		bodies := []string{"", "a\r\n", ".\r\n..\r\n", "\x80\xff\r\n", strings.Repeat("0123456789.\r\n.", 100<<10) + "\r\n"}
		for _, b := range bodies {
			m := message(b, "ok", "no", "later", "fine")
			m.Body8Bit, m.Ret, m.EnvID = true, "FULL", "q"
			m.To[0].Notify = "NEVER"
			got, err := c.Send(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			if got[0].Code != 250 || got[1].String() != "550 5.1.1 nobody / of that name" || got[2].Code != 451 || got[3] != got[0] || !strings.HasPrefix(got[0].Text, "queued as m") {
				t.Errorf("replies %v", got)
			}
		}
		if got, err := c.Send(t.Context(), message("x", "no")); err != nil || got[0].Code != 550 {
			t.Errorf("%v, %v", got, err)
		}
		if got, err := c.Send(t.Context(), message("no end", "ok")); err != nil || got[0].Code != 250 {
			t.Errorf("%v, %v", got, err)
		}
		if err := c.Quit(t.Context()); err != nil {
			t.Error(err)
		}
		got, _ := f.taken()
		if want := append(bodies, "no end\r\n"); !slices.Equal(got, want) {
			t.Errorf("%d bodies differ from the %d that were sent", len(got), len(want))
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.from[0] != (params.Mail{From: mail.Address{Local: "a", Domain: "x.test"}, Body8: true, Ret: "FULL", EnvID: "q"}) || f.to[0].Notify != "NEVER" || f.caller.Account() != "u" {
			t.Errorf("%+v, %+v, %q", f.from[0], f.to[0], f.caller.Account())
		}
	}
}

// handOver is a Handover that sends one message, and tells how that went.
func handOver(t *testing.T, said chan<- error) Handover {
	return func(ctx context.Context, nc net.Conn) {
		c, err := NewClient(ctx, nc, ClientOptions{Hello: "hub.test", TLSPolicy: TLSNever})
		if err != nil {
			said <- err
			return
		}
		_, err = c.Send(ctx, message("held\r\n", "b"))
		said <- errors.Join(err, c.Quit(ctx))
	}
}

func TestTurn(t *testing.T) {
	for _, verb := range []string{"TURN", "ATRN", "ATRN a.test,b.test"} {
		for _, secure := range []bool{false, true} {
			cfg := config()
			var trust *tls.Config
			cfg.TLS, trust = certificate(t)
			said := make(chan error, 1)
			h := startHost(t, cfg, func(h *host) { h.hand = handOver(t, said) })
			d := h.dial()
			d.expect("", "220")
			if secure {
				d.expect("STARTTLS", "220")
				d.encrypt(trust)
			}
			d.expect(hello, "250")
			d.expect(signIn, "235")
			d.expect(verb, "250 2.0.0 your turn")
			if miss := play(d.nc, []peerStep{
				{"", "220 me.test"}, {"EHLO hub.test", "250-me.test|250-STARTTLS|250 PIPELINING"},
				{"MAIL FROM:<a@x.test>|RCPT TO:<b@y.test>|DATA", "250|250|354"}, {"held\r\n|.\r\n", "250"}, {"QUIT", "221"},
			}); miss != "" {
				t.Errorf("%s, TLS %v: %s", verb, secure, miss)
			}
			if err := <-said; err != nil {
				t.Error(err)
			}
			d.r = bufio.NewReader(d.nc)
			d.expect("", "EOF")
		}
	}
}

// A reversed session outlives the end of the service's context, and not Close.
func TestTurnAndShutdown(t *testing.T) {
	said := make(chan error, 1)
	h := startHost(t, config(), func(h *host) { h.hand = handOver(t, said) })
	turned := func() *dialer {
		d := h.dial()
		d.expect("", "220")
		d.expect(hello, "250")
		d.expect(signIn, "235")
		d.expect("TURN", "250")
		return d
	}
	cut := turned()
	h.stop()
	if miss := play(cut.nc, []peerStep{{"", "220 me.test"}, {"EHLO hub.test", "250 me.test"}, {"MAIL", "250"}, {"RCPT", "250"}}); miss != "" {
		t.Error(miss)
	}
	h.srv.Close()
	if err := <-said; err == nil {
		t.Error("Close did not cut the session")
	}
}

// A stop of the service is told to a reversed session, which ends by itself.
func TestStopIsToldToAReversedSession(t *testing.T) {
	stopped := make(chan error, 1)
	h := startHost(t, config(), func(h *host) {
		h.hand = func(ctx context.Context, nc net.Conn) {
			<-ctx.Done()
			_, err := io.WriteString(nc, "QUIT\r\n")
			stopped <- errors.Join(context.Cause(ctx), err)
		}
	})
	d := h.dial()
	d.expect("", "220")
	d.expect(hello, "250")
	d.expect(signIn, "235")
	d.expect("TURN", "250")
	h.stopFor(&mail.Stopping{})
	if line, err := d.r.ReadString('\n'); line != "QUIT\r\n" || err != nil {
		t.Errorf("the caller got %q, %v", line, err)
	}
	if stop := (*mail.Stopping)(nil); !errors.As(<-stopped, &stop) {
		t.Error("it does not know of the stop")
	}
}

// The Handover runs even for a caller that is gone: it may hold a lease.
func TestTurnOfTheVanished(t *testing.T) {
	said := make(chan error, 1)
	h := startHost(t, config(), func(h *host) { h.hand = handOver(t, said) })
	d := h.dial()
	d.expect("", "220")
	d.expect(hello, "250")
	d.expect(signIn, "235")
	d.send("TURN\r\n")
	d.nc.Close()
	if err := <-said; err == nil {
		t.Error("a message went to nobody")
	}
}

func TestDisconnect(t *testing.T) {
	ended := mail.Reply{Code: 421, Enhanced: "3.2", Text: "ended by hand"}
	said := make(chan error, 1)
	h := startHost(t, config(), func(h *host) { h.hand = handOver(t, said) })
	for at, lines := range map[string][]string{
		"greeting": {}, "commands": {hello}, "AUTH": {hello, "AUTH PLAIN"}, "body": {hello, "MAIL FROM:<>", "RCPT TO:<a@b.test>", "DATA"},
		"reversed": {hello, signIn, "TURN"},
	} {
		d := h.dial()
		d.expect("", "220")
		f := d.session(h)
		for _, line := range lines {
			d.expect(line, "")
		}
		if at == "body" {
			d.send("half\r\n")
		}
		f.caller.Disconnect(ended)
		f.caller.Disconnect(mail.Reply{Code: 421, Text: "again"})
		if at == "reversed" {
			if err := <-said; err == nil {
				t.Error("the reversed session goes on")
			}
			continue
		}
		d.expect("", "421 4.3.2 ended by hand")
		d.expect("", "EOF")
		if bodies, _ := f.taken(); len(bodies) > 0 {
			t.Error("half a message was kept")
		}
	}
	(&Caller{}).Disconnect(ended) // of no connection: nothing happens
}

// kicker ends its caller from within a verb.
type kicker struct{ fake }

func (k *kicker) Mail(context.Context, params.Mail) mail.Reply {
	k.caller.Disconnect(mail.Reply{Code: 421, Enhanced: "7.0", Text: "enough"})
	return mail.Reply{Code: 550, Enhanced: "7.1", Text: "no"}
}

func TestDisconnectWithinVerb(t *testing.T) {
	srv := NewServer(slog.New(slog.DiscardHandler))
	ours, theirs := net.Pipe()
	go srv.Serve(context.Background(), theirs, config(), func(c *Caller) Session { return &kicker{fake{caller: c}} })
	go io.WriteString(ours, hello+"\r\nMAIL FROM:<>\r\n")
	b, _ := io.ReadAll(ours)
	if !strings.HasSuffix(string(b), "550 5.7.1 no\r\n421 4.7.0 enough\r\n") {
		t.Errorf("%q", b)
	}
}

// When the context ends, callers that wait get 421 at once, and a body that is
// on its way is taken.
func TestDrain(t *testing.T) {
	h := startHost(t, config())
	idle, auth, body, chunk := h.dial(), h.dial(), h.dial(), h.dial()
	for _, d := range []*dialer{idle, auth, body, chunk} {
		d.expect("", "220")
		d.expect(hello, "250")
	}
	auth.expect("AUTH PLAIN", "334")
	for _, d := range []*dialer{body, chunk} {
		d.expect("MAIL FROM:<a@x.test>", "250")
		d.expect("RCPT TO:<a@x.test>", "250")
	}
	body.expect("DATA", "354")
	chunk.send("BDAT 3\r\nabc")
	chunk.expect("", "250")
	h.stop()
	for _, d := range []*dialer{idle, auth} {
		d.expect("", "421 4.3.2")
		d.expect("", "EOF")
	}
	body.expect("late\r\n.", "250 2.0.0 queued")
	chunk.send("BDAT 0 LAST\r\n")
	chunk.expect("", "250 2.0.0 queued")
	for _, d := range []*dialer{body, chunk} {
		d.expect("", "421 4.3.2")
		d.expect("", "EOF")
	}
}

func TestServeAfterClose(t *testing.T) {
	srv := NewServer(slog.New(slog.DiscardHandler))
	srv.Close()
	ours, theirs := net.Pipe()
	srv.Serve(context.Background(), theirs, config(), func(*Caller) Session { t.Error("opened"); return nil })
	if _, err := ours.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection lives: %v", err)
	}
}

// A caller that breaks off within a message leaves none behind.
func TestBrokenOff(t *testing.T) {
	for name, in := range map[string]string{
		"DATA":             toData + "half a line",
		"DATA at the dot":  toData + "a line\r\n.",
		"BDAT":             strings.TrimSuffix(toData, "DATA\r\n") + "BDAT 1000 LAST\r\nfragment",
		"between two BDAT": strings.TrimSuffix(toData, "DATA\r\n") + "BDAT 3\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			h := startHost(t, config())
			d := h.dial()
			d.send(in)
			d.nc.(*net.TCPConn).CloseWrite()
			b, _ := io.ReadAll(d.r)
			bodies, broken := d.session(h).taken()
			if len(bodies) != 0 || len(broken) != 1 || !errors.Is(broken[0], io.ErrUnexpectedEOF) {
				t.Errorf("bodies %q, errors %v, replies %q", bodies, broken, b)
			}
		})
	}
}

// bubble runs a Serve over a pipe on a clock of its own.
func bubble(t *testing.T, cfg Config, caller func(nc net.Conn, f func() *fake)) {
	synctest.Test(t, func(t *testing.T) {
		srv := NewServer(slog.New(slog.DiscardHandler))
		ours, theirs := net.Pipe()
		var f *fake
		done := make(chan struct{})
		go func() {
			defer close(done)
			srv.Serve(context.Background(), theirs, cfg, func(c *Caller) Session { f = &fake{caller: c}; return f })
		}()
		caller(ours, func() *fake { <-done; return f })
		ours.Close()
		<-done
		time.Sleep(time.Hour) // a late write sees the closed pipe
	})
}

func TestIdle(t *testing.T) {
	for name, in := range map[string]string{"greeting": "", "line": "NOO", "auth": hello + "\r\nAUTH PLAIN\r\nAA", "body": toData + "half\r\n.", "chunk": strings.TrimSuffix(toData, "DATA\r\n") + "BDAT 3\r\nab"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, config(), func(nc net.Conn, f func() *fake) {
				start := time.Now()
				go io.WriteString(nc, in)
				b, _ := io.ReadAll(nc)
				if d := time.Since(start); d != time.Minute || !strings.HasSuffix(string(b), "\r\n421 4.4.2 Idle timeout, closing connection\r\n") {
					t.Errorf("after %v: %q", d, b)
				}
				if ses := f(); len(ses.bodies) > 0 {
					t.Error("half a message was kept")
				} else if name == "body" && (len(ses.broken) != 1 || errors.Is(ses.broken[0], os.ErrDeadlineExceeded)) {
					t.Errorf("Data saw %v", ses.broken)
				}
			})
		})
	}
}

// An octet now and then does not keep us: not within a line, not in a body.
func TestTrickle(t *testing.T) {
	for name, in := range map[string]string{"line": hello + "\r\n", "body": toData, "refused chunk": hello + "\r\nBDAT 100000 LAST\r\n", "body after a burst": toData + strings.Repeat("x\r\n", 1<<20)} {
		t.Run(name, func(t *testing.T) {
			bubble(t, config(), func(nc net.Conn, f func() *fake) {
				start := time.Now()
				go func() {
					io.WriteString(nc, in)
					for {
						time.Sleep(30 * time.Second)
						if _, err := io.WriteString(nc, "x"); err != nil {
							return
						}
					}
				}()
				b, _ := io.ReadAll(nc)
				if d := time.Since(start); d > 2*time.Minute || !strings.Contains(string(b), "\r\n421 4.4.2 ") {
					t.Errorf("after %v: %q", d, b)
				}
			})
		})
	}
	// Slow, and honest: 75 octets a second.
	bubble(t, config(), func(nc net.Conn, f func() *fake) {
		go func() {
			io.WriteString(nc, toData)
			for range 100 {
				time.Sleep(40 * time.Second)
				io.WriteString(nc, strings.Repeat("x", 2998)+"\r\n")
			}
			io.WriteString(nc, ".\r\nQUIT\r\n")
		}()
		b, _ := io.ReadAll(nc)
		if ses := f(); len(ses.bodies) != 1 {
			t.Errorf("%.500q", b)
		}
	})
}

func TestPanicsAreLogged(t *testing.T) {
	h := startHost(t, config())
	d := h.dial()
	d.expect("", "220")
	d.expect(hello, "250")
	d.expect("MAIL FROM:<bug@x.test>", "421 4.3.0")
	d.expect("", "EOF")
	h.srv.Close()
	d.session(h)
	h.dial().expect("", "EOF")
	h.end()
	if f := d.f.seen(); f[len(f)-1] != "close" {
		t.Errorf("the Session is not closed: %q", f)
	}
}

// Nothing stays behind when callers go, whatever they were doing.
func TestNoGoroutineStays(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("callers", func(t *testing.T) {
		cfg := config()
		cfg.TLS, _ = certificate(t)
		h := startHost(t, cfg)
		for i := range 60 {
			d := h.dial()
			d.send([]string{"", hello + "\r\n", toData + "x", hello + "\r\nSTARTTLS\r\n", hello + "\r\nSTARTTLS\r\ngarbage garbage\r\n", toData[:len(toData)-6] + "BDAT 9\r\nabc", hello + "\r\nQUIT\r\n"}[i%7])
			d.expect("", "220")
			d.nc.Close()
		}
	})
	// The runtime ends them in its own time.
	for last := time.Now().Add(time.Minute); time.Now().Before(last); runtime.Gosched() {
		if runtime.NumGoroutine() <= before {
			return
		}
	}
	buf := make([]byte, 64<<10)
	t.Errorf("%d goroutines, were %d:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
}
