// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"strings"
	"testing"

	"restante/engine/filter"
	"restante/engine/mail"
	"restante/engine/recipients"
	"restante/engine/session"
	"restante/engine/settings"
	"restante/internal/deptest"
	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase"
	"restante/metabase/schema"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine/wire":  "a Policy decides, it speaks no SMTP",
		"/engine/queue": "acceptance does not ask what is queued",
		"/engine/site":  "sites run under a Policy",
		"/internal":     "a Policy is made from settings",
	})
}

// site sets up a site and stores properties, each as "PATH NAME VALUE...",
// with PATH below
// the site and ~ for a blank in a value.
func site(t *testing.T, props ...string) *settings.Site {
	t.Helper()
	store, err := metabase.Open(t.Context(), kv.NewMem(), seal.New(), metabase.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	ops, err := settings.Setup(store.Snapshot(), settings.NewSite{Bindings: []string{"127.0.0.1:2525"}, Domain: "hub.example", FQDN: "mx.hub.example"})
	if err != nil {
		t.Fatal(err)
	}
	ops = append(schema.IIS().Sync(store.Snapshot()), ops...)
	for name, action := range map[string]string{"held.example": "514", "relayed.example": "4096", "own.example": "0"} {
		ops = append(ops, metabase.AddKey{Path: settings.DomainPath(1, name), Class: schema.Domain}, set(t, settings.DomainPath(1, name), "RouteAction", action))
	}
	for _, p := range props {
		words := strings.Fields(p)
		path := settings.SitePath(1)
		if words[0] != "." {
			path = path.Join(words[0])
		}
		ops = append(ops, set(t, path, words[1], strings.Split(strings.ReplaceAll(strings.Join(words[2:], "\n"), "~", " "), "\n")...))
	}
	if _, err := store.Apply(t.Context(), metabase.Batch{Ops: ops, Origin: metabase.FromSystem}); err != nil {
		t.Fatal(err)
	}
	s, err := settings.Load(store.Snapshot(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func set(t *testing.T, path metabase.Path, name string, args ...string) metabase.Op {
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

// TestExplain: each rule names the property that decides and the key that it
// comes from.
func TestExplain(t *testing.T) {
	const outside, domain = "203.0.113.9", "/LM/SMTPSVC/1/Domain/"
	tests := []struct {
		name    string
		props   []string
		to      mail.Domain
		client  Client
		addr    string
		reply   string // its beginning
		decider string
		from    metabase.Path
	}{
		{"local", nil, "hub.example", Client{}, outside, "250", "RouteAction", domain + "hub.example"},
		{"held", nil, "held.example", Client{}, outside, "250", "RouteAction", domain + "held.example"},
		{"relayed", nil, "relayed.example", Client{}, outside, "250", "RouteAction", domain + "relayed.example"},
		{"this machine relays", nil, "else.example", Client{}, "127.8.9.1", "250", "RelayIpList", "/LM/SMTPSVC"},
		{"mapped into IPv6", nil, "else.example", Client{}, "::ffff:127.0.0.1", "250", "RelayIpList", "/LM/SMTPSVC"},
		{"by IPv6", nil, "else.example", Client{}, "::1", "250", "RelayIpv6List", "/LM/SMTPSVC"},
		{"an account relays", nil, "else.example", Client{Account: "bob", TLS: true}, outside, "250", "RelayForAuth", "/LM/SMTPSVC"},
		{"an unknown client does not", nil, "else.example", Client{}, outside, "550 5.7.1 Unable to relay", "RelayIpList", "/LM/SMTPSVC"},
		{"nor by IPv6", nil, "sub.hub.example", Client{}, "2001:db8::1", "550 5.7.1", "RelayIpList", "/LM/SMTPSVC"},
		{"the domain's own list", []string{"Domain/own.example RelayIpList 203.0.113.0/24"}, "own.example", Client{}, outside, "250", "RelayIpList", domain + "own.example"},
		{"the domain's own list refuses", []string{"Domain/own.example RelayIpList 10.0.0.0/8"}, "own.example", Client{}, "127.0.0.1", "550", "RelayIpList", domain + "own.example"},
		{"IPSecurity", []string{". IPSecurity 10.0.0.0/8"}, "hub.example", Client{}, outside, "554 5.7.1 mx.hub.example Access denied", "IPSecurity", "/LM/SMTPSVC/1"},
		{"IPSecurity lets in", []string{". IPSecurity 203.0.113.0/24"}, "hub.example", Client{}, outside, "250", "RouteAction", domain + "hub.example"},
		{"paused", nil, "hub.example", Client{Paused: true}, outside, "421 4.3.2 mx.hub.example Service paused", "ServerState", ""},
		{"as many connections as there may be", []string{". MaxConnections 7"}, "hub.example", Client{Connections: 7}, outside, "421 4.3.2 mx.hub.example Too many connections", "MaxConnections", "/LM/SMTPSVC/1"},
		{"as many connections as one address may have", []string{". MaxConnectionsPerAddress 7"}, "hub.example", Client{Connections: 9, FromAddress: 7}, outside, "421 4.7.0 mx.hub.example Too many connections from your address", "MaxConnectionsPerAddress", "/LM/SMTPSVC/1"},
		{"an exempt address", []string{". MaxConnectionsPerAddress 7", ". ConnectionLimitExempt 10.0.0.0/8 203.0.113.0/24"}, "hub.example", Client{FromAddress: 7}, outside, "250", "RouteAction", domain + "hub.example"},
		{"one connection less", []string{". MaxConnections 7"}, "hub.example", Client{Connections: 6}, outside, "250", "RouteAction", domain + "hub.example"},
		{"TLS", []string{". AccessSSLFlags 8"}, "hub.example", Client{}, outside, "530 5.7.0 Must issue a STARTTLS", "AccessSSLFlags", "/LM/SMTPSVC/1"},
		{"TLS is there", []string{". AccessSSLFlags 8"}, "hub.example", Client{TLS: true}, outside, "250", "RouteAction", domain + "hub.example"},
		{"AuthFlags", []string{". AuthFlags 6"}, "hub.example", Client{}, outside, "530 5.7.0 Authentication required", "AuthFlags", "/LM/SMTPSVC/1"},
		{"AuthFlags and an account", []string{". AuthFlags 6"}, "hub.example", Client{Account: "bob"}, outside, "250", "RouteAction", domain + "hub.example"},
		{"no sign-in in clear", []string{". AuthFlags 3"}, "else.example", Client{Account: "bob"}, outside, "538", "AuthFlags", "/LM/SMTPSVC/1"},
		{"a sign-in over TLS", []string{". AuthFlags 3"}, "else.example", Client{Account: "bob", TLS: true}, outside, "250", "RelayForAuth", "/LM/SMTPSVC"},
		{"a mailbox of the list", []string{"Domain/held.example Recipients y X"}, "held.example", Client{}, outside, "250", "RouteAction", domain + "held.example"},
		{"none of it", []string{"Domain/held.example Recipients y z"}, "held.example", Client{}, outside, "550 5.1.1", "Recipients", domain + "held.example"},
		{"by its address", []string{". Recipients x@held.example"}, "held.example", Client{}, outside, "250", "RouteAction", domain + "held.example"},
		{"that of another domain", []string{". Recipients x@held.example"}, "relayed.example", Client{}, outside, "550 5.1.1", "Recipients", "/LM/SMTPSVC/1"},
		{"an account does not make a mailbox", []string{"Domain/hub.example Recipients y"}, "hub.example", Client{Account: "bob", TLS: true}, outside, "550 5.1.1", "Recipients", domain + "hub.example"},
		{"foreign domains have no list", []string{". Recipients y"}, "else.example", Client{}, "127.0.0.1", "250", "RelayIpList", "/LM/SMTPSVC"},
		{"an alias has the default domain's", []string{"Domain/hub.example Recipients x", "Domain/own.example RouteAction 16"}, "own.example", Client{}, outside, "250", "RouteAction", domain + "own.example"},
		{"and its mailboxes alone", []string{"Domain/hub.example Recipients y", "Domain/own.example RouteAction 16"}, "own.example", Client{}, outside, "550 5.1.1", "Recipients", domain + "hub.example"},
		{"or those of its own", []string{"Domain/hub.example Recipients y", "Domain/own.example RouteAction 16", "Domain/own.example Recipients x"}, "own.example", Client{}, outside, "250", "RouteAction", domain + "own.example"},
		{"a file that is not there", []string{"Domain/held.example RecipientsFile none.txt"}, "held.example", Client{}, outside, "451 4.3.0", "RecipientsFile", domain + "held.example"},
		{"IPSecurity comes before all", []string{". IPSecurity 10.0.0.0/8", ". AccessSSLFlags 8", ". AuthFlags 6"}, "else.example", Client{Paused: true}, outside, "554", "IPSecurity", "/LM/SMTPSVC/1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.client.Addr = netip.MustParseAddr(tt.addr)
			e := Explain(t.Context(), site(t, tt.props...), Sources{Lists: &recipients.Files{Dir: t.TempDir()}}, tt.client, mail.Address{Local: "x", Domain: tt.to})
			if !strings.HasPrefix(e.Reply.String(), tt.reply) || (e.Refusal == "") != e.Reply.Positive() {
				t.Errorf("answered %q, refused for %q; want %q", e.Reply, e.Refusal, tt.reply)
			}
			if len(e.Reasons) == 0 || e.Reasons[0].Property != tt.decider || e.Reasons[0].Path != tt.from {
				t.Errorf("because of %+v, want %s at %s", e.Reasons, tt.decider, tt.from)
			}
		})
	}
}

// TestMilters: no filter costs nothing, and explain names those that are down.
func TestMilters(t *testing.T) {
	health := filter.Health{}
	if p := For(site(t), Sources{Milters: &health}); p.Filter != nil {
		t.Error("a site without Milters has a filter")
	}
	s := site(t, ". Milters inet:127.0.0.1:1")
	why := func() string {
		e := Explain(t.Context(), s, Sources{Lists: &recipients.Files{}, Milters: &health}, Client{Addr: netip.MustParseAddr("203.0.113.9")}, mail.Address{Local: "x", Domain: "hub.example"})
		for _, r := range e.Reasons {
			if r.Property == "Milters" {
				return r.Text
			}
		}
		return "nothing"
	}
	if got := why(); got != "inet:127.0.0.1:1" {
		t.Errorf("Milters decides by %s", got)
	}
	f := For(s, Sources{Milters: &health}).Filter(session.Transaction{})
	defer f.Close()
	if r := f.Recipient(t.Context(), mail.Recipient{Address: mail.Address{Local: "x", Domain: "hub.example"}}); r.Code != 451 {
		t.Errorf("nobody listens: %s", r)
	}
	if got := why(); !strings.Contains(got, "(milter inet:127.0.0.1:1 is down since ") {
		t.Errorf("Milters decides by %s", got)
	}
	health.Keep(1, nil)
	if got := why(); strings.Contains(got, "down") {
		t.Errorf("a filter that is no longer the site's: %s", got)
	}
}
