// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTermsOfEveryChange gives --if-rev and --confirm to every command that changes
// the tree.
func TestTermsOfEveryChange(t *testing.T) {
	h := serveHere(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	do := func(stdin, line string) (int, string, string) {
		t.Helper()
		return h.command(stdin, strings.Fields(line)...)
	}
	must := func(stdin, line string) {
		t.Helper()
		if code, out, errs := do(stdin, line); code != 0 {
			t.Fatalf("%s: exit %d: %q, %q", line, code, out, errs)
		}
	}
	must("", "site create --name Two --bind 127.0.0.1:0 --domain two.example")
	must("", "domain create 1 held.example --hold --turn jim")
	must("", "mb set SMTPSVC/1 DnsServers 127.0.0.1:1")
	must("", "mb add SMTPSVC/1/Domain/x.example --class IIsSmtpDomain")
	must("", "mb set SMTPSVC HopCount 17")
	must("", "mb set SMTPSVC RouteOauthClientId app")
	must("pw", "account add 1/jim --password-stdin")
	must("", "mb backup keep")
	must("", "mb set SMTPSVC/1 HopCount 18")
	must("", "mb export SMTPSVC/1 "+filepath.Join(dir, "one.xml"))
	lua := file("x.lua", `local o = GetObject("IIS://localhost/SMTPSVC/1"); o:Put("HopCount", 19); o:SetInfo(); o:Put("HopCount", 20); o:SetInfo()`)
	batch := file("batch", "set SMTPSVC/1 HopCount 21")
	must("", "mb apply "+file("oauth", `set SMTPSVC RouteOauth "http://127.0.0.1:1/token http://127.0.0.1:1/device"`))
	const act, mail = "acts at once and cannot be taken back", "what becomes of its mail cannot be taken back"
	tests := []struct{ command, args, stdin, refused string }{
		{"run", lua, "", ""},
		{"adsutil", "SET smtpsvc/1/HopCount 22", "", ""},
		{"mb set", "SMTPSVC HopCount 30", "", ""},
		{"mb unset", "SMTPSVC HopCount", "", ""},
		{"mb lock", "SMTPSVC/1 HopCount", "", ""},
		{"mb unlock", "SMTPSVC/1 HopCount", "", ""},
		{"mb add", "SMTPSVC/1/Domain/new.example", "", ""},
		{"mb rm", "SMTPSVC/1/Domain/x.example", "", ""},
		{"mb cp", "SMTPSVC/1/Domain/x.example SMTPSVC/1/Domain/y.example", "", ""},
		{"mb mv", "SMTPSVC/1/Domain/x.example SMTPSVC/1/Domain/z.example", "", ""},
		{"mb clear", "SMTPSVC/1/Domain/held.example", "", ""},
		{"mb cpdata", "SMTPSVC/1/Domain/held.example SMTPSVC/1/Domain/x.example", "", ""},
		{"mb touch", "SMTPSVC/1/Domain/x.example", "", ""},
		{"mb apply", batch, "", ""},
		{"mb revert", "LAST", "", ""},
		{"mb import", "--merge " + filepath.Join(dir, "one.xml"), "", ""},
		{"mb restore", "keep", "", ""},
		{"site create", "--name Three --bind 127.0.0.1:0 --domain three.example", "", ""},
		{"site rename", "1 other", "", ""},
		{"site bind", "1 127.0.0.1:0 127.0.0.2:0", "", ""},
		{"site start", "1", "", act},
		{"site stop", "1", "", act},
		{"site pause", "1", "", act},
		{"site continue", "1", "", act},
		{"site delete", "2 --discard", "", mail},
		{"domain create", "1 relay.example --remote --relay", "", ""},
		{"domain delete", "1 x.example", "", ""},
		{"domain dkim", "1 held.example --type ed25519", "", ""},
		{"domain oauth", "1 held.example", "", "does not answer"}, // TestServiceSignsInByTokens has a server that does
		{"account add", "1/joe --password-stdin", "sesame", ""},
		{"account passwd", "1/jim --password-stdin", "open", ""},
		{"account delete", "1/jim", "", ""},
		{"turn grant", "1 held.example joe", "", ""},
		{"turn revoke", "1 held.example jim", "", ""},
	}
	var commands []string
	for _, tt := range tests {
		commands = append(commands, tt.command)
		if tt.command == "mb unlock" {
			must("", "mb lock SMTPSVC/1 HopCount")
		}
		if tt.command == "mb import" || tt.command == "mb revert" {
			must("", "mb set SMTPSVC/1 HopCount 3"+fmt.Sprint(len(commands)))
		}
		rev := h.site(1).Configured
		args := strings.ReplaceAll(tt.args, "LAST", fmt.Sprint(rev))
		try := func(terms string) (int, string, string) {
			if tt.command == "run" || tt.command == "adsutil" { // what follows the script's name, or the verb, is no option
				return do(tt.stdin, "--yes "+tt.command+" "+terms+" "+args)
			}
			return do(tt.stdin, "--yes "+tt.command+" "+args+" "+terms)
		}
		for _, wrong := range []any{0, rev - 1} {
			code, out, errs := try(fmt.Sprintf("--if-rev %v", wrong))
			if want := fmt.Sprintf("the store is at revision %d, not at %v", rev, wrong); !strings.Contains(errs, want) || code == 0 || h.site(1).Configured != rev {
				t.Errorf("%s --if-rev %v: exit %d, %q, %q, revision %d", tt.command, wrong, code, out, errs, h.site(1).Configured)
			}
		}
		if code, _, errs := try("--confirm 0s"); code == 0 || !strings.Contains(errs, "must be greater than 0") {
			t.Errorf("%s --confirm 0s: exit %d, %q", tt.command, code, errs)
		}
		code, out, errs := try(fmt.Sprintf("--if-rev %d --confirm 1h", rev))
		if tt.refused != "" {
			if code == 0 || !strings.Contains(errs, tt.refused) || h.site(1).Configured != rev {
				t.Errorf("%s --confirm: exit %d, %q, %q", tt.command, code, out, errs)
			}
			continue
		}
		said := out
		if tt.command == "adsutil" { // its output has the form of IIS's
			said = errs
		}
		if code != 0 || !strings.Contains(said, "taken back at ") || h.site(1).Configured == rev {
			t.Errorf("%s --confirm: exit %d, %q, %q, revision %d", tt.command, code, out, errs, h.site(1).Configured)
		}
		for made := h.site(1).Configured; made > rev; made-- { // also says that it was pending: only then a revert needs no confirmation
			if code, _, errs := do("", fmt.Sprintf("mb confirm %d", made)); code != 0 {
				if !strings.Contains(errs, "later ones have changed all that it changed") {
					t.Errorf("%s: mb confirm %d: exit %d, %q", tt.command, made, code, errs)
				}
				continue // one of the same command did
			}
			must("", fmt.Sprintf("mb revert %d", made))
		}
	}
	if !slices.Equal(commands, changing) {
		t.Errorf("tried are %q, the commands that change are %q", commands, changing)
	}
}

// A script whose changes come from objects, modules, a transaction, an import and a
// restore meets --if-rev once, and tells each of its revisions.
func TestTermsOfAScriptsChanges(t *testing.T) {
	h := serveHere(t)
	script := func(source string) string {
		file := filepath.Join(t.TempDir(), "x.lua")
		if err := os.WriteFile(file, []byte(`local c, s = GetObject("IIS://LocalHost"), GetObject("IIS://LocalHost/SMTPSVC/1"); `+source), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	changes := []struct {
		source    string
		revisions int
		count     string
	}{
		{`s.MaxRecipients = 11; s:SetInfo()`, 1, "1 change"},
		{`metabase.set("SMTPSVC/1", "HopCount", 12)`, 1, "1 change"},
		{`domain.create{site = 1, name = "t.test", hold = true, turn = {"zed"}}`, 1, "4 changes"},
		{`account.add("zed", "a long password")`, 1, "3 changes"},
		{`turn.grant(1, "t.test", "ann")`, 1, "1 change"},
		{`site.create{name = "Two", bind = {"127.0.0.1:0"}, domain = "two.test"}`, 1, ""},
		{`c:Backup("t", MD_BACKUP_NEXT_VERSION, 0)`, 0, ""},
		{`transaction(function() print(s.MaxRecipients); s.MaxRecipients = 13; s:SetInfo(); metabase.set("SMTPSVC/1", "HopCount", 13) end)`, 1, "2 changes"},
		{`c:Export("", "out.xml", "/LM/SMTPSVC/1", 0); s.MaxRecipients = 14; s:SetInfo(); c:Import("", "out.xml", "/LM/SMTPSVC/1", "/LM/SMTPSVC/1", 4)`, 2, "2 changes"},
		{`c:Restore("t", MD_BACKUP_HIGHEST_VERSION, 0)`, 1, "2 changes"},
		{`metabase.revert(metabase.log("/", 1)[1].rev, "/")`, 1, "2 changes"},
		{`domain.delete(1, "t.test")`, 1, ""},
		{`site.rename(1, "Other " .. metabase.log("/", 1)[1].rev)`, 1, "1 change"},
	}
	t.Chdir(t.TempDir()) // for out.xml
	before, all, total := h.site(1).Configured, "site.pause(1); site.continue(1); ", 0
	for _, c := range changes {
		all += c.source + "\n"
		total += c.revisions
	}
	code, out, errs := h.command("", "run", "--if-rev", fmt.Sprint(before), script(all))
	if want := fmt.Sprintf("%d revisions, %d to %d: ", total, before+1, int(before)+total); code != 0 || !strings.Contains(out, want) {
		t.Fatalf("exit %d, %s, %s; want %s", code, out, errs, want)
	}
	h.command("", "domain", "delete", "1", "t.test")
	h.command("", "account", "delete", "zed")
	for _, c := range changes {
		code, out, errs := h.command("", "run", script(c.source))
		if code != 0 || (strings.Count(out, "revision") > 0) != (c.revisions > 0) || !strings.Contains(out, c.count) {
			t.Errorf("%s: exit %d, %s, %s; want %s", c.source, code, out, errs, c.count)
		}
	}
	rev := h.site(1).Configured
	code, out, errs = h.command("", "run", "--confirm", "1h", script(`s.HopCount = 21; s:SetInfo(); metabase.set("SMTPSVC/1", "HopCount", 22); domain.create{site = 1, name = "u.test"}; metabase.confirm(0)`))
	want := []string{
		fmt.Sprintf("3 revisions, %d to %d: ", rev+1, rev+3),
		fmt.Sprintf("revision %d: taken back at ", rev+1), fmt.Sprintf("unless restante mb confirm %d follows", rev+1),
		fmt.Sprintf("unless restante mb confirm %d follows", rev+2),
	}
	for _, text := range want {
		if code != 0 || !strings.Contains(out, text) {
			t.Errorf("--confirm: exit %d, %s, %s; want %s", code, out, errs, text)
		}
	}
	if strings.Contains(out, fmt.Sprint("confirm ", rev+3)) {
		t.Errorf("what the script has confirmed: %s", out)
	}
}

// With --json the answer of each command whose change is to be confirmed has the
// deadline, and no other answer has one.
func TestDeadlineInJSON(t *testing.T) {
	h := serveHere(t)
	for _, line := range []string{"mb set SMTPSVC HopCount 30", "domain create 1 relay.example --remote", "site rename 1 other"} {
		for _, terms := range []string{"--confirm 1h", ""} {
			code, out, errs := h.command("", strings.Fields("--json "+line+" "+terms)...)
			var a struct{ Until time.Time }
			if err := json.Unmarshal([]byte(out), &a); code != 0 || err != nil {
				t.Fatalf("%s: exit %d, %s, %s, %v", line, code, out, errs, err)
			}
			if left := time.Until(a.Until); (left > 0 && left <= time.Hour) != (terms != "") || strings.Contains(out, "until") != (terms != "") {
				t.Errorf("%s %s: %s", line, terms, out)
			}
			if code, _, errs := h.command("", "--yes", "mb", "revert", fmt.Sprint(h.site(1).Configured)); code != 0 {
				t.Fatal(errs)
			}
		}
	}
}
