// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
	"restante/internal/testpeer"
)

// A receiver is a host that takes a transaction only as RFC 5321 has it: what follows a MAIL
// that was refused, or one within a transaction, is refused.
type receiver struct {
	offers string                               // by EHLO, separated by blanks
	says   func(verb, sender, of string) string // the reply in place of a yes; "": yes
	goesOn bool                                 // after a 421
	single bool                                 // a command behind which another one stands is refused

	mu    sync.Mutex // guards what follows
	taken []string   // "sender recipient,...: body"
	ended []string   // senders of messages that came to their end
	lines []string   // commands
}

func (h *receiver) say(verb, sender, of string) string {
	if h.says != nil {
		if r := h.says(verb, sender, of); r != "" {
			return r
		}
	}
	if verb == "DATA" {
		return "354 go"
	}
	return "250 ok"
}

func (h *receiver) serve(nc net.Conn) {
	defer nc.Close()
	io.WriteString(nc, "220 mx.test\r\n")
	h.converse(nc, nc, "")
}

// converse reads commands until the end or a 421.
func (h *receiver) converse(in io.Reader, out io.Writer, sender string) {
	r := bufio.NewReader(in)
	var to []string
	var body strings.Builder
	named := "" // by the last MAIL
	reply := func(s string) bool {
		_, err := io.WriteString(out, strings.ReplaceAll(s, "|", "\r\n")+"\r\n")
		return err == nil && (h.goesOn || !strings.HasPrefix(s, "421"))
	}
	end := func(verb string) string {
		h.mu.Lock()
		h.ended = append(h.ended, sender)
		h.mu.Unlock()
		said := h.say(verb, sender, "")
		if strings.HasPrefix(said, "250") {
			h.mu.Lock()
			h.taken = append(h.taken, fmt.Sprintf("%s %s: %s", sender, strings.Join(to, ","), body.String()))
			h.mu.Unlock()
		}
		sender, to = "", nil
		body.Reset()
		return said
	}
	for more := true; more; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		h.mu.Lock()
		h.lines = append(h.lines, line)
		h.mu.Unlock()
		verb, arg, _ := strings.Cut(line, " ")
		_, path, _ := strings.Cut(arg, "<")
		path, _, _ = strings.Cut(path, "@")
		said := "503 not now"
		if verb == "MAIL" {
			named = path
		}
		switch {
		case h.single && verb != "BDAT" && r.Buffered() > 0:
		case verb == "EHLO":
			said = "250-mx.test|250 " + strings.ReplaceAll(h.offers, " ", "|250 ")
			said = strings.ReplaceAll(said, "|250 ", "|250-") + "|250 HELP"
		case verb == "QUIT":
			reply("221 bye")
			return
		case verb == "RSET":
			sender, to, said = "", nil, "250 ok"
			body.Reset()
		case verb == "MAIL" && sender == "":
			if said = h.say(verb, path, ""); strings.HasPrefix(said, "250") {
				sender = path
			}
		case verb == "RCPT" && sender != "":
			if said = h.say(verb, sender, path); strings.HasPrefix(said, "250") {
				to = append(to, path)
			}
		case verb == "DATA" && len(to) > 0:
			if said = h.say(verb, sender, ""); !strings.HasPrefix(said, "354") {
				break
			}
			if !reply(said) {
				return
			}
			for line != ".\r\n" {
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
				if line != ".\r\n" {
					body.WriteString(strings.TrimPrefix(line, "."))
				}
			}
			said = end(".")
		case verb == "BDAT":
			var n int64
			fmt.Sscan(arg, &n)
			_, last := strings.CutSuffix(arg, " LAST")
			if len(to) == 0 {
				if _, err := io.CopyN(io.Discard, r, n); err != nil {
					return
				}
				if last {
					h.mu.Lock()
					h.ended = append(h.ended, named)
					h.mu.Unlock()
				}
				break
			}
			if _, err := io.CopyN(&body, r, n); err != nil {
				return
			}
			if said = h.say("more", sender, ""); last {
				said = end(".")
			}
		}
		more = reply(said)
	}
}

// far connects a Client with h over a line.
func far(t *testing.T, h *receiver, delay time.Duration, opts ClientOptions) *Client {
	t.Helper()
	ours, theirs := net.Pipe()
	go h.serve(testpeer.Far(theirs, delay))
	opts.Hello = "hub.test"
	c, err := NewClient(t.Context(), ours, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sendAll hands over n messages of size octets, and gives how many replies were positive.
func sendAll(t *testing.T, c *Client, n, size int) (taken int) {
	t.Helper()
	body := strings.Repeat(strings.Repeat("x", 62)+"\r\n", size/64)
	i, done := 0, 0
	err := c.SendAll(t.Context(), func() (Outgoing, bool) {
		m := message(body, "b")
		m.From.Local = fmt.Sprint("m", i)
		m.Done = func(r []mail.Reply) {
			if done++; r[0].Positive() {
				taken++
			}
		}
		i++
		return m, i <= n
	})
	if err != nil || done != n {
		t.Errorf("%d of %d are done: %v", done, n, err)
	}
	return taken
}

// Over a line with a round trip of 600 ms a host with PIPELINING gets a message for each
// round trip, and one with CHUNKING, too, more than a hundred a second.
func TestRoundTripsOfManyMessages(t *testing.T) {
	const trip = 600 * time.Millisecond
	for _, tt := range []struct {
		offers      string
		opts        ClientOptions
		n           int
		least, most time.Duration
	}{
		{"PIPELINING", ClientOptions{}, 40, 41 * trip, 41 * trip},
		{"PIPELINING", ClientOptions{LineWrites: true}, 40, 41 * trip, 41 * trip},
		{"PIPELINING CHUNKING", ClientOptions{LineWrites: true}, 40, 41 * trip, 41 * trip},
		{"PIPELINING CHUNKING", ClientOptions{}, 1000, trip, 10 * time.Second},
		{"PIPELINING CHUNKING", ClientOptions{Without: []string{"CHUNKING"}}, 40, 41 * trip, 41 * trip},
		{"PIPELINING CHUNKING", ClientOptions{Without: []string{"PIPELINING"}}, 10, 40 * trip, 40 * trip},
		{"CHUNKING", ClientOptions{}, 10, 40 * trip, 40 * trip},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := &receiver{offers: tt.offers}
			c := far(t, h, trip/2, tt.opts)
			begin := time.Now()
			if taken := sendAll(t, c, tt.n, 2<<10); taken != tt.n {
				t.Errorf("%s: %d of %d are taken", tt.offers, taken, tt.n)
			}
			took := time.Since(begin)
			if took < tt.least || took > tt.most {
				t.Errorf("%s, %+v: %d messages took %v: %.1f a second", tt.offers, tt.opts, tt.n, took, float64(tt.n)/took.Seconds())
			}
			c.Quit(t.Context())
		})
	}
}

// A cutConn ends within what is written, or read, after so many octets.
type cutConn struct {
	net.Conn
	toWrite, toRead int

	mu      sync.Mutex // guards what follows
	written []byte
}

func (c *cutConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	n := min(len(b), c.toWrite-len(c.written))
	c.mu.Unlock()
	k, err := c.Conn.Write(b[:n])
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = append(c.written, b[:k]...)
	if err == nil && n < len(b) {
		c.Conn.Close()
		err = io.ErrClosedPipe
	}
	return k, err
}

func (c *cutConn) Read(b []byte) (int, error) {
	if c.toRead == 0 {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(b[:min(len(b), c.toRead)])
	c.toRead -= n
	return n, err
}

// randomHost answers by chance, the same to the same command.
func randomHost(seed uint64, offers string) *receiver {
	return &receiver{offers: offers, says: func(verb, sender, of string) string {
		h := fnv.New64a()
		fmt.Fprint(h, seed, verb, sender, of)
		roll := rand.New(rand.NewPCG(h.Sum64(), 0)).IntN(1000)
		odds := map[string]int{"MAIL": 60, "RCPT": 200, "DATA": 30, ".": 100}[verb]
		switch {
		case roll < 3:
			return "421 4.3.2 bye"
		case roll < odds/2:
			return "550 5.1.1 no"
		case roll < odds:
			return "450-4.2.0 later|450 4.2.0 much"
		}
		return ""
	}}
}

// Whatever a host answers and wherever the line is cut: who took a message is told so, or in
// doubt; in doubt is what was sent to its end and has no answer, and nothing else.
func TestNothingIsLostWhereMessagesRide(t *testing.T) {
	for seed := range uint64(150) {
		converseByChance(t, seed)
	}
}

func FuzzRiding(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(converseByChance)
}

func converseByChance(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	offers := []string{"PIPELINING", "PIPELINING CHUNKING", "CHUNKING"}[rng.IntN(3)]
	h := randomHost(seed, offers)
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		cut := &cutConn{Conn: ours, toWrite: 1 << 30, toRead: 1 << 30}
		switch rng.IntN(3) {
		case 0:
			cut.toWrite = 50 + rng.IntN(20_000)
		case 1:
			cut.toRead = 60 + rng.IntN(2_000)
		}
		go h.serve(testpeer.Far(theirs, time.Duration(rng.IntN(2))*300*time.Millisecond))
		c, err := NewClient(t.Context(), cut, ClientOptions{Hello: "hub.test", LineWrites: rng.IntN(4) == 0})
		if err != nil {
			return
		}
		var given [][]string // recipients
		var got [][]mail.Reply
		n := 1 + rng.IntN(20)
		err = c.SendAll(t.Context(), func() (Outgoing, bool) {
			if len(given) == n {
				return Outgoing{}, false
			}
			i := len(given)
			var to []string
			for r := range 1 + rng.IntN(4) {
				to = append(to, fmt.Sprint("r", i, "-", r))
			}
			size := rng.IntN(3000)
			if rng.IntN(20) == 0 {
				size = rng.IntN(200_000)
			}
			m := message(fmt.Sprintf("m%d\r\n%s", i, strings.Repeat(".a line of forty octets without a CR....\n", size/40)), to...)
			m.From.Local, m.Alone = fmt.Sprint("m", i), rng.IntN(20) == 0
			m.Done = func(r []mail.Reply) {
				if len(got) != i {
					t.Errorf("seed %d: message %d is done after %d", seed, i, len(got))
				}
				got = append(got, r)
			}
			given = append(given, to)
			return m, true
		})
		c.Close()
		time.Sleep(time.Minute) // what is on its way comes
		synctest.Wait()
		replay := randomHost(seed, offers)
		says := replay.says
		replay.says = func(verb, sender, of string) string { // it goes on behind a 421 that nobody read
			return strings.Replace(says(verb, sender, of), "421", "450", 1)
		}
		cut.mu.Lock()
		replay.converse(bytes.NewReader(cut.written), io.Discard, "")
		cut.mu.Unlock()
		checkRiding(t, seed, h, replay.ended, given, got, err)
	})
}

// checkRiding compares what was told with what the host took and what was sent.
func checkRiding(t *testing.T, seed uint64, h *receiver, ended []string, given [][]string, got [][]mail.Reply, err error) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	took := map[string]string{} // the sender by recipient
	for _, one := range h.taken {
		envelope, body, _ := strings.Cut(one, ": ")
		sender, to, _ := strings.Cut(envelope, " ")
		if first, _, _ := strings.Cut(body, "\r\n"); first != sender {
			t.Errorf("seed %d: %s came as %s", seed, first, sender)
		}
		for r := range strings.SplitSeq(to, ",") {
			if took[r] != "" {
				t.Errorf("seed %d: %s has it twice", seed, r)
			}
			took[r] = sender
		}
	}
	if len(got) != len(given) {
		t.Fatalf("seed %d: %d of %d are done", seed, len(got), len(given))
	}
	for i, to := range given {
		sender := fmt.Sprint("m", i)
		for n, rcpt := range to {
			r := got[i][n]
			switch has := took[rcpt] == sender; {
			case r.Positive() && !has:
				t.Errorf("seed %d: %s of %s is told %q and has it not", seed, rcpt, sender, r)
			case has && !r.Positive() && !r.InDoubt():
				t.Errorf("seed %d: %s of %s has it and is told %q", seed, rcpt, sender, r)
			case r.InDoubt() && !slices.Contains(ended, sender):
				t.Errorf("seed %d: %s of %s is in doubt and has no end: %v", seed, rcpt, sender, err)
			case r.Code == 0 && (err == nil || slices.Contains(ended, sender) && !saidSo(err)):
				t.Errorf("seed %d: nothing is told of %s of %s: %v", seed, rcpt, sender, err)
			}
		}
	}
}

// Whatever is wrong with what a host says to groups, who has a message is told so, or in
// doubt, and nobody is told so who has it not.
func TestHostsThatDoNotMeanWhatTheyOffer(t *testing.T) {
	to := func(verb, sender, is, of, says string) string {
		if verb == is && sender == of {
			return says
		}
		return ""
	}
	for name, h := range map[string]*receiver{
		"two replies to a message": {says: func(verb, sender, _ string) string {
			return cmp.Or(to(verb, sender, ".", "m1", "550 5.7.1 no|250 again"), to(verb, ".", ".", ".", "250 taken|250 again"))
		}},
		"421 to a recipient, and on it goes": {goesOn: true, says: func(verb, sender, _ string) string { return to(verb, sender, "RCPT", "m5", "421 4.7.0 slowly") }},
		"421 to a message, and on it goes":   {goesOn: true, says: func(verb, sender, _ string) string { return to(verb, sender, ".", "m5", "421 4.7.0 slowly") }},
		"421, and an end":                    {says: func(verb, sender, _ string) string { return to(verb, sender, ".", "m5", "421 4.7.0 bye") }},
		"no groups":                          {single: true},
	} {
		for _, offers := range []string{"PIPELINING", "PIPELINING CHUNKING"} {
			t.Run(name+", "+offers, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := &receiver{offers: offers, says: h.says, goesOn: h.goesOn, single: h.single}
					c := far(t, h, 300*time.Millisecond, ClientOptions{})
					told := map[string]mail.Reply{}
					err := c.SendAll(t.Context(), func() (Outgoing, bool) {
						m := message("text\r\n", "b")
						sender := fmt.Sprint("m", len(told)+len(c.pipe.under))
						m.From.Local, m.Done = sender, func(r []mail.Reply) { told[sender] = r[0] }
						return m, sender != "m10"
					})
					c.Close()
					time.Sleep(time.Minute) // what is on its way comes
					synctest.Wait()
					h.mu.Lock()
					defer h.mu.Unlock()
					for sender, r := range told {
						has := slices.Contains(h.taken, sender+" b: text\r\n")
						if has != r.Positive() && !(has && r.InDoubt()) || r.InDoubt() && (h.single || name == "421, and an end") {
							t.Errorf("%s is told %q, and has it: %v", sender, r, has)
						}
						if h.single && (r.Permanent() || err == nil || !c.Stuck()) {
							t.Errorf("%s is told %q, stuck %v: %v", sender, r, c.Stuck(), err)
						}
					}
				})
			})
		}
	}
}

// A host that has waited for a command of a group, and then hangs up, is one that did not
// get it. One that hangs up sooner has another reason.
func TestHostThatWaitsForAGroupAndHangsUpIsStuck(t *testing.T) {
	for waits, want := range map[time.Duration]bool{time.Second: false, time.Minute: true} {
		synctest.Test(t, func(t *testing.T) {
			h := &receiver{offers: "PIPELINING", says: func(verb, sender, _ string) string {
				if verb != "MAIL" || sender != "m1" {
					return ""
				}
				time.Sleep(waits)
				return "421 4.4.2 idle"
			}}
			c := far(t, h, 0, ClientOptions{})
			i := 0
			err := c.SendAll(t.Context(), func() (Outgoing, bool) {
				m := message("text\r\n", "b")
				m.From.Local = fmt.Sprint("m", i)
				i++
				return m, i <= 3
			})
			if c.Stuck() != want || !saidSo(err) {
				t.Errorf("after %v: stuck %v: %v", waits, c.Stuck(), err)
			}
		})
	}
}

// A message of which a chunk was refused is refused, whatever becomes of the line behind that.
func TestMessageWithARefusedChunkIsNotInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := far(t, &receiver{offers: "PIPELINING CHUNKING", says: func(verb, _, _ string) string {
			switch verb {
			case "more":
				return "552 5.3.4 too much"
			case ".":
				time.Sleep(time.Hour)
			}
			return ""
		}}, 300*time.Millisecond, ClientOptions{})
		got, err := c.Send(t.Context(), message(strings.Repeat("a line of forty octets, with CR and LF..\r\n", 1200), "b"))
		if err == nil || got[0].Code != 552 {
			t.Errorf("%q: %v", got, err)
		}
		time.Sleep(time.Hour) // until the host is done
	})
}
