// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"restante/admin/scriptcalls"
	"restante/adsi-compat/luahost"
)

// moduleCalls has a row for each function of the modules, in the order that they are
// called in on one service.
var moduleCalls = []struct{ name, source, want string }{
	{"service.status", `local s = service.status(); print(s.held, #s.sites, s.sites[1].state)`, "0\t1\tstarted"},
	{"service.explain", `local e = service.explain(1, "a@far.test"); print(e.accepted, e.domain)`, "false\tfar.test"},
	{"service.explain_message", `print(pcall(service.explain_message, "00000000000000000000"))`, "no message with that id is in the queue or in the trace (not_found)"},
	{"metabase.get", `local p = metabase.get("SMTPSVC/1", "MaxRecipients"); print(p.value, p.level, p.property)`, "100\tinherited\tMaxRecipients"},
	{"metabase.get", `print(metabase.get("SMTPSVC/1", "Nothing"))`, `error: x.lua:1: metabase get: /LM/SMTPSVC/1: no property is called "Nothing" (not_found)`},
	{"metabase.get", `print(metabase.get{words = {"SMTPSVC/1", "MaxRecipients"}, default = true}.level)`, "default"},
	{"metabase.get", `metabase.get{word = 1}`, "error: x.lua:1: metabase get: there is no field word: there are words, partial, stored, default, rev (failed)"},
	{"metabase.get", `metabase.get{words = {"SMTPSVC/9", "MaxRecipients"}}`, "(not_found)"},
	{"metabase.get", `metabase.gte("SMTPSVC/1", "MaxRecipients")`, `error: x.lua:1: metabase has no gte; did you mean "get"? (0x80005006)`},
	{"metabase.show", `print(#metabase.show("SMTPSVC/1") < #metabase.show("SMTPSVC/1", true))`, "true"},
	{"metabase.ls", `for _, k in ipairs(metabase.ls("SMTPSVC")) do print(k.name, k.class) end`, "1\tIIsSmtpServer"},
	{"metabase.tree", `print(#metabase.tree("/LM") > 4)`, "true"},
	{"metabase.find", `for _, p in ipairs(metabase.find("MaxRecipients")) do print(p.path) end`, "/LM/SMTPSVC\n"},
	{"metabase.schema", `print(metabase.schema("RouteAction")[1].id)`, "36946"},
	{"metabase.set", `local a = metabase.set("SMTPSVC/1", "MaxRecipients", 77); print(a.made, #a.changes, metabase.get("SMTPSVC/1", "MaxRecipients").value)`, "true\t1\t77"},
	{"metabase.set", `local s = GetObject("IIS://LocalHost/SMTPSVC/1"); print(s.MaxRecipients); metabase.set("SMTPSVC/1", "MaxRecipients", 78); print(s.MaxRecipients)`, "77\n78"},
	{"metabase.unset", `metabase.unset("SMTPSVC/1", "MaxRecipients"); print(metabase.get("SMTPSVC/1", "MaxRecipients").level)`, "inherited"},
	{"metabase.add", `print(metabase.add("SMTPSVC/1/Domain/a.test", "IIsSmtpDomain").made)`, "true"},
	{"metabase.cp", `print(metabase.cp("SMTPSVC/1/Domain/a.test", "SMTPSVC/1/Domain/b.test").made)`, "true"},
	{"metabase.mv", `print(metabase.mv("SMTPSVC/1/Domain/b.test", "SMTPSVC/1/Domain/c.test").made)`, "true"},
	{"metabase.rm", `print(metabase.rm("SMTPSVC/1/Domain/c.test").made, pcall(metabase.rm, "SMTPSVC/1/Domain/c.test"))`, "true\tfalse\tx.lua:1: metabase rm: "},
	{"metabase.apply", `transaction(function() metabase.apply{lines = {{words = {"add", "SMTPSVC/1/Domain/d.test", "IIsSmtpDomain"}}, {words = {"set", "SMTPSVC/1/Domain/d.test", "RouteAction", "514"}}}}
		print(GetObject("IIS://LocalHost/SMTPSVC/1/Domain/d.test").RouteAction) end)`, "514"},
	{"metabase.log", `local l = metabase.log("/", 2); print(#l, l[1].origin, l[1].rev - l[2].rev)`, "2\tcli\t1"},
	{"metabase.diff", `local l = metabase.log("/", 1)[1]; print(#metabase.diff(l.rev - 1, l.rev) > 1)`, "true"},
	{"metabase.revert", `local l = metabase.log("/", 1)[1]; print(metabase.revert(l.rev, "/").made, #domain.list(1))`, "true\t2"},
	{"metabase.revert", `print(metabase.revert{rev = 1, path = "/", dry_run = "x"})`, "dry_run: true or false is wanted, not a string"},
	{"metabase.confirm", `print(pcall(metabase.confirm, 0))`, "false\tx.lua:1: metabase confirm: "},
	{"metabase.export", `print(metabase.export("/LM/SMTPSVC").xml:match("IIsSmtpServer"))`, "IIsSmtpServer"},
	{"metabase.import", `local r = metabase.import{xml = metabase.export("/LM").xml, dry_run = true, merge = true}; print(r.dry_run, r.made)`, "true\tnil"},
	{"metabase.backup", `print(metabase.backup("one").version)`, "0"},
	{"metabase.backups", `print(#metabase.backups())`, "1"},
	{"metabase.restore", `print(metabase.restore{name = "one", version = -1, dry_run = true}.dry_run)`, "true"},
	{"metabase.delete_backup", `print(metabase.delete_backup("one", -1).name, #metabase.backups())`, "one\t0"},
	{"metabase.verify", `print(metabase.verify().keys > 4)`, "true"},

	{"site.create", `print(site.create{name = "Two", bind = {"127.0.0.1:0"}, domain = "two.test"}.number)`, "2"},
	{"site.create", `site.create{name = "Three", bind = "127.0.0.1:0"}`, "error: x.lua:1: site create: bind: a list is wanted, not a string"},
	{"site.list", `print(#site.list(), site.list()[1].name)`, "2\tDefault SMTP Site"},
	{"site.show", `print(site.show(1).name, site.show{site = 1}.state, pcall(site.show, 9))`, "Default SMTP Site\tstarted\tfalse\tx.lua:1: site show: "},
	{"site.show", `site.show("x")`, "error: x.lua:1: site show: site: a number is wanted, not a string"},
	{"site.show", `site.show(1, 2)`, "error: x.lua:1: site.show takes 1 arguments: site"},
	{"site.rename", `print(site.rename(1, "Main").name)`, "Main"},
	{"site.bind", `print(#site.bind(1, "127.0.0.1:0").bindings)`, "1"},
	{"site.pause", `print(site.pause(1).state)`, "paused"},
	{"site.continue", `print(site.continue(1).state)`, "started"},
	{"site.stop", `print(site.stop(1).state)`, "stopped"},
	{"site.start", `print(site.start(1).state)`, "started"},
	{"site.sessions", `print(#site.sessions(1))`, "0"},
	{"site.end_session", `print(site.end_session{site = 1, all = true}.sessions)`, "0"},
	{"site.delete", `print(site.delete{site = 2, discard = true}.site, #site.list())`, "2\t1"},
	{"site.delete", `site.delete{site = 1, discard = true}`, "error: x.lua:1: site delete: site 1: the default site cannot be deleted (refused)"},

	{"account.add", `print(account.add("joe", "a long password").name, pcall(account.add, "joe", "another password"))`, "joe\tfalse\tx.lua:1: account add: "},
	{"account.passwd", `print(account.passwd{name = "joe", password = "a new password", cram_md5 = true}.cram_md5)`, "true"},
	{"account.list", `print(account.list()[1].name)`, "joe"},
	{"domain.create", `print(domain.create{site = 1, name = "held.test", hold = true, turn = {"joe"}}.held)`, "true"},
	{"domain.show", `print(domain.show(1, "held.test").turn[1])`, "joe"},
	{"domain.list", `print(#domain.list(1))`, "3"},
	{"turn.grant", `print(#turn.grant(1, "held.test", "ann").turn)`, "2"},
	{"turn.list", `print(#turn.list(1), #turn.list{account = "ann"})`, "2\t1"},
	{"turn.history", `print(#turn.history(1, "held.test"), #turn.history{account = "ann"})`, "0\t0"},
	{"turn.revoke", `print(#turn.revoke(1, "held.test", "ann").turn)`, "1"},
	{"turn.revoke", `transaction(function() turn.revoke(1, "held.test", "joe") end)`, "turn revoke: is a change of its own: it cannot be in a transaction"},
	{"queue.list", `print(#queue.list())`, "0"},
	{"queue.messages", `queue.messages("held.test")`, "queue messages: held.test: no mail waits for that domain (not_found)"},
	{"queue.show", `queue.show("nosuch")`, "error: x.lua:1: queue show: "},
	{"queue.trace", `queue.trace("nosuch")`, "error: x.lua:1: queue trace: "},
	{"queue.retry", `print(queue.retry{domain = "held.test"}.messages)`, "0"},
	{"queue.freeze", `print(queue.freeze{all = true, dry_run = true}.dry_run)`, "true"},
	{"queue.thaw", `print(queue.thaw{all = true}.messages)`, "0"},
	{"queue.delete", `queue.delete()`, "error: x.lua:1: queue delete: "},
	{"queue.bounce", `print(queue.bounce{older_than = 60}.messages)`, "0"},
	{"queue.release", `queue.release("held.test")`, "queue release: held.test: no mail waits for that domain (not_found)"},
	{"queue.export", `queue.export("out"); print(io.open("out", "r") ~= nil)`, "true"},
	{"queue.import", `print(queue.import("out", 1).messages, pcall(queue.import, "none", 1))`, "0\tfalse\tx.lua:1: queue import: "},
	{"domain.oauth", `domain.oauth(1, "held.test")`, "domain oauth: site 1: held.test: RouteOauth is not set: it says whose tokens are used, such as microsoft365 (refused)"},
	{"domain.oauth_wait", `domain.oauth_wait(1, "held.test", {})`, "domain oauth_wait: site 1: held.test: RouteOauth is not set: it says whose tokens are used, such as microsoft365 (refused)"},
	{"domain.dkim", `metabase.set("SMTPSVC/1", "DnsServers", "127.0.0.1:1"); local d = domain.dkim{site = 1, name = "held.test", type = "ed25519", selector = "s1"}; print(d.made[1], d.keys[1].signs, d.keys[1].record)`, "s1\ttrue\ts1._domainkey.held.test"},
	{"domain.delete", `print(domain.delete(1, "held.test").messages)`, "0"},
	{"account.delete", `print(account.delete("joe").name)`, "joe"},
}

func TestModules(t *testing.T) {
	h := serveHere(t)
	t.Chdir(t.TempDir()) // for the folders of the table
	for _, tt := range moduleCalls {
		if got := h.lua(tt.source); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s: %q, want %q", tt.name, tt.source, got, tt.want)
		}
	}
}

// Functions that read the tree show what a transaction and a dry run have changed so
// far, as the objects do.
func TestModulesReadTheirChanges(t *testing.T) {
	h := serveHere(t)
	h.apply("add SMTPSVC/1/Domain/old.test IIsSmtpDomain")
	const change = `metabase.set("SMTPSVC/1", "ServerComment", "Renamed"); metabase.set("SMTPSVC/1", "MaxRecipients", 7)
		metabase.mv("SMTPSVC/1/Domain/old.test", "SMTPSVC/1/Domain/new.test")
		local d = GetObject("IIS://LocalHost/SMTPSVC/1/Domain/new.test"); d.RouteAction = 514; d.AuthTurnList = {"joe"}; d:SetInfo()
		metabase.add("SMTPSVC/User/joe", "IIsSmtpUser")
		metabase.add("SMTPSVC/2", "IIsSmtpServer"); metabase.add("SMTPSVC/2/Domain", "IIsSmtpDomain"); metabase.add("SMTPSVC/2/Domain/x.test", "IIsSmtpDomain"); `
	reads := []struct{ source, want string }{
		{`metabase.get("SMTPSVC/1", "MaxRecipients").value`, "7"},
		{`#metabase.show("SMTPSVC/1/Domain/new.test") > 1`, "true"},
		{`metabase.ls("SMTPSVC/1/Domain")[2].name`, "new.test"},
		{`#metabase.tree("SMTPSVC/2")`, "3"},
		{`metabase.find("AuthTurnList", "SMTPSVC/1")[1].path`, "/LM/SMTPSVC/1/Domain/new.test"},
		{`metabase.export("SMTPSVC/1").xml:match("Renamed")`, "Renamed"},
		{`#site.list()`, "2"},
		{`site.show(1).name`, "Renamed"},
		{`domain.list(1)[2].name`, "new.test"},
		{`domain.show(1, "new.test").held`, "true"},
		{`turn.list(1)[1].account`, "joe"},
		{`account.list()[1].name`, "joe"},
		{`service.explain(1, "a@new.test").domain`, "new.test"},
		{`GetObject("IIS://LocalHost/SMTPSVC/1").ServerComment`, "Renamed"},
	}
	all := change
	want := ""
	for _, r := range reads {
		all += "print(" + r.source + ");\n"
		want += r.want + "\n"
	}
	rev := h.site(1).Configured
	got := h.lua(`print(select(2, pcall(transaction, function() ` + all + ` error("undone", 0) end)))`)
	if got != want+"undone\n" {
		t.Errorf("in a transaction: %s\nwant %s", got, want)
	}
	script := filepath.Join(t.TempDir(), "x.lua")
	if err := os.WriteFile(script, []byte(all), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := h.command("", "run", "--dry-run", script); code != 0 || !strings.HasPrefix(out, want) {
		t.Errorf("in a dry run: exit %d, %s, %s", code, out, errs)
	}
	if now := h.site(1).Configured; now != rev {
		t.Errorf("revision %d, was %d", now, rev)
	}
	script2 := `metabase.set("SMTPSVC/1", "MaxRecipients", 7); print(pcall(metabase.revert, 1))`
	if err := os.WriteFile(script, []byte(script2), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, out, _ := h.command("", "run", "--dry-run", script); !strings.Contains(out, "metabase revert: cannot be tried after other changes, as a dry run has not made them") {
		t.Errorf("a trial after changes: %s", out)
	}
}

// Each function has its row, and each call of the API its function.
func TestEachModuleFunctionHasARow(t *testing.T) {
	for _, f := range scriptcalls.Functions() {
		if !slices.ContainsFunc(moduleCalls, func(row struct{ name, source, want string }) bool { return row.name == f.Path() }) {
			t.Errorf("%s has no row in moduleCalls", f.Path())
		}
	}
	table, err := os.ReadFile(filepath.Join("..", "..", "admin", "scriptcalls", "table.go"))
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join("..", "..", "admin", "api", "*.go")) // the pattern is valid
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(source)) {
			if !strings.Contains(line, " Method[") || !strings.Contains(line, "] ") && !strings.Contains(line, "]  ") || strings.HasPrefix(line, "func") || strings.Contains(line, "Complete") || strings.Contains(line, "AsIf") {
				continue // completion is the shell's, and AsIf how a script reads its own changes
			}
			name := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "const "))[0]
			if name != "MbApply" && strings.Contains(line, `= "`) && !strings.Contains(string(table), "api."+name+",") {
				t.Errorf("%s of package api has no function in a module", name)
			}
		}
	}
}

// TestLanguageServerDefinitions checks that the definitions are Lua, and name each function with
// its fields and each class.
func TestLanguageServerDefinitions(t *testing.T) {
	text := definitions()
	s := luahost.Script{Name: "check.lua", Source: `assert(loadstring(arg[1], "definitions"))`, Args: []string{text}}
	s.Out = io.Discard
	if err := luahost.Run(t.Context(), nil, s); err != nil {
		t.Error(err)
	}
	for _, f := range scriptcalls.Functions() {
		i := strings.Index(text, "\nfunction "+f.Path()+"(")
		if i < 0 {
			t.Errorf("%s is not there", f.Path())
			continue
		}
		doc := text[strings.LastIndex(text[:i], "\n\n"):i]
		for _, name := range f.Fields {
			if !regexp.MustCompile(`[{ ]` + name + `\?: \w`).MatchString(doc) {
				t.Errorf("%s: there is no %s in %s", f.Path(), name, doc)
			}
		}
		if !regexp.MustCompile(`---@return [\w.]+(\[\])?$`).MatchString(doc) {
			t.Errorf("%s gives nothing in %s", f.Path(), doc)
		}
	}
	for _, m := range regexp.MustCompile(`restante\.\w+`).FindAllString(text, -1) {
		if !strings.Contains(text, "---@class "+m+"\n") && m != "restante.d" {
			t.Errorf("%s is not defined", m)
		}
	}
	if empty := regexp.MustCompile(`(?m)^---@(field|param) \S+ *$`).FindString(text); empty != "" {
		t.Errorf("%s has no type", empty)
	}
	for name, kind := range map[string]string{"RelayIpList": "restante.IPList", "MaxRecipients": "integer", "AuthTurnList": "string[]", "ServerAutoStart": "boolean", "SmartHost": "string"} {
		if !strings.Contains(text, "---@field "+name+" "+kind+"\n") {
			t.Errorf("%s is no %s", name, kind)
		}
	}
}
