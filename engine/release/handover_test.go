// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"restante/engine/delivery/transfer"
	"restante/engine/mail"
	"restante/engine/release/calls"
	"restante/engine/release/link"
	"restante/internal/testpeer"
)

// line gives the two ends of a connection over loopback.
func line(t testing.TB) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if theirs, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if ours, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ours.Close()
		theirs.Close()
	})
	return ours, theirs
}

// call turns the line for account and has the caller take the mail in by mx.
// It returns when both sides are done.
func call(t testing.TB, d *Service, account string, take func(net.Conn)) mail.Reply {
	t.Helper()
	return callAs(t, d, Caller{Account: account, Remote: netip.MustParseAddr("192.0.2.1")}, false, take)
}

func callAs(t testing.TB, d *Service, c Caller, atrn bool, take func(net.Conn)) mail.Reply {
	t.Helper()
	reply, h := d.Turn(t.Context(), policy(), c, atrn, nil)
	if h == nil {
		return reply
	}
	ours, theirs := line(t)
	var both sync.WaitGroup
	both.Go(func() {
		take(theirs)
		theirs.Close()
	})
	both.Go(func() {
		h(t.Context(), ours)
		ours.Close()
	})
	both.Wait()
	return reply
}

func TestTurnHandsOverEveryDomainOctetForOctet(t *testing.T) {
	q := newQueue()
	bodies := []string{"a\r\n", ".\r\n..\r\n", "TURN\r\n", "\xff8 bit\r\n", "", strings.Repeat("x\r\n", 300_000)}
	q.hold("a.test", bodies...)
	q.hold("own.wide.test", "other\r\n")
	q.hold("b.test", "not yours\r\n")
	mx := testpeer.NewMX(t, testpeer.MXOptions{})
	if r := call(t, New(q, Options{}), "anna", mx.Serve); r.Code != 250 {
		t.Fatal(r)
	}
	var got []string
	for _, m := range mx.Messages() {
		got = append(got, string(m.Body))
		if m.Hello != "hub.test" || m.From != "s@from.test" || m.TLS {
			t.Errorf("%+v", m.Params)
		}
	}
	if !slices.Equal(got, append(bodies, "other\r\n")) {
		t.Errorf("%d messages came, or not as they were", len(got))
	}
	if q.left("a.test") != 0 || q.left("own.wide.test") != 0 || q.left("b.test") != 2 || q.busy() {
		t.Errorf("left %d, %d, %d; leased %v", q.left("a.test"), q.left("own.wide.test"), q.left("b.test"), q.leased)
	}
	again := testpeer.NewMX(t, testpeer.MXOptions{})
	if r := call(t, New(q, Options{}), "anna", again.Serve); r.Code != 250 || len(again.Messages()) != 0 {
		t.Errorf("the second call: %q, %d messages", r, len(again.Messages()))
	}
}

func TestNothingWaitingIsEhloAndQuit(t *testing.T) {
	var lines []string // call waits for the peer
	mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		lines = append(lines, line)
		return ""
	}})
	r := call(t, New(newQueue(), Options{}), "anna", mx.Serve)
	if want := []string{"EHLO hub.test", "QUIT"}; r.Code != 250 || !slices.Equal(lines, want) {
		t.Errorf("%q; said %q, want %q", r, lines, want)
	}
}

// A stop ends a handover between two messages, with QUIT: behind the one that had begun.
func TestStopEndsAHandoverBetweenMessages(t *testing.T) {
	ctx, stop := context.WithCancelCause(t.Context())
	q := newQueue()
	q.hold("a.test", "one\r\n", "two\r\n", "three\r\n")
	var last string
	mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if last = line; line == "." {
			stop(&mail.Stopping{Cut: make(chan struct{})})
		}
		return ""
	}})
	reply, h := New(q, Options{}).Turn(t.Context(), policy(), Caller{Account: "anna", Remote: netip.MustParseAddr("192.0.2.1")}, false, nil)
	if h == nil {
		t.Fatal(reply)
	}
	ours, theirs := line(t)
	var both sync.WaitGroup
	both.Go(func() { h(ctx, ours) })
	both.Go(func() { mx.Serve(theirs) })
	both.Wait()
	if len(mx.Messages()) != 2 || last != "QUIT" || q.busy() {
		t.Errorf("%d messages came, the last command was %q; leased %v", len(mx.Messages()), last, q.leased)
	}
}

func TestReversedSessionNeverAsksForTLS(t *testing.T) {
	cert, _ := testpeer.Certificate(t, "mx.test", time.Now().Add(time.Hour))
	q := newQueue()
	q.hold("a.test", "x\r\n")
	var lines []string
	opts := testpeer.MXOptions{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Answer: func(line string) string {
		lines = append(lines, line)
		return ""
	}}
	mx := testpeer.NewMX(t, opts)
	call(t, New(q, Options{}), "anna", mx.Serve)
	if len(mx.Messages()) != 1 || slices.Contains(lines, "STARTTLS") {
		t.Errorf("%d messages; said %q", len(mx.Messages()), lines)
	}
}

// Mail that requires TLS waits while its host calls without; over TLS it goes, or
// is refused for what the host lacks.
func TestMailThatRequiresTLSWaitsForACallOverTLS(t *testing.T) {
	for _, verb := range []string{"TURN", "ATRN"} {
		q := newQueue()
		q.hold("a.test", "plain\r\n", "secret\r\n", "plain, too\r\n")
		q.mail["a.test"][1].Env.RequireTLS = true
		secret := q.mail["a.test"][1].Env.ID
		for _, encrypted := range []string{"", "TLS 1.3"} {
			c := Caller{Account: "anna", Remote: netip.MustParseAddr("192.0.2.1"), TLS: encrypted}
			mx := testpeer.NewMX(t, testpeer.MXOptions{})
			if r := callAs(t, New(q, Options{}), c, verb == "ATRN", mx.Serve); r.Code != 250 {
				t.Fatalf("%s: %q", verb, r)
			}
			if n := len(mx.Messages()); encrypted == "" && (n != 2 || q.left("a.test") != 2 || len(q.settled[secret]) != 0) || q.busy() {
				t.Errorf("%s without TLS: %d came, %d recipients wait, %v", verb, n, q.left("a.test"), q.settled[secret])
			}
		}
		// The test's line has no TLS of its own: that it was offered is what counts.
		if len(q.settled[secret]) != 2 || q.settled[secret][0].Via.TLS != "TLS 1.3" {
			t.Errorf("%s over TLS: %v", verb, q.settled[secret])
		}
		for id, o := range q.settled {
			if id != secret && o[0].Via.TLS != "none" {
				t.Errorf("%s without TLS: %+v", verb, o[0].Via)
			}
		}
	}
}

// A caller that does not offer SMTPUTF8 gets what it can take; the rest waits, and the
// queue knows why.
func TestMailBeyondASCIIWaitsForACallThatTakesIt(t *testing.T) {
	q := newQueue()
	q.hold("a.test", "x\r\n", "y\r\n")
	q.mail["a.test"][0].Env.From.Local = "señor"
	id := q.mail["a.test"][0].Env.ID
	offers := false
	answer := func(line string) string {
		if offers && strings.HasPrefix(line, "EHLO") {
			return "250-mx.test\r\n250 SMTPUTF8"
		}
		return ""
	}
	for _, offers = range []bool{false, true} {
		mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: answer})
		if r := call(t, New(q, Options{}), "anna", mx.Serve); r.Code != 250 {
			t.Fatal(r)
		}
		if offers {
			if q.left("a.test") != 0 || len(mx.Messages()) != 1 || mx.Messages()[0].From != "señor@from.test" {
				t.Errorf("%d left, came %+v", q.left("a.test"), mx.Messages())
			}
		} else if o := q.settled[id]; q.left("a.test") != 2 || len(o) != 2 || o[0].Status != mail.Deferred || o[0].Reply.Status() != "4.6.7" {
			t.Errorf("%d left, %+v", q.left("a.test"), o)
		}
	}
}

func TestPeersRefusals(t *testing.T) {
	q := newQueue()
	q.hold("a.test", "x\r\n", "y\r\n")
	mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		switch {
		case strings.HasPrefix(line, "RCPT TO:<a@"):
			return "450 4.2.1 mailbox busy"
		case strings.HasPrefix(line, "RCPT TO:<b@"):
			return "550 5.1.1 no such user"
		}
		return ""
	}})
	call(t, New(q, Options{}), "anna", mx.Serve)
	if n := q.left("a.test"); n != 2 { // the two a's stay
		t.Errorf("%d recipients left", n)
	}
	for id, outcomes := range q.settled {
		if len(outcomes) != 2 || outcomes[0].Status != mail.Deferred || outcomes[1].Status != mail.Failed {
			t.Errorf("message %s: %+v", id, outcomes)
		}
	}
}

func TestBrokenLineResumesAtTheNextMessage(t *testing.T) {
	q := newQueue()
	for i := range 50 {
		q.hold("a.test", fmt.Sprintf("message %d\r\n", i))
	}
	d := New(q, Options{})
	dots := 0
	first := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if line == "." {
			if dots++; dots == 21 {
				return "HANGUP"
			}
		}
		return ""
	}})
	call(t, d, "anna", first.Serve)
	if got := len(first.Messages()); got != 20 || q.left("a.test") != 2*30 || q.busy() {
		t.Fatalf("the first call took %d, %d recipients left, leases %v", got, q.left("a.test"), q.leased)
	}
	second := testpeer.NewMX(t, testpeer.MXOptions{})
	call(t, d, "anna", second.Serve)
	got := second.Messages()
	if len(got) != 30 || string(got[0].Body) != "message 20\r\n" || q.left("a.test") != 0 {
		t.Errorf("the second call took %d, %d recipients left", len(got), q.left("a.test"))
	}
}

func TestMessageThatIsTooMuchForTheLineLetsTheOthersGoFirst(t *testing.T) {
	q := newQueue()
	q.hold("a.test", "huge\r\n", "1\r\n", "2\r\n")
	d := New(q, Options{})
	var took []string
	for range 4 {
		n := 0
		mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
			if strings.HasPrefix(line, "MAIL") {
				n++
			}
			if strings.Contains(line, "SIZE=6") { // the huge one
				return "HANGUP"
			}
			return ""
		}})
		call(t, d, "anna", mx.Serve)
		took = append(took, fmt.Sprintf("%d of %d", len(mx.Messages()), n))
	}
	// Twice it breaks the line as the first; then the others go before it.
	if want := []string{"0 of 1", "0 of 1", "2 of 3", "0 of 1"}; !slices.Equal(took, want) {
		t.Errorf("took %q, want %q", took, want)
	}
	mx := testpeer.NewMX(t, testpeer.MXOptions{})
	call(t, d, "anna", mx.Serve)
	if len(mx.Messages()) != 1 || q.left("a.test") != 0 || len(d.breaks) != 0 {
		t.Errorf("%d messages, %d left, remembered %v", len(mx.Messages()), q.left("a.test"), d.breaks)
	}
}

func TestLeasesEndWhateverTheCallerDoes(t *testing.T) {
	for name, take := range map[string]func(net.Conn){
		"hangs up":                   func(net.Conn) {},
		"is silent, then hangs up":   func(c net.Conn) { fmt.Fprint(c, "220 x\r\n"); io.CopyN(io.Discard, c, 4) },
		"speaks as a client":         func(c net.Conn) { fmt.Fprint(c, "EHLO me\r\nMAIL FROM:<>\r\n"); io.Copy(io.Discard, c) },
		"refuses us":                 func(c net.Conn) { fmt.Fprint(c, "554 no\r\n"); io.Copy(io.Discard, c) },
		"sends a very long greeting": func(c net.Conn) { io.CopyN(c, endless{}, 1<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue()
			q.hold("a.test", "x\r\n")
			call(t, New(q, Options{}), "anna", take)
			if q.busy() || q.left("a.test") != 2 || len(q.settled) != 0 {
				t.Errorf("leases %v, %d left, settled %v", q.leased, q.left("a.test"), q.settled)
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '2'
	}
	return len(p), nil
}

func TestHandoverOnADeadLineGivesTheLeasesBack(t *testing.T) {
	q := newQueue()
	q.hold("a.test", "x\r\n")
	_, h := New(q, Options{}).Turn(t.Context(), policy(), Caller{Account: "anna"}, true, nil)
	ours, _ := line(t)
	ours.Close()
	h(t.Context(), ours)
	if q.busy() || q.left("a.test") != 2 {
		t.Errorf("leases %v, %d left", q.leased, q.left("a.test"))
	}
}

func TestSettleThatGoesWrongEndsTheSession(t *testing.T) {
	q := newQueue()
	q.hold("a.test", "x\r\n")
	q.hold("own.wide.test", "x\r\n")
	q.fail["Settle"] = errStore
	mx := testpeer.NewMX(t, testpeer.MXOptions{})
	call(t, New(q, Options{}), "anna", mx.Serve)
	if len(mx.Messages()) != 1 || q.busy() || q.left("a.test") != 2 {
		t.Errorf("%d messages, leases %v, %d left", len(mx.Messages()), q.leased, q.left("a.test"))
	}
}

func TestConcurrentCallersNeverBothGetAMessage(t *testing.T) {
	q := newQueue()
	const each = 100
	for i := range each {
		q.hold("a.test", fmt.Sprintf("a%d\r\n", i))
		q.hold("b.test", fmt.Sprintf("b%d\r\n", i))
	}
	d := New(q, Options{})
	mx := testpeer.NewMX(t, testpeer.MXOptions{})
	var refused atomic.Int32
	var callers sync.WaitGroup
	for _, account := range []string{"anna", "anna", "both", "bert", "both", "anna"} {
		callers.Go(func() {
			if r := call(t, d, account, mx.Serve); r.Code != 250 {
				refused.Add(1)
			}
		})
	}
	callers.Wait()
	seen := map[string]int{}
	for _, m := range mx.Messages() {
		seen[string(m.Body)]++
	}
	for body, n := range seen {
		if n != 1 {
			t.Errorf("%q came %d times", body, n)
		}
	}
	if len(seen) != 2*each || q.busy() {
		t.Errorf("%d of %d messages came, %d callers refused, leases %v", len(seen), 2*each, refused.Load(), q.leased)
	}
}

// BenchmarkTurn is messages of 1 KiB over one reversed connection, with settles
// that take as long as a commit to a disk.
func BenchmarkTurn(b *testing.B) {
	for _, commit := range []time.Duration{0, time.Millisecond} {
		b.Run("commit="+commit.String(), func(b *testing.B) {
			d := New(&benchQueue{left: b.N, commit: commit}, Options{})
			call(b, d, "anna", func(c net.Conn) {
				l := &testpeer.Client{Conn: c, R: bufio.NewReader(c)}
				if err := l.Receive(nil); err != nil {
					b.Error(err)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// benchQueue is one destination with messages that are made as they go.
type benchQueue struct {
	left   int
	commit time.Duration
}

func (q *benchQueue) Waiting(d mail.Domain, _ bool) ([]Waiting, error) {
	if d != "a.test" {
		return nil, nil
	}
	return []Waiting{{d, q.left}}, nil
}
func (q *benchQueue) Trigger(mail.Domain, bool, calls.Call) error { return nil }
func (q *benchQueue) Lease(context.Context, mail.Domain, string, string, *link.Meter) (transfer.Lease, error) {
	return q, nil
}
func (q *benchQueue) Close() {}

func (q *benchQueue) Until(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

func (q *benchQueue) Defer(context.Context, mail.Reply, string) error { return nil }

func (q *benchQueue) Settle(context.Context, mail.MessageID, []mail.Outcome) error {
	if q.commit > 0 {
		<-time.After(q.commit)
	}
	return nil
}

var benchBody = strings.Repeat("0123456789abcd\r\n", 64)

func (q *benchQueue) Next() (mail.Item, bool) {
	if q.left == 0 {
		return mail.Item{}, false
	}
	q.left--
	to := []mail.Recipient{{Address: mail.Address{Local: "a", Domain: "a.test"}}}
	return mail.Item{
		Env: mail.Envelope{ID: "00000000000000000001", From: to[0].Address, To: to, Size: int64(len(benchBody))},
		To:  to,
		Open: func() (io.ReadSeekCloser, error) {
			return closer{strings.NewReader(benchBody)}, nil
		},
	}, true
}
