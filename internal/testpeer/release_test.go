// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/internal/testpeer"
)

// dial connects to the service.
func dial(t *testing.T, addr string) *testpeer.Client {
	t.Helper()
	l, err := testpeer.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// say sends each command and expects its reply; the arguments are pairs of both.
func say(t *testing.T, l *testpeer.Client, pairs ...string) {
	t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		if err := l.Say(pairs[i], pairs[i+1]); err != nil {
			t.Fatal(err)
		}
	}
}

// signedIn connects and signs in.
func signedIn(t *testing.T, addr, who string) *testpeer.Client {
	t.Helper()
	l := dial(t, addr)
	if err := l.SignIn(who, password); err != nil {
		t.Fatal(err)
	}
	return l
}

// collectByTurn signs in as who, says TURN, and has mx receive the mail.
func collectByTurn(t *testing.T, s *testpeer.Service, who string, mx *testpeer.MX) {
	t.Helper()
	l := signedIn(t, s.Addr(1), who)
	say(t, l, "TURN", "250")
	mx.Serve(l.Conn)
	l.Close()
}

// newMX starts an MX that accepts all mail.
func newMX(t *testing.T) *testpeer.MX { return testpeer.NewMX(t, testpeer.MXOptions{}) }

// sendNumbered sends n messages to an address, and gives their subjects.
func sendNumbered(t *testing.T, s *testpeer.Service, to string, n int) (subjects []string) {
	t.Helper()
	for i := range n {
		subjects = append(subjects, fmt.Sprintf("%s %d", to, i))
		sendMessage(t, s, sender, subjects[i], to)
	}
	return subjects
}

// subjects gives the subjects of the messages at some MXs.
func subjects(t *testing.T, mxs ...*testpeer.MX) (out []string) {
	t.Helper()
	for _, mx := range mxs {
		for _, m := range mx.Messages() {
			out = append(out, subjectOf(t, m.Body))
		}
	}
	return out
}

// checkSubjects expects each message once, in any order.
func checkSubjects(t *testing.T, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// startHolding starts a service with n messages for a domain that account collects.
func startHolding(t *testing.T, n int) (*testpeer.Service, []string) {
	t.Helper()
	s := startService(t)
	createHeldDomain(t, s, "held.test", account)
	return s, sendNumbered(t, s, "x@held.test", n)
}

func TestHeldMailIsNeverTriedWhateverTheTime(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), newMX(t)
	createHeldDomain(t, s, "held.test")
	pointDNS(t, s, mx.Addr, "held.test. IN A 127.0.0.1\nother.test. IN A 127.0.0.1\n")
	set(t, s, "EtrnDays", "3650")
	sendMessage(t, s, sender, "young", "x@held.test")
	dir := filepath.Join(t.TempDir(), "out")
	runCommand(t, s, "", "queue", "export", dir)
	runCommand(t, s, "", "--yes", "queue", "delete", "--all")
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("exported %q, %v", files, err)
	}
	setAge(t, files[0], 365*24*time.Hour)
	runCommand(t, s, "", "queue", "import", dir)
	retry(t, s, "")
	if err := s.Halt(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	sendMessage(t, s, sender, "not held", "x@other.test") // delivered after a retry of the held mail would have been
	if got := awaitSubjects(t, mx, 1); !slices.Equal(got, []string{"not held"}) {
		t.Errorf("went out: %q", got)
	}
	if w := queueEntryFor(t, s, "held.test"); w.Messages != 1 || w.State != "held" {
		t.Errorf("%+v", w)
	}
}

func TestMailGoesOutAtOnceWhenItsDomainIsHeldNoMore(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), newMX(t)
	createHeldDomain(t, s, "held.test")
	createHeldDomain(t, s, "*.wide.test")
	pointDNS(t, s, mx.Addr, "held.test. IN A 127.0.0.1\nx.wide.test. IN A 127.0.0.1\n")
	want := append(sendNumbered(t, s, "x@held.test", 3), sendNumbered(t, s, "x@x.wide.test", 3)...)
	runCommand(t, s, "set /LM/SMTPSVC/1/Domain/held.test RouteAction 0\nrm /LM/SMTPSVC/1/Domain/*.wide.test\n", "mb", "apply", "--waiting", "release")
	checkSubjects(t, awaitSubjects(t, mx, 6), want)
}

func TestEtrnSendsADomainToItsHosts(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), newMX(t)
	for _, d := range []string{"held.test", "sub.held.test", "*.wide.test", "apart.test"} {
		createHeldDomain(t, s, d)
	}
	pointDNS(t, s, mx.Addr, `held.test. IN A 127.0.0.1
sub.held.test. IN A 127.0.0.1
a.wide.test. IN A 127.0.0.1
b.wide.test. IN A 127.0.0.1
apart.test. IN A 127.0.0.1
`)
	sendMessage(t, s, sender, "apart", "x@apart.test")
	l := dial(t, s.Addr(1))
	n := 0
	for _, tt := range []struct {
		node string
		want []string
	}{
		{"held.test", []string{"held.test"}},
		{"HELD.test", []string{"held.test"}},
		{"@held.test", []string{"held.test", "sub.held.test"}},
		{"a.wide.test", []string{"a.wide.test"}},
		{"@wide.test", []string{"a.wide.test", "b.wide.test"}},
	} {
		var want []string
		for _, d := range []string{"held.test", "sub.held.test", "a.wide.test", "b.wide.test"} {
			subject := tt.node + " " + d
			sendMessage(t, s, sender, subject, "x@"+d)
			if slices.Contains(tt.want, d) {
				want = append(want, subject)
			}
		}
		say(t, l, "ETRN "+tt.node, "250 2.0.0")
		got := awaitSubjects(t, mx, n+len(want))
		checkSubjects(t, got[n:], want)
		n = len(got)
		runCommand(t, s, "", "--yes", "queue", "delete", "--older-than", "1ns", "--from", sender, "--domain", "sub.held.test")
		for _, d := range []string{"held.test", "a.wide.test", "b.wide.test"} {
			await(t, d+" is at rest", func() bool { return queueEntryFor(t, s, d).State != "active" })
			runCommand(t, s, "", "--yes", "queue", "delete", "--domain", d)
		}
	}
	// One reply for unknown domains and for those that ETRN may not start.
	for _, node := range []string{"foreign.test", "hub.test", "wide.test", "@test.invalid", "#held.test", "[127.0.0.1]"} {
		say(t, l, "ETRN "+node, "459 4.7.1 not allowed for this name")
	}
	say(t, l, "ETRN", "500 5.5.4", "ETRN nodot", "501 5.5.4", "ETRN held.test", "250")
	if w := queueEntryFor(t, s, "apart.test"); w.Messages != 1 || w.State != "held" {
		t.Errorf("a domain that nobody asked for: %+v", w)
	}
}

func TestEtrnForADomainThatIsBeingSentIsToldToWait(t *testing.T) {
	t.Parallel()
	s := startService(t)
	createHeldDomain(t, s, "held.test", account)
	reached, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if line == "." {
			once.Do(func() {
				close(reached)
				<-goOn
			})
		}
		return ""
	}})
	pointDNS(t, s, mx.Addr, "held.test. IN A 127.0.0.1\n")
	want := sendNumbered(t, s, "x@held.test", 2)
	l := signedIn(t, s.Addr(1), account)
	say(t, l, "ETRN held.test", "250")
	<-reached
	say(t, l, "ETRN held.test", "458 4.3.2")
	close(goOn)
	checkSubjects(t, awaitSubjects(t, mx, 2), want)
}

func TestEtrnAsksAgainWhateverCameOfTheLastOne(t *testing.T) {
	t.Parallel()
	s := startService(t)
	createHeldDomain(t, s, "held.test")
	var busy sync.Map
	mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if _, over := busy.Load("over"); !over && strings.HasPrefix(line, "RCPT") {
			return "450 4.2.1 busy"
		}
		return ""
	}})
	pointDNS(t, s, mx.Addr, "held.test. IN A 127.0.0.2\n")
	want := sendNumbered(t, s, "x@held.test", 2)
	l := dial(t, s.Addr(1))
	for _, why := range []string{"451 4.4.1", "450 4.2.1"} { // connection refused, then a temporary refusal
		say(t, l, "ETRN held.test", "250")
		await(t, why, func() bool {
			w := queueEntryFor(t, s, "held.test")
			return strings.HasPrefix(w.LastError, why) && w.State == "held" && w.Messages == 2
		})
		if why == "451 4.4.1" {
			serveMXAt(t, mx, "127.0.0.2", mx.Addr)
		}
	}
	busy.Store("over", true)
	say(t, l, "ETRN held.test", "250")
	checkSubjects(t, awaitSubjects(t, mx, 2), want)
}

func TestOneMessageForAHeldDomainAndAnother(t *testing.T) {
	t.Parallel()
	s, mx, caller := startService(t), newMX(t), testpeer.NewMX(t, testpeer.MXOptions{Plain: true})
	createHeldDomain(t, s, "held.test", account)
	pointDNS(t, s, mx.Addr, "far.test. IN A 127.0.0.1\nheld.test. IN A 127.0.0.1\n")
	sendMessage(t, s, "reader@held.test", "for all", "a@held.test", "x@far.test", "b@held.test", "y@hub.test")
	awaitSubjects(t, mx, 1)
	awaitDropped(t, s, 1)
	if w := queueEntryFor(t, s, "held.test"); w.State != "held" || w.Messages != 1 {
		t.Errorf("%+v", w)
	}
	// A report to somebody in a held domain waits there, too.
	sendMessage(t, s, "reader@held.test", "to nobody", "x@none.test")
	await(t, "the report", func() bool { return queueEntryFor(t, s, "held.test").Messages == 2 })
	collectByTurn(t, s, account, caller)
	got := caller.Messages()
	if len(got) != 2 {
		t.Fatalf("%d messages", len(got))
	}
	if m := got[0]; subjectOf(t, m.Body) != "for all" || !slices.Equal(m.Rcpts, []string{"a@held.test", "b@held.test"}) {
		t.Errorf("for %q:\n%s", m.Rcpts, m.Body)
	}
	if m := got[1]; m.From != "" || !slices.Equal(m.Rcpts, []string{"reader@held.test"}) || !strings.Contains(string(m.Body), "x@none.test") {
		t.Errorf("from %q for %q:\n%s", m.From, m.Rcpts, m.Body)
	}
	awaitEmptyQueue(t, s)
	if len(mx.Messages()) != 1 {
		t.Errorf("%d messages went by DNS", len(mx.Messages()))
	}
}

func TestCallerEndsATurnWith421(t *testing.T) {
	t.Parallel()
	s, want := startHolding(t, 4)
	n := 0
	first, second := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if strings.HasPrefix(line, "MAIL") {
			if n++; n == 3 {
				return "421 4.3.2 enough for today"
			}
		}
		return ""
	}}), newMX(t)
	collectByTurn(t, s, account, first)
	checkSubjects(t, subjects(t, first), want[:2])
	await(t, "the lease has ended", func() bool { return queueEntryFor(t, s, "held.test").State == "held" })
	collectByTurn(t, s, account, second)
	checkSubjects(t, subjects(t, second), want[2:])
}

func TestRouteAction514WithoutAHostUsesDNS(t *testing.T) {
	t.Parallel()
	s, mx, smart := startService(t), newMX(t), newMX(t)
	createHeldDomain(t, s, "held.test", account)
	if got := strings.TrimSpace(runCommand(t, s, "", "mb", "get", "/LM/SMTPSVC/1/Domain/held.test", "RouteAction")); !strings.Contains(got, "514") {
		t.Errorf("RouteAction is %s", got)
	}
	pointDNS(t, s, mx.Addr, "held.test. IN A 127.0.0.1\n")
	applyBatch(t, s, "set /LM/SMTPSVC/1 SmartHost "+smart.Addr, "set /LM/SMTPSVC/1 SmartHostType 2")
	want := sendNumbered(t, s, "x@held.test", 1)
	say(t, signedIn(t, s.Addr(1), account), "ETRN held.test", "250")
	checkSubjects(t, awaitSubjects(t, mx, 1), want)
}

func TestTurnGivesAllDomainsOfTheAccountAndNoOther(t *testing.T) {
	t.Parallel()
	s := startService(t)
	addAccount(t, s, "other")
	createHeldDomain(t, s, "one.test", account)
	createHeldDomain(t, s, "two.test", "other", account)
	createHeldDomain(t, s, "*.shops.test", account)
	createHeldDomain(t, s, "own.shops.test", "other")
	createHeldDomain(t, s, "etrn.test")
	var want, others []string
	for _, d := range []string{"one.test", "two.test", "a.shops.test", "b.c.shops.test"} {
		want = append(want, sendNumbered(t, s, "x@"+d, 2)...)
	}
	for _, d := range []string{"own.shops.test", "etrn.test"} {
		others = append(others, sendNumbered(t, s, "x@"+d, 1)...)
	}
	mine, nothing, theirs := newMX(t), newMX(t), newMX(t)
	collectByTurn(t, s, account, mine)
	checkSubjects(t, subjects(t, mine), want)
	collectByTurn(t, s, account, nothing)
	checkSubjects(t, subjects(t, nothing), nil)
	collectByTurn(t, s, "OTHER", theirs) // accounts have no case
	checkSubjects(t, subjects(t, theirs), others[:1])
	for _, m := range mine.Messages() {
		if m.From != sender || m.Hello != "hub.test" || len(m.Rcpts) != 1 {
			t.Errorf("from %q to %q, hello %q", m.From, m.Rcpts, m.Hello)
		}
	}
}

func TestTurnNeedsAnAccountWithADomain(t *testing.T) {
	t.Parallel()
	s, _ := startHolding(t, 1)
	addAccount(t, s, "poor")
	l := dial(t, s.Addr(1))
	say(t, l, "TURN", "530 5.7.0", "ATRN", "530 5.7.0")
	l = signedIn(t, s.Addr(1), "poor")
	say(t, l, "TURN", "550 5.7.1", "ATRN", "450 4.7.1", "NOOP", "250", "TURN now", "501 5.5.4",
		"MAIL FROM:<x@y.test>", "250", "TURN", "503 5.5.1", "RSET", "250")
	if w := queueEntryFor(t, s, "held.test"); w.Messages != 1 || w.State != "held" {
		t.Errorf("%+v", w)
	}
	applyBatch(t, s, "set /LM/SMTPSVC/1 TurnRequireTls true")
	l = signedIn(t, s.Addr(1), account)
	say(t, l, "TURN", "530 5.7.0", "ATRN", "530 5.7.0")
}

// collectUntil receives mail by TURN and disconnects at a stage of the n-th message.
func collectUntil(t *testing.T, s *testpeer.Service, stage string, n int, mx *testpeer.MX) {
	t.Helper()
	l := signedIn(t, s.Addr(1), account)
	defer l.Close()
	say(t, l, "TURN", "250")
	near, far := net.Pipe()
	var copies sync.WaitGroup
	copies.Go(func() {
		_, _ = io.Copy(l.Conn, far)
		_ = l.Close()
	})
	copies.Go(func() {
		defer far.Close()
		for seen := 0; ; {
			line, err := l.R.ReadString('\n')
			if err != nil {
				return
			}
			if strings.HasPrefix(line, stage) {
				if seen++; seen == n {
					return // with it
				}
			}
			if _, err := io.WriteString(far, line); err != nil {
				return
			}
		}
	})
	mx.Serve(near)
	near.Close()
	l.Close()
	copies.Wait()
}

func TestTurnResumesAfterABrokenConnection(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{"EHLO", "MAIL", "RCPT", "DATA", "Subject", ".\r\n"} {
		t.Run(strings.TrimSpace(stage), func(t *testing.T) {
			s, want := startHolding(t, 6)
			first, second := newMX(t), newMX(t)
			n := 3
			if stage == "EHLO" {
				n = 1
			}
			collectUntil(t, s, stage, n, first)
			if got := len(first.Messages()); got != n-1 {
				t.Errorf("%d messages came before the break, want %d", got, n-1)
			}
			await(t, "the lease has ended", func() bool { return queueEntryFor(t, s, "held.test").State == "held" })
			w := queueEntryFor(t, s, "held.test")
			if w.Messages == 8-n && n > 1 && strings.Contains(w.LastError, "in doubt") {
				want = append(want, want[n-2]) // what rode behind its dot came before its reply was read
			} else if w.Messages != 7-n {
				t.Errorf("%+v", w)
			}
			collectByTurn(t, s, account, second)
			checkSubjects(t, subjects(t, first, second), want)
		})
	}
}

func TestOnlyTheMessageInDoubtIsSentTwice(t *testing.T) {
	t.Parallel()
	s, want := startHolding(t, 5)
	first, second := newMX(t), newMX(t)
	// The caller has the third message, and its answer is lost.
	l := signedIn(t, s.Addr(1), account)
	say(t, l, "TURN", "250")
	near, far := net.Pipe()
	var copies sync.WaitGroup
	copies.Go(func() { _, _ = io.Copy(far, l.R); _ = far.Close() })
	copies.Go(func() {
		answers := bufio.NewReader(far)
		for seen := 0; ; {
			line, err := answers.ReadString('\n')
			if err != nil {
				return
			}
			if strings.HasPrefix(line, "250 2.0.0 taken") {
				if seen++; seen == 3 {
					_ = l.Close()
					return
				}
			}
			_, _ = io.WriteString(l.Conn, line)
		}
	})
	first.Serve(near)
	near.Close()
	l.Close()
	copies.Wait()
	await(t, "the lease has ended", func() bool { return queueEntryFor(t, s, "held.test").State == "held" })
	collectByTurn(t, s, account, second)
	checkSubjects(t, subjects(t, first, second), append(want, want[2]))
}

func TestTwoCallersAtOnceShareTheMail(t *testing.T) {
	t.Parallel()
	s := startService(t)
	accounts := []string{"first", "second", "third"} // one's calls would end one another
	for _, a := range accounts {
		addAccount(t, s, a)
	}
	createHeldDomain(t, s, "one.test", accounts...)
	createHeldDomain(t, s, "two.test", accounts...)
	sent := append(sendMessages(t, s, "one.test", 100), sendMessages(t, s, "two.test", 100)...)
	sinks := []*testpeer.MX{newMX(t), newMX(t), newMX(t)}
	var callers sync.WaitGroup
	for i, mx := range sinks {
		callers.Go(func() {
			for begun := time.Now(); time.Since(begun) < time.Minute; {
				left, err := collectAtMost(s, accounts[i], mx, 3+7*i)
				if err != nil {
					t.Error(err)
					return
				}
				if !left {
					return
				}
			}
			t.Error("the mail does not end")
		})
	}
	callers.Wait()
	var got []testpeer.Received
	for _, mx := range sinks {
		for _, m := range mx.Messages() {
			got = append(got, testpeer.Received{Data: m.Body})
		}
	}
	checkSameMail(t, sent, got)
	t.Logf("taken: %d, %d, %d", len(sinks[0].Messages()), len(sinks[1].Messages()), len(sinks[2].Messages()))
}

// collectAtMost receives so many messages by TURN and disconnects; left reports
// that there may be more.
func collectAtMost(s *testpeer.Service, account string, mx *testpeer.MX, most int) (left bool, err error) {
	l, err := testpeer.Dial(s.Addr(1))
	if err != nil {
		return false, err
	}
	defer l.Close()
	if err := l.SignIn(account, password); err != nil {
		return false, err
	}
	switch err := l.Say("TURN", "250"); {
	case err != nil && strings.Contains(err.Error(), "450 4.3.2"):
		<-time.After(5 * time.Millisecond) // other calls have all of it leased
		return true, nil
	case err != nil:
		return false, err
	}
	conn := &limitedConn{Conn: l.Conn, most: most}
	mx.Serve(conn)
	return conn.cut, nil
}

// limitedConn is a connection that ends when a MAIL beyond most is read.
type limitedConn struct {
	net.Conn
	most int
	cut  bool
}

func (c *limitedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.most -= strings.Count(string(b[:n]), "MAIL FROM:"); c.most < 0 {
		c.cut = true
		return 0, errors.New("enough")
	}
	return n, err
}

func TestEachRefusalOfACallerHasItsOutcome(t *testing.T) {
	t.Parallel()
	s := startService(t)
	applyBatch(t, s, "set /LM/SMTPSVC/1 ReportCollectTime 1") // a report does not wait long for the one to be tried again
	createHeldDomain(t, s, "held.test", account)
	var before sync.Map
	answer := func(line string) string {
		if _, second := before.Load("second"); second {
			return ""
		}
		switch {
		case strings.HasPrefix(line, "RCPT TO:<later@"):
			return "450 4.2.1 busy"
		case strings.HasPrefix(line, "RCPT TO:<never@"):
			return "550 5.1.1 unknown"
		}
		return ""
	}
	for _, to := range []string{"later", "never", "good"} {
		sendMessage(t, s, sender, to, to+"@held.test")
	}
	sendMessage(t, s, sender, "all three", "later@held.test", "never@held.test", "good@held.test")
	mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: answer})
	collectByTurn(t, s, account, mx)
	checkSubjects(t, subjects(t, mx), []string{"good", "all three"})
	var about []string
	for _, text := range awaitDropped(t, s, 2) {
		r := readReport(t, text)
		about = append(about, subjectOf(t, []byte(r.Returned)))
		if f := r.Recipients["never@held.test"]; len(r.Recipients) != 1 || f.Get("Status") != "5.1.1" || r.To != sender {
			t.Errorf("to %q about %v", r.To, r.Recipients)
		}
	}
	checkSubjects(t, about, []string{"never", "all three"})
	if w := queueEntryFor(t, s, "held.test"); w.State != "held" || w.Messages != 2 {
		t.Errorf("%+v", w)
	}
	before.Store("second", true)
	collectByTurn(t, s, account, mx)
	checkSubjects(t, subjects(t, mx), []string{"good", "all three", "later", "all three"})
	if m := mx.Messages()[3]; !slices.Equal(m.Rcpts, []string{"later@held.test"}) {
		t.Errorf("the second time for %q", m.Rcpts)
	}
}

func TestRefusalOfTheWholeMessageByACaller(t *testing.T) {
	t.Parallel()
	s, want := startHolding(t, 3)
	n := 0
	mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if line != "." {
			return ""
		}
		n++
		return map[int]string{1: "451 4.3.0 not now", 2: "554 5.6.0 never"}[n]
	}})
	collectByTurn(t, s, account, mx)
	checkSubjects(t, subjects(t, mx), want[2:])
	r := awaitReport(t, s, map[string]string{"x@held.test": "5.6.0"})
	if got := subjectOf(t, []byte(r.Returned)); got != want[1] {
		t.Errorf("returned %q, want %q", got, want[1])
	}
	collectByTurn(t, s, account, mx)
	checkSubjects(t, subjects(t, mx), []string{want[0], want[2]})
}

// startTLS encrypts a conversation.
func startTLS(t *testing.T, l *testpeer.Client) *testpeer.Client {
	t.Helper()
	say(t, l, "STARTTLS", "220")
	conn := tls.Client(l.Conn, &tls.Config{InsecureSkipVerify: true}) // self-signed
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := &testpeer.Client{Conn: conn, R: bufio.NewReader(conn)}
	say(t, out, "EHLO caller.test", "250")
	return out
}

func TestTurnKeepsTLS(t *testing.T) {
	t.Parallel()
	s, want := startHolding(t, 3)
	applyBatch(t, s, "set /LM/SMTPSVC/1 TurnRequireTls true")
	l := startTLS(t, dial(t, s.Addr(1)))
	if err := l.SignIn(account, password); err != nil {
		t.Fatal(err)
	}
	say(t, l, "TURN", "250")
	mx := newMX(t)
	mx.Serve(l.Conn)
	checkSubjects(t, subjects(t, mx), want)
}

func TestTurnOverTLSFromTheFirstOctet(t *testing.T) {
	t.Parallel()
	s, want := startHolding(t, 2)
	conn, err := tls.Dial("tcp", openListener(t, s, "SecureBindings"), &tls.Config{InsecureSkipVerify: true}) // self-signed
	if err != nil {
		t.Fatal(err)
	}
	l := &testpeer.Client{Conn: conn, R: bufio.NewReader(conn)}
	defer l.Close()
	if err := l.Expect("220"); err != nil {
		t.Fatal(err)
	}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + account + "\x00" + password))
	say(t, l, "EHLO caller.test", "250", "AUTH PLAIN "+plain, "235", "TURN", "250")
	mx := newMX(t)
	mx.Serve(l.Conn)
	checkSubjects(t, subjects(t, mx), want)
}

func TestSitesKeepTheirMailApart(t *testing.T) {
	t.Parallel()
	s, first := startHolding(t, 2)
	runCommand(t, s, "", "site", "create", "--name", "Second", "--bind", "127.0.0.1:0", "--domain", "second.test")
	runCommand(t, s, "", "domain", "create", "2", "held.test", "--remote", "--turn", account)
	if err := s.Halt(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := dial(t, s.Addr(2)).Send(sender, "x@held.test", testpeer.DotStuff(testMessage("of the second"))); err != nil {
		t.Fatal(err)
	}
	if out := runCommand(t, s, "", "queue", "list"); strings.Count(out, "held.test") != 2 {
		t.Errorf("queue list:\n%s", out)
	}
	one, two := newMX(t), newMX(t)
	l := signedIn(t, s.Addr(2), account)
	say(t, l, "TURN", "250")
	two.Serve(l.Conn)
	checkSubjects(t, subjects(t, two), []string{"of the second"})
	collectByTurn(t, s, account, one)
	checkSubjects(t, subjects(t, one), first)
}

func TestQueueReleaseCoversAllSites(t *testing.T) {
	t.Parallel()
	s, want := startHolding(t, 1)
	mx := newMX(t)
	runCommand(t, s, "", "site", "create", "--name", "Second", "--bind", "127.0.0.1:0", "--domain", "second.test")
	runCommand(t, s, "", "domain", "create", "2", "held.test", "--remote", "--hold")
	dns := pointDNS(t, s, mx.Addr, "held.test. IN A 127.0.0.1\n")
	applyBatch(t, s, "set /LM/SMTPSVC/2 DnsServers "+dns.Addr, "set /LM/SMTPSVC/2 RemoteSmtpPort "+portOf(t, mx.Addr), "set /LM/SMTPSVC/2 AllowLoopbackHosts true")
	if err := s.Halt(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := dial(t, s.Addr(2)).Send(sender, "x@held.test", testpeer.DotStuff(testMessage("of the second"))); err != nil {
		t.Fatal(err)
	}
	if out := runCommand(t, s, "", "queue", "release", "held.test"); strings.TrimSpace(out) != "2 messages" {
		t.Errorf("queue release: %s", out)
	}
	checkSubjects(t, awaitSubjects(t, mx, 2), append(want, "of the second"))
}

// openListener gives site 1 one more listener.
func openListener(t *testing.T, s *testpeer.Service, property string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	applyBatch(t, s, "set /LM/SMTPSVC/1 "+property+" "+addr)
	await(t, "the listener", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return addr
}

func TestAtrnOnItsOwnListenerAnswersAsRFC2645Says(t *testing.T) {
	t.Parallel()
	s := startService(t)
	addAccount(t, s, "empty")
	createHeldDomain(t, s, "one.test", account)
	createHeldDomain(t, s, "two.test", account)
	createHeldDomain(t, s, "*.shops.test", account)
	createHeldDomain(t, s, "empty.test", "empty")
	createHeldDomain(t, s, "theirs.test")
	addr := openListener(t, s, "AtrnBindings")
	offered := ehloKeywords(t, dial(t, addr))
	for _, word := range []string{"AUTH", "ATRN"} {
		if !slices.Contains(offered, word) {
			t.Errorf("EHLO lists %q without %s", offered, word)
		}
	}
	say(t, dial(t, addr), "ATRN", "530 5.7.0", "ATRN one.test", "530 5.7.0", "TURN", "502 5.5.1",
		"ETRN one.test", "502 5.5.1", "MAIL FROM:<a@b.test>", "502 5.5.1", "NOOP", "250")
	say(t, signedIn(t, addr, "empty"), "ATRN", "453 4.3.0", "ATRN empty.test", "453 4.3.0", "ATRN one.test", "450 4.7.1",
		"MAIL FROM:<a@b.test>", "502 5.5.1", "ATRN", "453")
	var want []string
	for _, d := range []string{"one.test", "two.test", "a.shops.test", "theirs.test"} {
		want = append(want, sendNumbered(t, s, "x@"+d, 1)...)
	}
	for _, tt := range []struct {
		list  string
		reply string
		want  []string
	}{
		{" one.test,theirs.test", "450 4.7.1", nil}, // one is not the account's: none of them
		{" one.test,unknown.test", "450 4.7.1", nil},
		{" one", "501 5.5.4", nil},
		{" ,", "501 5.5.4", nil},
		{" two.test", "250 2.0.0", want[1:2]},
		{" two.test", "453 4.3.0", nil},
		{" ONE.test,b.shops.test", "250 2.0.0", want[0:1]},
		{"", "250 2.0.0", want[2:3]},
		{"", "453 4.3.0", nil},
	} {
		mx := newMX(t)
		l := signedIn(t, addr, account)
		say(t, l, "ATRN"+tt.list, tt.reply)
		if strings.HasPrefix(tt.reply, "250") {
			mx.Serve(l.Conn)
		} else {
			say(t, l, "NOOP", "250") // the roles are as they were
		}
		l.Close()
		checkSubjects(t, subjects(t, mx), tt.want)
	}
	if w := queueEntryFor(t, s, "theirs.test"); w.Messages != 1 {
		t.Errorf("%+v", w)
	}
}

// ehloKeywords gives the keywords that EHLO lists.
func ehloKeywords(t *testing.T, l *testpeer.Client) (words []string) {
	t.Helper()
	if _, err := io.WriteString(l.Conn, "EHLO caller.test\r\n"); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := l.R.ReadString('\n')
		if err != nil || len(line) < 5 {
			t.Fatalf("EHLO: %q, %v", line, err)
		}
		words = append(words, strings.Fields(line[4:])[0])
		if line[3] == ' ' {
			return words
		}
	}
}

func TestServiceVersion1HasNoReleaseAndOneSite(t *testing.T) {
	t.Parallel()
	s, _ := startHolding(t, 1)
	offered := ehloKeywords(t, dial(t, s.Addr(1)))
	for _, verb := range []string{"ETRN", "TURN", "ATRN"} {
		if !slices.Contains(offered, verb) {
			t.Errorf("with version 2, EHLO lists %q without %s", offered, verb)
		}
	}
	runCommand(t, s, "", "site", "create", "--name", "Second", "--bind", "127.0.0.1:0", "--domain", "second.test")
	applyBatch(t, s, "set /LM/SMTPSVC SmtpServiceVersion 1")
	l := dial(t, s.Addr(1))
	offered = ehloKeywords(t, l)
	for _, verb := range []string{"ETRN", "TURN", "ATRN"} {
		if slices.Contains(offered, verb) {
			t.Errorf("with version 1, EHLO lists %s", verb)
		}
	}
	if err := l.SignIn(account, password); err != nil {
		t.Fatal(err)
	}
	say(t, l, "ETRN held.test", "502 5.5.1", "TURN", "502 5.5.1", "ATRN", "502 5.5.1")
	if _, err := s.Run(t.Context(), "", "site", "start", "2"); err == nil {
		t.Error("site 2 starts")
	} else if !strings.Contains(err.Error(), "SmtpServiceVersion") {
		t.Errorf("the reason is not named: %v", err)
	}
	if w := queueEntryFor(t, s, "held.test"); w.Messages != 1 || w.State != "held" {
		t.Errorf("%+v", w)
	}
	if err := s.Halt(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Addr(1) == "" || s.Addr(2) != "" {
		t.Errorf("started: %q and %q", s.Addr(1), s.Addr(2))
	}
}

func TestServiceThatIsKilledDuringATurnLosesNothing(t *testing.T) {
	t.Parallel()
	s := startService(t)
	createHeldDomain(t, s, "held.test", account)
	sent := sendMessages(t, s, "held.test", 150)
	half := make(chan struct{})
	n := 0
	first, second := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if line == "." {
			if n++; n == 100 {
				close(half)
			}
		}
		return ""
	}}), newMX(t)
	l := signedIn(t, s.Addr(1), account)
	say(t, l, "TURN", "250")
	var caller sync.WaitGroup
	caller.Go(func() { first.Serve(l.Conn) })
	<-half
	s.Kill()
	caller.Wait()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	collectByTurn(t, s, account, second)
	once, twice := map[string]bool{}, 0
	for _, m := range append(first.Messages(), second.Messages()...) {
		key := string(m.Body[strings.Index(string(m.Body), "\r\nFrom:"):])
		if once[key] {
			twice++
		}
		once[key] = true
	}
	if len(once) != len(sent) {
		t.Errorf("%d messages came, %d were sent", len(once), len(sent))
	}
	const window = 65 // outcomes that were confirmed and not yet recorded
	if twice > window {
		t.Errorf("%d messages came twice", twice)
	}
	t.Logf("%d before, %d after, %d twice", len(first.Messages()), len(second.Messages()), twice)
}

func TestServiceEndsInOrderDuringATurn(t *testing.T) {
	t.Parallel()
	s, want := startHolding(t, 20)
	first, second := testpeer.NewMX(t, testpeer.MXOptions{}), newMX(t)
	reached := make(chan struct{})
	n := 0
	slow := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if line == "." {
			if n++; n == 3 {
				close(reached)
			}
			if n >= 3 { // a slow line
				<-time.After(20 * time.Millisecond)
			}
		}
		return ""
	}})
	l := signedIn(t, s.Addr(1), account)
	say(t, l, "TURN", "250")
	idle := dial(t, s.Addr(1)) // an idle session does not delay the end
	var caller sync.WaitGroup
	caller.Go(func() { slow.Serve(l.Conn) })
	<-reached
	begun := time.Now()
	err := s.Halt()
	caller.Wait()
	idle.Close()
	if took := time.Since(begun); err != nil || took > 25*time.Second {
		t.Errorf("ended after %s with %v", took, err)
	}
	t.Logf("%d of %d messages came before the end", len(slow.Messages()), len(want))
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	collectByTurn(t, s, account, second)
	checkSubjects(t, subjects(t, first, slow, second), want)
}
