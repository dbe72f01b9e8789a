// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"restante/internal/testpeer"
)

// A domain with accounts is theirs: a stranger does not start its delivery, and
// learns nothing from the refusal.
func TestEtrnOfADomainWithAccountsIsForThem(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), newMX(t)
	addAccount(t, s, "other")
	createHeldDomain(t, s, "held.test", account)
	createHeldDomain(t, s, "empty.test", account)
	pointDNS(t, s, mx.Addr, "held.test. IN A 127.0.0.1\n")
	want := sendNumbered(t, s, "x@held.test", 1)
	stranger, other := dial(t, s.Addr(1)), signedIn(t, s.Addr(1), "other")
	for _, l := range []*testpeer.Client{stranger, other} {
		for _, node := range []string{"held.test", "@held.test", "empty.test", "unknown.test"} {
			say(t, l, "ETRN "+node, "459 4.7.1 not allowed for this name")
		}
	}
	await(t, "the log says which property to set", func() bool {
		return strings.Contains(s.Log(), "EtrnAllow at /LM/SMTPSVC/1/Domain/held.test is accounts; set it")
	})
	if out := runCommand(t, s, "", "domain", "show", "1", "held.test"); !strings.Contains(out, "the accounts of turn, signed in") {
		t.Errorf("domain show:\n%s", out)
	}
	say(t, signedIn(t, s.Addr(1), account), "ETRN held.test", "250")
	checkSubjects(t, awaitSubjects(t, mx, 1), want)

	// In force for the sessions that are open.
	awaitEmptyQueue(t, s)
	want = append(want, sendNumbered(t, s, "y@held.test", 1)...)
	applyBatch(t, s, "set /LM/SMTPSVC/1/Domain/held.test EtrnAllow accounts 127.0.0.0/8")
	say(t, dial(t, s.Addr(1)), "ETRN held.test", "250")
	checkSubjects(t, awaitSubjects(t, mx, 2), want)
}

// The host that has the stale address of a held domain by now refuses its mail
// for good. Where the owner did not ask for the release, that ends no message.
func TestARefusalOfAReleaseThatTheOwnerDidNotAskForEndsNoHeldMail(t *testing.T) {
	t.Parallel()
	s := startService(t)
	createHeldDomain(t, s, "held.test", account)
	applyBatch(t, s, "set /LM/SMTPSVC/1/Domain/held.test EtrnAllow accounts 127.0.0.1")
	var at atomic.Value
	at.Store("EHLO")
	mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		verbs := []string{"EHLO", "HELO", "MAIL", "RCPT", "DATA"}
		from := at.Load().(string)
		verb, _, _ := strings.Cut(line, " ")
		if slices.Contains(verbs[slices.Index(verbs, from):], verb) {
			return "554 5.7.1 not for " + from
		}
		return ""
	}})
	pointDNS(t, s, mx.Addr, "held.test. IN A 127.0.0.1\n")
	sendNumbered(t, s, "x@held.test", 2)
	stranger := dial(t, s.Addr(1))
	for _, verb := range []string{"EHLO", "MAIL", "RCPT", "DATA"} {
		at.Store(verb)
		say(t, stranger, "ETRN held.test", "250")
		await(t, "a refusal of "+verb, func() bool {
			w := queueEntryFor(t, s, "held.test")
			return strings.Contains(w.LastError, "554 5.7.1 not for "+verb) && w.State == "held" && w.Messages == 2
		})
	}
	// The administrator's release vouches for no host either.
	at.Store("RCPT")
	runCommand(t, s, "", "queue", "release", "held.test")
	await(t, "rest", func() bool {
		w := queueEntryFor(t, s, "held.test")
		return strings.Contains(w.LastError, "not for RCPT") && w.State == "held" && w.Messages == 2
	})
	say(t, signedIn(t, s.Addr(1), account), "ETRN held.test", "250")
	awaitEmptyQueue(t, s)
}

// A wildcard's account gets nothing of a name that has a key of its own,
// whatever that key says, and when the mail came.
func TestAWildcardsAccountGetsNoMailOfNearerDomains(t *testing.T) {
	t.Parallel()
	s := startService(t)
	createHeldDomain(t, s, "*.w.test", account)
	var want []string
	for _, d := range []string{"early.w.test", "x.w.test", "z.w.test"} {
		subjects := sendNumbered(t, s, "a@"+d, 1)
		if d != "early.w.test" {
			want = append(want, subjects...)
		}
	}
	const nobody = "[127.0.0.1]:1" // refuses connections
	runCommand(t, s, "", "domain", "create", "1", "early.w.test", "--remote", "--smart-host", nobody, "--waiting", "release")
	runCommand(t, s, "", "domain", "create", "1", "smart.w.test", "--remote", "--smart-host", nobody, "--relay")
	createHeldDomain(t, s, "apart.w.test")
	sendNumbered(t, s, "a@smart.w.test", 1)
	sendNumbered(t, s, "a@apart.w.test", 1)
	for _, d := range []string{"early.w.test", "smart.w.test"} {
		await(t, d+" waits for its next try", func() bool { return queueEntryFor(t, s, d).State == "retry" })
	}
	if out := runCommand(t, s, "", "turn", "list", "1"); !strings.Contains(out, "but not apart.w.test early.w.test smart.w.test") {
		t.Errorf("turn list: %s", out)
	}
	l := signedIn(t, s.Addr(1), account)
	for _, d := range []string{"early.w.test", "smart.w.test", "apart.w.test", "w.test"} {
		say(t, l, "ATRN "+d, "450 4.7.1")
	}
	say(t, l, "ETRN smart.w.test", "459", "ETRN @w.test", "250") // to the hosts of x and z, which there are none
	for _, d := range []string{"early.w.test", "smart.w.test"} {
		if w := queueEntryFor(t, s, d); w.State == "active" || w.Messages != 1 {
			t.Errorf("%s after ETRN @w.test: %+v", d, w)
		}
	}
	for _, d := range []string{"x.w.test", "z.w.test", "apart.w.test"} { // of the last, too, ETRN is anybody's
		await(t, d+" is at rest", func() bool { w := queueEntryFor(t, s, d); return w.State == "held" && w.Messages == 1 })
	}
	mx := testpeer.NewMX(t, testpeer.MXOptions{})
	collectByTurn(t, s, account, mx)
	checkSubjects(t, subjects(t, mx), want)
}

// silentMX is an MX that says nothing more from a point on: "" for not even the
// greeting. It tells when it is there, and answers when it is told to go on.
type silentMX struct {
	*testpeer.MX
	reached, goOn chan struct{}
}

func newSilentMX(t *testing.T, at string) *silentMX {
	m := &silentMX{reached: make(chan struct{}), goOn: make(chan struct{})}
	var once sync.Once
	m.MX = testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if strings.HasPrefix(line, at) {
			once.Do(func() {
				close(m.reached)
				select {
				case <-m.goOn:
				case <-t.Context().Done():
				}
			})
		}
		return ""
	}})
	return m
}

// silentListener accepts connections and says nothing.
func silentListener(t *testing.T) (addr string, reached <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	at := make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			at <- struct{}{}
		}
	}()
	return l.Addr().String(), at
}

// Whichever caller says ETRN, and whatever host answers, the owner gets the mail.
func TestTurnTakesOverFromAnEtrn(t *testing.T) {
	t.Parallel()
	s := startService(t)
	set(t, s, "ReleaseIdleTimeout", "2")
	addr, reached := silentListener(t)
	mxs := map[string]*silentMX{}
	for _, tt := range []struct {
		name  string
		at    string // where the host falls silent
		going bool   // it goes on when the owner waits
	}{
		{name: "greeting"},
		{name: "ehlo", at: "EHLO"},
		{name: "mail", at: "MAIL"},
		{name: "dot", at: "."},
		{name: "end", at: ".", going: true},
	} {
		d := tt.name + ".test"
		createHeldDomain(t, s, d, account)
		at, there := addr, reached
		if tt.at != "" {
			mxs[d] = newSilentMX(t, tt.at)
			at, there = mxs[d].Addr, mxs[d].reached
		}
		pointDomain(t, s, d, at)
		n := 3
		if tt.going {
			n = 20 // it may take some more before the owner's call is read
		}
		want := sendNumbered(t, s, "x@"+d, n)
		l := signedIn(t, s.Addr(1), account)
		say(t, l, "ETRN "+d, "250")
		<-there
		begin := time.Now()
		if _, err := io.WriteString(l, "ATRN "+d+"\r\n"); err != nil {
			t.Fatal(err)
		}
		if tt.going {
			close(mxs[d].goOn)
		}
		if err := l.Expect("250"); err != nil {
			t.Fatalf("%s: ATRN after %v: %v", d, time.Since(begin), err)
		}
		caller := newMX(t)
		caller.Serve(l.Conn)
		l.Close()
		took := 0
		if m := mxs[d]; m != nil && tt.going {
			took = len(m.Messages())
		}
		got := subjects(t, caller)
		checkSubjects(t, got, want[took:])
		if tt.going && took == 0 {
			t.Errorf("%s: the message under way was not finished", d)
		}
		if strings.Contains(s.Log(), "msg=failed") {
			t.Fatal("a message failed")
		}
	}
	awaitEmptyQueue(t, s)
}

// A caller whose line is lost, or that is silent, does not keep its own account from the
// mail; it keeps others.
func TestAnAccountTakesOverFromItsEarlierCall(t *testing.T) {
	t.Parallel()
	s := startService(t)
	addAccount(t, s, "other")
	for i, at := range []string{"", "EHLO", "DATA", "."} {
		d := fmt.Sprintf("d%d.test", i)
		createHeldDomain(t, s, d, account, "other")
		want := sendNumbered(t, s, "x@"+d, 3)
		verbs := []string{"TURN", "ATRN " + d}
		lost, dead := signedIn(t, s.Addr(1), account), newSilentMX(t, at)
		say(t, lost, verbs[i%2], "250")
		if at != "" {
			var serving sync.WaitGroup
			serving.Go(func() { dead.Serve(lost.Conn) })
			defer serving.Wait()
			defer close(dead.goOn)
			<-dead.reached
		}
		say(t, signedIn(t, s.Addr(1), "other"), "ATRN "+d, "450 4.3.2")
		for _, verb := range verbs { // nor does one that has just begun
			l := signedIn(t, s.Addr(1), account)
			begin := time.Now()
			say(t, l, verb, "250")
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("%s: %s waited %v", at, verb, took)
			}
			lost = l
		}
		caller := newMX(t)
		caller.Serve(lost.Conn)
		checkSubjects(t, subjects(t, caller), want)
		if n := strings.Count(s.Log(), "in doubt: the host has the whole message"); (at == ".") != (n > 0) {
			t.Errorf("silent at %q: %d messages in doubt", at, n)
		}
	}
	awaitEmptyQueue(t, s)
}

// A silent host does not keep the mail from others for long.
func TestASilentHostLosesItsLease(t *testing.T) {
	t.Parallel()
	s := startService(t)
	set(t, s, "ReleaseIdleTimeout", "1")
	addr, reached := silentListener(t)
	createHeldDomain(t, s, "held.test")
	pointDomain(t, s, "held.test", addr)
	sendNumbered(t, s, "x@held.test", 1)
	say(t, dial(t, s.Addr(1)), "ETRN held.test", "250")
	<-reached
	await(t, "the lease has ended", func() bool {
		w := queueEntryFor(t, s, "held.test")
		return w.State == "held" && w.Messages == 1 && w.LastError != ""
	})
	// Neither does a caller that says nothing after TURN.
	createHeldDomain(t, s, "turn.test", account)
	sendNumbered(t, s, "x@turn.test", 1)
	say(t, signedIn(t, s.Addr(1), account), "TURN", "250")
	await(t, "the lease of TURN has ended", func() bool { return queueEntryFor(t, s, "turn.test").State == "held" })
}
