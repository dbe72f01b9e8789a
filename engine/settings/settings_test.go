// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/internal/deptest"
	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase"
	"restante/metabase/schema"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine/wire":     "settings are told, not spoken",
		"/engine/session":  "a layer above reads settings",
		"/engine/queue":    "a layer above reads settings",
		"/engine/delivery": "a layer above reads settings",
		"/engine/release":  "a layer above reads settings",
		"/engine/site":     "a layer above reads settings",
		"/internal/kv":     "settings read a snapshot and keep nothing",
		"/internal/seal":   "settings read a snapshot and keep nothing",
	})
}

// A tree is a store with its checks, to be changed by text.
type tree struct {
	t     testing.TB
	store *metabase.Store
}

func newTree(t testing.TB) *tree {
	t.Helper()
	store, err := metabase.Open(t.Context(), kv.NewMem(), seal.New(), metabase.Options{
		Checks: []metabase.Check{schema.IIS().Check, Check}, Admins: []metabase.Principal{"user:root"}, Keep: Retention,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	tr := &tree{t: t, store: store}
	ops, err := Setup(store.Snapshot(), NewSite{Bindings: []string{"127.0.0.1:2525"}, Domain: "hub.example", FQDN: "mx.hub.example"})
	if err != nil {
		t.Fatal(err)
	}
	tr.must(append(schema.IIS().Sync(store.Snapshot()), ops...)...)
	return tr
}

func (tr *tree) apply(ops ...metabase.Op) error {
	_, err := tr.store.Apply(tr.t.Context(), metabase.Batch{Ops: ops, Actor: "user:root", Origin: metabase.FromCLI})
	return err
}

// must applies as the system.
func (tr *tree) must(ops ...metabase.Op) {
	tr.t.Helper()
	if _, err := tr.store.Apply(tr.t.Context(), metabase.Batch{Ops: ops, Origin: metabase.FromSystem}); err != nil {
		tr.t.Fatal(err)
	}
}

func set(t testing.TB, path metabase.Path, name string, args ...string) metabase.Op {
	t.Helper()
	p, err := schema.IIS().Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.Parse(args)
	if err != nil {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return metabase.Set{Path: path, Property: p.Item(v)}
}

func (tr *tree) set(path metabase.Path, name string, args ...string) {
	tr.t.Helper()
	tr.must(set(tr.t, path, name, args...))
}

// domain makes a domain of site 1 and stores properties there, each as one
// text "NAME VALUE...".
func (tr *tree) domain(name string, props ...string) {
	tr.t.Helper()
	path := DomainPath(1, name)
	ops := []metabase.Op{metabase.AddKey{Path: path, Class: schema.Domain}}
	for _, p := range props {
		words := strings.Fields(p)
		ops = append(ops, set(tr.t, path, words[0], words[1:]...))
	}
	tr.must(ops...)
}

func (tr *tree) site(n int) *Site {
	tr.t.Helper()
	s, err := Load(tr.store.Snapshot(), n)
	if err != nil {
		tr.t.Fatal(err)
	}
	return s
}

func TestFreshInstall(t *testing.T) {
	tr := newTree(t)
	s := tr.site(1)
	if s.Name != "Default SMTP Site" || s.DefaultDomain != "hub.example" || s.FullyQualifiedDomainName != "mx.hub.example" || !s.ServerAutoStart || !s.Enabled {
		t.Errorf("%+v", s)
	}
	want := []Binding{{Addr: netip.MustParseAddrPort("127.0.0.1:2525")}}
	if !slices.Equal(s.Bindings, want) {
		t.Errorf("bindings %v, want %v", s.Bindings, want)
	}
	if s.Limits.MaxMessageSize < 5<<20 || s.Limits.HopCount != 100 || s.Limits.MaxConnections != 20000 || s.Limits.MaxSmtpErrors != 100 || s.Limits.ConnectionTimeout != 10*time.Minute {
		t.Errorf("limits %+v", s.Limits)
	}
	if s.Retry.SmtpRemoteDelayExpireMinutes != 12*time.Hour || s.Retry.SmtpRemoteNDRExpireMinutes != 48*time.Hour || !slices.Equal(s.Retry.SmtpRemoteProgressiveRetry, []time.Duration{
		15 * time.Minute, 30 * time.Minute, time.Hour, 4 * time.Hour,
	}) {
		t.Errorf("retry %+v", s.Retry)
	}
	if v := s.Verbs; !v.ETRN || !v.TURN || !v.ATRN || !v.Chunking || !v.EightBit || !v.DSN || !v.Pipelining || !v.EnhancedCodes {
		t.Errorf("verbs %+v", v)
	}
	if s.Folders != (Folders{"Mailroot/Queue", "Mailroot/Drop", "Mailroot/Pickup", "Mailroot/Badmail", ""}) {
		t.Errorf("folders %+v", s.Folders)
	}
	if got := s.TLS; !slices.Equal(got.Files(), []string{"tls/cert.pem", "tls/key.pem"}) || got.TlsMinVersion != tls.VersionTLS12 || got.TlsOldDevices || got.Required {
		t.Errorf("TLS %+v", s.TLS)
	}
	if a := s.Access; !a.Basic || !a.Challenge || a.ClearTextAuth || a.Required || a.IPSecurity != nil || len(a.ConnectionIpv6List) > 0 {
		t.Errorf("access %+v", a)
	}
	snap := tr.store.Snapshot()
	for _, path := range []metabase.Path{
		"/lm/smtpsvc/info", "/LM/SMTPSVC/User", "/LM/SmtpSvc/1/Domain/hub.example", "/LM/SMTPSVC/1/User", "/LM/SMTPSVC/1/Alias",
		"/LM/SMTPSVC/1/DL", "/LM/SMTPSVC/1/Sessions", "/LM/SMTPSVC/1/RoutingSources", "/Schema/Properties/RouteAction", "/Schema/Classes/IIsSmtpDomain",
	} {
		if !snap.Has(path) {
			t.Errorf("there is no %s", path)
		}
	}
	if ops, err := Setup(snap, NewSite{}); len(ops) != 0 || err != nil {
		t.Errorf("a second setup has %d ops, %v", len(ops), err)
	}
	if ops := schema.IIS().Sync(snap); len(ops) != 0 {
		t.Errorf("a second sync of the schema has %d ops, the first is %+v", len(ops), ops[0])
	}
	if got := Retention(snap); got.Count != 10000 || got.Age != 3650*24*time.Hour {
		t.Errorf("retention %+v", got)
	}
}

func TestSecondSite(t *testing.T) {
	tr := newTree(t)
	n, ops, err := CreateSite(tr.store.Snapshot(), NewSite{Name: "Branch", Bindings: []string{"[::1]:25", ":366"}, ODMR: []string{"127.0.0.1:367"}, Domain: "branch.example"})
	if err != nil || n != 2 {
		t.Fatalf("site %d, %v", n, err)
	}
	tr.must(ops...)
	s := tr.site(2)
	want := []Binding{{Addr: netip.MustParseAddrPort("[::1]:25")}, {Addr: netip.MustParseAddrPort("[::]:366")}, {Addr: netip.MustParseAddrPort("127.0.0.1:367"), ODMR: true}}
	if !slices.Equal(s.Bindings, want) || s.FullyQualifiedDomainName != "branch.example" || s.Folders.QueueDirectory != "Mailroot-2/Queue" {
		t.Errorf("%+v", s)
	}
	if got := Numbers(tr.store.Snapshot()); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("sites %v", got)
	}
	tr.set(Service, "SmtpServiceVersion", "1")
	if s := tr.site(2); s.Enabled || s.Verbs.ETRN || s.Verbs.TURN || s.Verbs.ATRN {
		t.Errorf("with SmtpServiceVersion 1: %+v", s)
	}
	if !tr.site(1).Enabled {
		t.Error("with SmtpServiceVersion 1 the default site is off")
	}
	if _, _, err := CreateSite(tr.store.Snapshot(), NewSite{Bindings: []string{"nowhere"}}); !errors.Is(err, metabase.Invalid) {
		t.Errorf("a bad binding: %v", err)
	}
}

// A site without a name is called by its number.
func TestSiteName(t *testing.T) {
	tr := newTree(t)
	tr.must(metabase.AddKey{Path: SitePath(2), Class: schema.Server})
	for n, want := range map[int]string{1: "Default SMTP Site", 2: "site 2"} {
		if got := tr.site(n).Name; got != want || SiteName(tr.store.Snapshot(), n) != want {
			t.Errorf("site %d is called %q, want %q", n, got, want)
		}
	}
}

func TestDomainFor(t *testing.T) {
	tr := newTree(t)
	tr.domain("a.test", "RouteAction 514", "AuthTurnList one two")
	tr.domain("*.a.test", "RouteAction domain_relay")
	tr.domain("*.b.a.test", "RouteAction etrn_cmd,disable_etrn", "AuthTurnList Two")
	tr.domain("Exact.B.A.test", "RouteAction alias")
	tr.domain("drop.test", "RouteAction drop", "RouteActionString boxes/drop")
	tr.domain("plain.test")
	s := tr.site(1)
	tests := []struct {
		in       mail.Domain
		name     string
		standing mail.Standing
	}{
		{"a.test", "a.test", mail.Held},
		{"x.a.test", "*.a.test", mail.Relayed},
		{"x.y.a.test", "*.a.test", mail.Relayed},
		{"b.a.test", "*.a.test", mail.Relayed}, // a wildcard does not stand for its own name
		{"x.b.a.test", "*.b.a.test", mail.Held},
		{"exact.b.a.test", "Exact.B.A.test", mail.Local},
		{"*.b.a.test", "*.b.a.test", mail.Held},
		{"hub.example", "hub.example", mail.Local},
		{"drop.test", "drop.test", mail.Local},
		{"plain.test", "plain.test", mail.Foreign},

		{"xa.test", "", mail.Foreign},
		{"test", "", mail.Foreign},
		{"sub.drop.test", "", mail.Foreign},
		{"[192.0.2.1]", "", mail.Foreign},
		{"[IPv6:2001:db8::1]", "", mail.Foreign},
		{"", "", mail.Foreign},
	}
	for _, tt := range tests {
		d, ok := s.DomainFor(tt.in)
		if d.Name != tt.name || d.Standing != tt.standing || ok != (tt.name != "") || s.Standing(tt.in) != tt.standing {
			t.Errorf("DomainFor(%q) = %q %v, %v; Standing %v; want %q %v", tt.in, d.Name, d.Standing, ok, s.Standing(tt.in), tt.name, tt.standing)
		}
	}
	turns := []struct {
		account string
		want    []mail.Domain
	}{
		{"one", []mail.Domain{"a.test"}},
		{"TWO", []mail.Domain{"*.b.a.test", "a.test"}},
		{"three", nil},
		{"", nil},
	}
	for _, tt := range turns {
		if got := s.TurnDomains(tt.account); !slices.Equal(got, tt.want) {
			t.Errorf("TurnDomains(%q) = %q, want %q", tt.account, got, tt.want)
		}
	}
	if d, _ := s.DomainFor("x.b.a.test"); d.EtrnCallers() != nil || !strings.HasPrefix(d.Name, "*.") {
		t.Errorf("%+v", d)
	}
}

// What is not used towards other hosts, by the site's properties and the domain's.
// What an earlier version has stored as hosts keeps its meaning, and what names no
// host sends no mail elsewhere.
func TestStoredHosts(t *testing.T) {
	for text, want := range map[string][]string{
		"": nil, "a.test,b.test:26": {"a.test", "b.test:26"}, "a.test b.test": {"a.test", "b.test"},
		"a.test, b.test c.test": {"a.test", "b.test", "c.test"}, "300.1.2.3": {"300.1.2.3"}, "a..test b": {"a..test b"},
	} {
		var got []string
		for _, h := range storedHosts(text) {
			got = append(got, h.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestRouteWithout(t *testing.T) {
	tr := newTree(t)
	tr.domain("plain.test", "RouteAction domain_relay")
	tr.domain("odd.test", "RouteAction disable_dsn,disable_pipeline")
	tr.domain("text.test", "RouteAction disable_bmime")
	tr.domain("data.test", "RouteAction disable_chunk")
	for name, want := range map[mail.Domain][]string{"text.test": {"BINARYMIME"}, "data.test": {"CHUNKING", "BINARYMIME"}} {
		if got := tr.site(1).Route(name).Without; !slices.Equal(got, want) {
			t.Errorf("without %q to %s", got, name)
		}
	}
	for _, tt := range []struct{ property, value, plain, odd string }{
		{"SmtpOutboundCommandSupportOptions", "7697601", "", "PIPELINING DSN"},
		{"SmtpOutboundCommandSupportOptions", "7", "", "PIPELINING DSN"},
		{"SmtpOutboundCommandSupportOptions", "0x400040", "CHUNKING BINARYMIME", "PIPELINING DSN CHUNKING BINARYMIME"},
		{"SmtpOutboundCommandSupportOptions", "0x600040", "CHUNKING BINARYMIME", "PIPELINING DSN CHUNKING BINARYMIME"},
		{"SmtpOutboundCommandSupportOptions", "0x300040", "8BITMIME", "PIPELINING DSN 8BITMIME"},
		{"SmtpOutboundCommandSupportOptions", "0x700000", "DSN", "PIPELINING DSN"},
		{"ShouldPipelineOut", "false", "PIPELINING DSN", "PIPELINING DSN"},
		{"SmtpOutboundCommandSupportOptions", "0", "PIPELINING DSN 8BITMIME CHUNKING BINARYMIME", "PIPELINING DSN 8BITMIME CHUNKING BINARYMIME"},
	} {
		tr.set(SitePath(1), tt.property, tt.value)
		s := tr.site(1)
		for name, want := range map[mail.Domain]string{"plain.test": tt.plain, "odd.test": tt.odd} {
			if got := strings.Join(s.Route(name).Without, " "); got != want {
				t.Errorf("%s %s: without %q to %s, want %q", tt.property, tt.value, got, name, want)
			}
		}
	}
}

// The default domain is local even without a key.
func TestDefaultDomainWithoutKey(t *testing.T) {
	tr := newTree(t)
	tr.set(SitePath(1), "DefaultDomain", "Other.example")
	s := tr.site(1)
	for _, name := range []mail.Domain{"other.example", "hub.example"} { // the old one stays ours, as an alias would
		if s.Standing(name) != mail.Local || s.Route(name).Way != ToFolder {
			t.Errorf("%s: %v, %+v", name, s.Standing(name), s.Route(name))
		}
	}
}

func TestRoute(t *testing.T) {
	tr := newTree(t)
	tr.domain("turn.test", "RouteAction 514", "AuthTurnList testserver")
	tr.domain("held.test", "RouteAction etrn_cmd,smarthost,ssl", "RouteActionString mail.held.test:2526")
	tr.domain("smart.test", "RouteAction smarthost,auth_cleartext,use_helo", "RouteActionString [192.0.2.7]", "RouteUserName bob", "RoutePassword geheim")
	tr.domain("drop.test", "RouteAction drop", "RouteActionString boxes/drop")
	tr.domain("relay.test", "RouteAction domain_relay,disable_pipeline")
	s := tr.site(1)
	route := func(name mail.Domain) string {
		r := s.Route(name)
		parts := []string{r.Way.String()}
		for what, on := range map[string]bool{"held": r.Held, "tls": r.NeedTLS, "helo": r.Helo, "single": slices.Contains(r.Without, "PIPELINING"), "direct": r.DirectFirst} {
			if on {
				parts = append(parts, what)
			}
		}
		if r.SignIn != nil {
			parts = append(parts, "as "+r.SignIn.Name+":"+string(r.SignIn.Password))
		}
		slices.Sort(parts[1:])
		for _, h := range r.Hosts {
			parts = append(parts, h.String())
		}
		if r.Folder != "" {
			parts = append(parts, r.Folder)
		}
		return strings.Join(parts, " ")
	}
	check := func(when string, want map[mail.Domain]string) {
		t.Helper()
		for name, w := range want {
			if got := route(name); got != w {
				t.Errorf("%s: route of %s is %q, want %q", when, name, got, w)
			}
			for _, why := range s.Route(name).Why {
				if why.Property == "" {
					t.Errorf("%s: route of %s: a reason without a property", when, name)
				}
			}
		}
	}
	check("fresh", map[mail.Domain]string{
		"hub.example":  "folder Mailroot/Drop",
		"else.example": "mx",
		"turn.test":    "mx held", // SMARTHOST without a host is none
		"held.test":    "smart host held tls mail.held.test:2526",
		"smart.test":   "smart host as bob:geheim helo [192.0.2.7]",
		"drop.test":    "folder boxes/drop",
		"relay.test":   "mx single",
	})

	tr.must(set(t, SitePath(1), "SmartHost", "out.example:587,[192.0.2.9]"), set(t, SitePath(1), "SmartHostType", "direct_first"),
		set(t, Service, "AlwaysUseSsl", "true"))
	s = tr.site(1)
	check("with a smart host", map[mail.Domain]string{
		"hub.example":  "folder Mailroot/Drop",
		"else.example": "smart host direct tls out.example:587 [192.0.2.9]",
		"turn.test":    "mx held tls", // ETRN delivers to the hosts in DNS, not to the smart host
		"smart.test":   "smart host as bob:geheim helo tls [192.0.2.7]",
		"relay.test":   "smart host direct single tls out.example:587 [192.0.2.9]",
	})
}

// A value of the domain comes before that of the site, and that before that of
// the service.
func TestPrecedence(t *testing.T) {
	tr := newTree(t)
	client := netip.MustParseAddr("10.1.2.3")
	tr.domain("own.test")
	accepts := func() bool {
		d, _ := tr.site(1).DomainFor("own.test")
		return d.Relay.Grants(client, nil)
	}
	steps := []struct {
		path metabase.Path
		list []string
		want bool
	}{
		{Service, []string{"10.0.0.0/8"}, true},
		{SitePath(1), []string{"192.0.2.1"}, false},
		{DomainPath(1, "own.test"), []string{"10.1.2.3"}, true},
		{DomainPath(1, "own.test"), nil, false},
	}
	for _, step := range steps {
		tr.set(step.path, "RelayIpList", step.list...)
		if got := accepts(); got != step.want {
			t.Errorf("after %s at %s: %v, want %v", step.list, step.path, got, step.want)
		}
	}
	tr.set(Service, "RelayForAuth", "false")
	if d, _ := tr.site(1).DomainFor("own.test"); d.Relay.RelayForAuth {
		t.Error("RelayForAuth false at the service does not hold at the domain")
	}
	tr.set(DomainPath(1, "own.test"), "RelayForAuth", "true")
	d, _ := tr.site(1).DomainFor("own.test")
	why := tr.site(1).Reasons("own.test", RelayForAuth)
	if !d.Relay.RelayForAuth || why[0].Path != DomainPath(1, "own.test") {
		t.Errorf("RelayForAuth true at the domain does not hold there: %+v", why)
	}
}

func TestAccount(t *testing.T) {
	tr := newTree(t)
	if tr.site(1).HasCram() {
		t.Error("HasCram without accounts")
	}
	verifier := map[string]string{"": ""}
	for path, whose := range map[metabase.Path]string{
		UserPath(0, "both"): "service", UserPath(1, "Both"): "site", UserPath(0, "all"): "service", UserPath(1, "cram"): "site",
	} {
		if verifier[whose] == "" {
			c, err := account.New(whose, whose, false)
			if err != nil {
				t.Fatal(err)
			}
			verifier[whose] = c.Scram
		}
		tr.must(metabase.AddKey{Path: path, Class: schema.User}, set(t, path, "ScramVerifier", verifier[whose]))
	}
	tr.must(metabase.AddKey{Path: UserPath(1, "none"), Class: schema.User})
	tr.set(UserPath(1, "cram"), "CramSecret", "secret")
	s := tr.site(1)
	tests := []struct{ in, name, scram string }{
		{"both", "Both", "site"},
		{"ALL", "all", "service"},
		{"cram", "cram", "site"},
		{"none", "none", ""}, // has no password yet
		{"nobody", "", ""},
		{"", "", ""},
		{"../1/User/all", "", ""},
		{`x\y`, "", ""},
	}
	for _, tt := range tests {
		c, ok := s.Account(tt.in)
		if c.Name != tt.name || c.Scram != verifier[tt.scram] || ok != (tt.scram != "") {
			t.Errorf("Account(%q) = %q %q, %v; want %q %q", tt.in, c.Name, c.Scram, ok, tt.name, tt.scram)
		}
	}
	for _, tt := range []struct {
		site int
		name string
		want bool
	}{
		{1, "cram", true}, {1, "ALL", true}, {2, "all", true}, {0, "all", true},
		{1, "nobody", false}, {2, "cram", false}, // of site 1 alone
	} {
		if got := HasAccount(s.snap, tt.site, tt.name); got != tt.want {
			t.Errorf("HasAccount(%d, %q) = %v", tt.site, tt.name, got)
		}
	}
	if c, _ := s.Account("cram"); string(c.Secret) != "secret" || !s.HasCram() {
		t.Errorf("the secret for CRAM-MD5 is %q, HasCram %v", string(c.Secret), s.HasCram())
	}
}

func TestMayConnect(t *testing.T) {
	names := func() ([]string, error) { return []string{"mail.example"}, nil }
	clients := []string{"192.0.2.77", "203.0.113.1", "127.0.0.1", "2001:db8::1", "::1"}
	for _, tt := range []struct {
		four, six string // "-" for no list
		may       string // of clients
	}{
		{"-", "", "YYYYY"},
		{"192.0.2.0/24", "", "Ynnnn"},
		{"", "", "nnYnY"}, // a list without an entry: this machine
		{"-", "2001:db8::/32", "nnnYn"},
		{"192.0.2.0/24", "2001:db8::/32", "YnnYn"},
		{"", "2001:db8::/32", "nnYYY"},
		{"all deny:192.0.2.0/24", "", "nYYYY"},
		{"all deny:192.0.2.0/24", "2001:db8::/32", "nYYYn"},
		{"mail.example", "", "YYYYY"},
		{"other.example", "", "nnnnn"},
		{"all deny:mail.example", "", "nnnnn"},
		{"all deny:*.org", "", "YYYYY"},
	} {
		tr := newTree(t)
		if tt.four != "-" {
			tr.set(SitePath(1), "IPSecurity", strings.Fields(tt.four)...)
		}
		tr.set(SitePath(1), "ConnectionIpv6List", strings.Fields(tt.six)...)
		s, got := tr.site(1), ""
		for _, ip := range clients {
			got += map[bool]string{true: "Y", false: "n"}[s.MayConnect(netip.MustParseAddr(ip), names)]
			mapped := netip.AddrFrom16(netip.MustParseAddr(ip).As16())
			if s.MayConnect(mapped, names) != s.MayConnect(netip.MustParseAddr(ip), names) {
				t.Errorf("%+v: %s is decided about otherwise where it is mapped", tt, ip)
			}
		}
		if got != tt.may {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

// Who may relay is decided by the lists of both families; names are of both.
func TestRelayGrants(t *testing.T) {
	names := func() ([]string, error) { return []string{"mail.example"}, nil }
	clients := []string{"192.0.2.77", "203.0.113.1", "2001:db8::1"}
	for _, tt := range []struct{ four, six, may string }{
		{"", "", "nnn"},
		{"192.0.2.0/24", "", "Ynn"},
		{"192.0.2.0/24", "2001:db8::/32", "YnY"},
		{"all", "", "YYn"}, // for IPv4 alone
		{"all deny:192.0.2.0/24", "2001:db8::/32", "nYY"},
		{"mail.example", "", "YYY"},
		{"all deny:mail.example", "", "nnn"},
	} {
		tr := newTree(t)
		tr.set(SitePath(1), "RelayIpList", strings.Fields(tt.four)...)
		tr.set(SitePath(1), "RelayIpv6List", strings.Fields(tt.six)...)
		r, got := tr.site(1).Relay, ""
		for _, ip := range clients {
			got += map[bool]string{true: "Y", false: "n"}[r.Grants(netip.MustParseAddr(ip), names)]
		}
		if got != tt.may {
			t.Errorf("%+v: %s", tt, got)
		}
	}
	if (Relay{}).Grants(netip.MustParseAddr("127.0.0.1"), names) {
		t.Error("without a list somebody may relay")
	}
}

func TestNoSuchSite(t *testing.T) {
	if _, err := Load(newTree(t).store.Snapshot(), 9); !errors.Is(err, metabase.NotFound) {
		t.Errorf("Load of site 9: %v", err)
	}
	if _, err := Load(metabase.Snapshot{}, 1); !errors.Is(err, metabase.NotFound) {
		t.Errorf("Load from nothing: %v", err)
	}
}

// A change that would leave a site or a domain invalid is refused with every
// problem, and changes nothing.
func TestRefused(t *testing.T) {
	site := SitePath(1)
	tests := []struct {
		name string
		ops  func(t *testing.T) []metabase.Op
		want []string
	}{
		{"several problems at once", func(t *testing.T) []metabase.Op {
			return []metabase.Op{set(t, site, "MaxSessionSize", "1000"), set(t, site, "ServerBindings", ":25", "0.0.0.0:25", "[::]:25")}
		}, []string{
			"/LM/SMTPSVC/1: ServerBindings: [::]:25 excludes 0.0.0.0:25, which is an address of this site, too; keep one of the two",
			"/LM/SMTPSVC/1: MaxSessionSize: 1000 bytes are less than MaxMessageSize, which is 33554432: no such message could come",
			"/LM/SMTPSVC/1: ServerBindings: [::]:25: is there already, as :25:",
		}},
		{"from the service", func(t *testing.T) []metabase.Op {
			return []metabase.Op{set(t, Service, "MaxMessageSize", "300000000")}
		}, []string{"/LM/SMTPSVC: MaxSessionSize: 268435456 bytes are less than MaxMessageSize, which is 300000000: no such message could come"}},
		{"no listener", func(t *testing.T) []metabase.Op {
			return []metabase.Op{set(t, site, "ServerBindings")}
		}, []string{"/LM/SMTPSVC/1: ServerBindings: the site has no address to listen on; store ip:port:host or ADDR:PORT here, or in SecureBindings or AtrnBindings"}},
		{"old devices beside tls1.3", func(t *testing.T) []metabase.Op {
			return []metabase.Op{set(t, Service, "TlsOldDevices", "true"), set(t, site, "TlsMinVersion", "tls1.3")}
		}, []string{"/LM/SMTPSVC: TlsOldDevices: lets callers use TLS 1.0, and TlsMinVersion is tls1.3: set one of the two only"}},
		{"TLS without a certificate", func(t *testing.T) []metabase.Op {
			return []metabase.Op{set(t, site, "TlsCertificateFile", ""), set(t, site, "AccessSSLFlags", "access_ssl"), set(t, site, "SecureBindings", ":465")}
		}, []string{
			"/LM/SMTPSVC/1: AccessSSLFlags: asks for TLS, and there is no TlsCertificateFile",
			"/LM/SMTPSVC/1: SecureBindings: TLS is to begin with the first octet, and there is no TlsCertificateFile",
		}},
		{"a domain's actions on a site", func(t *testing.T) []metabase.Op {
			return []metabase.Op{set(t, site, "RouteAction", "etrn_cmd,ssl,default")}
		}, []string{"/LM/SMTPSVC/1: RouteAction: 576 (etrn_cmd, default) belong to a domain's key, not to a site or the service"}},
		{"a bad smart host of a domain", func(t *testing.T) []metabase.Op {
			path := DomainPath(1, "new.test")
			return []metabase.Op{metabase.AddKey{Path: path, Class: schema.Domain}, set(t, path, "RouteAction", "smarthost,sasl"), set(t, path, "RouteActionString", "no_host:0")}
		}, []string{
			`/LM/SMTPSVC/1/Domain/new.test: RouteActionString: "no_host:0": a port is a number from 1 to 65535; allowed are NAME, NAME:PORT, [ADDR] and [ADDR]:PORT, several parted by commas`,
			"/LM/SMTPSVC/1/Domain/new.test: RouteAction: asks for a sign-in at the next host, and RouteUserName is empty",
		}},
		{"the default site", func(t *testing.T) []metabase.Op {
			return []metabase.Op{metabase.Remove{Path: site, Recursive: true}}
		}, []string{"/LM/SMTPSVC/1: the default site can be stopped, but not deleted"}},
		{"the default domain", func(t *testing.T) []metabase.Op {
			return []metabase.Op{metabase.Remove{Path: DomainPath(1, "HUB.example")}}
		}, []string{"/LM/SMTPSVC/1/Domain/HUB.example: the default domain can't be deleted; make another one the default first, by DefaultDomain of the site"}},
		{"texts of another form", func(t *testing.T) []metabase.Op {
			return []metabase.Op{set(t, site, "PostmasterEmail", "postmaster"), set(t, Service, "SendNdrTo", "not an address"), set(t, site, "SaslLogonDomain", "A,B")}
		}, []string{
			`/LM/SMTPSVC: SendNdrTo: address "not an address": has no domain`,
			`/LM/SMTPSVC/1: SaslLogonDomain: "A,B" is not one domain of Windows, such as CORP, nor \ for all of them`}},
		{"recipients that are none", func(t *testing.T) []metabase.Op {
			path := DomainPath(1, "rel.test")
			return []metabase.Op{
				set(t, site, "Recipients", "ann,joe", "'ann;joe@rel.test'", "*", "j\u00fcrgen@rel.test", "a..b@rel.test", "joe@rel..test", "joe@rel.test,ann@rel.test"),
				metabase.AddKey{Path: path, Class: schema.Domain}, set(t, path, "Recipients", "joe", "ann@rel.test", "ann@other.test"),
			}
		}, []string{
			`/LM/SMTPSVC/1: Recipients: "ann,joe": is more than one address: one address per word, or line of a file`,
			`/LM/SMTPSVC/1: Recipients: "'ann;joe@rel.test'": is more than one address: one address per word, or line of a file`,
			`/LM/SMTPSVC/1: Recipients: "*": * is not everybody: an empty list, without a file, takes every mailbox`,
			`/LM/SMTPSVC/1: Recipients: "a..b@rel.test": has a local part that must be quoted`,
			`/LM/SMTPSVC/1: Recipients: "joe@rel..test": is neither an address nor a local part`,
			`/LM/SMTPSVC/1: Recipients: "joe@rel.test,ann@rel.test": is more than one address: one address per word, or line of a file`,
			`/LM/SMTPSVC/1/Domain/rel.test: Recipients: "ann@other.test" is not in rel.test: list it at the key of its domain, or at the site`,
		}},
		{"an account that could never sign in", func(t *testing.T) []metabase.Op {
			path := UserPath(1, "ann")
			return []metabase.Op{metabase.AddKey{Path: path, Class: schema.User}, set(t, path, "ScramVerifier", "anything")}
		}, []string{"/LM/SMTPSVC/1/User/ann: ScramVerifier: is no verifier of SCRAM-SHA-256: it is made from a password, by account add or account passwd"}},
		{"a version that is none", func(t *testing.T) []metabase.Op {
			prop, _ := schema.IIS().Lookup("SmtpServiceVersion")
			return []metabase.Op{metabase.Set{Path: Service, Property: prop.Item(metabase.DWord(9))}}
		}, []string{"/LM/SMTPSVC: SmtpServiceVersion: 9 is out of range; allowed is 0 to 2"}},
		{"no client could send", func(t *testing.T) []metabase.Op {
			return []metabase.Op{set(t, Service, "AuthFlags", "0")}
		}, []string{"/LM/SMTPSVC: AuthFlags: no client could send mail: needs auth_anonymous, auth_basic or auth_ntlm"}},
	}
	tr := newTree(t)
	before := tr.store.Snapshot()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tr.apply(tt.ops(t)...)
			var refused *metabase.Refused
			if !errors.As(err, &refused) {
				t.Fatalf("Apply = %v", err)
			}
			var got []string
			for _, p := range refused.Problems {
				got = append(got, p.Error())
			}
			if !slices.EqualFunc(got, tt.want, strings.EqualFold) || !errors.Is(err, metabase.Invalid) {
				t.Errorf("problems\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if tr.store.Snapshot().Rev() != before.Rev() {
				t.Error("something was kept")
			}
		})
	}
}

// An old problem does not prevent other changes.
func TestOldProblemsAreAccepted(t *testing.T) {
	tr := newTree(t)
	snap := tr.store.Snapshot()
	loose, err := metabase.Open(t.Context(), kv.NewMem(), seal.New(), metabase.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer loose.Close()
	ops, err := Setup(loose.Snapshot(), NewSite{Domain: "hub.example"})
	if err != nil {
		t.Fatal(err)
	}
	batch := func(ops ...metabase.Op) metabase.Batch { return metabase.Batch{Ops: ops, Origin: metabase.FromSystem} }
	if _, err := loose.Apply(t.Context(), batch(append(ops, set(t, SitePath(1), "MaxSessionSize", "1"))...)); err != nil {
		t.Fatal(err)
	}
	change, err := loose.Try(t.Context(), batch(set(t, SitePath(1), "ServerComment", "Another name")))
	if err != nil {
		t.Fatal(err)
	}
	if got := Check(change); len(got) != 0 {
		t.Errorf("problems %v", got)
	}
	change.Old = snap // where it is new, it is told
	if got := Check(change); len(got) != 1 {
		t.Errorf("problems %v, want one", got)
	}
}

// TestUpgrade opens the tree that an earlier version set up, with other defaults.
func TestUpgrade(t *testing.T) {
	store, err := metabase.Open(t.Context(), kv.NewMem(), seal.New(), metabase.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	apply := func(ops ...metabase.Op) {
		t.Helper()
		if _, err := store.Apply(t.Context(), metabase.Batch{Ops: ops, Origin: metabase.FromSystem}); err != nil {
			t.Fatal(err)
		}
	}
	ops, err := Setup(store.Snapshot(), NewSite{})
	if err != nil {
		t.Fatal(err)
	}
	apply(append(ops, set(t, Service, "HopCount", "15"), set(t, Service, "MaxRecipients", "7"))...)
	apply(set(t, Service, "MaxRecipients", "8")) // somebody's own
	ops, err = Upgrade(store.Snapshot())
	if err != nil || len(ops) != 1 {
		t.Fatalf("Upgrade = %v, %v; want HopCount alone", ops, err)
	}
	apply(ops...)
	if p, _ := store.Snapshot().Stored(Service, HopCount); p.Value.DWord() != 100 {
		t.Errorf("HopCount is %d", p.Value.DWord())
	}
	if ops, err := Upgrade(store.Snapshot()); len(ops) != 0 || err != nil {
		t.Errorf("a second Upgrade = %v, %v", ops, err)
	}
}

// A folder that sites inherit is the first site's, so that each file is sent once.
func TestPickupFolder(t *testing.T) {
	tr := newTwoSites(t)
	folder := func(n int) string {
		t.Helper()
		s, err := Load(tr.store.Snapshot(), n)
		if err != nil {
			t.Fatal(err)
		}
		return s.PickupFolder()
	}
	want := func(when, first, second string) {
		t.Helper()
		if one, two := folder(1), folder(2); one != first || two != second {
			t.Errorf("%s: %q and %q, want %q and %q", when, one, two, first, second)
		}
	}
	want("each has its own", "Mailroot/Pickup", "Mailroot-2/Pickup")
	tr.set(SitePath(1), "ShouldPickupMail", "false")
	tr.set(SitePath(2), "PickupDirectory", "")
	want("switched off, and none", "", "")
	tr.set(SitePath(1), "ShouldPickupMail", "true")
	tr.must(metabase.Unset{Path: SitePath(1), ID: PickupDirectory}, metabase.Unset{Path: SitePath(2), ID: PickupDirectory})
	tr.set(Service, "PickupDirectory", "for-all")
	want("inherited", "for-all", "")
}

// The settings of the log file, as IIS has them.
func TestLog(t *testing.T) {
	tr := newTree(t)
	load := func() Log {
		t.Helper()
		s, err := Load(tr.store.Snapshot(), 1)
		if err != nil {
			t.Fatal(err)
		}
		return s.Log
	}
	want := Log{LogFileDirectory: "LogFiles", LogFilePeriod: 1, LogFileTruncateSize: 20 << 20, LogExtFileFlags: 0x586}
	if got := load(); got != want {
		t.Errorf("defaults %+v, want %+v", got, want)
	}
	for _, step := range []struct {
		name, value string
		change      func(*Log)
	}{
		{"LogType", "on", func(l *Log) { l.On = true }},
		{"DontLog", "true", func(l *Log) { l.On = false }},
		{"DontLog", "false", func(l *Log) { l.On = true }},
		{"LogFilePeriod", "hourly", func(l *Log) { l.LogFilePeriod = 4 }},
		{"LogFileTruncateSize", "200000", func(l *Log) { l.LogFileTruncateSize = 200000 }},
		{"LogFileTruncateSize", "1000", func(l *Log) { l.LogFileTruncateSize = 131072 }},
		{"LogFileTruncateSize", "4294967295", func(l *Log) { l.LogFileTruncateSize = 0 }},
		{"LogExtFileFlags", "date,method", func(l *Log) { l.LogExtFileFlags = 0x81 }},
		{"LogFileDirectory", "logs", func(l *Log) { l.LogFileDirectory = "logs" }},
	} {
		tr.set(SitePath(1), step.name, step.value)
		if step.change(&want); load() != want {
			t.Errorf("%s %s: %+v, want %+v", step.name, step.value, load(), want)
		}
	}
	tr.set(SitePath(1), "LogType", "off")
	tr.set(SitePath(1), "LogFileDirectory", "")
	if load().On {
		t.Error("a log without a folder")
	}
	if got := SiteLog(7, "logs"); got != "logs/SMTPSVC7" {
		t.Errorf("SiteLog = %q", got)
	}
}

func TestAccountName(t *testing.T) {
	for _, tt := range []struct{ def, sasl, name, want string }{
		{"", "", "joe", "joe"},
		{"", "", `CORP\joe`, "joe"},
		{"", "", `CORP\`, `CORP\`},
		{"CORP", "", `corp\joe`, "joe"},
		{"CORP", "", `OTHER\joe`, `OTHER\joe`},
		{"CORP", "", `.\joe`, "joe"},
		{"CORP", "", `\joe`, "joe"},
		{"CORP", "corp.example", `corp.example\joe`, "joe"},
		{"", "CORP", `OTHER\joe`, `OTHER\joe`},
		{`\`, "CORP", `OTHER\joe`, "joe"},
		{"CORP", "", "joe@corp", "joe@corp"}, // a name of its own
	} {
		s := Site{Access: Access{DefaultLogonDomain: tt.def, SaslLogonDomain: tt.sasl}}
		if got := s.AccountName(tt.name); got != tt.want {
			t.Errorf("with %q and %q, %s is %s, want %s", tt.def, tt.sasl, tt.name, got, tt.want)
		}
	}
}

// TestRecipientsOfDomains: entries that a recipient could be are taken.
func TestRecipientsOfDomains(t *testing.T) {
	tr := newTree(t)
	alias, below := DomainPath(1, "alias.test"), DomainPath(1, "*.rel.test")
	for _, ops := range [][]metabase.Op{
		{set(t, SitePath(1), "Recipients", "ann@other.test", `"q,q"@other.test`, "bob")},
		{set(t, DomainPath(1, "hub.example"), "Recipients", "ann@HUB.example.", "bob")},
		{metabase.AddKey{Path: alias, Class: schema.Domain}, set(t, alias, "RouteAction", "alias"), set(t, alias, "Recipients", "ann@alias.test", "bob@hub.example")},
		{metabase.AddKey{Path: below, Class: schema.Domain}, set(t, below, "Recipients", "ann@a.rel.test")},
	} {
		if err := tr.apply(ops...); err != nil {
			t.Error(err)
		}
	}
}
