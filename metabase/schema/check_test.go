// SPDX-License-Identifier: Apache-2.0

package schema_test

import (
	"errors"
	"strings"
	"testing"

	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase"
	"restante/metabase/schema"
)

func open(t *testing.T) *metabase.Store {
	t.Helper()
	s, err := metabase.Open(t.Context(), kv.NewMem(), seal.New(), metabase.Options{
		Checks: []metabase.Check{schema.IIS().Check}, Admins: []metabase.Principal{"user:root"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func apply(t *testing.T, s *metabase.Store, actor metabase.Principal, ops ...metabase.Op) error {
	t.Helper()
	_, err := s.Apply(t.Context(), metabase.Batch{Ops: ops, Actor: actor})
	return err
}

func must(t *testing.T, s *metabase.Store, ops ...metabase.Op) {
	t.Helper()
	if err := apply(t, s, "user:root", ops...); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path metabase.Path, name string, args ...string) metabase.Op {
	t.Helper()
	p, err := schema.IIS().Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.Parse(args)
	if err != nil {
		t.Fatal(err)
	}
	return metabase.Set{Path: path, Property: p.Item(v)}
}

func add(path metabase.Path, class string) metabase.Op {
	return metabase.AddKey{Path: path, Class: class}
}

// setupOps makes a service with a site, as setup makes it.
func setupOps() []metabase.Op {
	return []metabase.Op{
		add("/LM", schema.Computer), add("/LM/SMTPSVC", schema.Service), add("/LM/SMTPSVC/Info", schema.Info),
		add("/LM/SMTPSVC/User", schema.User), add("/LM/SMTPSVC/User/bob", schema.User),
		add("/LM/SMTPSVC/1", schema.Server), add("/LM/SMTPSVC/1/Domain", schema.Domain), add("/LM/SMTPSVC/1/Domain/a.test", schema.Domain),
		add("/LM/SMTPSVC/1/Domain/*.a.test", schema.Domain), add("/LM/SMTPSVC/1/User", schema.User), add("/LM/SMTPSVC/1/User/eve@a.test", schema.User),
		add("/LM/SMTPSVC/1/Alias", schema.Alias), add("/LM/SMTPSVC/1/Root", schema.VirtualDir), add("/LM/SMTPSVC/1/Root/MailBox", schema.VirtualDir),
	}
}

func TestCheck(t *testing.T) {
	const site, domain = "/LM/SMTPSVC/1", "/LM/SMTPSVC/1/Domain/a.test"
	raw := func(path metabase.Path, p metabase.Property) metabase.Op {
		return metabase.Set{Path: path, Property: p}
	}
	tests := []struct {
		name string
		ops  []metabase.Op
		want []string // parts of each problem, in order; none: accepted
	}{
		{"a second site", []metabase.Op{add("/LM/SMTPSVC/2", schema.Server)}, nil},
		{"any case of a class", []metabase.Op{add("/LM/SMTPSVC/2", "iissmtpserver")}, nil},
		{"a key of somebody's own", []metabase.Op{add("/LM/SMTPSVC/Extra", ""), add("/Else", ""), add("/Else/More", "IIsObject")}, nil},
		{"a nameless property", []metabase.Op{raw(domain, metabase.Property{ID: 61537, UserType: 1, Value: metabase.Binary([]byte{1})})}, nil},
		{"a property known by number only", []metabase.Op{raw("/LM/SMTPSVC", metabase.Property{ID: 36930, Value: metabase.String("x")})}, nil},
		{"whatever attributes", []metabase.Op{raw(site, metabase.Property{ID: 1014, UserType: 2, Value: metabase.DWord(5)})}, nil},

		{"a site with a name", []metabase.Op{add("/LM/SMTPSVC/two", schema.Server)}, []string{
			`/LM/SMTPSVC/two: KeyType: "two" is no name for a key of class IIsSmtpServer here; allowed is a number from 1 up`}},
		{"a site elsewhere", []metabase.Op{add("/LM/7", schema.Server)}, []string{
			"/LM/7: KeyType: a key of class IIsSmtpServer does not stand here; it stands below IIsSmtpService, with a number from 1 up as its name"}},
		{"what looks like a site and is none", []metabase.Op{add("/LM/SMTPSVC/07", ""), add("/LM/SMTPSVC/0", ""), add("/LM/SMTPSVC/-1", schema.Object)}, []string{
			`/LM/SMTPSVC/0: KeyType: "0" is no number of a site; allowed is a number from 1 up`, `"07" is no number`, `"-1" is no number`}},
		{"any other name", []metabase.Op{add("/LM/SMTPSVC/abc", ""), add("/LM/SMTPSVC/1/Foo", ""), add("/LM/SMTPSVC/1/07", ""), add("/LM/SMTPSVC/1.5", "")}, nil},
		{"a site without a class", []metabase.Op{add("/LM/SMTPSVC/2", "")}, []string{"/LM/SMTPSVC/2: KeyType: a key here is of class IIsSmtpServer"}},
		{"a domain below the site", []metabase.Op{add(site+"/b.test", schema.Domain)}, []string{
			"below IIsSmtpServer, called Domain or below IIsSmtpDomain below IIsSmtpServer, with a domain name"}},
		{"a domain below a domain", []metabase.Op{add(domain+"/b.test", schema.Domain)}, []string{"does not stand here"}},
		{"bad names of domains", []metabase.Op{add(site+"/Domain/a b", schema.Domain), add(site+"/Domain/*.*.x", schema.Domain)}, []string{
			`"*.*.x" is no name for a key of class IIsSmtpDomain here`, `"a b" is no name`}},
		{"a domain of another class", []metabase.Op{add(site+"/Domain/b.test", schema.User)}, []string{"a key of class IIsSmtpUser does not stand here"}},
		{"a domain without a class", []metabase.Op{add(site+"/Domain/b.test", "")}, []string{"a key here is of class IIsSmtpDomain"}},
		{"an unknown class", []metabase.Op{add("/LM/SMTPSVC/2", "IIsSmtpSever")}, []string{`there is no class "IIsSmtpSever"; did you mean "IIsSmtpServer"?`}},
		{"a second service", []metabase.Op{add("/LM/SMTP2", schema.Service)}, []string{"below IIsComputer, called SMTPSVC"}},
		{"the class of a container", []metabase.Op{raw(site+"/Domain", metabase.Property{ID: metabase.KeyType, Value: metabase.String(schema.User)})}, []string{
			"/LM/SMTPSVC/1/Domain: KeyType: a key of class IIsSmtpUser does not stand here", "its child key"}},
		{"a move to nowhere", []metabase.Op{metabase.Move{From: domain, To: "/LM/SMTPSVC/a.test"}}, []string{"IIsSmtpDomain does not stand here"}},

		{"many things at once", []metabase.Op{
			raw(site, metabase.Property{ID: 36930 + 16, Value: metabase.String("514")}),
			raw(site, metabase.Property{ID: 1014, Value: metabase.DWord(4000000000)}),
			raw(site, metabase.Property{ID: 36949, Value: metabase.String("geheim")}),
			raw(site, metabase.Property{ID: 1023, Value: metabase.MultiSZ("nowhere")}),
			raw(domain, metabase.Property{ID: 36891, Value: metabase.DWord(1)}),
			raw(site, metabase.Property{ID: 36970, Value: metabase.Binary([]byte{1, 2, 3})}),
		}, []string{
			"/LM/SMTPSVC/1: MaxConnections: 4000000000 is out of range; allowed is 0 to 2000000000",
			`/LM/SMTPSVC/1: ServerBindings: "nowhere" has no port`,
			"/LM/SMTPSVC/1: RouteAction: is a DWORD and takes no STRING",
			"/LM/SMTPSVC/1: RoutePassword: holds a secret and must have the attribute SECURE",
			"/LM/SMTPSVC/1: RelayIpList: an IP list of 3 octets does not have the known form",
			"/LM/SMTPSVC/1/Domain/a.test: MaxMessageSize: a key of class IIsSmtpDomain may not hold it; allowed in IIsSmtpService, IIsSmtpServer",
		}},
		{"a property without a class", []metabase.Op{add("/Else", ""), put(t, "/Else", "MaxConnections", "5")}, []string{
			"/Else: MaxConnections: a key without a class may not hold it; allowed in IIsSmtpService, IIsSmtpServer"}},
		{"at the root", []metabase.Op{put(t, "/", "MaxConnections", "5")}, []string{"/: MaxConnections: a key without a class"}},
		{"asterisks as a secret", []metabase.Op{
			raw(site, metabase.Property{ID: 36949, Attr: metabase.Secure, Value: metabase.String(metabase.Asterisks)}),
			raw(site, metabase.Property{ID: 61600, Attr: metabase.Secure, Value: metabase.MultiSZ("x", metabase.Asterisks)}),
		}, []string{
			"/LM/SMTPSVC/1: RoutePassword: ten asterisks stand for a secret that is not shown; they are not the secret itself",
			"/LM/SMTPSVC/1: property 61600: ten asterisks stand",
		}},
		{"asterisks as no secret", []metabase.Op{put(t, site, "ServerComment", metabase.Asterisks)}, nil},
		{"the state of a site", []metabase.Op{put(t, site, "ServerState", "started")}, []string{"/LM/SMTPSVC/1: property 1016: is VOLATILE, and so is set by the service alone"}},
		{"the schema", []metabase.Op{add("/Schema", "IIsSchema")}, []string{"/Schema: the schema is not to be changed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			must(t, s, setupOps()...)
			before := s.Snapshot().Rev()
			err := apply(t, s, "user:root", tt.ops...)
			if len(tt.want) == 0 {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			var refused *metabase.Refused
			if !errors.As(err, &refused) || !errors.Is(err, metabase.Invalid) || len(refused.Problems) != len(tt.want) || s.Snapshot().Rev() != before {
				t.Fatalf("Apply = %v, want %d problems", err, len(tt.want))
			}
			for i, p := range refused.Problems {
				if !strings.Contains(p.Error(), tt.want[i]) {
					t.Errorf("problem %d is\n%s, want\n%s", i, p, tt.want[i])
				}
			}
			if strings.Contains(err.Error(), "geheim") {
				t.Error("a secret is told")
			}
		})
	}
}

// An unchanged secret that a script has read and writes back is refused, and the
// secret stays.
func TestSecretThatWasReadIsNotWritten(t *testing.T) {
	s := open(t)
	must(t, s, append(setupOps(), put(t, "/LM/SMTPSVC/1", "RoutePassword", "geheim"))...)
	if err := apply(t, s, "user:root", put(t, "/LM/SMTPSVC/1", "RoutePassword", metabase.Asterisks)); !errors.Is(err, metabase.Invalid) {
		t.Errorf("Apply = %v", err)
	}
	if p, _ := s.Snapshot().Stored("/LM/SMTPSVC/1", 36949); p.Value.Str() != "geheim" {
		t.Error("the secret is gone")
	}
}

// What is there already does not stand in the way, until its class changes.
func TestCheckOfChangedProperties(t *testing.T) {
	s, err := metabase.Open(t.Context(), kv.NewMem(), seal.New(), metabase.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	must2 := func(ops ...metabase.Op) metabase.Change {
		t.Helper()
		c, err := s.Try(t.Context(), metabase.Batch{Ops: ops})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	odd := metabase.Set{Path: "/LM/SMTPSVC/1", Property: metabase.Property{ID: 1014, Value: metabase.String("many")}}
	if _, err := s.Apply(t.Context(), metabase.Batch{Ops: append(setupOps(), odd)}); err != nil {
		t.Fatal(err)
	}
	if got := schema.IIS().Check(must2(put(t, "/LM/SMTPSVC/1", "ServerComment", "x"))); len(got) != 0 {
		t.Errorf("another property: %v", got)
	}
	if got := schema.IIS().Check(must2(metabase.Move{From: "/LM/SMTPSVC/1", To: "/LM/SMTPSVC/2"})); len(got) != 1 {
		t.Errorf("moved: %v, want the one problem", got)
	}
}

// The service alone takes away what it alone sets; a key that goes takes it along.
func TestCheckOfRemovedProperties(t *testing.T) {
	s := open(t)
	must(t, s, setupOps()...)
	state, _ := schema.IIS().Property("ServerState")
	if err := s.SetVolatile("/LM/SMTPSVC/1", state.Item(metabase.DWord(2))); err != nil {
		t.Fatal(err)
	}
	unset := metabase.Unset{Path: "/LM/SMTPSVC/1", ID: state.ID}
	err := apply(t, s, "user:root", unset)
	if err == nil || !strings.Contains(err.Error(), "/LM/SMTPSVC/1: property 1016: is VOLATILE, and so is set by the service alone") {
		t.Errorf("somebody unsets it: %v", err)
	}
	must(t, s, put(t, "/LM/SMTPSVC/1", "MaxConnections", "5"), metabase.Clear{Path: "/LM/SMTPSVC/1"})
	must(t, s, metabase.Move{From: "/LM/SMTPSVC/1", To: "/LM/SMTPSVC/2"})
	must(t, s, metabase.Move{From: "/LM/SMTPSVC/2", To: "/LM/SMTPSVC/1"})
}

func TestClassAt(t *testing.T) {
	s := open(t)
	must(t, s, setupOps()...)
	for path, want := range map[metabase.Path]string{
		"/LM": schema.Computer, "/lm/smtpsvc": schema.Service, "/LM/SMTPSVC/9": schema.Server, "/LM/SMTPSVC/nine": "",
		"/LM/SMTPSVC/1/Domain": schema.Domain, "/LM/SMTPSVC/1/Domain/new.test": schema.Domain, "/LM/SMTPSVC/User/joe": schema.User,
		"/LM/SMTPSVC/1/Sessions": schema.Sessions, "/LM/SMTPSVC/1/Domain/a.test/x": "", "/Else": "", "/": "",
	} {
		if got := schema.IIS().ClassAt(s.Snapshot(), path); got != want {
			t.Errorf("ClassAt(%s) = %q, want %q", path, got, want)
		}
	}
}

func TestSync(t *testing.T) {
	s := open(t)
	ops := schema.IIS().Sync(s.Snapshot())
	if err := apply(t, s, "", ops...); err != nil {
		t.Fatal(err)
	}
	snap := s.Snapshot()
	id := func(name string) metabase.ID {
		p, _ := schema.IIS().Property(name)
		return p.ID
	}
	item, ok := snap.Stored("/schema/properties/routeaction", id("MetaId"))
	if !ok || item.Value.DWord() != 36946 {
		t.Errorf("the number of RouteAction: %v, %v", item, ok)
	}
	item, _ = snap.Stored("/Schema/Classes/IIsSmtpServer", id("Containment"))
	if got := strings.Join(item.Value.Strings(), " "); !strings.Contains(got, schema.Domain) || !strings.Contains(got, schema.User) {
		t.Errorf("a site contains %q", got)
	}
	// What an older or newer program left behind goes, and comes back.
	if err := apply(t, s, "", metabase.Remove{Path: "/Schema/Properties/HopCount"}, add("/Schema/Properties/Gone", "IIsSchemaProperty"),
		put(t, "/Schema/Properties/RouteAction", "Meaning", "other"), put(t, "/Schema/Properties/RouteAction", "MinRange", "7")); err != nil {
		t.Fatal(err)
	}
	if err := apply(t, s, "", schema.IIS().Sync(s.Snapshot())...); err != nil {
		t.Fatal(err)
	}
	if ops := schema.IIS().Sync(s.Snapshot()); len(ops) != 0 {
		t.Errorf("there are still %d ops", len(ops))
	}
	if snap := s.Snapshot(); snap.Has("/Schema/Properties/Gone") || !snap.Has("/Schema/Properties/HopCount") {
		t.Error("the keys are not what the table says")
	}
}

func TestEffective(t *testing.T) {
	s := open(t)
	must(t, s, append(setupOps(), put(t, "/LM/SMTPSVC", "HopCount", "15"))...)
	id := func(name string) metabase.ID {
		p, _ := schema.IIS().Property(name)
		return p.ID
	}
	snap := s.Snapshot()
	tests := []struct {
		prop string
		want string
		from metabase.Path
		ok   bool
	}{
		{"HopCount", "15", "/LM/SMTPSVC", true},
		{"RouteAction", "0", "", true},
		{"UpdatedFQDN", "", "", false},
	}
	for _, tt := range tests {
		v, from, ok := schema.IIS().Effective(snap, "/LM/SMTPSVC/1/Domain/a.test", id(tt.prop))
		if v.String() != tt.want || from != tt.from || ok != tt.ok {
			t.Errorf("%s: %q from %q, %v", tt.prop, v.String(), from, ok)
		}
	}
	hop, route := id("HopCount"), id("RouteAction")
	if n := testing.AllocsPerRun(100, func() {
		schema.IIS().Effective(snap, "/LM/SMTPSVC/1/Domain/a.test", hop)
		schema.IIS().Effective(snap, "/LM/SMTPSVC/1/Domain/a.test", route)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDescribe(t *testing.T) {
	p, _ := schema.IIS().Property("RouteAction")
	for _, part := range []string{"RouteAction (36946, 0x9052)", "DWORD (flags)", "default     0", "0x200       etrn_cmd: Mail waits"} {
		if !strings.Contains(p.Describe(), part) {
			t.Errorf("%q is not in\n%s", part, p.Describe())
		}
	}
	p, _ = schema.IIS().Property("FullyQualifiedDomainName")
	if !strings.Contains(p.Describe(), "this one is ours") {
		t.Errorf("nothing of the number in\n%s", p.Describe())
	}
	c, _ := schema.IIS().Class(schema.Server)
	if text := c.Describe(); !strings.Contains(text, "below IIsSmtpService, with a number") || !strings.Contains(text, "ServerBindings") {
		t.Error(text)
	}
}
