// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

func (tr *tree) try(ops ...metabase.Op) metabase.Change {
	tr.t.Helper()
	c, err := tr.store.Try(tr.t.Context(), metabase.Batch{Ops: ops, Actor: "user:root"})
	if err != nil {
		tr.t.Fatal(err)
	}
	return c
}

func TestAddresses(t *testing.T) {
	tests := []struct {
		nets []string
		want string
	}{
		{nil, "0"},
		{[]string{"10.0.0.0/8"}, "16777216"},
		{[]string{"10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/8", "10.0.0.1/32"}, "16777216"},
		{[]string{"10.0.0.1/32", "10.0.0.2/32"}, "2"},
		{[]string{"0.0.0.0/0", "10.0.0.0/8"}, "4294967296"},
		{[]string{"::/0", "127.0.0.0/8", "::1/128"}, "340282366920938463463374607431784988672"},
	}
	for _, tt := range tests {
		var nets []netip.Prefix
		for _, s := range tt.nets {
			nets = append(nets, netip.MustParsePrefix(s))
		}
		if got := addresses(nets).String(); got != tt.want {
			t.Errorf("addresses(%v) = %s, want %s", tt.nets, got, tt.want)
		}
	}
}

// Who may connect is counted, too, and who may by name is told.
func TestAssessWhoMayConnect(t *testing.T) {
	// All addresses of both families, and all but 10.0.0.0/8.
	const every, most = "340282366920938463463374607436063178752", "340282366920938463463374607436046401536"
	for _, tt := range []struct {
		was, is string // the words of IPSecurity; "-" for none
		reach   string // more, fewer, all
		told    string
	}{
		{"-", "10.0.0.0/8", "0 " + most + " 16777216", ""},
		{"10.0.0.0/8", "10.0.0.0/9 192.0.2.1", "1 8388608 8388609", ""},
		{"10.0.0.0/8", "-", most + " 0 " + every, ""},
		{"all deny:10.0.0.0/8", "all deny:10.0.0.0/9", "8388608 0 340282366920938463463374607436054790144", ""},
		{"10.0.0.0/8", "all deny:10.0.0.0/9", most + " 8388608 340282366920938463463374607436054790144", ""},
		{"10.0.0.0/8", "", "16777217 16777216 16777217", ""}, // this machine alone
		{"10.0.0.0/8", "10.0.0.0/8 mail.example *.example.org", "0 0 16777216", "lets more hosts connect by name: mail.example, *.example.org"},
		{"10.0.0.0/8 mail.example", "10.0.0.0/8", "0 0 16777216", "lets fewer hosts connect by name: no longer mail.example"},
		{"all", "all deny:*.example.org", "0 0 " + every, "names more hosts that may not connect: *.example.org"},
		{"all deny:*.example.org", "all", "0 0 " + every, "names fewer hosts that may not connect: no longer *.example.org"},
	} {
		tr := newTree(t)
		op := func(words string) metabase.Op {
			if words == "-" {
				return metabase.Unset{Path: SitePath(1), ID: IPSecurity}
			}
			return set(t, SitePath(1), "IPSecurity", strings.Fields(words)...)
		}
		if tt.was != "-" {
			tr.must(op(tt.was))
		}
		s := (Layout{}).Assess(tr.try(op(tt.is))).Sites[0]
		if got := fmt.Sprint(s.Connect.More, s.Connect.Fewer, s.Connect.All); got != tt.reach || strings.Join(s.Summary, "; ") != tt.told {
			t.Errorf("%q, then %q: %s, %q; want %s, %q", tt.was, tt.is, got, s.Summary, tt.reach, tt.told)
		}
	}
}

func TestInheritors(t *testing.T) {
	tr := newTree(t)
	_, ops, err := CreateSite(tr.store.Snapshot(), NewSite{Bindings: []string{":2526"}, Domain: "two.example"})
	if err != nil {
		t.Fatal(err)
	}
	tr.must(ops...)
	tr.domain("a.test")
	tr.domain("b.test")
	tr.set(SitePath(2), "HopCount", "7")

	tests := []struct {
		op   metabase.Op
		prop string
		want []metabase.Path
	}{
		{set(t, Service, "HopCount", "20"), "HopCount", []metabase.Path{SitePath(1)}}, // 2 has its own
		{set(t, Service, "RouteUserName", "x"), "RouteUserName", []metabase.Path{
			SitePath(1), DomainPath(1, "a.test"), DomainPath(1, "b.test"), DomainPath(1, "hub.example"), SitePath(2), DomainPath(2, "two.example")}},
		{metabase.Unset{Path: Service, ID: HopCount}, "HopCount", []metabase.Path{SitePath(1)}},
		{set(t, SitePath(1), "ServerComment", "x"), "", nil},
	}
	for _, tt := range tests {
		got := (Layout{}).Assess(tr.try(tt.op)).Inheritors
		if tt.want == nil {
			if len(got) != 0 {
				t.Errorf("%+v is inherited by %+v", tt.op, got)
			}
			continue
		}
		if len(got) != 1 || got[0].Property != tt.prop || !slices.Equal(got[0].Keys, tt.want) {
			t.Errorf("%+v: %+v, want %v", tt.op, got, tt.want)
		}
	}
}

func TestAssessSites(t *testing.T) {
	tr := newTree(t)
	tr.domain("a.test")
	tests := []struct {
		name     string
		op       metabase.Op
		relay    string // more, and "-" fewer
		auth     bool
		open     []string
		reroutes bool // of a.test
	}{
		{"wider", set(t, SitePath(1), "RelayIpList", "127.0.0.0/8", "192.0.2.0/24"), "256-0", false, nil, false},
		{"the same in other words", set(t, SitePath(1), "RelayIpList", "127.0.0.0/9", "127.128.0.0/9"), "0-0", false, nil, false},
		{"narrower", set(t, SitePath(1), "RelayIpList", "127.0.0.1"), "0-16777215", false, nil, false},
		{"everybody, from above", set(t, Service, "RelayIpList", "0.0.0.0/0"), "4278190080-0", false, nil, false},
		{"all but some", set(t, SitePath(1), "RelayIpList", "all", "deny:127.0.0.0/9", "deny:10.0.0.0/8"), "4261412864-8388608", false, nil, false},
		{"held", set(t, DomainPath(1, "a.test"), "RouteAction", "514"), "0-0", false, []string{"a.test"}, true},
		{"relayed", set(t, DomainPath(1, "a.test"), "RouteAction", "domain_relay"), "0-0", false, []string{"a.test"}, false},
		{"smart host", metabase.Set{Path: SitePath(1), Property: set(t, SitePath(1), "SmartHostType", "2").(metabase.Set).Property}, "0-0", false, nil, false},
		{"over TLS", set(t, Service, "AlwaysUseSsl", "true"), "0-0", false, nil, true},
	}
	for _, tt := range tests {
		sites := (Layout{}).Assess(tr.try(tt.op)).Sites
		if len(sites) != 1 {
			t.Errorf("%s: %d sites", tt.name, len(sites))
			continue
		}
		s := sites[0]
		if s.Number != 1 || s.Relay.More.String()+"-"+s.Relay.Fewer.String() != tt.relay || s.RelayAuth != tt.auth || !slices.Equal(s.OpenDomain, tt.open) || s.Reroutes("a.test") != tt.reroutes {
			t.Errorf("%s: %+v, reroutes %v", tt.name, s, s.Reroutes("a.test"))
		}
	}
	tr.set(Service, "RelayForAuth", "false")
	if s := (Layout{}).Assess(tr.try(set(t, SitePath(1), "RelayForAuth", "true"))).Sites[0]; !s.RelayAuth {
		t.Errorf("RelayForAuth: %+v", s)
	}
	n, ops, err := CreateSite(tr.store.Snapshot(), NewSite{Bindings: []string{":2526"}, Domain: "two.example"})
	if err != nil {
		t.Fatal(err)
	}
	sites := (Layout{}).Assess(tr.try(ops...)).Sites
	if len(sites) != 1 || sites[0].Number != n || !sites[0].Reroutes(mail.Domain("x.test")) || !slices.Equal(sites[0].OpenDomain, []string{"two.example"}) {
		t.Errorf("a new site: %+v", sites)
	}
	if got := (Layout{}).Assess(tr.try(metabase.AddKey{Path: "/Else", Class: schema.Object})); len(got.Sites)+len(got.Inheritors) != 0 {
		t.Errorf("a key elsewhere: %+v", got)
	}
}

// The summary says what a change does to a site besides its settings.
func TestSummary(t *testing.T) {
	tr := newTwoSites(t)
	tr.domain("ours.test", "RouteAction deliver")
	prop, _ := schema.IIS().ByID(ServerCommand)
	command := func(n uint32) metabase.Op {
		return metabase.Set{Path: SitePath(1), Property: prop.Item(metabase.DWord(n))}
	}
	three := metabase.AddKey{Path: SitePath(3), Class: schema.Server}
	tests := []struct {
		name string
		ops  []metabase.Op
		open []string
		want []string
	}{
		{"a limit", []metabase.Op{set(t, SitePath(1), "HopCount", "7")}, nil, nil},
		{"another default domain", []metabase.Op{set(t, SitePath(1), "DefaultDomain", "Other.test")}, []string{"other.test"}, nil},
		{"one that is ours already", []metabase.Op{set(t, SitePath(1), "DefaultDomain", "ours.test")}, nil, nil},
		{"stop", []metabase.Op{command(2)}, nil, []string{"stops"}},
		{"start", []metabase.Op{command(1)}, nil, []string{"starts"}},
		{"elsewhere", []metabase.Op{bind(t, 1, "127.0.0.1:2599", "[::1]:2599")}, nil, []string{"listens on 127.0.0.1:2599, [::1]:2599", "listens no longer on 127.0.0.1:2525"}},
		{"one more", []metabase.Op{bind(t, 1, "127.0.0.1:2525", "[::1]:2599")}, nil, []string{"listens on [::1]:2599"}},
		{"another queue", []metabase.Op{set(t, SitePath(1), "QueueDirectory", "new")}, nil, []string{"has its queue in new instead of Mailroot/Queue from its next start on"}},
		{"the same queue", []metabase.Op{set(t, SitePath(1), "QueueDirectory", "/data/Mailroot/Queue")}, nil, nil},
		{"a log without fields", []metabase.Op{set(t, SitePath(1), "LogType", "1"), set(t, SitePath(1), "LogExtFileFlags", "0")}, nil,
			[]string{"writes no line into its log file: LogExtFileFlags names no field"}},
		{"no log, without fields", []metabase.Op{set(t, SitePath(1), "LogExtFileFlags", "0")}, nil, nil},
		{"a bare new site", []metabase.Op{three}, nil, []string{"is new", "does not start: QueueDirectory Mailroot/Queue is that of site 1: give the site a folder of its own, by mb set SMTPSVC/3 QueueDirectory Mailroot-3/Queue"}},
		{"a new site", []metabase.Op{three, set(t, SitePath(3), "QueueDirectory", "q3"), bind(t, 3, ":2530"), set(t, SitePath(3), "DefaultDomain", "three.test")},
			[]string{"three.test"}, []string{"is new", "starts"}},
		{"a new site for later", []metabase.Op{three, set(t, SitePath(3), "QueueDirectory", "q3"), set(t, SitePath(3), "ServerAutoStart", "false")},
			nil, []string{"is new", "does not start by itself"}},
	}
	for _, tt := range tests {
		c, err := tr.store.Try(t.Context(), metabase.Batch{Ops: tt.ops, Actor: "user:root"})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		sites := Layout{Data: "/data"}.Assess(c).Sites
		if len(sites) != 1 || !slices.Equal(sites[0].OpenDomain, tt.open) || !slices.Equal(sites[0].Summary, tt.want) {
			t.Errorf("%s: %+v, want %q, and open %q", tt.name, sites, tt.want, tt.open)
		}
	}
	c, err := tr.store.Try(t.Context(), metabase.Batch{Ops: []metabase.Op{metabase.Remove{Path: SitePath(2), Recursive: true}}, Actor: "user:root"})
	if sites := (Layout{}).Assess(c).Sites; err != nil || len(sites) != 1 || !slices.Equal(sites[0].Summary, []string{"is removed"}) {
		t.Errorf("removed: %+v, %v", sites, err)
	}
}

func TestInheritorsNames(t *testing.T) {
	h := Inheritors{Keys: []metabase.Path{SitePath(1), DomainPath(1, "a.test"), DomainPath(2, "*.b.test"), UserPath(2, "bob"), UserPath(0, "ann")}}
	for class, want := range map[string][]string{
		schema.Domain: {"1/a.test", "2/*.b.test"}, schema.User: {"2/bob", "ann"},
	} {
		if got := h.Names(class); !slices.Equal(got, want) {
			t.Errorf("Names(%s) = %q, want %q", class, got, want)
		}
	}
}
