// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/engine/session"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/internal/deptest"
	"restante/internal/kv"
	"restante/internal/seal"
	"restante/internal/testpeer"
	"restante/metabase"
	"restante/metabase/schema"
)

// harness is an engine over a tree in memory.
type harness struct {
	t     testing.TB
	dir   string
	db    kv.DB // of the queues
	store *metabase.Store
	*Engine
	stop func()

	patience time.Duration // see Options
	journal  *slog.Logger
	traceDir string
}

// newHarness sets the default tree up: site 1 on a port of the system's choice,
// for hub.example.
func newHarness(t testing.TB) *harness {
	t.Helper()
	h := &harness{t: t, dir: t.TempDir(), db: kv.NewMem()}
	store, err := metabase.Open(t.Context(), kv.NewMem(), seal.New(), metabase.Options{
		Checks: []metabase.Check{schema.IIS().Check, settings.Check},
		Acts: map[metabase.ID]metabase.Act{settings.ServerCommand: func(ctx context.Context, p metabase.Path, v metabase.Value) error {
			return h.Act(ctx, p, v)
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	h.store = store
	ops, err := settings.Setup(store.Snapshot(), settings.NewSite{Bindings: []string{"127.0.0.1:0"}, Domain: "hub.example", FQDN: "mx.hub.example"})
	if err != nil {
		t.Fatal(err)
	}
	h.apply(append(schema.IIS().Sync(store.Snapshot()), ops...)...)
	h.apply(h.set(settings.Service, "TlsCertificateFile", ""), h.set(settings.Service, "TlsKeyFile", ""))
	return h
}

// run starts an engine, and waits until its sites have started.
func (h *harness) run() {
	h.t.Helper()
	h.Engine = New(h.store, Options{
		DataDir: h.dir, IndexDB: h.db, Journal: h.journal, TraceDir: h.traceDir, Grace: 200 * time.Millisecond, Again: 20 * time.Millisecond, Patience: h.patience,
		Log: slog.New(slog.NewTextHandler(h.t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	})
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	e := h.Engine
	go func() { done <- e.Run(ctx) }()
	stopped := false
	h.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			h.t.Errorf("Run = %v", err)
		}
	}
	h.t.Cleanup(h.stop)
	<-h.Ready()
}

func started(t *testing.T) *harness {
	t.Helper()
	h := newHarness(t)
	h.run()
	return h
}

// try applies a batch and waits until it is in force, as the administration API
// does.
func (h *harness) try(ops ...metabase.Op) error {
	h.t.Helper()
	rev, err := h.store.Apply(h.t.Context(), metabase.Batch{Ops: ops, Origin: metabase.FromSystem})
	if h.Engine != nil && rev != 0 {
		h.await(rev)
	}
	return err
}

func (h *harness) await(rev metabase.Rev) []site.Status {
	h.t.Helper()
	late, err := h.Await(h.t.Context(), rev)
	if err != nil {
		h.t.Fatal(err)
	}
	return late
}

func (h *harness) apply(ops ...metabase.Op) {
	h.t.Helper()
	if err := h.try(ops...); err != nil {
		h.t.Fatal(err)
	}
}

// set is a property in words, as on the command line.
func (h *harness) set(p metabase.Path, name string, value ...string) metabase.Op {
	h.t.Helper()
	prop, err := schema.IIS().Lookup(name)
	if err != nil {
		h.t.Fatal(err)
	}
	v, err := prop.Parse(value)
	if err != nil {
		h.t.Fatal(err)
	}
	return metabase.Set{Path: p, Property: prop.Item(v)}
}

func (h *harness) account(name, password string) []metabase.Op {
	h.t.Helper()
	c, err := account.New(name, password, true)
	if err != nil {
		h.t.Fatal(err)
	}
	p := settings.UserPath(0, name)
	scram, _ := schema.IIS().ByID(settings.ScramVerifier)
	cram, _ := schema.IIS().ByID(settings.CramSecret)
	return []metabase.Op{
		metabase.AddKey{Path: p, Class: schema.User},
		metabase.Set{Path: p, Property: scram.Item(metabase.String(c.Scram))},
		metabase.Set{Path: p, Property: cram.Item(metabase.String(string(c.Secret)))},
	}
}

// hold has site n keep name's mail for an account.
func (h *harness) hold(n int, name, account string) []metabase.Op {
	h.t.Helper()
	ops, err := settings.CreateDomain(h.store.Snapshot(), n, name, settings.Action(514))
	if err != nil {
		h.t.Fatal(err)
	}
	return append(ops, h.set(settings.DomainPath(n, name), "AuthTurnList", account))
}

// newSite makes a site that listens on addr and gives its number.
func (h *harness) newSite(addr string) int {
	h.t.Helper()
	n, ops, err := settings.CreateSite(h.store.Snapshot(), settings.NewSite{Bindings: []string{addr}, Domain: "two.example"})
	if err != nil {
		h.t.Fatal(err)
	}
	h.apply(ops...)
	return n
}

func (h *harness) status(n int) site.Status {
	for _, s := range h.Sites() {
		if s.Number == n {
			return s
		}
	}
	return site.Status{Why: "there is no such site"}
}

func (h *harness) dial(n int) *testpeer.Client {
	h.t.Helper()
	at := h.status(n).Listening
	if len(at) == 0 {
		h.t.Fatalf("site %d listens nowhere: %+v", n, h.status(n))
	}
	l, err := testpeer.Dial(at[0].String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { l.Close() })
	return l
}

func (h *harness) eventually(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			h.t.Fatalf("it never came to this: %s; sites %+v", what, h.Sites())
		case <-tick.C:
		}
	}
}

// volatile reads a property of a site's state from the tree.
func (h *harness) volatile(n int, id metabase.ID) uint32 {
	p, _, _ := h.store.Snapshot().Effective(settings.SitePath(n), id)
	return p.Value.DWord()
}

// TestWayOfAMessage: one to a local domain is dropped; others are held over a
// restart of everything, and handed over to the account that may have them.
func TestWayOfAMessage(t *testing.T) {
	h := newHarness(t)
	h.apply(slices.Concat(h.account("testserver", "pw"), h.account("other", "pw"), h.hold(1, "test.com", "TestServer"))...)
	h.run()
	l := h.dial(1)
	if err := l.Send("a@b.example", "x@hub.example", []byte("Subject: local\r\n\r\n.\r\n")); err != nil {
		t.Fatal(err)
	}
	var sent []string
	for i := range 20 {
		text := fmt.Sprintf("Subject: %02d\r\n\r\n.a dot\r\nTURN\r\n\xe4\r\n", i)
		sent = append(sent, text)
		if err := l.Send("a@b.example", "x@test.com", testpeer.DotStuff([]byte(text))); err != nil {
			t.Fatal(err)
		}
	}
	l.Quit()
	h.eventually("the local message is dropped", func() bool {
		files, _ := filepath.Glob(filepath.Join(h.dir, "Mailroot", "Drop", "*.eml"))
		return len(files) == 1
	})
	h.stop()
	h.run()
	if q := h.status(1).Counts; q.Held != len(sent) {
		t.Fatalf("after a restart %+v are held, want %d", q, len(sent))
	}
	other := h.dial(1)
	if err := other.SignIn("other", "pw"); err != nil {
		t.Fatal(err)
	}
	if err := other.Say("TURN", "550"); err != nil {
		t.Errorf("another account: %v", err)
	}
	if got := h.turn(1, "testserver"); !slices.Equal(got, sent) {
		t.Errorf("TURN gave %q, want %q", got, sent)
	}
	if got := h.turn(1, "TESTSERVER"); len(got) != 0 {
		t.Errorf("a second TURN gave %q", got)
	}
	if q := h.status(1).Counts; q.Messages != 0 {
		t.Errorf("%+v are left", q)
	}
}

// turn takes a host's mail, without our trace header.
func (h *harness) turn(n int, who string) (got []string) {
	h.t.Helper()
	l := h.dial(n)
	if err := l.SignIn(who, "pw"); err != nil {
		h.t.Fatal(err)
	}
	if err := l.Say("TURN", "250"); err != nil {
		h.t.Fatal(err)
	}
	if err := l.Receive(func(m testpeer.Received) error {
		_, body, _ := strings.Cut(string(m.Data), "Subject:")
		got = append(got, "Subject:"+body)
		return nil
	}); err != nil {
		h.t.Fatal(err)
	}
	slices.Sort(got)
	return got
}

func TestRelayRights(t *testing.T) {
	h := newHarness(t)
	one := settings.SitePath(1)
	h.apply(slices.Concat(h.account("joe", "pw"), h.hold(1, "held.example", "joe"))...)
	relayed, err := settings.CreateDomain(h.store.Snapshot(), 1, "relayed.example", settings.Action(0x1000))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := settings.CreateDomain(h.store.Snapshot(), 1, "own.example", 0)
	if err != nil {
		t.Fatal(err)
	}
	h.apply(slices.Concat(relayed, foreign, []metabase.Op{h.set(one, "RelayForAuth", "false")})...)
	// A domain with a relay list of its own.
	h.apply(h.set(settings.DomainPath(1, "own.example"), "RelayIpList", "192.0.2.0/24"))
	set, err := settings.Load(h.store.Snapshot(), 1)
	if err != nil {
		t.Fatal(err)
	}
	cfg := New(h.store, Options{DataDir: h.dir, IndexDB: h.db}).config(set, nil)
	tests := []struct {
		to, from, who string
		want          bool
	}{
		{"hub.example", "192.0.2.1", "", true},
		{"held.example", "198.51.100.1", "", true},
		{"relayed.example", "198.51.100.1", "", true},
		{"foreign.example", "198.51.100.1", "", false},
		{"foreign.example", "198.51.100.1", "joe", false},
		{"foreign.example", "127.0.0.1", "", true},
		{"foreign.example", "::1", "", true},
		{"own.example", "192.0.2.1", "", true},
		{"own.example", "198.51.100.1", "", false},
		{"sub.hub.example", "198.51.100.1", "", false},
	}
	for _, tt := range tests {
		q := session.Question{To: mail.Address{Local: "x", Domain: mail.Domain(tt.to)}, Client: netip.MustParseAddr(tt.from), Account: tt.who}
		got := cfg.Session.Decide(t.Context(), session.AtConnect, session.AtRcpt, q)
		if got.Accepted() != tt.want {
			t.Errorf("to %s from %s as %q: %v", tt.to, tt.from, tt.who, got)
		}
	}
}

func TestCommandsAndTheirState(t *testing.T) {
	h := started(t)
	if got := h.volatile(1, settings.ServerState); got != uint32(site.Started) {
		t.Errorf("ServerState is %d when the service is ready", got)
	}
	for _, tt := range []struct {
		command string
		want    site.State
	}{{"3", site.Paused}, {"4", site.Started}, {"2", site.Stopped}, {"1", site.Started}} {
		rev := h.store.Snapshot().Rev()
		h.apply(h.set(settings.SitePath(1), "ServerCommand", tt.command))
		if got := h.status(1).State; got != tt.want {
			t.Errorf("command %s: %s, want %s", tt.command, got, tt.want)
		}
		if got := h.volatile(1, settings.ServerState); got != uint32(tt.want) {
			t.Errorf("command %s: ServerState is %d, want %d", tt.command, got, tt.want)
		}
		if now := h.store.Snapshot().Rev(); now != rev {
			t.Errorf("command %s made revision %d of %d", tt.command, now, rev)
		}
	}
	if err := h.try(h.set(settings.SitePath(1), "ServerCommand", "2"), h.set(settings.SitePath(1), "ServerCommand", "3")); !errors.Is(err, site.ErrStopped) {
		t.Errorf("a stopped site pauses: %v", err)
	}
	if err := h.Command(t.Context(), 99, 1); !errors.Is(err, ErrNoSite) {
		t.Errorf("site 99: %v", err)
	}
}

func TestTwoSitesOnOnePort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := l.Addr().String()
	l.Close()
	h := newHarness(t)
	h.apply(h.set(settings.SitePath(1), "ServerBindings", taken))
	h.run()
	n := h.newSite(taken)
	if s := h.status(n); s.State != site.Stopped || !strings.Contains(s.Why, "listen on "+taken) || !strings.Contains(s.Why, "site 1 has it") {
		t.Errorf("the second site: %+v", s)
	}
	if got := h.volatile(n, settings.Win32Error); got != 10048 {
		t.Errorf("Win32Error is %d", got)
	}
	if err := h.Command(t.Context(), n, 1); err == nil {
		t.Error("the second site starts")
	}
	h.dial(1)
	h.apply(h.set(settings.SitePath(n), "ServerBindings", "127.0.0.1:0"))
	h.dial(n) // with a port of its own it has started
	if got := h.volatile(n, settings.Win32Error); got != 0 {
		t.Errorf("Win32Error is %d", got)
	}
}

func TestSitesComeAndGo(t *testing.T) {
	h := started(t)
	n := h.newSite("127.0.0.1:0")
	l := h.dial(n)
	at := h.status(n).Listening[0].String()
	h.apply(metabase.Remove{Path: settings.SitePath(n), Recursive: true})
	if l, err := testpeer.Dial(at); err == nil {
		t.Error("a site that was removed answers")
		l.Close()
	}
	if err := l.Expect("421"); err != nil {
		t.Errorf("a caller of the site that was removed: %v", err)
	}
	if len(h.Sites()) != 1 {
		t.Errorf("sites %+v", h.Sites())
	}
	if m := h.newSite("127.0.0.1:0"); m != n {
		t.Fatalf("the new site has number %d, want %d again", m, n)
	}
	h.dial(n)
}

// TestOneSitesTroubleIsItsOwn: a folder that cannot be.
func TestOneSitesTroubleIsItsOwn(t *testing.T) {
	h := newHarness(t)
	n := h.newSite("127.0.0.1:0")
	if err := os.WriteFile(filepath.Join(h.dir, "Mailroot-2"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.run()
	if s := h.status(n); s.State != site.Stopped || !strings.Contains(s.Why, "Mailroot-2") {
		t.Errorf("site %d: %+v", n, s)
	}
	if h.status(1).State != site.Started {
		t.Errorf("site 1: %+v", h.status(1))
	}
	h.dial(1)
}

func TestOldServiceVersion(t *testing.T) {
	h := newHarness(t)
	n := h.newSite("127.0.0.1:0")
	h.apply(slices.Concat(h.account("joe", "pw"), h.hold(1, "held.example", "joe"), []metabase.Op{h.set(settings.Service, "SmtpServiceVersion", "1")})...)
	h.run()
	if s := h.status(n); s.State != site.Stopped || !strings.Contains(s.Why, "SmtpServiceVersion") {
		t.Errorf("site %d: %+v", n, s)
	}
	if err := h.Command(t.Context(), n, 1); err == nil || !strings.Contains(err.Error(), "SmtpServiceVersion") {
		t.Errorf("start: %v", err)
	}
	l := h.dial(1)
	if err := l.SignIn("joe", "pw"); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"TURN", "ATRN", "ETRN held.example"} {
		if err := l.Say(verb, "502"); err != nil {
			t.Error(err)
		}
	}
	h.apply(h.set(settings.Service, "SmtpServiceVersion", "2"))
	h.dial(n)
	h.apply(h.set(settings.Service, "SmtpServiceVersion", "1"))
	if s := h.status(n); len(s.Listening) != 0 || !strings.Contains(s.Why, "SmtpServiceVersion") {
		t.Errorf("site %d under version 1: %+v", n, s)
	}
	if s := h.status(1); s.State != site.Started || s.Why != "" {
		t.Errorf("site 1 under version 1: %+v", s)
	}
	h.apply(h.set(settings.Service, "SmtpServiceVersion", "2"))
	h.dial(n)
	if err := h.dial(1).Say("TURN", "530"); err != nil {
		t.Errorf("under version 2: %v", err)
	}
}

func TestTakenPortKeepsTheOldOne(t *testing.T) {
	h := started(t)
	blocker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer blocker.Close()
	was := h.status(1)
	h.apply(h.set(settings.SitePath(1), "ServerBindings", blocker.Addr().String()))
	s := h.status(1)
	want := fmt.Sprintf("configured %d, running %d, because listen on %s", s.Configured, was.Running, blocker.Addr())
	if !strings.HasPrefix(s.Why, want) || !slices.Equal(s.Listening, was.Listening) {
		t.Errorf("%+v, want %s", s, want)
	}
	h.dial(1)
}

func TestSessions(t *testing.T) {
	h := started(t)
	l := h.dial(1)
	list, err := h.Sessions(1)
	if err != nil || len(list) != 1 || list[0].Remote.String() != l.LocalAddr().String() {
		t.Fatalf("Sessions = %+v, %v", list, err)
	}
	for _, id := range []string{"999", "x"} {
		if err := h.EndSession(1, id); !errors.Is(err, ErrNoSession) {
			t.Errorf("EndSession(%q) = %v", id, err)
		}
	}
	if err := h.EndSession(1, fmt.Sprint(list[0].ID)); err != nil {
		t.Error(err)
	}
	if err := l.Expect("421"); err != nil {
		t.Error(err)
	}
	if _, err := h.Sessions(9); !errors.Is(err, ErrNoSite) {
		t.Errorf("site 9: %v", err)
	}
	if err := h.EndSession(9, ""); !errors.Is(err, ErrNoSite) {
		t.Errorf("site 9: %v", err)
	}
	if _, ok := h.Queue(9); ok {
		t.Error("site 9 has a queue")
	}
	if _, ok := h.Queue(1); !ok {
		t.Error("site 1 has no queue")
	}
}

// TestRetentionOfSettings has the history forget what is older than HistoryMaxDays, and
// with EnableHistory 0 all but the newest revision.
func TestRetentionOfSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := metabase.Open(t.Context(), kv.NewMem(), seal.New(), metabase.Options{Keep: settings.Retention})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		h := &harness{t: t, store: store}
		h.apply(metabase.AddKey{Path: "/LM", Class: schema.Computer})
		for _, tt := range []struct {
			days string
			wait time.Duration
			kept int
		}{{"3", 48 * time.Hour, 2}, {"1", 12 * time.Hour, 1}, {"1", 48 * time.Hour, 0}} {
			h.apply(h.set("/LM", "HistoryMaxDays", tt.days))
			time.Sleep(tt.wait)
			if log, err := store.Log(t.Context(), metabase.Root, 0); err != nil || len(log) != tt.kept {
				t.Errorf("HistoryMaxDays %s, after %v: %d records, want %d: %v", tt.days, tt.wait, len(log), tt.kept, err)
			}
		}
		for _, tt := range []struct {
			on   string
			kept int
		}{{"1", 3}, {"0", 1}} {
			h.apply(h.set("/LM", "EnableHistory", tt.on))
			h.apply(h.set("/LM", "HistoryMaxDays", "2"))
			h.apply(h.set("/LM", "HistoryMaxDays", "1"))
			time.Sleep(time.Hour)
			if log, err := store.Log(t.Context(), metabase.Root, 0); err != nil || len(log) != tt.kept {
				t.Errorf("EnableHistory %s: %d records, want %d: %v", tt.on, len(log), tt.kept, err)
			}
		}
	})
}

func TestAfterRun(t *testing.T) {
	h := started(t)
	h.stop()
	if err := h.Command(t.Context(), 1, 1); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Command after Run: %v", err)
	}
	if got := h.volatile(1, settings.ServerState); got != uint32(site.Stopped) {
		t.Errorf("ServerState after Run: %d", got)
	}
	for _, s := range h.Sites() {
		if s.State != site.Stopped {
			t.Errorf("%+v after Run", s)
		}
	}
}

func TestSelf(t *testing.T) {
	set := &settings.Site{
		Identity: settings.Identity{FullyQualifiedDomainName: "mx.hub.example", DefaultDomain: "hub.example"}, Out: settings.Out{RemoteSmtpPort: 25},
	}
	r := routes{&siteAdapter{Site: set, ownNets: func() []netip.Prefix {
		return []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/24")}
	}}}
	bind := func(s ...string) {
		set.Bindings = nil
		for _, a := range s {
			set.Bindings = append(set.Bindings, settings.Binding{Addr: netip.MustParseAddrPort(a)})
		}
	}
	tests := []struct {
		bound, name, addr string
		want              bool
	}{
		{"192.0.2.1:25", "other.example", "192.0.2.1", true},
		{"192.0.2.1:25", "other.example", "192.0.2.2", false},
		{"192.0.2.1:25", "MX.hub.example.", "198.51.100.1", true},
		{"192.0.2.1:2525", "mx.hub.example", "198.51.100.1", true}, // through a forwarded port
		{"192.0.2.1:2525", "hub.example", "198.51.100.1", true},
		{"192.0.2.1:2525", "other.example", "192.0.2.1", false}, // another server has port 25
		{"[::]:25", "other.example", "192.0.2.2", true},
		{"[::]:25", "other.example", "198.51.100.1", false},
		{"[::]:25", "other.example", "::ffff:192.0.2.2", true},
		{"[::]:25", "other.example", "2002:c000:202::1", true}, // by 6to4
		{"0.0.0.0:25", "other.example", "127.0.0.77", true},    // all of 127.0.0.0/8 is here
		{"192.0.2.1:25", "other.example", "127.0.0.1", false},
		{"0.0.0.0:25", "other.example", "0.0.0.0", true}, // leads to 127.0.0.1
		{"127.0.0.1:25", "other.example", "0.0.0.0", true},
		{"[::1]:25", "other.example", "::", true},
		{"192.0.2.1:25", "other.example", "0.0.0.0", false},
	}
	for _, tt := range tests {
		bind(tt.bound)
		if got := r.self(tt.name, []netip.Addr{netip.MustParseAddr(tt.addr)}); got != tt.want {
			t.Errorf("bound to %s, %s at %s: %v", tt.bound, tt.name, tt.addr, got)
		}
	}
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/cmd":         "imports go down only",
		"/adsi-compat": "imports go down only",
		"/admin":       "imports go down only",
		"go-smtp":      "only engine/wire speaks SMTP",
		"badger":       "only internal/kv/badgerkv opens the store",
	})
}

// A site that would work in another one's queue folder does not start, however
// it is told to, and says why; with folders of its own it does.
func TestSharedFolder(t *testing.T) {
	h := started(t)
	const why = "QueueDirectory Mailroot/Queue is that of site 1: give the site a folder of its own, by mb set SMTPSVC/2 QueueDirectory Mailroot-2/Queue"
	h.apply(metabase.AddKey{Path: settings.SitePath(2), Class: schema.Server}, h.set(settings.SitePath(2), "ServerBindings", "127.0.0.1:0"))
	if got := h.status(2).Why; got != why {
		t.Errorf("site 2 says %q", got)
	}
	if err := h.Command(t.Context(), 2, uint32(site.Start)); err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("start = %v", err)
	}
	h.apply(h.set(settings.SitePath(2), "ServerComment", "Two"))
	if s := h.status(2); s.Why != why || s.State != site.Stopped || h.volatile(2, settings.Win32Error) == 0 {
		t.Errorf("after another change: %+v", s)
	}
	h.stop()
	h.run()
	if s := h.status(2); s.Why != why || s.State != site.Stopped {
		t.Errorf("started with the service: %+v", s)
	}
	h.apply(h.set(settings.SitePath(2), "QueueDirectory", "Mailroot-2/Queue"))
	if s := h.status(2); s.Why != "" || s.State != site.Started {
		t.Errorf("with a folder of its own: %+v", s)
	}
}

// What the tree cannot know, such as a link, the folder itself refuses.
func TestLinkedFolder(t *testing.T) {
	h := started(t)
	if err := os.Symlink(filepath.Join(h.dir, "Mailroot", "Queue"), filepath.Join(h.dir, "link")); err != nil {
		testpeer.Without(t, "symbolic links", err)
	}
	l := h.dial(1)
	h.apply(h.hold(1, "held.test", "x")...)
	if err := l.Send("a@b.example", "x@held.test", []byte("Subject: kept\r\n\r\n.\r\n")); err != nil {
		t.Fatal(err)
	}
	n := h.newSite("127.0.0.1:0")
	h.apply(h.set(settings.SitePath(n), "QueueDirectory", "link"))
	if err := h.Command(t.Context(), n, uint32(site.Stop)); err != nil {
		t.Fatal(err)
	}
	err := h.Command(t.Context(), n, uint32(site.Start))
	if err == nil || !strings.Contains(err.Error(), "in use by site 1 of "+h.dir) {
		t.Errorf("start = %v", err)
	}
	h.stop()
	h.run() // site 2 may be the first to come
	if q, ok := h.Queue(1); !ok || q.Counts().Messages != 1 {
		t.Errorf("the queue of site 1 is %v", q)
	}
	if s := h.status(n); s.State != site.Stopped {
		t.Errorf("site %d: %+v", n, s)
	}
}

// Mail that came between the change of the queue's folder and the restart that
// puts it in force shows in the state until the folder is changed back.
func TestStrandedMail(t *testing.T) {
	h := newHarness(t)
	h.apply(h.hold(1, "held.test", "x")...)
	h.run()
	h.apply(h.set(settings.SitePath(1), "QueueDirectory", "New"))
	l := h.dial(1)
	if err := l.Send("a@b.example", "x@held.test", []byte("Subject: kept\r\n\r\n.\r\n")); err != nil {
		t.Fatal(err)
	}
	l.Quit()
	const why = "1 message waits in Mailroot/Queue, where its queue was: set QueueDirectory back to that to have it sent"
	for _, again := range []func(){
		func() {
			for _, c := range []site.Command{site.Stop, site.Start} {
				if err := h.Command(t.Context(), 1, uint32(c)); err != nil {
					t.Fatal(err)
				}
			}
		},
		func() { h.stop(); h.run() },
	} {
		again()
		h.await(h.store.Snapshot().Rev())
		if s := h.status(1); s.State != site.Started || s.Why != why {
			t.Errorf("with stranded mail: %+v", s)
		}
	}
	c, err := h.store.Try(t.Context(), metabase.Batch{Ops: []metabase.Op{metabase.Move{From: settings.SitePath(1), To: settings.SitePath(7)}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Check(c); len(got) != 1 || errors.Is(got[0], settings.ErrMailWaits) || !strings.Contains(got[0].Error(), "set QueueDirectory back to that first") {
		t.Errorf("a removal: %v", got)
	}
	h.apply(h.set(settings.SitePath(1), "QueueDirectory", "Mailroot/Queue"))
	h.stop()
	h.run()
	if q, ok := h.Queue(1); !ok || q.Counts().Messages != 1 {
		t.Error("the mail is not there again")
	}
	if s := h.status(1); s.Why != "" {
		t.Errorf("why is %q", s.Why)
	}
}

// Held mail does not go because of a change that is to be confirmed, or when one ends,
// nor by another one that does not say so.
func TestChangesLetNoHeldMailGo(t *testing.T) {
	h := newHarness(t)
	h.apply(h.hold(1, "held.test", "x")...)
	h.apply(h.hold(1, "empty.test", "x")...)
	h.apply(h.hold(1, "*.wild.test", "x")...)
	h.run()
	l := h.dial(1)
	if err := l.Send("a@b.example", "x@held.test", []byte("Subject: kept\r\n\r\n.\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := l.Send("a@b.example", "x@a.wild.test", []byte("Subject: kept\r\n\r\n.\r\n")); err != nil {
		t.Fatal(err)
	}
	l.Quit()
	wild, near := settings.DomainPath(1, "*.wild.test"), settings.DomainPath(1, "a.wild.test")
	held, empty, domains := settings.DomainPath(1, "held.test"), settings.DomainPath(1, "empty.test"), settings.DomainsPath(1)
	pending, ended, plain := metabase.Batch{Confirm: time.Hour}, metabase.Batch{Origin: metabase.FromSystem}, metabase.Batch{}
	remove := []metabase.Op{metabase.Remove{Path: held, Recursive: true}}
	said := func(word string) metabase.Batch { return metabase.Batch{Waiting: word} }
	const undecided, noRollBack = "mail waits for held.test (messages: 1): --waiting release, return or keep", "held mail for held.test would go at once (messages: 1)"
	for _, tt := range []struct {
		batch metabase.Batch
		ops   []metabase.Op
		want  string // "": nothing is wrong
	}{
		{pending, remove, noRollBack},
		{pending, []metabase.Op{h.set(held, "RouteAction", "2")}, noRollBack},
		{ended, remove, noRollBack},
		{pending, []metabase.Op{h.set(held, "EtrnAllow", "any")}, ""},
		{pending, []metabase.Op{metabase.Remove{Path: empty, Recursive: true}}, ""},
		{ended, []metabase.Op{metabase.Remove{Path: empty, Recursive: true}}, ""},
		{plain, remove, undecided},
		{plain, []metabase.Op{h.set(held, "RouteAction", "2")}, undecided},
		{plain, []metabase.Op{metabase.Unset{Path: held, ID: settings.RouteAction}}, undecided},
		{plain, []metabase.Op{metabase.Move{From: held, To: domains.Join("other.test")}}, undecided},
		{plain, []metabase.Op{metabase.Move{From: held, To: domains.Join("*.test")}}, ""}, // the same accounts
		{plain, []metabase.Op{metabase.Move{From: held, To: domains.Join("*.test")}, h.set(domains.Join("*.test"), "AuthTurnList", "y")}, undecided},
		{plain, []metabase.Op{metabase.Remove{Path: held, Recursive: true}, metabase.Copy{From: empty, To: held}}, ""},
		{plain, []metabase.Op{h.set(held, "AuthTurnList", "y")}, ""},
		{said("release"), remove, ""},
		{said("return"), remove, ""},
		{said("keep"), remove, ""},
		{metabase.Batch{Waiting: "keep", Confirm: time.Hour}, remove, noRollBack},
		// A nearer key gives the mail to others, who get it only where that is said.
		{plain, h.hold(1, "a.wild.test", "x"), ""},
		{plain, h.hold(1, "a.wild.test", "y"), "mail waits for a.wild.test (messages: 1): --waiting"},
		{said("release"), h.hold(1, "a.wild.test", "y"), ""},
		{pending, h.hold(1, "a.wild.test", "y"), "held mail for a.wild.test would go at once"},
		{ended, h.hold(1, "a.wild.test", "y"), ""},
		{said("keep"), h.hold(1, "a.wild.test", "y"), "mail for a.wild.test (messages: 1) would wait for other accounts"},
		{plain, []metabase.Op{h.set(settings.SitePath(1), "DefaultDomain", "a.wild.test")}, "mail waits for a.wild.test (messages: 1): --waiting"},
		{plain, []metabase.Op{metabase.AddKey{Path: near, Class: schema.Domain}}, "mail waits for a.wild.test (messages: 1): --waiting"},
	} {
		tt.batch.Ops = tt.ops
		c, err := h.store.Try(t.Context(), tt.batch)
		if err != nil {
			t.Fatal(err)
		}
		got := h.Check(c)
		if wants := tt.want != ""; wants != (len(got) == 1) || wants && (got[0].Path != held && got[0].Path != wild || !strings.Contains(got[0].Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt.batch, got, tt.want)
		}
		// The same holds while no service runs, by the index. It can let mail go only.
		at := h.backlog()
		at.Queue, at.Open = nil, nil
		want := tt.want
		if w := tt.batch.Waiting; (w == "keep" || w == "return") && tt.batch.Confirm == 0 {
			want = "only a running service can return or keep it"
		}
		got = at.Check(c)
		if wants := want != ""; wants != (len(got) == 1) || wants && !strings.Contains(got[0].Error(), want) {
			t.Errorf("at rest: %+v: %v, want %q", tt.batch, got, want)
		}
	}
}

// One folder has one index, whatever it is called.
func TestIndexName(t *testing.T) {
	for in, want := range map[string]string{
		"Mailroot/Queue": "Mailroot/Queue", "./Mailroot//Queue/": "Mailroot/Queue", "/data/Mailroot/Queue": "Mailroot/Queue",
		"/data": ".", "/database/q": "/database/q", "/data/../etc": "/etc", "../etc": "/etc",
	} {
		if got := indexName("/data", in); got != want {
			t.Errorf("indexName(%q) = %q, want %q", in, got, want)
		}
	}
}
