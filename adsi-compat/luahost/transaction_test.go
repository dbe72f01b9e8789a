// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"errors"
	"strings"
	"testing"

	"restante/adsi-compat/luahost/system"
	"restante/metabase"
)

func TestTransaction(t *testing.T) {
	const domains = `local domains = GetObject("IIS://LocalHost/SMTPSVC/1/Domain")
		local function add(name, route) local d = domains:Create("IIsSmtpDomain", name); d.RouteAction = route or 514; d:SetInfo(); return d end `
	tests := []struct {
		name, source, want string
		revisions          metabase.Rev
	}{
		{"all in one revision", domains + `print(transaction(function() for i = 1, 50 do add("d" .. i .. ".test") end return "done", 2 end), domains.Count)`, "done\t50\n", 1},
		{"its own changes show", domains + `transaction(function()
			local d = add("a.test"); print(d.RouteAction, GetObject(d.ADsPath).RouteAction, domains.Count, #domains:GetDataPaths("RouteAction"))
			d:PutEx(ADS_PROPERTY_APPEND, "AuthTurnList", {"x"}); d:SetInfo(); d:PutEx(ADS_PROPERTY_APPEND, "AuthTurnList", {"y"}); d:SetInfo()
			domains:CopyHere("a.test", "b.test"); domains:Delete("", "a.test")
			print(table.concat(GetObject("IIS://LocalHost/SMTPSVC/1/Domain/b.test").AuthTurnList, "+"), pcall(GetObject, d.ADsPath)) end)
			print(domains.Count)`, "514\t514\t1\t1\nx+y\tfalse\ttest.lua:6: GetObject: IIS://LocalHost/SMTPSVC/1/Domain/a.test: not found (0x80070003)\n1\n", 1},
		{"an error leaves nothing", domains + `print(pcall(transaction, function() add("a.test"); error("no") end)); print(domains.Count)`, "false\ttest.lua:2: no\n0\n", 0},
		{"nor does one of an object", domains + `pcall(transaction, function() add("a.test"); add("a.test") end)`, "", 0},
		{"what the checks refuse is told at the end", domains + `print(pcall(transaction, function() add("a.test"); add("b.test").X = 1; local s = GetObject("IIS://LocalHost/SMTPSVC/1"); s.MaxRecipients = 7; s:SetInfo() end))`,
			"false\ttest.lua:2: ", 0},
		{"no two within each other", `transaction(function() print(pcall(transaction, print)) end)`, "false\ttransaction: IIS://LocalHost: a transaction is open already (0x80004005)\n", 0},
		{"nothing to do", `transaction(function() end) print(pcall(transaction, 1))`, "false\t", 0},
		{"the next one is new", domains + `pcall(transaction, function() add("a.test"); error() end); transaction(function() add("a.test") end); add("b.test")`, "", 2},
	}
	for _, tt := range tests {
		s := tree(t)
		before := s.Snapshot().Rev()
		got, err := run(t, s, tt.source)
		if err != nil || !strings.HasPrefix(strings.ReplaceAll(got, "false\ttest.lua:1: transaction", "false\ttransaction"), tt.want) {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
		if n := s.Snapshot().Rev() - before; n != tt.revisions {
			t.Errorf("%s: %d revisions, want %d", tt.name, n, tt.revisions)
		}
	}
}

// What a failed transaction has not written is pending again, in the order of its Puts.
func TestAFailedTransactionKeepsWhatWasPut(t *testing.T) {
	const site = `local s = GetObject("IIS://LocalHost/SMTPSVC/1"); local function stored(n) return GetObject(s.ADsPath):Get(n) end
		local function fails(f) pcall(transaction, function() f(); error("no") end) end `
	tests := []struct{ name, source, want string }{
		{"put before it", `s.MaxRecipients = 7; fails(function() s:SetInfo() end); print(s.MaxRecipients, stored("MaxRecipients")); s:SetInfo(); print(stored("MaxRecipients"))`, "7\t100\n7\n"},
		{"put within it", `fails(function() s.MaxRecipients = 7; s:SetInfo() end); s:SetInfo(); print(stored("MaxRecipients"))`, "7\n"},
		{"put again and put later", `fails(function() s.MaxRecipients = 7; s.HopCount = 20; s:SetInfo(); s.MaxRecipients = 8; s:SetInfo(); s.MaxRecipients = 9 end)
			print(s.MaxRecipients); s:SetInfo(); print(stored("MaxRecipients"), stored("HopCount"))`, "9\n9\t20\n"},
		{"a new key", `local d; fails(function() d = GetObject(s.ADsPath .. "/Domain"):Create("IIsSmtpDomain", "a.test"); d.RouteAction = 514; d:SetInfo() end)
			d:SetInfo(); print(GetObject(d.ADsPath).RouteAction)`, "514\n"},
		{"a refusal at the end", `print((pcall(transaction, function() s.MaxRecipients = 7; s:SetInfo(); GetObject(s.ADsPath .. "/Domain"):Create("IIsSmtpServer", "x"):SetInfo(); print("end") end))); print(s.MaxRecipients)`, "end\nfalse\n7\n"},
		{"GetInfo drops it", `fails(function() s.MaxRecipients = 7; s:SetInfo() end); s:GetInfo(); print(s.MaxRecipients); s:SetInfo(); print(stored("MaxRecipients"))`, "100\n100\n"},
		{"one that succeeds leaves nothing", `transaction(function() s.MaxRecipients = 7; s:SetInfo() end); fails(function() end); s:GetInfo(); s:SetInfo(); print(stored("MaxRecipients"))`, "7\n"},
	}
	for _, tt := range tests {
		got, err := run(t, tree(t), site+tt.source)
		if err != nil || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

// A script that ends itself within a transaction is told that nothing is changed.
func TestTheEndWithinATransaction(t *testing.T) {
	for _, end := range []string{"os.exit(0)", "os.exit(3)", "os.exit()", "WScript.Quit(0)", "pcall(os.exit, 0)"} {
		s := tree(t)
		before := s.Snapshot().Rev()
		_, err := run(t, s, `transaction(function() local s = GetObject("IIS://LocalHost/SMTPSVC/1"); s.MaxRecipients = 7; s:SetInfo(); `+end+` end)`)
		left := (*LeftTransaction)(nil)
		if !errors.As(err, &left) || err.Error() != "test.lua: the script ended itself within a transaction: nothing of the transaction is changed" || (left.Code == 3) != (end == "os.exit(3)") {
			t.Errorf("%s: %v", end, err)
		}
		if rev := s.Snapshot().Rev(); rev != before {
			t.Errorf("%s: revision %d, was %d", end, rev, before)
		}
	}
	if _, err := run(t, tree(t), `transaction(function() end) os.exit(0)`); err != nil {
		t.Errorf("after it: %v", err)
	}
}

// What another has written after the transaction read is not overwritten.
func TestATransactionMeetsAnotherWriter(t *testing.T) {
	s := tree(t)
	const source = `local site = GetObject("IIS://LocalHost/SMTPSVC/1")
		transaction(function() site.MaxRecipients = 7; site:SetInfo(); print("now") end)`
	other := writerFunc(func() {
		b := metabase.Batch{Ops: []metabase.Op{metabase.AddKey{Path: "/LM/SMTPSVC/2/Domain/x.test", Class: "IIsSmtpDomain"}}}
		if _, err := s.Apply(t.Context(), b); err != nil {
			t.Error(err)
		}
	})
	err := Run(t.Context(), directory(s), Script{Name: "test.lua", Source: source, Streams: system.Streams{Out: other}})
	if err == nil || !strings.Contains(err.Error(), "test.lua:2: transaction: IIS://LocalHost: nothing is changed, as others changed the tree meanwhile") {
		t.Errorf("error %v", err)
	}
	if items := s.Snapshot().Properties("/LM/SMTPSVC/1"); len(items) != 1 {
		t.Errorf("stored %v beside the class", items)
	}
}

// A writerFunc is called at each write.
type writerFunc func()

func (f writerFunc) Write(b []byte) (int, error) { f(); return len(b), nil }
