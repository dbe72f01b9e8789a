// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/admin"
	"restante/admin/admintest"
	"restante/admin/api"
	"restante/admin/traces"
	"restante/engine"
	"restante/engine/account/ldap"
	"restante/engine/delivery"
	"restante/engine/mail"
	"restante/engine/policy"
	"restante/engine/queue"
	"restante/engine/resolver/dnstest"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/internal/deptest"
	"restante/internal/kv"
	"restante/internal/testpeer"
	"restante/metabase"
	"restante/metabase/schema"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/admin/tree":       "handlers of different subjects are independent",
		"/admin/sites":      "handlers of different subjects are independent",
		"/admin/queues":     "handlers of different subjects are independent",
		"/admin/traces":     "handlers of different subjects are independent",
		"/engine/wire":      "the API asks sites and speaks no SMTP",
		"/engine/session":   "package policy asks it",
		"/engine/resolver":  "the hosts are those that package delivery finds",
		"/engine/trace":     "queue trace is asked",
		"/cmd":              "imports go down only",
		"badger":            "only internal/kv/badgerkv knows what the store is made of",
		"restante/internal": "it decides nothing",
	})
}

// An engineAdapter is the engine as the API has it.
type engineAdapter struct{ *engine.Engine }

func (e engineAdapter) Queue(n int) (admin.Queue, bool) {
	q, ok := e.Engine.Queue(n)
	return q, ok
}

func (e engineAdapter) OpenQueue(ctx context.Context, n int) (admin.Queue, error) {
	return e.Engine.OpenQueue(ctx, n)
}

// A service is a running engine below an API, whose site 1 finds hosts by dns at port.
type service struct {
	t     *testing.T
	api   *admin.API
	store *metabase.Store
	*engine.Engine
}

func (s *service) set(p metabase.Path, name string, value ...string) metabase.Op {
	s.t.Helper()
	return setOp(s.t, s.api, p, name, value...)
}

func setOp(t *testing.T, d *admin.API, p metabase.Path, name string, value ...string) metabase.Op {
	t.Helper()
	prop, err := d.Schema.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := prop.Parse(value)
	if err != nil {
		t.Fatal(err)
	}
	return metabase.Set{Path: p, Property: prop.Item(v)}
}

// domain has a domain, with its RouteAction and RouteActionString.
func (s *service) domain(name string, action settings.Action, text string) []metabase.Op {
	p := settings.DomainPath(1, name)
	ops := []metabase.Op{metabase.AddKey{Path: p, Class: schema.Domain}, s.set(p, "RouteAction", strconv.Itoa(int(action)))}
	if text != "" {
		ops = append(ops, s.set(p, "RouteActionString", text))
	}
	return ops
}

func (s *service) apply(ops ...metabase.Op) {
	s.t.Helper()
	rev, err := s.store.Apply(s.t.Context(), metabase.Batch{Ops: ops, Actor: "user:boss"})
	if err == nil && s.Engine != nil {
		_, err = s.Await(s.t.Context(), rev)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func start(t *testing.T, dns, port string) *service {
	s := &service{t: t}
	s.api, s.store = admintest.New(t, nil)
	one := settings.SitePath(1)
	s.apply(s.set(one, "DnsServers", dns), s.set(one, "RemoteSmtpPort", port), s.set(one, "AllowLoopbackHosts", "true"),
		s.set(settings.Service, "TlsCertificateFile", ""), s.set(settings.Service, "TlsKeyFile", ""))
	e := engine.New(s.store, engine.Options{DataDir: s.api.Env.Data, IndexDB: kv.NewMem(), TraceDir: s.api.Env.Data + "/" + api.TraceFolder, Log: slog.New(slog.DiscardHandler)})
	s.Engine, s.api.Engine = e, engineAdapter{e}
	traces.Register(s.api)
	Register(s.api, e)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Run(ctx) // ends by stop
	}()
	t.Cleanup(func() { stop(); <-done })
	<-e.Ready()
	return s
}

func (s *service) explain(q api.ExplainRequest) api.Explained {
	s.t.Helper()
	q.Site = 1
	e, _, err := api.Explain.Call(s.t.Context(), s.api.Direct(admintest.Admin()), q)
	if err != nil {
		s.t.Fatalf("explain %+v: %v", q, err)
	}
	return e
}

// outcome sends a message and waits until it is known what becomes of it.
func (s *service) outcome(to string) api.ExplainedMessage {
	s.t.Helper()
	c, err := testpeer.Dial(s.Sites()[0].Listening[0].String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Send("s@hub.example", to, testpeer.DotStuff([]byte("Subject: x\r\n\r\nx\r\n"))); err != nil {
		s.t.Fatalf("to %s: %v", to, err)
	}
	conn := s.api.Direct(admintest.Admin())
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		found, _, err := api.QueueTrace.Call(s.t.Context(), conn, api.TraceRequest{What: to})
		if err != nil {
			s.t.Fatal(err)
		}
		m, _, err := api.ExplainMessage.Call(s.t.Context(), conn, api.ExplainIDRequest{ID: string(found[0].ID)})
		if err != nil {
			s.t.Fatal(err)
		}
		if len(m.Outcomes) > 0 || len(m.Queued) > 0 && m.Queued[0].Message.State != queue.Active && (m.Queued[0].Message.State == queue.Held || !m.Queued[0].Message.LastTry.IsZero()) {
			return m
		}
		select {
		case <-s.t.Context().Done():
		case <-time.After(2 * time.Millisecond): // nothing tells of it
		}
	}
	s.t.Fatalf("nothing becomes of mail to %s", to)
	return api.ExplainedMessage{}
}

// TestExplainIsWhatHappens compares each explanation with what then becomes of a message.
func TestExplainIsWhatHappens(t *testing.T) {
	byDNS, two, three := testpeer.NewMX(t, testpeer.MXOptions{}), testpeer.NewMX(t, testpeer.MXOptions{}), testpeer.NewMX(t, testpeer.MXOptions{})
	port := netip.MustParseAddrPort(byDNS.Addr).Port()
	dns := dnstest.Serve(t, `far.test. MX 20 second.far.test.
far.test. MX 10 first.far.test.
first.far.test. A 127.0.0.1
second.far.test. A 127.0.0.1
plain.test. A 127.0.0.1
null.test. MX 0 .
mine.test. MX 0 mx.mine.test.
mx.mine.test. A 127.0.0.1
down.test. MX 0 mx.down.test.
mx.down.test. A 127.0.0.1
held.test. A 127.0.0.1`)
	s := start(t, dns.Addr, strconv.Itoa(int(port)))
	literal := func(mx *testpeer.MX) string { return "[127.0.0.1]" + strings.TrimPrefix(mx.Addr, "127.0.0.1") }
	s.apply(slices.Concat(
		s.domain("exact.test", settings.SmartRoute, literal(two)), s.domain("*.wild.test", settings.SmartRoute, literal(two)),
		s.domain("*.deep.wild.test", settings.SmartRoute, literal(three)), s.domain("held.test", settings.Hold|settings.SmartRoute, ""),
		s.domain("alias.test", settings.Alias, ""), s.domain("drop.test", settings.Drop, "Elsewhere"),
		s.domain("list.test", settings.SmartRoute, literal(three)+","+literal(two)),
		s.domain("down.test", settings.SmartRoute, "mx.down.test:1"), s.domain("direct.test", 0, ""),
	)...)
	for _, tt := range []struct {
		to, key, event string
		at             *testpeer.MX // that takes it; nil: none does
		site           []metabase.Op
	}{
		{"x@exact.test", "exact.test", "delivered", two, nil},
		{"x@a.wild.test", "*.wild.test", "delivered", two, nil},
		{"x@b.deep.wild.test", "*.deep.wild.test", "delivered", three, nil},
		{"x@list.test", "list.test", "delivered", three, nil},
		{"x@far.test", "", "delivered", byDNS, nil},
		{"x@plain.test", "", "delivered", byDNS, nil},
		{"x@[127.0.0.1]", "", "delivered", byDNS, nil},
		{"x@null.test", "", "failed", nil, nil},
		{"x@none.test", "", "failed", nil, nil},
		{"x@held.test", "held.test", "held", nil, nil},
		{"x@hub.example", "hub.example", "delivered", nil, nil},
		{"x@alias.test", "alias.test", "delivered", nil, nil},
		{"x@drop.test", "drop.test", "delivered", nil, nil},
		{"x@down.test", "down.test", "retry", nil, nil},
		{"x@mine.test", "", "failed", nil, []metabase.Op{s.set(settings.SitePath(1), "FullyQualifiedDomainName", "mx.mine.test")}},
		{"y@far.test", "", "delivered", two, []metabase.Op{s.set(settings.SitePath(1), "SmartHost", literal(two)), s.set(settings.SitePath(1), "SmartHostType", "2")}},
		{"y@plain.test", "", "delivered", byDNS, []metabase.Op{s.set(settings.SitePath(1), "SmartHostType", "1")}},
	} {
		if tt.site != nil {
			s.apply(tt.site...)
		}
		e := s.explain(api.ExplainRequest{Recipient: tt.to, Client: "127.0.0.1"})
		m := s.outcome(tt.to)
		var found *api.WayOut
		event, host, reply := "", "", ""
		if len(m.Outcomes) > 0 {
			end := m.Outcomes[0]
			event, host, reply, found = end.Event, strings.TrimSpace(end.Host+" "+end.Address), end.Reply, end.WayOut
		} else {
			one := m.Queued[0]
			event, host, reply, found = string(one.Message.State), one.Message.Host, one.Message.LastError, one.WayOut
		}
		want, name := "", ""
		if len(e.Hosts) > 0 && len(e.Hosts[0].Hosts) > 0 {
			first := e.Hosts[0].Hosts[0]
			want, name = first.Name+" "+first.Address, first.Name
			if tt.at != nil && !strings.HasSuffix(tt.at.Addr, fmt.Sprint(":", first.Port)) {
				t.Errorf("to %s: explained as %+v, and it is for port %s", tt.to, first, tt.at.Addr)
			}
		}
		switch {
		case !e.Accepted, event != tt.event, e.Key != tt.key, found == nil || found.Route != e.Route || found.Held != e.Held:
			t.Errorf("to %s: explained as %+v, and became %+v", tt.to, e, m)
		case tt.at != nil:
			got := tt.at.Messages()
			if len(got) == 0 || got[len(got)-1].To != e.QueuedAs+tt.to[len(e.QueuedAs):] || host != want {
				t.Errorf("to %s: explained as %s, and went to %s: %+v", tt.to, want, host, got)
			}
		case tt.event == "failed":
			if g := e.Hosts[0]; g.Outcome != "failed" || g.Reply != reply {
				t.Errorf("to %s: explained as %+v, and failed with %q", tt.to, e.Hosts, reply)
			}
		case tt.event == "retry":
			msg := m.Queued[0].Message
			after := s.explain(api.ExplainRequest{Recipient: tt.to})
			if host != name || after.Waiting != 1 || after.LastError != reply || !after.NextTry.Equal(msg.NextTry) || msg.NextTry.Sub(msg.LastTry).Seconds() != e.Retries[0] ||
				msg.Expires.Sub(msg.Received).Seconds() != e.Expire {
				t.Errorf("to %s: explained as %+v, then as %+v, and waits as %+v", tt.to, e, after, msg)
			}
		case tt.event == "held":
			if msg := m.Queued[0].Message; msg.Expires.Sub(msg.Received).Seconds() != e.Expire || len(e.Retries) > 0 || e.HoldEnd != "return" || name != "held.test" {
				t.Errorf("to %s: explained as %+v, and waits as %+v", tt.to, e, msg)
			}
		case len(e.Hosts) > 0 || !strings.HasPrefix(e.Route, "into the folder "):
			t.Errorf("to %s, which is local: explained as %+v", tt.to, e)
		}
	}
	if e := s.explain(api.ExplainRequest{Recipient: "x@far.test"}); e.Hosts[0].Hosts[1].Name != "second.far.test" || len(e.Hosts) != 2 || e.Hosts[1].By != "smart_host" {
		t.Errorf("hosts of DNS before the smart host: %+v", e.Hosts)
	}
	if e := s.explain(api.ExplainRequest{Recipient: "x@alias.test"}); e.QueuedAs != "x@hub.example" {
		t.Errorf("an alias: %+v", e)
	}
	if err := s.Command(t.Context(), 1, uint32(site.Pause)); err != nil {
		t.Fatal(err)
	}
	e := s.explain(api.ExplainRequest{Recipient: "x@far.test", Client: "127.0.0.1"})
	c, err := testpeer.Dial(s.Sites()[0].Listening[0].String())
	if err == nil {
		c.Close()
	}
	if e.Accepted || err == nil || !strings.Contains(err.Error(), e.Reply) {
		t.Errorf("a site that is paused: explained as %+v, and answers %v", e, err)
	}
}

// noHosts asks neither DNS nor directories.
type noHosts struct{ asked int }

func (*noHosts) NextHosts(context.Context, *settings.Site, mail.Domain) []delivery.Stage {
	return []delivery.Stage{{Smart: true, SignIn: true, Hosts: []delivery.NextHost{{Name: "mx.test", Addr: netip.MustParseAddrPort("192.0.2.1:25"), TLS: delivery.TLSRequired}}}}
}

func (*noHosts) Schedule(*settings.Site, mail.Domain) queue.Schedule { return queue.Schedule{} }

func (e *noHosts) Sources() policy.Sources {
	return policy.Sources{Asked: func(context.Context, *settings.Site, ldap.Config, mail.Address) (bool, error) {
		e.asked++
		return true, nil
	}}
}

func (*noHosts) HostNames(context.Context, netip.Addr) ([]string, error) { return nil, nil }

// The servers and directories of a change that is not made, or of a revision that is past,
// are not asked as if they were the service's.
func TestDirectoriesAndHostsAreThoseOfNow(t *testing.T) {
	e := &noHosts{}
	d, store := admintest.New(t, nil)
	Register(d, e)
	p := settings.SitePath(1)
	b := metabase.Batch{Actor: "user:boss", Ops: []metabase.Op{setOp(t, d, p, "RecipientsLdapUrls", "ldap://127.0.0.1"), setOp(t, d, p, "RecipientsLdapBaseDn", "dc=test")}}
	c, err := store.Try(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	explain := func(d *admin.API, rev *metabase.Rev, asked, hosts int) {
		t.Helper()
		e.asked = 0
		got, _, err := api.Explain.Call(t.Context(), d.Direct(admintest.Admin()), api.ExplainRequest{Site: 1, Recipient: "joe@hub.example", Rev: rev})
		if err != nil || e.asked != asked || len(got.Hosts) != hosts || got.Past != (rev != nil) {
			t.Errorf("asked %d directories, %+v, %v; want %d and %d hosts", e.asked, got, err, asked, hosts)
		}
	}
	explain(d.AsIf(c), nil, 0, 0)
	if _, err := store.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	explain(d, nil, 1, 1)
	explain(d, new(store.Snapshot().Rev()), 0, 1)
}

// A sign-in at a smart host is told without its secret, each property with the revision
// that set it and who did.
func TestSignInIsToldWithoutItsSecret(t *testing.T) {
	d, store := admintest.New(t, nil)
	Register(d, &noHosts{})
	p := settings.SitePath(1)
	rev, err := store.Apply(t.Context(), metabase.Batch{Actor: "user:boss", Comment: "by the provider", Ops: []metabase.Op{
		setOp(t, d, p, "SmartHost", "mx.test"), setOp(t, d, p, "SmartHostType", "2"), setOp(t, d, p, "RouteUserName", "hub"),
		setOp(t, d, p, "RoutePassword", "sesame"), setOp(t, d, p, "RouteAction", "0x84"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	e, raw, err := api.Explain.Call(t.Context(), d.Direct(admintest.Admin()), api.ExplainRequest{Site: 1, Recipient: "joe@far.test"})
	if err != nil || strings.Contains(string(raw), "sesame") {
		t.Fatalf("%s, %v", raw, err)
	}
	if in := e.Hosts[0].SignIn; in == nil || in.Account != "hub" || !slices.Equal(in.Mechanisms, []string{"SCRAM-SHA-256", "CRAM-MD5"}) || in.InClear {
		t.Errorf("signs in as %+v", in)
	}
	set := map[string]string{}
	for _, r := range e.Why {
		if m := r.Made; m != nil && m.Rev == rev && m.Actor == "user:boss" && m.Comment == "by the provider" && !m.Time.IsZero() && r.From == p {
			set[r.Step+" "+r.Property] = r.Value
		}
	}
	for _, want := range []string{"route SmartHost", "route SmartHostType", "tls RouteAction", "sign-in RouteUserName", "sign-in RoutePassword", "sign-in RouteAction"} {
		if _, ok := set[want]; !ok {
			t.Errorf("%s is not among those that decide: %+v", want, e.Why)
		}
	}
	if set["sign-in RoutePassword"] != metabase.Asterisks {
		t.Errorf("the password is %q", set["sign-in RoutePassword"])
	}
}

// What is explained as of a revision or a time is by the configuration of then, to whom may
// read it by the lists of then and of now.
func TestExplainOfThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, store := admintest.New(t, nil)
		Register(d, &noHosts{})
		begin, at := time.Now(), settings.DomainPath(1, "held.test")
		apply := func(ops ...metabase.Op) metabase.Rev {
			t.Helper()
			time.Sleep(time.Hour)
			rev, err := store.Apply(t.Context(), metabase.Batch{Actor: "user:boss", Ops: ops})
			if err != nil {
				t.Fatal(err)
			}
			return rev
		}
		held := apply(metabase.AddKey{Path: at, Class: schema.Domain}, setOp(t, d, at, "RouteAction", "0x200"))
		gone := apply(metabase.Remove{Path: at, Recursive: true})
		secret := apply(metabase.AddKey{Path: at, Class: schema.Domain}, setOp(t, d, at, "RouteAction", "0x1000"), setOp(t, d, at, "AccessList", "user:boss all"),
			setOp(t, d, settings.SitePath(1), "AccessList", "user:olga read"))
		open := apply(metabase.Unset{Path: at, ID: idOf(t, d, "AccessList")})
		two := apply(metabase.AddKey{Path: "/LM/SMTPSVC/2", Class: schema.Server}, metabase.Remove{Path: "/LM/SMTPSVC/2", Recursive: true}) // comes to nothing
		olga := api.Caller{Who: []metabase.Principal{"user:olga"}}
		for _, tt := range []struct {
			who      api.Caller
			q        api.ExplainRequest
			standing string
			rev      metabase.Rev
			fails    api.Kind
		}{
			{admintest.Admin(), api.ExplainRequest{}, "relayed", open, ""},
			{admintest.Admin(), api.ExplainRequest{Rev: new(held)}, "held", held, ""},
			{admintest.Admin(), api.ExplainRequest{Rev: new(gone)}, "foreign", gone, ""},
			{admintest.Admin(), api.ExplainRequest{Rev: new(secret)}, "relayed", secret, ""},
			{admintest.Admin(), api.ExplainRequest{At: begin.Add(time.Hour)}, "held", held, ""},
			{admintest.Admin(), api.ExplainRequest{At: begin.Add(2*time.Hour - 1)}, "held", held, ""},
			{admintest.Admin(), api.ExplainRequest{At: begin.Add(2 * time.Hour)}, "foreign", gone, ""},
			{admintest.Admin(), api.ExplainRequest{At: begin.Add(4 * time.Hour)}, "relayed", open, ""},
			{admintest.Admin(), api.ExplainRequest{At: begin.Add(-1)}, "", 0, api.KindNotFound},
			{admintest.Admin(), api.ExplainRequest{At: begin.Add(24 * time.Hour)}, "", 0, api.KindUsage},
			{admintest.Admin(), api.ExplainRequest{Rev: new(held), At: begin}, "", 0, api.KindUsage},
			{admintest.Admin(), api.ExplainRequest{Rev: new(metabase.Rev(0))}, "", 0, api.KindNotFound},
			{admintest.Admin(), api.ExplainRequest{Rev: new(open + 9)}, "", 0, api.KindNotFound},
			{olga, api.ExplainRequest{}, "relayed", open, ""},
			{olga, api.ExplainRequest{Rev: new(open)}, "relayed", open, ""},
			{olga, api.ExplainRequest{Rev: new(secret)}, "foreign", secret, ""}, // hidden by the list of then
			{olga, api.ExplainRequest{Rev: new(held)}, "held", held, ""},        // all might read then
			{api.Caller{Who: []metabase.Principal{"user:joe"}}, api.ExplainRequest{Rev: new(open)}, "", 0, api.KindNotFound},
			{api.Caller{Who: []metabase.Principal{"user:joe"}}, api.ExplainRequest{Rev: new(held)}, "", 0, api.KindNotFound}, // nor by the lists of now
		} {
			tt.q.Site, tt.q.Recipient = 1, "x@held.test"
			e, _, err := api.Explain.Call(t.Context(), d.Direct(tt.who), tt.q)
			kind := api.Kind("")
			if err != nil {
				kind = api.AsError(err).Kind
			}
			if e.Standing != tt.standing || e.Rev != tt.rev || kind != tt.fails {
				t.Errorf("%v, %+v: %s at revision %d, %v; want %s at %d, %q", tt.who.Who, tt.q, e.Standing, e.Rev, err, tt.standing, tt.rev, tt.fails)
			}
		}
		if two != open {
			t.Errorf("revision %d", two)
		}
	})
}

func idOf(t *testing.T, d *admin.API, name string) metabase.ID {
	t.Helper()
	prop, err := d.Schema.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return prop.ID
}

// A message that nobody knows is missing, and so is what is no ID.
func TestExplainOfUnknownMessages(t *testing.T) {
	d, _ := admintest.New(t, nil)
	traces.Register(d)
	Register(d, &noHosts{})
	for _, id := range []string{"", "x", "joe@hub.example", "00000000000000000000"} {
		if kind := admintest.Kind(t, d.Direct(admintest.Admin()), api.ExplainMessage, api.ExplainIDRequest{ID: id}); kind != api.KindNotFound {
			t.Errorf("%q: %q", id, kind)
		}
	}
	_, _, err := api.ExplainMessage.Call(t.Context(), d.Direct(api.Caller{Who: []metabase.Principal{"user:joe"}}), api.ExplainIDRequest{ID: "00000000000000000000"})
	if !errors.Is(err, metabase.Denied) && api.AsError(err).Kind != api.KindRefused {
		t.Errorf("a caller without rights: %v", err)
	}
}
