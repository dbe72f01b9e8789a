// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/engine/resolver"
)

// Replies of a scripted host that are none.
const (
	hangup = "HANGUP" // the connection ends
	mute   = "MUTE"   // nothing comes any more
	drip   = "DRIP"   // a line of a reply every ten seconds, without end
	stall  = "STALL"  // nothing is read any more
	slow   = "SLOW "  // what follows comes after three seconds
)

// A scriptedHost answers each verb, the greeting and the dot by its script; "BODY" is
// asked when the first line of a message has come. What is not in it gets the usual
// reply. It speaks over pipes, so that its time is that of a synctest bubble.
type scriptedHost struct {
	says    map[string]string
	forgets bool           // what came with the end of a message
	open    sync.WaitGroup // conversations

	mu    sync.Mutex // guards what follows
	said  []string   // the commands
	conns int
	dots  int // whole messages
}

func (h *scriptedHost) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	if h.says["connect"] == hangup {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("connection refused")}
	}
	if h.says["connect"] == mute {
		h.conns++
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ours, theirs := net.Pipe()
	h.mu.Lock()
	h.conns++
	h.mu.Unlock()
	h.open.Go(func() {
		c := buffered{theirs, make(chan []byte, 100)}
		h.open.Go(func() {
			defer theirs.Close()
			for b := range c.out {
				theirs.Write(b)
			}
		})
		defer close(c.out)
		h.serve(c)
	})
	return ours, nil
}

// A buffered connection takes what is written without waiting for its reader.
type buffered struct {
	net.Conn
	out chan []byte
}

func (b buffered) Write(p []byte) (int, error) {
	b.out <- []byte(string(p))
	return len(p), nil
}

// say gives the reply; false ends the conversation.
func (h *scriptedHost) say(c net.Conn, at, usual string) bool {
	reply, ok := h.says[at]
	if !ok {
		reply = usual
	}
	switch reply {
	case "":
		return true
	case hangup:
		return false
	case mute:
		io.Copy(io.Discard, c)
		return false
	case stall:
		time.Sleep(time.Hour)
		return false
	case drip:
		for range 100 {
			io.WriteString(c, "250-x\r\n")
			time.Sleep(10 * time.Second)
		}
		return false
	}
	if after, ok := strings.CutPrefix(reply, slow); ok {
		time.Sleep(3 * time.Second)
		reply = after
	}
	_, err := io.WriteString(c, strings.ReplaceAll(reply, "|", "\r\n")+"\r\n")
	return err == nil && !strings.HasPrefix(reply, "421")
}

var usualReplies = map[string]string{
	"EHLO": "250-mx.test|250 PIPELINING", "HELO": "250 mx.test", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go",
	"RSET": "250 ok", "AUTH": "235 yes", "QUIT": "221 bye", "STARTTLS": "220 go",
}

func (h *scriptedHost) serve(c net.Conn) {
	r, last := bufio.NewReader(c), map[string]bool{} // what was accepted
	for more := h.say(c, "greeting", "220 mx.test"); more; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		h.mu.Lock()
		h.said = append(h.said, strings.TrimSpace(line))
		h.mu.Unlock()
		verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		verb = strings.ToUpper(verb)
		usual := usualReplies[verb]
		if verb == "RCPT" && !last["MAIL"] || verb == "DATA" && !last["RCPT"] {
			io.WriteString(c, "503 5.5.1 not now\r\n")
			continue
		}
		more = h.say(c, verb, usual)
		said := cmp.Or(h.says[verb], usual)
		said = strings.TrimPrefix(said, slow)
		last[verb] = usual != "" && strings.HasPrefix(said[strings.LastIndex(said, "|")+1:], usual[:1])
		if !more || verb != "DATA" || !last["DATA"] {
			continue
		}
		if line, err = r.ReadString('\n'); line != ".\r\n" && !h.say(c, "BODY", "") {
			return
		}
		for err == nil && line != ".\r\n" {
			line, err = r.ReadString('\n')
		}
		if err != nil {
			return
		}
		h.mu.Lock()
		h.dots++
		h.mu.Unlock()
		if h.forgets {
			_, _ = r.Discard(r.Buffered())
		}
		more = h.say(c, ".", "250 taken")
	}
}

// A host that loses what rides behind the dot gets the rest of the round one by one.
func TestHostThatForgetsWhatRides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, l := &scriptedHost{forgets: true}, newLease()
		for n := range 6 {
			l.items = append(l.items, message(n, "x\r\n", "a@to.test"))
		}
		New(fixed(Route{}), names{"to.test": {host(1)}}, Options{Dialer: h}).Attempt(t.Context(), "to.test", l)
		for n := range 6 {
			check(t, l, n, "a@to.test delivered", "250 taken")
		}
		if h.dots != 6 || h.conns != 2 {
			t.Errorf("%d copies of six messages over %d connections", h.dots, h.conns)
		}
	})
}

// outcome is what became of the recipients of message 1: if it is the same for all, once.
func outcome(l *lease) string {
	var all []string
	for _, o := range l.settled[msgID(1)] {
		s := fmt.Sprintf("%s: %s @%s", o.Status, o.Reply.Error(), o.Reply.Phase)
		if !o.Reply.Peer {
			s = strings.Replace(s, ": ", ": ours: ", 1)
		}
		if len(all) == 0 || all[len(all)-1] != s {
			all = append(all, s)
		}
	}
	return strings.Join(all, "; ")
}

// converse sends one message to two recipients of one host.
func converse(t *testing.T, h *scriptedHost, route Route) *lease {
	t.Helper()
	body := "x\r\n"
	if h.says["BODY"] != "" { // it is still under way then
		body = strings.Repeat("a line of a long message\r\n", 2000)
	}
	l := newLease(message(1, body, "a@to.test", "b@to.test"))
	route.Client.Hello = "hub.test"
	New(fixed(route), names{"to.test": {host(1)}, "smart.test": {host(1)}}, Options{Dialer: h}).Attempt(t.Context(), "to.test", l)
	h.open.Wait()
	return l
}

// Each reply at each place, over hosts with and without PIPELINING: what becomes of
// the message, whose words are told, in which phase, and that there is at most one copy.
func TestEveryReplyAtEveryPlace(t *testing.T) {
	const (
		later = "450 4.2.0 later"
		full  = "452 4.3.1 full"
		big   = "552 5.2.2 over quota"
		never = "550 5.7.1 never"
		bye   = "421 4.3.2 bye"
		odd   = "334 what"
		junk  = "HTTP/1.0 400"
		mixed = "220-5.7.1 x|521 blocked"
		long  = "450 4.2.0 LONG" // of 5,000 octets

		deferred = "deferred: "
		failed   = "failed: "
		broke    = "deferred: ours: 451 4.4.2 the conversation with mx1.test broke: "
		silent   = "deferred: ours: 451 4.4.2 no answer from mx1.test in time"
		gone     = "the peer hung up: unexpected EOF"
		noSMTP   = "the peer's reply is no SMTP: "
		doubt    = "deferred: ours: 451 4.4.2 in doubt: the host has the whole message, and its answer did not come"
		unclear  = "deferred: ours: 451 4.4.2 in doubt: the host has the whole message, and its answer is no reply"
		taken    = "delivered: 250 taken"
	)
	type answers map[string]string // by reply
	tests := map[string]answers{
		"greeting": {
			later: deferred + later, full: deferred + full, big: deferred + big, never: deferred + never, bye: deferred + bye,
			hangup: broke + gone, mute: silent, drip: silent, odd: broke + noSMTP, junk: broke + noSMTP + `"HTTP/1.0 400\r\n"`,
			mixed: deferred + "521 5.7.1 x / blocked", long: deferred + "450 4.2.0 x",
		},
		"EHLO": { // HELO follows where it is not known
			later: deferred + later, full: deferred + full, big: deferred + big, never: deferred + never, bye: deferred + bye,
			hangup: broke + gone, mute: silent, drip: silent, odd: broke + noSMTP, junk: broke + noSMTP + `"HTTP/1.0 400\r\n"`,
			mixed: deferred + "521 5.7.1 x / blocked", long: deferred + "450 4.2.0 x", "500 what": taken, "502 5.5.1 what": taken,
		},
		"MAIL": {
			later: deferred + later, full: deferred + full, big: failed + big, never: failed + never, bye: deferred + bye,
			hangup: broke + gone, mute: silent, drip: silent, odd: broke + noSMTP, junk: broke + noSMTP, mixed: failed + "521 5.7.1 x / blocked", long: deferred + "450 4.2.0 x",
		},
		"RCPT": {
			later: deferred + later, full: deferred + full, big: deferred + big, never: failed + never, bye: deferred + bye,
			hangup: broke + gone, mute: silent, drip: silent, odd: broke + noSMTP, junk: broke + noSMTP, mixed: failed + "521 5.7.1 x / blocked", long: deferred + "450 4.2.0 x",
		},
		"DATA": {
			later: deferred + later, full: deferred + full, big: failed + big, never: failed + never, bye: deferred + bye,
			hangup: broke + gone, mute: silent, drip: silent, odd: broke + noSMTP, junk: broke + noSMTP, mixed: failed + "521 5.7.1 x / blocked", long: deferred + "450 4.2.0 x",
			"250 queued": broke + noSMTP,
		},
		"BODY": {hangup: broke, stall: silent},
		".": {
			later: deferred + later, full: deferred + full, big: failed + big, never: failed + never, bye: deferred + bye,
			hangup: doubt, mute: doubt, drip: doubt, odd: unclear, junk: unclear, mixed: failed + "521 5.7.1 x / blocked", long: deferred + "450 4.2.0 x",
		},
		"AUTH": {
			later: deferred + later, never: deferred + never, "535 5.7.8 wrong": deferred + "535 5.7.8 wrong", bye: deferred + bye,
			hangup: broke + gone, mute: silent, junk: broke + noSMTP, "220 what": broke + noSMTP, mixed: deferred + "521 5.7.1 x / blocked",
		},
		"STARTTLS": { // in clear where it is not to be had
			later: taken, never: taken, bye: deferred + bye, hangup: taken, junk: taken, mixed: taken, "220 go|250 more": taken,
		},
		"connect": {hangup: "deferred: ours: 451 4.4.1 no connection to mx1.test: dial tcp: connection refused", mute: "deferred: ours: 451 4.4.1 no answer from mx1.test"},
	}
	phases := map[string]string{"BODY": mail.AtBody, ".": mail.AfterDot}
	n := 0
	for at, list := range tests {
		for reply, want := range list {
			for _, ehlo := range []string{"250-mx.test|250 PIPELINING", "250 mx.test"} {
				n++
				t.Run(fmt.Sprintf("%s/%.20s/%s", at, reply, ehlo[3:4]), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						h := &scriptedHost{says: map[string]string{"EHLO": ehlo}}
						route := Route{}
						switch at {
						case "AUTH":
							h.says["EHLO"] = strings.Replace(ehlo+"|250 AUTH PLAIN", "250 ", "250-", 1)
							if ehlo == "250 mx.test" {
								h.says["EHLO"] = "250-mx.test|250 AUTH PLAIN"
							}
							route = Route{Kind: SmartHost, Smart: []Hop{{Host: "smart.test"}}}
							route.Client.Auth = account.SignIn{Name: "u", Password: "p", Mechanisms: account.ByPassword, InClear: true}
						case "STARTTLS":
							h.says["EHLO"] = "250-mx.test|250 STARTTLS"
						}
						h.says[at] = reply
						if reply == long {
							h.says[at] = "450 4.2.0 " + strings.Repeat("x", 5000)
						}
						l := converse(t, h, route)
						got := outcome(l)
						phase := phases[at]
						if phase == "" {
							phase = at
						}
						if want == taken || want == doubt || want == unclear {
							phase = mail.AfterDot
						}
						if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, " @"+phase) || strings.Contains(got, ";") {
							t.Errorf("%q, want %q at %s", got, want, phase)
						}
						if h.dots > 1 {
							t.Errorf("%d copies", h.dots)
						}
					})
				})
			}
		}
	}
	if n < 80 {
		t.Errorf("only %d conversations", n)
	}
}

// What hosts do beyond single replies.
func TestOddHosts(t *testing.T) {
	for _, tt := range []struct {
		name string
		says map[string]string
		want string
		dots int
	}{
		{"two replies to MAIL", map[string]string{"EHLO": "250 mx.test", "MAIL": "250 ok|250 and more"}, "deferred: ours: 451 4.4.2 the conversation with mx1.test broke: the peer's reply is no SMTP: ", 0},
		{"two replies to RCPT in a group", map[string]string{"RCPT": "250 ok|250 and more"}, "deferred: ours: 451 4.4.2 the conversation with mx1.test broke: the peer's reply is no SMTP: ", 0},
		{"two replies to EHLO", map[string]string{"EHLO": "250 mx.test|250 and more"}, "deferred: ours: 451 4.4.2 the conversation with mx1.test broke: the peer's reply is no SMTP: \"250 and more\" before it was asked", 0},
		{"421 behind EHLO", map[string]string{"EHLO": "250 mx.test|421 4.3.2 closing"}, "deferred: 421 4.3.2 closing", 0},
		{"a yes before the message", map[string]string{"DATA": "354 go|250 taken"}, "deferred: ours: 451 4.4.2 the conversation with mx1.test broke: the peer's reply is no SMTP: \"250 taken\" before the message", 0},
		{"a no before the message", map[string]string{"DATA": "354 go|554 5.7.1 never"}, "failed: 554 5.7.1 never", 0},
		{"two replies to the dot", map[string]string{".": "250 taken|250 twice"}, "delivered: 250 taken", 1},
		{"a refusal and a yes to the dot", map[string]string{".": "550-no|250 yes"}, "failed: 550 no / yes", 1},
		{"a long list of extensions", map[string]string{"EHLO": "250-mx.test|250-X-" + strings.Repeat("x", 3000) + "|250 PIPELINING"}, "delivered: 250 taken", 1},
		{"LIMITS of one recipient", map[string]string{"EHLO": "250-mx.test|250 LIMITS RCPTMAX=1"}, "delivered: 250 taken @after the dot", 2},
		{"SIZE that is too small", map[string]string{"EHLO": "250-mx.test|250 SIZE 2"}, "failed: ours: 552 5.3.4 3 octets are more than the 2", 0},
		{"SIZE that is no number", map[string]string{"EHLO": "250-mx.test|250 SIZE many"}, "delivered: 250 taken", 1},
		{"PIPELINING without answers", map[string]string{"RCPT": mute}, "deferred: ours: 451 4.4.2 no answer from mx1.test in time: RCPT: read pipe: i/o timeout @RCPT", 0},
		{"a code alone", map[string]string{"MAIL": "250", "RCPT": "250", "DATA": "354", ".": "250"}, "delivered: 250 @", 1},
		{"251 to RCPT", map[string]string{"RCPT": "251 forwarded"}, "delivered: 250 taken", 1},
		{"552 without a status to all RCPT", map[string]string{"RCPT": "552 too many recipients"}, "deferred: 552 too many recipients @RCPT", 0},
		{"421 to QUIT", map[string]string{"QUIT": "421 bye"}, "delivered: 250 taken", 1},
		{"silence at QUIT", map[string]string{"QUIT": mute}, "delivered: 250 taken", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &scriptedHost{says: tt.says}
				if got := outcome(converse(t, h, Route{})); !strings.HasPrefix(got, tt.want) || h.dots != tt.dots {
					t.Errorf("%q and %d messages, want %q and %d", got, h.dots, tt.want, tt.dots)
				}
			})
		})
	}
}

// Where the answer to the dot is lost, no other host and no other connection gets a
// copy in the same round.
func TestOneCopyInARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &scriptedHost{says: map[string]string{".": hangup}}
		l := newLease(message(1, "x\r\n", "a@to.test"), message(2, "y\r\n", "b@to.test"))
		dns := names{"to.test": {host(1), {Name: "mx2.test", Addrs: host(2).Addrs}, {Name: "mx3.test", Addrs: host(3).Addrs}}}
		New(fixed(Route{}), dns, Options{Dialer: h}).Attempt(t.Context(), "to.test", l)
		check(t, l, 1, "a@to.test deferred", "451 4.4.2 in doubt")
		check(t, l, 2, "b@to.test deferred", "451 4.4.2 in doubt")
		if h.dots != 2 || h.conns != 2 || !l.reply(1).InDoubt() {
			t.Errorf("%d copies of two messages over %d connections", h.dots, h.conns)
		}
	})
}

// A stop lets the messages in hand finish within the grace time, ends the conversation
// with QUIT, and has the log name what it cut. The second one has begun behind the first
// one's dot; the third has not.
func TestStop(t *testing.T) {
	for _, tt := range []struct {
		name        string
		says        map[string]string
		took        time.Duration // until the attempt has ended
		first       string        // what became of the message in hand
		second      string        // and of the one behind it
		reply, last string        // the last command
		log         string
	}{
		{"the host answers in time", map[string]string{".": slow + "250 taken"}, 6 * time.Second, "a@to.test delivered", "b@to.test delivered", "250 taken", "QUIT", ""},
		{"the host is slow at RCPT", map[string]string{"RCPT": slow + "250 ok"}, 3 * time.Second, "a@to.test delivered", "", "250 taken", "QUIT", ""},
		{"the host refuses", map[string]string{".": slow + "550 no"}, 6 * time.Second, "a@to.test failed", "b@to.test failed", "550 no", "QUIT", ""},
		{"QUIT is not answered", map[string]string{".": slow + "250 taken", "QUIT": mute}, 11 * time.Second, "a@to.test delivered", "b@to.test delivered", "250 taken", "QUIT", ""},
		{"no answer after the dot", map[string]string{".": mute}, 21 * time.Second, "a@to.test deferred", "", "451 4.4.2 in doubt", "DATA", `the stop cuts a conversation" host=mx1.test addr=192.0.2.1:25 msg_id=00000000000000000001 err="after the dot: the service stops"`},
		{"no answer to RCPT", map[string]string{"RCPT": mute}, 21 * time.Second, "", "", "", "RCPT", `err="RCPT: the service stops"`},
		{"no connection", map[string]string{"connect": mute}, time.Second, "", "", "", "", `the stop cuts a conversation" host=mx1.test addr=192.0.2.1:25 err="connect: the service stops"`},
		{"no greeting", map[string]string{"greeting": mute}, time.Second, "", "", "", "", `the stop cuts a conversation" host=mx1.test addr=192.0.2.1:25 err="greeting: the service stops"`},
		{"the host is slow at EHLO", map[string]string{"EHLO": slow + "250 mx.test"}, 3 * time.Second, "", "", "", "QUIT", ""},
		{"no answer to EHLO", map[string]string{"EHLO": mute}, 6 * time.Second, "", "", "", "EHLO", `err="EHLO: the service stops"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun, h := time.Now(), &scriptedHost{says: tt.says}
				l := newLease(message(1, "x\r\n", "a@to.test"), message(2, "y\r\n", "b@to.test"), message(3, "z\r\n", "c@to.test"))
				ctx, stop := context.WithCancelCause(t.Context())
				cut := make(chan struct{})
				time.AfterFunc(time.Second, func() { stop(&mail.Stopping{Cut: cut}) })
				grace := time.AfterFunc(21*time.Second, func() { close(cut) })
				defer grace.Stop()
				var log strings.Builder
				opts := Options{Dialer: h, Log: slog.New(slog.NewTextHandler(&log, nil))}
				New(fixed(Route{}), names{"to.test": {host(1)}}, opts).Attempt(ctx, "to.test", l)
				took := time.Since(begun)
				h.open.Wait()
				check(t, l, 1, tt.first, tt.reply)
				reply := ""
				if tt.second != "" {
					reply = tt.reply
				}
				check(t, l, 2, tt.second, reply)
				check(t, l, 3, "", "")
				last := ""
				if len(h.said) > 0 {
					last, _, _ = strings.Cut(h.said[len(h.said)-1], " ")
				}
				if took != tt.took || last != tt.last || h.conns != 1 {
					t.Errorf("ended after %s with %q over %d connections", took, last, h.conns)
				}
				if got := log.String(); !strings.Contains(got, tt.log) || tt.log == "" && strings.Contains(got, "cuts") {
					t.Errorf("logged %q, want %q", got, tt.log)
				}
			})
		})
	}
}

// A host that takes two recipients at once gets all of them in one round.
func TestTooManyRecipients(t *testing.T) {
	for _, refusal := range []string{"552 too many recipients", "452 4.5.3 too many", "552 5.5.3 too many", "452 wait"} {
		synctest.Test(t, func(t *testing.T) {
			h := &limitedHost{refusal: refusal}
			l := newLease(message(1, "x\r\n", "a@to.test", "b@to.test", "c@to.test", "d@to.test", "e@to.test"))
			New(fixed(Route{}), names{"to.test": []resolver.Host{host(1)}}, Options{Dialer: h}).Attempt(t.Context(), "to.test", l)
			check(t, l, 1, "a@to.test delivered, b@to.test delivered, c@to.test delivered, d@to.test delivered, e@to.test delivered", "250")
			if h.conns != 1 {
				t.Errorf("%s: %d connections", refusal, h.conns)
			}
		})
	}
}

// A limitedHost takes two recipients in a transaction.
type limitedHost struct {
	refusal string
	conns   int
}

func (h *limitedHost) DialContext(context.Context, string, string) (net.Conn, error) {
	h.conns++
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		r, rcpts, body := bufio.NewReader(theirs), 0, false
		fmt.Fprint(theirs, "220 mx.test\r\n")
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			reply := "250 ok"
			switch {
			case body && line != ".\r\n":
				continue
			case body:
				body = false
			case verb == "MAIL":
				rcpts = 0
			case verb == "RCPT":
				if rcpts++; rcpts > 2 {
					reply = h.refusal
				}
			case verb == "DATA":
				reply, body = "354 go", true
			}
			fmt.Fprintf(theirs, "%s\r\n", reply)
		}
	}()
	return ours, nil
}
