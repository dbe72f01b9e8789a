// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
	"restante/engine/wire"
	"restante/internal/deptest"
)

var (
	errLine  = errors.New("the line broke")
	errDisk  = errors.New("the disk is gone")
	taken    = mail.Reply{Code: 250, Enhanced: "0.0", Text: "taken"}
	tooMany  = mail.Reply{Code: 452, Enhanced: "5.3", Text: "too many", Phase: "RCPT"}
	unknown  = mail.Reply{Code: 550, Enhanced: "1.1", Text: "no such user"}
	notNow   = mail.Reply{Code: 450, Enhanced: "2.1", Text: "busy"}
	shutting = mail.Reply{Code: 421, Enhanced: "3.2", Text: "bye"}
)

// lease is a queue of one destination in memory.
type lease struct {
	settleFor time.Duration // how long a commit takes
	fail      error         // what each settle ends in

	mu       sync.Mutex // guards what follows
	items    []mail.Item
	settled  map[mail.MessageID][]mail.Outcome
	busy     int
	mostBusy int
	deferred mail.Reply // with what Defer was called
}

func newLease(items ...mail.Item) *lease {
	return &lease{items: items, settled: map[mail.MessageID][]mail.Outcome{}}
}

func (l *lease) Next() (mail.Item, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.items) == 0 {
		return mail.Item{}, false
	}
	it := l.items[0]
	l.items = l.items[1:]
	return it, true
}

func (l *lease) Until(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

func (l *lease) Defer(_ context.Context, r mail.Reply, _ string) error {
	l.deferred = r
	return nil
}

func (l *lease) Settle(ctx context.Context, id mail.MessageID, outcomes []mail.Outcome) error {
	l.mu.Lock()
	l.busy++
	l.mostBusy = max(l.mostBusy, l.busy)
	l.mu.Unlock()
	if l.settleFor > 0 {
		time.Sleep(l.settleFor) // in a bubble
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy--
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if l.fail != nil {
		return l.fail
	}
	l.settled[id] = append(l.settled[id], outcomes...)
	return nil
}

func (l *lease) Close() {}

// what gives the settled outcomes of message n as "a delivered, b failed".
func (l *lease) what(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, o := range l.settled[msgID(n)] {
		out = append(out, o.To.Local+" "+o.Status.String())
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func msgID(n int) mail.MessageID { return mail.MessageID(fmt.Sprintf("%020d", n)) }

type closer struct{ io.ReadSeeker }

func (closer) Close() error { return nil }

// message n to the named recipients.
func message(n int, body string, to ...string) mail.Item {
	it := mail.Item{
		Env:  mail.Envelope{ID: msgID(n), From: mail.Address{Local: "s", Domain: "from.test"}, Size: int64(len(body))},
		Open: func() (io.ReadSeekCloser, error) { return closer{strings.NewReader(body)}, nil },
	}
	for _, local := range to {
		it.To = append(it.To, mail.Recipient{Address: mail.Address{Local: local, Domain: "to.test"}})
	}
	it.Env.To = it.To
	return it
}

// peer answers by a function, after it has read the body.
type peer struct {
	sent   []string // body and recipients of each transaction
	answer func(n int, m wire.Outgoing) ([]mail.Reply, error)
	dsn    bool
}

func (p *peer) LastSent() time.Time { return time.Time{} }

func (p *peer) Supports(ext string) bool { return p.dsn && ext == "DSN" }

func (p *peer) SendAll(ctx context.Context, next func() (wire.Outgoing, bool)) error {
	for {
		m, ok := next()
		if !ok {
			return nil
		}
		replies, err := p.Send(ctx, m)
		if m.Done(replies); err != nil {
			return err
		}
	}
}

func (p *peer) Send(_ context.Context, m wire.Outgoing) ([]mail.Reply, error) {
	body, err := io.ReadAll(m.Body)
	if err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	var to []string
	for _, r := range m.To {
		to = append(to, r.Address.Local)
	}
	p.sent = append(p.sent, fmt.Sprintf("%s>%s", body, strings.Join(to, ",")))
	if p.answer == nil {
		return slices.Repeat([]mail.Reply{taken}, len(m.To)), nil
	}
	return p.answer(len(p.sent), m)
}

func say(replies ...mail.Reply) func(int, wire.Outgoing) ([]mail.Reply, error) {
	return func(int, wire.Outgoing) ([]mail.Reply, error) { return replies, nil }
}

func TestEachRecipientGetsItsOwnOutcome(t *testing.T) {
	l := newLease(message(1, "x", "a", "b", "c"))
	p := &peer{answer: say(taken, unknown, notNow)}
	res := NewBatch(l).Send(t.Context(), p, "mx.test", 0)
	if !res.Done || res.Taken != 1 || res.Err != nil {
		t.Errorf("result %+v", res)
	}
	if got := l.what(1); got != "a delivered, b failed, c deferred" {
		t.Errorf("settled %q", got)
	}
	if o := l.settled[msgID(1)][1]; o.Host != "mx.test" || o.Reply != unknown {
		t.Errorf("outcome %+v", o)
	}
}

func TestRecipientsBeyondThePeersLimitGoInAFurtherTransaction(t *testing.T) {
	l := newLease(message(1, "x", "a", "b", "c", "d", "e"))
	p := &peer{answer: func(_ int, m wire.Outgoing) (out []mail.Reply, _ error) {
		for i := range m.To {
			if out = append(out, taken); i >= 2 {
				out[i] = tooMany
			}
		}
		return out, nil
	}}
	NewBatch(l).Send(t.Context(), p, "mx.test", 0)
	if want := []string{"x>a,b,c,d,e", "x>c,d,e", "x>e"}; !slices.Equal(p.sent, want) {
		t.Errorf("sent %q, want %q", p.sent, want)
	}
	if got := l.what(1); got != "a delivered, b delivered, c delivered, d delivered, e delivered" {
		t.Errorf("settled %q", got)
	}
}

func TestLimitThatLetsNobodyThroughDefers(t *testing.T) {
	noRoom := mail.Reply{Code: 452, Enhanced: "3.1", Text: "no room"}
	for _, tt := range []struct {
		answer []mail.Reply
		want   string
		sent   int
	}{
		{[]mail.Reply{tooMany, tooMany}, "a deferred, b deferred", 1},
		{[]mail.Reply{taken, noRoom}, "a delivered, b deferred", 1}, // not about recipients
		{[]mail.Reply{unknown, tooMany}, "a failed, b failed", 2},   // b is asked for by itself
	} {
		l, p := newLease(message(1, "x", "a", "b")), &peer{answer: say(tt.answer...)}
		NewBatch(l).Send(t.Context(), p, "mx.test", 0)
		if got := l.what(1); got != tt.want || len(p.sent) != tt.sent {
			t.Errorf("%v: settled %q after %d transactions, want %q", tt.answer, got, len(p.sent), tt.want)
		}
	}
}

func TestBrokenLineResumesAtTheMessageItBrokeUnder(t *testing.T) {
	for name, broken := range map[string]func(int, wire.Outgoing) ([]mail.Reply, error){
		"broken":       func(int, wire.Outgoing) ([]mail.Reply, error) { return nil, errLine },
		"421":          say(shutting),
		"reply is 421": func(int, wire.Outgoing) ([]mail.Reply, error) { return nil, shutting },
		"no replies":   say(),
	} {
		l := newLease(message(1, "1", "a"), message(2, "2", "a"), message(3, "3", "a"))
		b := NewBatch(l)
		first := &peer{answer: func(n int, m wire.Outgoing) ([]mail.Reply, error) {
			if n == 2 {
				return broken(n, m)
			}
			return []mail.Reply{taken}, nil
		}}
		res := b.Send(t.Context(), first, "one.test", 0)
		if res.Done || res.Taken != 1 || res.Err == nil {
			t.Errorf("%s: result %+v", name, res)
		}
		if l.what(1) != "a delivered" || l.what(2) != "" {
			t.Errorf("%s: settled %q and %q", name, l.what(1), l.what(2))
		}
		second := &peer{}
		res = b.Send(t.Context(), second, "two.test", 0)
		if want := []string{"2>a", "3>a"}; !res.Done || !slices.Equal(second.sent, want) {
			t.Errorf("%s: sent %q, want %q; %+v", name, second.sent, want, res)
		}
		for n := 1; n <= 3; n++ {
			if got := l.what(n); got != "a delivered" {
				t.Errorf("%s: message %d settled %q", name, n, got)
			}
		}
	}
}

func TestWhatThePeerSaidBeforeTheBreakIsKept(t *testing.T) {
	l := newLease(message(1, "x", "a", "b"))
	b := NewBatch(l)
	b.Send(t.Context(), &peer{answer: func(int, wire.Outgoing) ([]mail.Reply, error) {
		return []mail.Reply{unknown, {}}, errLine
	}}, "one.test", 0)
	second := &peer{}
	b.Send(t.Context(), second, "two.test", 0)
	if want := []string{"x>b"}; !slices.Equal(second.sent, want) || l.what(1) != "a failed, b delivered" {
		t.Errorf("sent %q, settled %q", second.sent, l.what(1))
	}
}

func TestMessageThatBreaksEveryConversationLetsTheOthersGoFirst(t *testing.T) {
	l := newLease(message(1, "poison", "a"), message(2, "good", "a"), message(3, "good", "a"))
	b := NewBatch(l)
	p := &peer{answer: func(_ int, m wire.Outgoing) ([]mail.Reply, error) {
		if m.Size == 6 {
			return nil, errLine
		}
		return []mail.Reply{taken}, nil
	}}
	for n := range 2 {
		if res := b.Send(t.Context(), p, "mx.test", 0); res.Err == nil || res.Taken != 0 {
			t.Fatalf("conversation %d: %+v", n, res)
		}
	}
	if res := b.Send(t.Context(), p, "mx.test", 0); res.Err == nil || res.Taken != 2 {
		t.Errorf("%+v", res)
	}
	if l.what(1) != "" || l.what(2) != "a delivered" || l.what(3) != "a delivered" {
		t.Errorf("settled %q, %q, %q", l.what(1), l.what(2), l.what(3))
	}
	// Another host takes it.
	if res := b.Send(t.Context(), &peer{}, "other.test", 0); !res.Done || l.what(1) != "a delivered" {
		t.Errorf("%+v, settled %q", res, l.what(1))
	}
}

func TestUnreadableBodyDoesNotStopTheOthers(t *testing.T) {
	gone := message(1, "x", "a")
	gone.Open = func() (io.ReadSeekCloser, error) { return nil, errDisk }
	torn := message(2, "x", "a")
	torn.Open = func() (io.ReadSeekCloser, error) { return closer{badReader{}}, nil }
	again := message(3, "x", "a") // large, and tried before
	again.Env.Size, again.Attempts, again.Open = smallBody+1, 1, torn.Open
	l := newLease(gone, torn, again, message(4, "good", "a"))
	p := &peer{}
	res := NewBatch(l).Send(t.Context(), p, "mx.test", 0)
	if want := []string{"good>a"}; !res.Done || !slices.Equal(p.sent, want) {
		t.Errorf("sent %q; %+v", p.sent, res)
	}
	for n := 1; n <= 3; n++ {
		if o := l.settled[msgID(n)]; len(o) != 1 || o[0].Status != mail.Deferred || !errors.Is(o[0].Reply, errDisk) {
			t.Errorf("message %d: %+v", n, o)
		}
	}
}

type badReader struct{}

func (badReader) Read([]byte) (int, error)                { return 0, errDisk }
func (badReader) Seek(n int64, whence int) (int64, error) { return 0, nil }

func TestLargeBodyThatFailsUnderWayIsPutOff(t *testing.T) {
	torn := message(1, "x", "a")
	torn.Env.Size = smallBody + 1
	torn.Open = func() (io.ReadSeekCloser, error) { return closer{badReader{}}, nil }
	l := newLease(torn, message(2, "good", "a"))
	b := NewBatch(l)
	if res := b.Send(t.Context(), &peer{}, "mx.test", 0); res.Err == nil || l.what(1) != "a deferred" {
		t.Errorf("%+v, settled %q", res, l.what(1))
	}
	if res := b.Send(t.Context(), &peer{}, "mx.test", 0); !res.Done || l.what(2) != "a delivered" {
		t.Errorf("%+v, settled %q", res, l.what(2))
	}
}

func TestLargeBodyArrivesWhole(t *testing.T) {
	want := strings.Repeat("0123456789abcde\n", smallBody/8)
	for _, attempts := range []int{0, 1} {
		it := message(1, want, "a", "b")
		it.Attempts = attempts
		p := &peer{answer: say(taken, tooMany)} // twice: it is wound back
		p.answer = func(n int, m wire.Outgoing) ([]mail.Reply, error) {
			return []mail.Reply{taken, tooMany}[:len(m.To)], nil
		}
		NewBatch(newLease(it)).Send(t.Context(), p, "mx.test", 0)
		if !slices.Equal(p.sent, []string{want + ">a,b", want + ">b"}) {
			t.Errorf("attempts %d: %d transactions, not the body", attempts, len(p.sent))
		}
	}
}

func TestSettlesOverlapWithinTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10 * maxUnsettled
		l := newLease()
		for i := range n {
			l.items = append(l.items, message(i, "x", "a"))
		}
		l.settleFor = time.Second
		start := time.Now()
		res := NewBatch(l).Send(t.Context(), &peer{}, "mx.test", 0)
		if !res.Done || res.Taken != n || len(l.settled) != n {
			t.Errorf("%+v, %d settled when it returned", res, len(l.settled))
		}
		if took := time.Since(start); took != 10*time.Second || l.mostBusy != maxUnsettled {
			t.Errorf("took %v with %d at once", took, l.mostBusy)
		}
	})
}

func TestNothingIsSentOnceASettleWentWrong(t *testing.T) {
	l := newLease()
	for i := range 10 * maxUnsettled {
		l.items = append(l.items, message(i, "x", "a"))
	}
	l.fail = errDisk
	b, p := NewBatch(l), &peer{}
	res := b.Send(t.Context(), p, "mx.test", 0)
	if res.Done || !errors.Is(res.Err, errDisk) || !errors.Is(b.Err(), errDisk) {
		t.Errorf("%+v", res)
	}
	if len(p.sent) > maxUnsettled+1 {
		t.Errorf("%d messages sent that will come again", len(p.sent))
	}
	sent := len(p.sent)
	if b.Send(t.Context(), p, "mx.test", 0); len(p.sent) != sent {
		t.Error("the next conversation went on")
	}
}

func TestLastSettleThatGoesWrongIsSeen(t *testing.T) {
	l := newLease(message(1, "x", "a"))
	l.fail = errDisk
	if res := NewBatch(l).Send(t.Context(), &peer{}, "mx.test", 0); res.Done || !errors.Is(res.Err, errDisk) {
		t.Errorf("%+v", res)
	}
}

func TestLimitOfOneConversation(t *testing.T) {
	l := newLease(message(1, "1", "a"), message(2, "2", "a"), message(3, "3", "a"))
	b := NewBatch(l)
	for _, want := range []Result{{Taken: 2, Begun: 2}, {Taken: 1, Begun: 1, Done: true}} {
		if res := b.Send(t.Context(), &peer{}, "mx.test", 2); res != want {
			t.Errorf("%+v, want %+v", res, want)
		}
	}
}

func TestWhatThePeerTookIsSettledAfterTheContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := newLease(message(1, "1", "a"), message(2, "2", "a"))
	res := NewBatch(l).Send(ctx, &peer{answer: func(int, wire.Outgoing) ([]mail.Reply, error) {
		cancel()
		return []mail.Reply{taken}, nil
	}}, "mx.test", 0)
	if !errors.Is(res.Err, context.Canceled) || l.what(1) != "a delivered" || l.what(2) != "" {
		t.Errorf("%+v, settled %q and %q", res, l.what(1), l.what(2))
	}
}

func TestGiveUp(t *testing.T) {
	items := []mail.Item{message(1, "1", "a", "b"), message(2, "2", "a")}
	l := newLease(items...)
	if err := NewBatch(l).GiveUp(t.Context(), mail.Deferred, notNow, "mx.test"); err != nil || l.deferred != notNow || len(l.settled) != 0 {
		t.Errorf("%v, deferred with %v, settled one by one: %v", err, l.deferred, l.settled)
	}
	if err := NewBatch(l).GiveUp(t.Context(), mail.Failed, unknown, ""); err != nil || l.what(1) != "a failed, b failed" || l.what(2) != "a failed" {
		t.Errorf("%v, settled %q and %q", err, l.what(1), l.what(2))
	}
}

func TestOutgoingCarriesTheEnvelope(t *testing.T) {
	it := message(1, "x", "a")
	it.Env.Body8Bit, it.Env.Ret, it.Env.EnvID = true, "HDRS", "QQ314159"
	it.To[0].Notify, it.To[0].ORcpt = "NEVER", "rfc822;a@to.test"
	it.Env.UTF8, it.Env.UTF8Header, it.Env.Binary = true, true, true
	it.Env.By = mail.Deadline{At: time.Now(), Trace: true}
	var got wire.Outgoing
	b := NewBatch(newLease(it))
	b.SetHeld(true)
	b.Send(t.Context(), &peer{answer: func(_ int, m wire.Outgoing) ([]mail.Reply, error) {
		got = m
		return []mail.Reply{taken}, nil
	}}, "mx.test", 0)
	if got.From != it.Env.From || got.Size != 1 || !got.Body8Bit || got.Ret != "HDRS" || got.EnvID != "QQ314159" || got.To[0] != it.To[0] ||
		!got.UTF8 || !got.UTF8Header || !got.Binary || got.By != it.Env.By || !got.Held {
		t.Errorf("%+v", got)
	}
}

func TestPeerThatMakesNoReportsIsTold(t *testing.T) {
	for _, dsn := range []bool{true, false} {
		l := newLease(message(1, "x", "a", "b"))
		NewBatch(l).Send(t.Context(), &peer{dsn: dsn, answer: say(taken, unknown)}, "mx.test", 0)
		if o := l.settled[msgID(1)]; o[0].NoDSN == dsn || o[1].NoDSN || !o[0].NoBy || o[1].NoBy {
			t.Errorf("DSN %v: %+v", dsn, o)
		}
	}
}

func TestSmallBodiesShareTheBuffer(t *testing.T) {
	b := NewBatch(newLease())
	for _, body := range []string{"a long one", "short", ""} {
		f, err := b.open(message(1, body, "a"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, []byte(body)) {
			t.Errorf("%q, %v; want %q", got, err, body)
		}
	}
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":        "the SMTP packages know nothing of paths",
		"/engine/settings": "what a conversation needs is given by the caller",
		"/engine/queue":    "a lease is all it knows of the queue",
		"/engine/release":  "release is in this layer",
	})
}

// A peer that does not answer QUIT has five seconds, and no longer than the stop waits.
func TestQuitEndsWithTheGraceTime(t *testing.T) {
	for _, tt := range []struct{ grace, want time.Duration }{{time.Second, time.Second}, {time.Hour, 5 * time.Second}, {0, 0}} {
		synctest.Test(t, func(t *testing.T) {
			cut := make(chan struct{})
			end := time.AfterFunc(tt.grace, func() { close(cut) })
			defer end.Stop()
			ctx, stop := context.WithCancelCause(t.Context())
			stop(&mail.Stopping{Cut: cut})
			begun, c := time.Now(), &muteQuit{}
			End(ctx, c, Result{Err: context.Cause(ctx)})
			if took := time.Since(begun); took != tt.want || !c.said {
				t.Errorf("a grace time of %s: ended after %s, QUIT %v", tt.grace, took, c.said)
			}
		})
	}
}

// A muteQuit does not answer QUIT.
type muteQuit struct{ said bool }

func (c *muteQuit) Quit(ctx context.Context) error {
	c.said = true
	<-ctx.Done()
	return ctx.Err()
}

func (*muteQuit) Close() error { return nil }

// A guard that says no when the envelope is out keeps the text back: nothing is settled, and
// the message comes first the next time.
func TestGuardIsAskedBeforeTheText(t *testing.T) {
	l := newLease(message(1, "1", "a"), message(2, "2", "a"))
	b, asked := NewBatch(l), 0
	errNo := errors.New("no more")
	b.SetGuard(func() error {
		if asked++; asked == 4 { // before each message, and before its text
			return errNo
		}
		return nil
	})
	p := &peer{}
	res := b.Send(t.Context(), p, "mx.test", 0)
	if !errors.Is(res.Err, errNo) || res.Taken != 1 || res.Cut != "" || len(p.sent) != 1 || l.what(2) != "" || b.LastBreak() != (Break{}) {
		t.Errorf("%+v, sent %q, settled %q", res, p.sent, l.what(2))
	}
	if res = b.Send(t.Context(), p, "mx.test", 0); !res.Done || l.what(2) != "a delivered" {
		t.Errorf("%+v, settled %q", res, l.what(2))
	}
}

// A riding peer has several messages under way when the line breaks.
type riding struct {
	peer
	until int          // it breaks with so many under way
	with  []mail.Reply // by message
}

func (p *riding) SendAll(_ context.Context, next func() (wire.Outgoing, bool)) error {
	var under []wire.Outgoing
	for len(under) < p.until {
		m, ok := next()
		if !ok {
			break
		}
		under = append(under, m)
	}
	for i, m := range under {
		m.Done([]mail.Reply{p.with[i]})
	}
	return errLine
}

// Of the messages that were under way when the line broke, those in doubt wait for their next
// time, and the others come first, in their order; the one at which it broke goes alone.
func TestLineBreaksUnderMessagesThatRide(t *testing.T) {
	inDoubt := mail.Reply{Code: 451, Enhanced: "4.2", Text: "in doubt", Phase: mail.AfterDot}
	for _, tt := range []struct {
		name string
		with []mail.Reply
		next []string // what comes then
		cut  int
		what []string // was settled
	}{
		{"in doubt", []mail.Reply{taken, inDoubt, inDoubt, {}, {}}, []string{"4>a", "5>a", "6>a"}, 2, []string{"a delivered", "a deferred", "a deferred", "", ""}},
		{"not sent", []mail.Reply{taken, taken, {}, {}, {}}, []string{"3>a", "4>a", "5>a", "6>a"}, 3, []string{"a delivered", "a delivered", "", "", ""}},
		{"421", []mail.Reply{taken, shutting, {}, {}, {}}, []string{"2>a", "3>a", "4>a", "5>a", "6>a"}, 2, []string{"a delivered", "", "", "", ""}},
		{"refused", []mail.Reply{unknown, notNow, inDoubt, {}, {}}, []string{"4>a", "5>a", "6>a"}, 3, []string{"a failed", "a deferred", "a deferred", "", ""}},
	} {
		l := newLease()
		for n := range 6 {
			l.items = append(l.items, message(n+1, fmt.Sprint(n+1), "a"))
		}
		b := NewBatch(l)
		res := b.Send(t.Context(), &riding{until: 5, with: tt.with}, "one.test", 0)
		if res.Done || !errors.Is(res.Err, errLine) || res.Cut != msgID(tt.cut) || b.LastBreak() != (Break{msgID(tt.cut), 1}) {
			t.Errorf("%s: %+v, %+v", tt.name, res, b.LastBreak())
		}
		for i, want := range tt.what {
			if got := l.what(i + 1); got != want {
				t.Errorf("%s: message %d settled %q, want %q", tt.name, i+1, got, want)
			}
		}
		var alone []string
		second := &peer{answer: func(_ int, m wire.Outgoing) ([]mail.Reply, error) {
			if m.Alone {
				alone = append(alone, fmt.Sprint(m.Size))
			}
			return []mail.Reply{taken}, nil
		}}
		if res = b.Send(t.Context(), second, "two.test", 0); !res.Done || !slices.Equal(second.sent, tt.next) {
			t.Errorf("%s: then %q, want %q; %+v", tt.name, second.sent, tt.next, res)
		}
		if again := tt.what[tt.cut-1] == ""; again != (len(alone) == 1) {
			t.Errorf("%s: alone went %q", tt.name, alone)
		}
	}
}
