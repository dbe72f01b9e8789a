// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"restante/admin"
	"restante/admin/adsitree"
	"restante/admin/api"
	calls "restante/admin/tree"
	adsi "restante/adsi-compat"
	"restante/adsi-compat/luahost/system"
	"restante/internal/deptest"
	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase"
	"restante/metabase/schema"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":   "a script sees the tree; the engine follows it",
		"/admin":    "imports go down only",
		"/cmd":      "imports go down only",
		"/metabase": "scripts see the tree through adsi's objects",
	})
}

// tree is a store with a service and two sites.
func tree(t testing.TB) *metabase.Store {
	t.Helper()
	s, err := metabase.Open(t.Context(), kv.NewMem(), seal.New(), metabase.Options{
		Checks: []metabase.Check{schema.IIS().Check},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	b := metabase.Batch{Ops: []metabase.Op{
		metabase.AddKey{Path: "/LM", Class: "IIsComputer"},
		metabase.AddKey{Path: "/LM/SMTPSVC", Class: "IIsSmtpService"},
	}}
	for _, site := range []metabase.Path{"/LM/SMTPSVC/1", "/LM/SMTPSVC/2"} {
		b.Ops = append(b.Ops,
			metabase.AddKey{Path: site, Class: "IIsSmtpServer"},
			metabase.AddKey{Path: site.Join("Domain"), Class: "IIsSmtpDomain"})
	}
	if _, err := s.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return s
}

// directory is the store as a script of root sees it, by calls.
func directory(s *metabase.Store) *adsi.Directory {
	a := admin.New(s, schema.IIS(), nil, admin.Env{})
	calls.Register(a)
	root := api.Caller{Who: []metabase.Principal{"user:root"}, Origin: metabase.FromLua}
	return adsi.New(adsitree.New(a.Direct(root), api.Terms{}), schema.IIS())
}

// run runs source on a fresh tree and gives what it printed.
func run(t *testing.T, s *metabase.Store, source string, args ...string) (string, error) {
	t.Helper()
	return runWithin(t, s, 256<<20, source, args...)
}

// runWithin is run with so much memory.
func runWithin(t *testing.T, s *metabase.Store, memory uint64, source string, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	err := Run(t.Context(), directory(s), Script{Name: "test.lua", Source: source, Args: args, Streams: system.Streams{In: strings.NewReader(""), Out: &out, Err: &out}, Memory: memory})
	return out.String(), err
}

// The scripts that are installed run unchanged.
func TestShippedScripts(t *testing.T) {
	s := tree(t)
	for _, name := range []string{"enable-features.lua", "turn-domain.lua"} {
		source, err := os.ReadFile(filepath.Join("..", "..", "scripts", name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := run(t, s, string(source)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	snap := s.Snapshot()
	if p, ok := snap.Stored("/LM/SMTPSVC", 36931); !ok || p.Value.DWord() != 2 {
		t.Errorf("SmtpServiceVersion: %v, %v", p, ok)
	}
	const domain = "/LM/SMTPSVC/2/Domain/test.com"
	if got := snap.Class(domain); got != "IIsSmtpDomain" {
		t.Errorf("class %q", got)
	}
	if p, _ := snap.Stored(domain, 36946); p.Value.DWord() != 514 {
		t.Errorf("RouteAction: %v", p)
	}
	if p, _ := snap.Stored(domain, 36966); len(p.Value.Strings()) != 1 || p.Value.Strings()[0] != "testserver" {
		t.Errorf("AuthTurnList: %v", p)
	}
	if rec, err := s.Record(t.Context(), snap.Rev()); err != nil || rec.Origin != metabase.FromLua || rec.Actor != "user:root" {
		t.Errorf("record %+v, %v", rec, err)
	}
	// The second run finds the domain there, and changes nothing.
	source, _ := os.ReadFile(filepath.Join("..", "..", "scripts", "turn-domain.lua"))
	_, err := run(t, s, string(source))
	if err == nil || !strings.Contains(err.Error(), "test.lua:3: Create:") || !strings.Contains(err.Error(), "0x800700B7") {
		t.Errorf("second run: %v", err)
	}
}

func TestObjects(t *testing.T) {
	tests := []struct{ name, source, want string }{
		{"identity", `local o = GetObject("iis://localhost/smtpsvc/1")
			print(o.Name, o.Class, o.ADsPath, o.Parent)
			print(o == GetObject("IIS://LocalHost/SMTPSVC/1"), tostring(o))`,
			"1\tIIsSmtpServer\tIIS://LocalHost/SMTPSVC/1\tIIS://LocalHost/SMTPSVC\ntrue\tIIS://LocalHost/SMTPSVC/1\n"},
		{"get falls back to the parent and then to the default", `local svc = GetObject("IIS://LocalHost/SMTPSVC")
			svc.HopCount = 7
			svc:SetInfo()
			local site = GetObject("IIS://LocalHost/SMTPSVC/1")
			print(site.HopCount, site:Get("MaxRecipients"), site:Get("hopcount"))`,
			"7\t100\t7\n"},
		{"a put shows before it is written, and getinfo drops it", `local o = GetObject("IIS://LocalHost/SMTPSVC/1")
			o:Put("HopCount", 9)
			print(o.HopCount, GetObject("IIS://LocalHost/SMTPSVC/1").HopCount ~= 9)
			o:GetInfo()
			print(o.HopCount ~= 9)`,
			"9\ttrue\ntrue\n"},
		{"lists", `local d = GetObject("IIS://LocalHost/SMTPSVC/1/Domain"):Create("IIsSmtpDomain", "a.test")
			d:Put("AuthTurnList", {"x", "y"})
			d:SetInfo()
			d:PutEx(ADS_PROPERTY_APPEND, "AuthTurnList", {"z"})
			d:PutEx(ADS_PROPERTY_DELETE, "AuthTurnList", {"X"})
			d:SetInfo()
			print(table.concat(d.AuthTurnList, ","), #d:GetEx("AuthTurnList"))
			d:PutEx(ADS_PROPERTY_CLEAR, "AuthTurnList")
			d:SetInfo()
			print(#d:GetEx("AuthTurnList"))`,
			"y,z\t2\n0\n"},
		{"booleans and flags", `local o = GetObject("IIS://LocalHost/SMTPSVC/1")
			o.ServerAutoStart = false
			o.AuthFlags = 1
			o.AuthBasic = true
			o:SetInfo()
			print(o.ServerAutoStart, o.AuthFlags, o.AuthBasic, o.AuthNTLM)`,
			"false\t3\ttrue\tfalse\n"},
		{"children", `local svc = GetObject("IIS://LocalHost/SMTPSVC")
			for child in svc do for grandchild in child do print(child.Name, grandchild.Name) end end
			print(#svc:Children(), #svc:Children("IIsSmtpDomain"))`,
			"1\tDomain\n2\tDomain\n2\t0\n"},
		{"create, copy, move, delete", `local c = GetObject("IIS://LocalHost/SMTPSVC/1/Domain")
			c:Create("IIsSmtpDomain", "a.test"):SetInfo()
			print(c:CopyHere("a.test", "b.test").Name, c:MoveHere("a.test", "c.test").Name)
			c:Delete("IIsSmtpDomain", "b.test")
			print(#c:Children(), c:GetObject("IIsSmtpDomain", "c.test").ADsPath)`,
			"b.test\tc.test\n1\tIIS://LocalHost/SMTPSVC/1/Domain/c.test\n"},
		{"data paths", `GetObject("IIS://LocalHost/SMTPSVC/2"):Put("HopCount", 3)
			local o = GetObject("IIS://LocalHost/SMTPSVC/2"); o.HopCount = 3; o:SetInfo()
			print(table.concat(GetObject("IIS://LocalHost/SMTPSVC"):GetDataPaths("HopCount"), ","))`,
			"IIS://LocalHost/SMTPSVC/2\n"},
		{"the relay recipe", `local x = GetObject("IIS://LocalHost/SMTPSVC/1")
			local r = x:Get("RelayIpList")
			r.GrantByDefault = false
			r.IPGrant = {"10.1.1.1", "192.0.2.0, 255.255.255.0"}
			x:Put("RelayIpList", r)
			x:SetInfo()
			local again = GetObject("IIS://LocalHost/SMTPSVC/1").RelayIpList
			print(again.grantbydefault, table.concat(again.IPGRANT, "; "), #again.IPDeny)
			table.insert(again.IPGrant, "10.1.1.2")
			x.RelayIpList = again
			x:SetInfo()
			print(table.concat(x:GetEx("RelayIpList"), "; "))
			x.RelayIpList = {GrantByDefault = false, IPGrant = "10.9.9.9"}
			print(table.concat(x:GetEx("RelayIpList"), "; "))
			x.RelayIpList = {"10.8.8.8"}
			print(table.concat(x:GetEx("RelayIpList"), "; "))`,
			"false\t10.1.1.1; 192.0.2.0, 255.255.255.0\t0\n10.1.1.1; 10.1.1.2; 192.0.2.0, 255.255.255.0\n10.9.9.9\n10.8.8.8\n"},
		{"numbers without a name", `local o = GetObject("IIS://LocalHost/SMTPSVC/1")
			o:Put("61600", 5)
			o:Put("61601", true)
			o:Put("61602", "5")
			o:Put("61603", {"5"})
			o:SetInfo()
			for n = 61600, 61603 do print(type(o:Get(tostring(n)))) end
			print(o:Get("61600") + 1, o:Get("61601"))`,
			"number\nnumber\nstring\ntable\n6\t1\n"},
		{"count and filter", `local o = GetObject("IIS://LocalHost/SMTPSVC")
			print(o.Count, #o.Filter)
			o.Filter = {"IIsSmtpDomain"}
			print(o.Count, #o:Children(), #o:Children("IIsSmtpServer"), o.Filter[1])
			for child in o do print(child.Name) end
			o.Filter = "IIsSmtpServer"
			for child in o do print(child.Name) end`,
			"2\t0\n0\t0\t2\tIIsSmtpDomain\n1\n2\n"},
		{"the schema", `local p = GetObject("IIS://LocalHost/Schema/MaxRecipients")
			print(p.Name, p.class, p.Syntax, p.Default, p.MetaId == GetObject("IIS://LocalHost/SMTPSVC/1"):GetPropertyAttribObj("MaxRecipients").MetaId)
			local c = GetObject(GetObject("IIS://LocalHost/SMTPSVC/1").Schema)
			print(c.Name, c.Class, #c.OptionalProperties > 50, GetObject("IIS://LocalHost/Schema/DefaultDomain").Default)`,
			"MaxRecipients\tProperty\tInteger\t100\ttrue\nIIsSmtpServer\tClass\ttrue\tnil\n"},
		{"arguments", `print(#arg, arg[1], arg[0])`, "2\tone\ttest.lua\n"},
		{"a first line for the shell", "#!/usr/bin/restante run\nprint(1)", "1\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := run(t, tree(t), tt.source, "one", "two")
			if err != nil || got != tt.want {
				t.Errorf("printed %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	const bind = `local o = GetObject("IIS://LocalHost/SMTPSVC/1/Domain"); `
	const relay = `local o = GetObject("IIS://LocalHost/SMTPSVC/1"); local r = o.RelayIpList; `
	tests := []struct{ source, want string }{
		{`GetObject("IIS://LocalHost/SMTPSVC/9")`, "test.lua:1: GetObject: IIS://LocalHost/SMTPSVC/9: not found (0x80070003)"},
		{`GetObject("IIS://elsewhere/SMTPSVC")`, `"elsewhere" is not this machine`},
		{`GetObject("HTTP://x")`, "the path must begin with IIS://"},
		{bind + `o:Get("RoutAction")`, "RouteAction"}, // the property that was meant
		{bind + `o.MaxMessageSize = 1`, "has no MaxMessageSize"},
		{bind + `o:Create("IIsSmtpDomian", "x.test")`, `there is no class "IIsSmtpDomian"`},
		{bind + `o:Create("IIsSmtpDomain", "")`, "the name is empty"},
		{bind + `local d = o:Create("IIsSmtpDomain", "x.test"); d:GetInfo()`, "call SetInfo first"},
		{bind + `o:Put("RouteAction", {})`, "RouteAction"},
		{bind + `o:Put("RouteAction", print)`, "a string, number, boolean or a list of them is wanted, not function"},
		{bind + `o.Put("RouteAction", 1)`, "call methods as object:Method()"},
		{bind + `o.Name = "x"`, "Name of an object cannot be set (0x80070057)"},
		{bind + `o:PutEx(9, "AuthTurnList", "x")`, "operation 9"},
		{bind + `o:PutEx(3, "RouteAction", 1)`, "RouteAction: is not a list"},
		{bind + `o:Delete("IIsSmtpDomain", "none.test")`, "not found"},
		{bind + `local d = o:Create("IIsSmtpDomain", "no domain"); d:SetInfo()`, "no domain"},
		{bind + `o.KeyType = "IIsSmtpServer"`, "the class of a key that exists cannot be changed"},
		{bind + `o.Count = 1`, "Count of an object cannot be set"},
		{bind + `o.AuthTurnList = {"a", x = "b"}`, "the list has x beside its members"},
		{bind + `o.AuthTurnList = {[1] = "a", [3] = "b"}`, "is wanted, not nil"},
		{bind + `o.AuthTurnList = {IPGrant = {"10.1.1.1"}}`, "takes no list of addresses"},
		{relay + `r.IPGrants = {"10.1.1.1"}`, `the object has no IPGrants; did you mean "IPGrant"? (0x80005006)`},
		{relay + `r[1] = "10.1.1.1"`, "the object has no 1; there are DomainDeny, DomainGrant, GrantByDefault, IPDeny, IPGrant (0x80005006)"},
		{relay + `print(r.Grants)`, "the object has no Grants"},
		{relay + `r.GrantByDefault = "no"; o:Put("RelayIpList", r)`, "GrantByDefault is true or false"},
		{relay + `r.IPDeny = {"10.1.1"}; o.RelayIpList = r`, `"10.1.1" is no address`},
		{relay + `r.DomainGrant = {"x y.test"}; o.RelayIpList = r`, `"x y.test" is no name of a host`},
		{relay + `r.IPGrant = {"10.1.1.1", print}; o.RelayIpList = r`, "not function"},
		{relay + `o.RelayIpList = {Grant = {"10.1.1.1"}}`, "a list of addresses has no Grant; there are DomainDeny, "},
		{relay + `o.RouteAction = r`, "takes no list of addresses"},
		{`GetObject("IIS://LocalHost/Schema/MaxRecipients").Default = 7`, "Default of the object cannot be set (0x80070057)"},
		{`GetObject("IIS://LocalHost/Schema/NoSuchThing")`, "0x80070003"},
		{`collectgarbage()`, "test.lua:1:"},
		{"print(1\nprint(", "test.lua"},
		{"local x = nil\nx()", "test.lua:2:"},
		{`error({1})`, "table"},
		{`require("x")`, "test.lua:1:"},
		{`local function f() return f() + 1 end f()`, "stack overflow"},
	}
	for _, tt := range tests {
		s := tree(t)
		before := s.Snapshot().Rev()
		_, err := run(t, s, tt.source)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.source, err, tt.want)
		}
		if s.Snapshot().Rev() != before {
			t.Errorf("%s: changed the tree", tt.source)
		}
	}
}

func TestSetInfoIsAllOrNothing(t *testing.T) {
	s := tree(t)
	_, err := run(t, s, `local d = GetObject("IIS://LocalHost/SMTPSVC/1/Domain"):Create("IIsSmtpDomain", "a.test")
		d:Put("RouteAction", 512)
		d:Put("RouteUserName", "x")
		local ok, why = pcall(function() d:Put("AuthTurnList", "") ; d:SetInfo() end)
		print(ok)`)
	if err != nil {
		t.Fatal(err)
	}
	snap := s.Snapshot()
	if snap.Has("/LM/SMTPSVC/1/Domain/a.test") {
		if p, _ := snap.Stored("/LM/SMTPSVC/1/Domain/a.test", 36946); p.Value.DWord() != 512 {
			t.Error("the key is there without its values")
		}
	}
}

func TestARunawayIsStopped(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := Run(ctx, directory(tree(t)), Script{Name: "loop.lua", Source: "while true do end", Streams: system.Streams{Out: &strings.Builder{}}})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "loop.lua:1: stopped: ") {
		t.Errorf("error %v", err)
	}
}

func FuzzRun(f *testing.F) {
	for _, source := range []string{
		`for c in GetObject("IIS://LocalHost/SMTPSVC") do print(c.Name, c.HopCount) end`,
		`local o = GetObject("IIS://LocalHost/SMTPSVC/1/Domain"):Create("IIsSmtpDomain", "a.test"); o:Put("AuthTurnList", {"a"}); o:SetInfo()`,
		`setmetatable(_G, {__index = function() return print end}) x()`,
		`GetObject("IIS://LocalHost/SMTPSVC"):PutEx(1, "HopCount")`,
	} {
		f.Add(source)
	}
	s := tree(f)
	f.Fuzz(func(t *testing.T, source string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var out strings.Builder
		// It ends, by itself or by its context, and never takes us along.
		_ = Run(ctx, directory(s), Script{Name: "fuzz.lua", Source: source, Streams: system.Streams{In: strings.NewReader(""), Out: &out, Err: &out}})
	})
}
