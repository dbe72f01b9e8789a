// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/engine/account"
	"restante/engine/delivery"
	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/release"
	"restante/engine/resolver"
	"restante/engine/session"
	"restante/engine/site/ports"
	"restante/engine/spool"
	"restante/engine/wire"
	"restante/internal/deptest"
	"restante/internal/kv"
	"restante/internal/testpeer"
)

// settings of a small site: hub.test is local, held.test is held for joe.
type settings struct {
	dir     string
	account account.Credential
	db      kv.DB
}

func (s settings) lookup(name string) (account.Credential, bool) {
	return s.account, strings.EqualFold(name, s.account.Name)
}

func (s settings) Standing(d mail.Domain) mail.Standing {
	return map[mail.Domain]mail.Standing{"hub.test": mail.Local, "held.test": mail.Held}[d]
}

func (s settings) Relay(mail.Domain) session.Relay { return session.Relay{} }

func (s settings) Mailbox(context.Context, mail.Address) (bool, error) { return true, nil }

func (s settings) MayCollect(who string, d mail.Domain) bool {
	return strings.EqualFold(who, "joe") && d == "held.test"
}

func (s settings) MayEtrn(d mail.Domain, who string, _ netip.Addr) (bool, error) {
	if d != "held.test" {
		return false, errors.New("not held")
	}
	return s.MayCollect(who, d), nil
}

func (s settings) TurnDomains(who string) []mail.Domain {
	if strings.EqualFold(who, "joe") {
		return []mail.Domain{"held.test"}
	}
	return nil
}

// Route drops everything.
func (s settings) Route(mail.Domain) delivery.Route {
	return delivery.Route{Kind: delivery.Drop, Dir: filepath.Join(s.dir, "Drop")}
}

// spoolStore is a spool as a queue's Store.
type spoolStore struct{ *spool.Spool }

func (s spoolStore) Create(ctx context.Context) (queue.Draft, error) { return s.Spool.Create(ctx) }

func openSpool(ctx context.Context, folder string, db kv.DB, limits func() StorageLimits) (Storage, error) {
	sp, err := spool.Open(ctx, folder, db, spool.Options{MinFree: func() int64 { return limits().Reserve }})
	if err != nil {
		return Storage{}, err
	}
	return Storage{Messages: spoolStore{sp}, DB: db, Maintain: sp.Run, Broken: sp.Broken, Close: sp.Close}, nil
}

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// make is a fresh Config at revision rev.
func (s settings) make(rev uint64, bindings ...netip.AddrPort) *Config {
	c := &Config{
		Name: "test site", Rev: rev, Settings: version(0),
		Wire: wire.Config{Hostname: "hub.test", Verbs: mail.Verbs{ETRN: true, TURN: true, ATRN: true, EightBit: true, Pipelining: true, EnhancedCodes: true}},
		Session: session.Policy{
			Hostname: "hub.test", Default: "hub.test", Domains: s,
			SignIn: session.SignIn{Lookup: s.lookup, Plain: true, Scram: true, Cram: func() bool { return true }},
		},
		Release: release.Policy{ETRN: true, TURN: true, ATRN: true, Hello: "hub.test", Rules: s},
		Mail: Mail{
			Folder: filepath.Join(s.dir, "Queue"), Routes: s,
			Holds: queue.RouterFunc(func(d mail.Domain) queue.RouteState { return queue.RouteState{Held: d == "held.test"} }),
		},
	}
	c.Mail.Open = func(ctx context.Context, limits func() StorageLimits) (Storage, error) {
		return openSpool(ctx, c.Mail.Folder, s.db, limits)
	}
	for _, b := range bindings {
		c.Bindings = append(c.Bindings, ports.Binding{Addr: b})
	}
	return c
}

// A version is Settings that differ from any other version.
type version int

func (v version) Differs(from Settings, _ []Part) bool { return from != v }

type harness struct {
	*Site
	settings
	t       *testing.T
	changed chan struct{} // something of Status is another one
	stop    func()
}

func newSettings(t *testing.T) settings {
	t.Helper()
	c, err := account.New("joe", "pw", true)
	if err != nil {
		t.Fatal(err)
	}
	return settings{t.TempDir(), c, kv.NewMem()}
}

// runSite makes a site and runs it to the end of the test.
func runSite(t *testing.T, cfg *Config, set settings, shared *ports.Set) *harness {
	t.Helper()
	return newSite(t, 1, cfg, set, shared, false)
}

func newSite(t *testing.T, n int, cfg *Config, set settings, shared *ports.Set, autoStart bool) *harness {
	t.Helper()
	h := &harness{settings: set, t: t, changed: make(chan struct{}, 1)}
	h.Site = New(n, cfg, Deps{
		Resolver: resolver.New(resolver.Options{}), Auth: account.NewAuthenticator(account.Options{}), Ports: shared,
		Changed: h.notifyTest, AutoStart: autoStart, Grace: 300 * time.Millisecond, Again: 20 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Site.Run(ctx) }()
	h.stop = func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
		done <- context.Canceled
	}
	t.Cleanup(h.stop)
	return h
}

func (h *harness) notifyTest() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// settle applies a Config and waits until the site has brought it into force or
// says why it cannot.
func (h *harness) settle(next *Config) Status {
	h.t.Helper()
	h.Apply(next)
	return h.until(func() bool { return h.Settled(next.Rev) })
}

// until waits for a change of Status.
func (h *harness) until(ok func() bool) Status {
	h.t.Helper()
	for !ok() {
		select {
		case <-h.changed:
		case <-time.After(time.Minute):
			h.t.Fatalf("the site never came to this: %+v", h.Status())
		}
	}
	return h.Status()
}

func started(t *testing.T) *harness {
	t.Helper()
	set := newSettings(t)
	h := runSite(t, set.make(1, loopback), set, &ports.Set{})
	h.must(Start)
	return h
}

func (h *harness) must(c Command) {
	h.t.Helper()
	if err := h.Do(h.t.Context(), c); err != nil {
		h.t.Fatalf("%s: %v", c, err)
	}
}

func (h *harness) addr() string {
	h.t.Helper()
	at := h.Status().Listening
	if len(at) == 0 {
		h.t.Fatalf("it listens nowhere: %+v", h.Status())
	}
	return at[0].String()
}

// file makes a file where a folder should be.
func (h *harness) file(name string) string {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

func (h *harness) dial() *testpeer.Client {
	h.t.Helper()
	l, err := testpeer.Dial(h.addr())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { l.Close() })
	return l
}

// eventually waits for what another goroutine does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("it never came to this: %s", what)
		case <-tick.C:
		}
	}
}

// greeting is the first line that a caller gets, "" when the line is closed.
func greeting(t *testing.T, addr string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 512)
	n, _ := c.Read(b)
	return strings.TrimSpace(string(b[:n]))
}

func TestStates(t *testing.T) {
	set := newSettings(t)
	h := runSite(t, set.make(1, loopback), set, &ports.Set{})
	tests := []struct {
		do   Command
		err  error
		want State
	}{
		{Pause, ErrStopped, Stopped},
		{Continue, ErrStopped, Stopped},
		{Stop, nil, Stopped},
		{Start, nil, Started},
		{Start, nil, Started},
		{Continue, nil, Started},
		{Pause, nil, Paused},
		{Pause, nil, Paused},
		{Continue, nil, Started},
		{Pause, nil, Paused},
		{Start, nil, Started},
		{Pause, nil, Paused},
		{Stop, nil, Stopped},
		{Start, nil, Started},
		{Stop, nil, Stopped},
	}
	for i, tt := range tests {
		if err := h.Do(t.Context(), tt.do); !errors.Is(err, tt.err) {
			t.Errorf("step %d, %s: %v, want %v", i, tt.do, err, tt.err)
		}
		st := h.Status()
		if st.State != tt.want || (len(st.Listening) == 1) != tt.want.serving() || (st.Running == 1) != tt.want.serving() {
			t.Errorf("step %d, %s: %+v, want %s", i, tt.do, st, tt.want)
		}
	}
	if err := h.Do(t.Context(), Command(9)); err == nil {
		t.Error("a command that there is not is obeyed")
	}
}

func TestPausedTurnsAwayAndLetsFinish(t *testing.T) {
	h := started(t)
	one := h.dial()
	h.must(Pause)
	if got := greeting(t, h.addr()); !strings.HasPrefix(got, "421 4.3.2 ") {
		t.Errorf("a new caller hears %q", got)
	}
	if err := one.Send("a@b.test", "x@hub.test", []byte("Subject: x\r\n\r\nhello\r\n.\r\n")); err != nil {
		t.Errorf("the caller that was there: %v", err)
	}
	eventually(t, "the queue drains while paused", func() bool {
		files, _ := filepath.Glob(filepath.Join(h.dir, "Drop", "*.eml"))
		return len(files) == 1 && h.Status().Counters.Delivered == 1
	})
	h.must(Continue)
	h.dial()
	if n := h.Status().Counters; n.Accepted != 1 || n.Refused != 1 || n.Connections != 2 {
		t.Errorf("counters %+v", n)
	}
}

func TestAfterRun(t *testing.T) {
	h := started(t)
	h.stop()
	if err := h.Do(t.Context(), Start); !errors.Is(err, ErrEnded) {
		t.Errorf("start after Run: %v", err)
	}
	if st := h.Status(); st.State != Stopped || len(st.Listening) != 0 || h.Queue() != nil {
		t.Errorf("after Run: %+v", st)
	}
}

func TestCallerRefusedByAddress(t *testing.T) {
	h := started(t)
	next := h.make(2, loopback)
	next.Session.MayConnect = func(a netip.Addr, _ session.Names) bool { return !a.IsLoopback() }
	h.Apply(next)
	if got := greeting(t, h.addr()); !strings.HasPrefix(got, "554 5.7.1 ") {
		t.Errorf("who may not connect hears %q", got)
	}
}

// Where names decide, they are looked up before the greeting, and not within the
// limits of other callers.
func TestCallerRefusedByName(t *testing.T) {
	for name, want := range map[string]string{"friend.test": "220 ", "foe.test": "554 5.7.1 ", "": "421 4.7.1 "} {
		h := started(t)
		h.Site.deps.Names = func(context.Context, netip.Addr) ([]string, error) {
			if name == "" {
				return nil, errors.New("no answer")
			}
			return []string{name}, nil
		}
		next := h.make(2, loopback)
		next.Session.MayConnect = func(_ netip.Addr, names session.Names) bool {
			if names == nil {
				return true
			}
			list, err := names()
			return err == nil && slices.Contains(list, "friend.test")
		}
		h.Apply(next)
		if got := greeting(t, h.addr()); !strings.HasPrefix(got, want) {
			t.Errorf("%q hears %q, want %q", name, got, want)
		}
		if n := h.Site.sessions.size(); n > 1 {
			t.Errorf("%d callers count", n)
		}
	}
}

func TestKeepsOnWhenSettingsDoNotLoad(t *testing.T) {
	h := started(t)
	h.SetError(7, errors.New("MaxConnections: must not be negative"))
	if got, want := h.Status().Why, "configured 7, running 1, because MaxConnections: must not be negative"; got != want {
		t.Errorf("Why = %q, want %q", got, want)
	}
	h.dial()
	h.Apply(h.make(8, loopback))
	if st := h.Status(); st.Why != "" || st.Running != 8 {
		t.Errorf("%+v", st)
	}
}

func TestLimitOfCallers(t *testing.T) {
	h := started(t)
	next := h.make(2, loopback)
	next.Session.Limits.Connections = 2
	h.Apply(next)
	first := h.dial()
	h.dial()
	if got := greeting(t, h.addr()); !strings.HasPrefix(got, "421 4.3.2 ") {
		t.Errorf("the third hears %q", got)
	}
	first.Quit()
	eventually(t, "there is room again", func() bool { return strings.HasPrefix(greeting(t, h.addr()), "220 ") })
}

// TestApplyHoldsForTheNextCaller: not for the one that is there, and at once
// for the one that comes.
func TestApplyHoldsForTheNextCaller(t *testing.T) {
	h := started(t)
	before := h.dial()
	for rev := uint64(2); rev < 30; rev++ {
		next := h.make(rev, loopback)
		next.Session.Limits.Size = int64(rev)
		h.Apply(next)
		after := h.dial()
		if err := after.Say(fmt.Sprintf("MAIL FROM:<a@b.test> SIZE=%d", rev+1), "552"); err != nil {
			t.Fatalf("revision %d: %v", rev, err)
		}
		if err := after.Say(fmt.Sprintf("MAIL FROM:<a@b.test> SIZE=%d", rev), "250"); err != nil {
			t.Fatalf("revision %d: %v", rev, err)
		}
		after.Quit()
	}
	if err := before.Say("MAIL FROM:<a@b.test> SIZE=1000", "250"); err != nil {
		t.Errorf("the caller that was there: %v", err)
	}
	if st := h.Status(); st.Running != 29 || st.Configured != 29 {
		t.Errorf("%+v", st)
	}
}

// freePort is one that nobody listens on just now.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func TestRebinding(t *testing.T) {
	h := started(t)
	old := h.addr()
	there := h.dial()
	to := freePort(t)
	h.settle(h.make(2, to))
	if h.addr() != to.String() {
		t.Errorf("it listens on %s, want %s", h.addr(), to)
	}
	if got := greeting(t, old); strings.HasPrefix(got, "220") {
		t.Errorf("the old address still greets: %s", got)
	}
	h.dial()
	if err := there.Say("NOOP", "250"); err != nil {
		t.Errorf("the caller that was there: %v", err)
	}
	// One more beside it: the first is not touched.
	second := freePort(t)
	if st := h.settle(h.make(3, to, second)); len(st.Listening) != 2 {
		t.Errorf("it listens on %s", st.Listening)
	}
	// All addresses in the place of one: the one has to make room.
	all := netip.AddrPortFrom(netip.IPv4Unspecified(), to.Port())
	if st := h.settle(h.make(4, all)); st.Running != 4 {
		t.Errorf("all addresses: %+v", st)
	}
	if got := greeting(t, to.String()); !strings.HasPrefix(got, "220") {
		t.Errorf("all addresses: %q", got)
	}
}

func TestBindingThePortThatTheSystemPicked(t *testing.T) {
	h := started(t)
	own := h.addr()
	if st := h.settle(h.make(2, netip.MustParseAddrPort(own))); st.Running != 2 || h.addr() != own || st.Why != "" {
		t.Errorf("%+v, want %s", st, own)
	}
	h.dial()
}

func TestTakenPortKeepsWhatRuns(t *testing.T) {
	h := started(t)
	old := h.addr()
	blocker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := blocker.Addr().(*net.TCPAddr).AddrPort()
	next := h.make(42, loopback, taken)
	st := h.settle(next)
	if h.InForce(42) {
		t.Error("a Config that is not in force is said to be")
	}
	if want := "configured 42, running 1, because listen on " + taken.String(); !strings.HasPrefix(st.Why, want) {
		t.Errorf("Why = %q, want %s...", st.Why, want)
	}
	if st.State != Started || h.addr() != old || len(st.Listening) != 1 {
		t.Errorf("it does not run on what it had: %+v", st)
	}
	h.dial()
	blocker.Close()
	h.until(func() bool { return h.Status().Why == "" && h.Status().Running == 42 })
	if got := greeting(t, taken.String()); !strings.HasPrefix(got, "220 ") {
		t.Errorf("the address that is free again: %q", got)
	}
}

// TestMakingRoomForNothing: the listener that had to close for one that cannot
// open is there again.
func TestMakingRoomForNothing(t *testing.T) {
	at := freePort(t)
	set := newSettings(t)
	h := runSite(t, set.make(1, at), set, &ports.Set{})
	h.must(Start)
	blocker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer blocker.Close()
	all := netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())
	h.settle(h.make(2, all, blocker.Addr().(*net.TCPAddr).AddrPort()))
	for range 3 {
		eventually(t, "it greets at the old address", func() bool { return strings.HasPrefix(greeting(t, at.String()), "220") })
	}
}

func TestTwoSitesOnePort(t *testing.T) {
	at, shared := freePort(t), &ports.Set{}
	set := newSettings(t)
	first := runSite(t, set.make(1, at), set, shared)
	first.must(Start)
	other := newSettings(t)
	second := newSite(t, 2, other.make(1, at), other, shared, false)
	err := second.Do(t.Context(), Start)
	if want := fmt.Sprintf("listen on %s: the address is taken: site 1 has it", at); err == nil || err.Error() != want {
		t.Errorf("the second site: %v, want %s", err, want)
	}
	if st := second.Status(); st.State != Stopped || st.Why != err.Error() {
		t.Errorf("the second site: %+v", st)
	}
	first.dial()
	first.must(Stop)
	second.must(Start)
	if st := second.Status(); st.State != Started || st.Why != "" {
		t.Errorf("the port is free, and yet: %+v", st)
	}
}

func TestStopGivesGraceAndCuts(t *testing.T) {
	h := started(t)
	idle, busy := h.dial(), h.dial()
	for _, c := range []struct{ say, want string }{{"MAIL FROM:<a@b.test>", "250"}, {"RCPT TO:<x@hub.test>", "250"}, {"DATA", "354"}} {
		if err := busy.Say(c.say, c.want); err != nil {
			t.Fatal(err)
		}
	}
	addr := h.addr()
	h.must(Stop) // the one in its body never ends: it is cut
	if err := idle.Expect("421"); err != nil {
		t.Errorf("an idle caller hears %v", err)
	}
	if got := greeting(t, addr); strings.HasPrefix(got, "2") {
		t.Errorf("a stopped site greets with %q", got)
	}
	if n := len(h.Sessions()); n != 0 || h.Status().Connections != 0 {
		t.Errorf("%d callers are left", n)
	}
	h.must(Start)
	h.dial()
}

func TestCallersAreListedAndEnded(t *testing.T) {
	h := started(t)
	a, b := h.dial(), h.dial()
	if err := a.SignIn("joe", "pw"); err != nil {
		t.Fatal(err)
	}
	if err := a.Say("MAIL FROM:<a@b.test>", "250"); err != nil {
		t.Fatal(err)
	}
	list := h.Sessions()
	if len(list) != 2 || list[0].Account != "joe" || list[0].Activity != "envelope" || list[1].Activity != "idle" ||
		list[0].Hello != "caller.test" || list[0].Remote.String() != a.LocalAddr().String() {
		t.Fatalf("Callers = %+v", list)
	}
	if h.EndSession("999") {
		t.Error("a caller that there is not was ended")
	}
	if !h.EndSession(list[0].ID) {
		t.Error("the first caller is not there")
	}
	if err := a.Expect("421"); err != nil {
		t.Error(err)
	}
	if err := b.Say("NOOP", "250"); err != nil {
		t.Errorf("the other one: %v", err)
	}
	eventually(t, "it is gone", func() bool { return len(h.Sessions()) == 1 })
	if n := h.EndSessions(); n != 1 {
		t.Errorf("EndSessions = %d", n)
	}
	eventually(t, "nobody is left", func() bool { return len(h.Sessions()) == 0 })
}

// TestHeldAndTurnedOver is the way of a message through one site.
func TestHeldAndTurnedOver(t *testing.T) {
	h := started(t)
	const n = 5
	var sent []string
	l := h.dial()
	for i := range n {
		text := fmt.Sprintf("Subject: %d\r\n\r\n.dot\r\nTURN\r\n", i)
		sent = append(sent, text)
		if err := l.Send("a@b.test", "x@held.test", testpeer.DotStuff([]byte(text))); err != nil {
			t.Fatal(err)
		}
	}
	if q := h.Status().Counts; q.Messages != n || q.Held != n {
		t.Fatalf("queue %+v", q)
	}
	// Held mail is still held after a restart of the site.
	h.must(Stop)
	if h.Queue() == nil || h.Status().Held != n {
		t.Errorf("a stopped site does not show its queue: %+v", h.Status().Counts)
	}
	h.must(Start)
	caller := h.dial()
	if err := caller.Say("TURN", "530"); err != nil {
		t.Error(err)
	}
	if err := caller.SignIn("joe", "pw"); err != nil {
		t.Fatal(err)
	}
	if err := caller.Say("TURN", "250"); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := caller.Receive(func(m testpeer.Received) error {
		_, body, ok := strings.Cut(string(m.Data), "Subject:")
		if !ok || !strings.HasPrefix(string(m.Data), "Received: from caller.test (") {
			t.Errorf("got %q", m.Data)
		}
		got = append(got, "Subject:"+body)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got) // of the same millisecond, any may be first
	if !slices.Equal(got, sent) {
		t.Errorf("got %q, want %q", got, sent)
	}
	eventually(t, "the queue is empty", func() bool { return h.Status().Messages == 0 })
}

// TestRoutesOfTheNextAttempt: mail that was held goes when it is held no more.
func TestRoutesOfTheNextAttempt(t *testing.T) {
	h := started(t)
	l := h.dial()
	if err := l.Send("a@b.test", "x@held.test", []byte("Subject: x\r\n\r\n.\r\n")); err != nil {
		t.Fatal(err)
	}
	if q := h.Status().Counts; q.Held != 1 {
		t.Fatalf("%+v", q)
	}
	next := h.make(2, loopback)
	next.Mail.Holds = queue.RouterFunc(func(mail.Domain) queue.RouteState { return queue.RouteState{} })
	h.Apply(next)
	eventually(t, "it is delivered", func() bool { return h.Status().Messages == 0 })
}

func TestFolderWaitsForTheNextStart(t *testing.T) {
	h := started(t)
	next := h.make(2, loopback)
	next.Mail.Folder = filepath.Join(h.dir, "Other")
	next.Mail.Open = func(ctx context.Context, limits func() StorageLimits) (Storage, error) {
		return openSpool(ctx, next.Mail.Folder, kv.NewMem(), limits)
	}
	if st := h.settle(next); st.Running != 2 || !h.InForce(2) || !strings.Contains(st.Why, "until the site stops and starts") {
		t.Errorf("%+v", st)
	}
	h.must(Stop)
	h.must(Start)
	if st := h.Status(); st.Running != 2 || st.Why != "" {
		t.Errorf("%+v", st)
	}
	if _, err := os.Stat(next.Mail.Folder); err != nil {
		t.Error(err)
	}
}

func TestBadFolderIsTheState(t *testing.T) {
	set := newSettings(t)
	cfg := set.make(1, loopback)
	cfg.Mail.Folder = filepath.Join(set.dir, "file", "Queue")
	if err := os.WriteFile(filepath.Join(set.dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := runSite(t, cfg, set, &ports.Set{})
	err := h.Do(t.Context(), Start)
	if err == nil || !strings.Contains(err.Error(), cfg.Mail.Folder) {
		t.Errorf("start: %v", err)
	}
	if st := h.Status(); st.State != Stopped || st.Why == "" || h.Queue() != nil {
		t.Errorf("%+v", st)
	}
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":     "the mail packages do not know paths",
		"/engine/spool": "package engine opens the storage of a queue",
		"go-smtp":       "only engine/wire speaks SMTP",
		"badger":        "only internal/kv/badgerkv opens the store",
	})
}
