// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// memberTests show each member by a script, with the site 1 in o, the service in
// svc, and in d a domain that is written.
var memberTests = []struct{ name, source, want string }{
	{"Name", `print(o.Name, o.NAME)`, "1 1"},
	{"Class", `print(o.Class, d.class)`, "IIsSmtpServer IIsSmtpDomain"},
	{"ADsPath", `print(o.ADsPath)`, "IIS://LocalHost/SMTPSVC/1"},
	{"Parent", `print(o.Parent, GetObject(o.Parent).Name)`, "IIS://LocalHost/SMTPSVC SMTPSVC"},
	{"Schema", `print(GetObject(o.Schema).Name)`, "IIsSmtpServer"},
	{"GUID", `print(#o.GUID, o.GUID == GetObject("IIS://localhost/smtpsvc/1").GUID, o.GUID ~= svc.GUID)`, "38 true true"},
	{"Get", `print(o:Get("HopCount"), o:Get("SmartHost") == "", o:Get("DefaultDomain") == "")
		print(pcall(o.Get, o, "61999"))`, `100 true true false test.lua:2: Get: IIS://LocalHost/SMTPSVC/1: 61999 is not set (0x800CC801)`},
	{"GetEx", `print(o:GetEx("HopCount")[1], #d:GetEx("AuthTurnList"))`, "100 2"},
	{"Put", `o:Put("HopCount", 9) print(GetObject(o.ADsPath).HopCount, o.HopCount) o:Put() print(GetObject(o.ADsPath).HopCount)`, "100 9 9"},
	{"PutEx", `d:PutEx(ADS_PROPERTY_APPEND, "AuthTurnList", {"z"}) print(#d.AuthTurnList)`, "3"},
	{"SetInfo", `o.HopCount = 9 o:SetInfo() print(GetObject(o.ADsPath).HopCount)`, "9"},
	{"GetInfo", `o.HopCount = 9 o:GetInfo() print(o.HopCount)`, "100"},
	{"GetDataPaths", `print(#svc:GetDataPaths("RouteAction"), #svc:GetDataPaths("HopCount", IIS_INHERITABLE_ONLY))
		print(pcall(svc.GetDataPaths, svc, "ServerComment", 1))`, `1 0 false test.lua:2: GetDataPaths: IIS://LocalHost/SMTPSVC: ServerComment is not inheritable (0x800CC801)`},
	{"GetPropertyAttribObj", `print(o:GetPropertyAttribObj("HopCount").MetaId)`, "36886"},
	{"Count", `print(svc.Count, #svc)`, "2 2"},
	{"Filter", `svc.Filter = {"IIsSmtpDomain"} print(svc.Count)`, "0"},
	{"Create", `local n = GetObject(o.ADsPath .. "/Domain"):Create("IIsSmtpDomain", "n.test") n:SetInfo() print(n.Name)`, "n.test"},
	{"Delete", `GetObject(d.Parent):Delete("IIsObject", d.Name) print(pcall(GetObject, d.ADsPath))`, "false test.lua:1: GetObject: IIS://LocalHost/SMTPSVC/1/Domain/d.test: not found (0x80070003)"},
	{"GetObject", `print(svc:GetObject("IIsSmtpServer", "2").Name)`, "2"},
	{"CopyHere", `print(GetObject(d.Parent):CopyHere("d.test", "c.test").RouteAction)`, "514"},
	{"MoveHere", `print(GetObject(d.Parent):MoveHere("d.test", "c.test").Name)`, "c.test"},
	{"Status", `print(o:Status(), o.ServerState)`, "4 4"},
	{"Children", `print(#svc.Children, svc.Children[2].Name, #svc:Children("IIsSmtpDomain"), svc.Children.Count)
		for c in svc.Children do print(c.Name) end for _, c in ipairs(svc.Children) do print(c.Name) end
		print(svc.Children:Find("2").Name, svc.Children.Find("1", "IIsSmtpServer").Name)
		local n = GetObject(d.Parent).Children:Add("n.test", "IIsSmtpDomain") n:CommitChanges()
		GetObject(d.Parent).Children:Remove(n) print(GetObject(d.Parent).Count)`, "2 2 0 2 1 2 1 2 2 1 1"},
	{"Properties", `local p = d.Properties
		print(p.RouteAction.Value, p["routeaction"].Value, p:Contains("AuthTurnList"), p.Contains("RouteUserName"), p.Contains("NoSuch"))
		p["RouteAction"].Value = 2 print(d.RouteAction) p.AuthTurnList:Add("z") print(p.AuthTurnList.Count, p.AuthTurnList[3], p.AuthTurnList:Contains("X"))
		for v in p.AuthTurnList do print(v) end p.AuthTurnList.Remove("z") p.AuthTurnList:Clear()
		print(#p.AuthTurnList.Value) for _, name in ipairs(p.PropertyNames) do print(name) end for v in p do print(v.Name) end
		print(p("RouteAction").Value, p:Item("RouteAction").Value)`,
		"514 514 true false false 2 3 z true x y z 0 KeyType RouteAction KeyType RouteAction 2 2"},
	{"psbase", `print(o.psbase.ADsPath == o.ADsPath)`, "true"},
	{"Close", `o.HopCount = 9 o:Close() print(o.HopCount)`, "100"},
	{"DeleteTree", `d:DeleteTree() print(GetObject(d.Parent).Count)`, "0"},
	{"Invoke", `print(o:Invoke("Get", "HopCount"), o:Invoke("Status"))
		print(pcall(o.Invoke, o, "Strat"))`, `100 4 false test.lua:2: Invoke: IIS://LocalHost/SMTPSVC/1: there is no method Strat; did you mean "Start"? (0x80004005)`},
	{"InvokeGet", `print(o:InvokeGet("HopCount"), o:InvokeGet("Name"))`, "100 1"},
	{"InvokeSet", `o:InvokeSet("HopCount", 9) print(o.HopCount)`, "9"},
	{"Path", `print(o.Path, DirectoryEntry(o.Path).Name)`, "IIS://LocalHost/SMTPSVC/1 1"},
	{"SchemaClassName", `print(o.SchemaClassName)`, "IIsSmtpServer"},
	{"CommitChanges", `o.HopCount = 9 o:CommitChanges() print(GetObject(o.ADsPath).HopCount)`, "9"},
	{"RefreshCache", `o.HopCount = 9 o:RefreshCache() print(o.HopCount)`, "100"},
	{"Dispose", `o.HopCount = 9 o:Dispose() print(o.HopCount)`, "100"},
	{"psadapted", `print(o.psadapted.Name)`, "1"},
	{"NativeObject", `print(o.NativeObject.Name)`, "1"},
	{"Put_", `o.HopCount = 9 o:Put_() print(GetObject(o.ADsPath).HopCount)`, "9"},
	{"Refresh_", `o.HopCount = 9 o:Refresh_() print(o.HopCount)`, "100"},
	{"Delete_", `d:Delete_() print(GetObject(d.Parent).Count)`, "0"},
	{"Path_", `print(o.Path_)`, "IIS://LocalHost/SMTPSVC/1"},
	{"Properties_", `print(d.Properties_:Item("RouteAction").Value)`, "514"},
}

func TestMembers(t *testing.T) {
	const before = `local svc = GetObject("IIS://LocalHost/SMTPSVC"); local o = GetObject("IIS://LocalHost/SMTPSVC/1"); ` +
		`local d = GetObject("IIS://LocalHost/SMTPSVC/1/Domain"):Create("IIsSmtpDomain", "d.test"); d.RouteAction = 514; d.AuthTurnList = {"x", "y"}; d:SetInfo(); `
	for _, tt := range memberTests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := run(t, tree(t), before+tt.source)
			if got := strings.Join(strings.Fields(out), " "); err != nil || got != tt.want {
				t.Errorf("printed %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// TestWrongNames names what was meant, and what to use in the place of objects of
// Windows.
func TestWrongNames(t *testing.T) {
	const bind = `local o = GetObject("IIS://LocalHost/SMTPSVC/1"); `
	tests := []struct{ source, want string }{
		{bind + `o:Strat()`, `there is no method and no property "Strat"; did you mean "Start"? (0x80005006)`},
		{bind + `o:SetInf()`, `did you mean "SetInfo"?`},
		{bind + `print(o.HopCont)`, `there is no method and no property "HopCont"; did you mean "HopCount"?`},
		{bind + `o.HopCont = 1`, `did you mean "HopCount"?`},
		{bind + `o.Xyzzyplugh = 1`, `there is no method and no property "Xyzzyplugh" (0x80005006)`},
		{bind + `o.Start = 1`, `Start of an object cannot be set`},
		{bind + `print(o.Children("x"))`, `the collection has no x; there are Add, Count, Find, Remove (0x80005006)`},
		{bind + `print(o.Children.Fund)`, `the collection has no Fund; did you mean "Find"? (0x80005006)`},
		{bind + `o.Properties.HopCount.Name = 1`, `Name of the collection cannot be set (0x80070057)`},
		{bind + `o.RelayIpList = {IPGrants = {"10.1.1.1"}}`, `a list of addresses has no IPGrants; did you mean "IPGrant"? (0x80005006)`},
		{bind + `o.RelayIpList = {GrantByDefault = "x"}`, `GrantByDefault is true or false (0x80070057)`},
		{bind + `o.RelayIpList = {"10.1.1.1", x = 1}`, `the list has x beside its members (0x80070057)`},
		{bind + `o.HopCount = print`, `a string, number, boolean or a list of them is wanted, not function (0x80070057)`},
		{bind + `print(o:GetPropertyAttribObj("HopCount").PartialPath)`, `the object has no PartialPath; there are AllAttributes, Default, Inherit, `},
		{bind + `print(o.Properties.HopCount.Valu)`, `the collection has no Valu; did you mean "Value"? (0x80005006)`},
		{`WScript.StdOut.WriteLine("x")`, `WScript has no StdOut: use print or io.write (0x80005006)`},
		{`WScript.StdIn.ReadLine()`, `WScript has no StdIn: use io.read or io.lines (0x80005006)`},
		{`WScript.Arguments.Named("x")`, `WScript.Arguments has no Named: use arg (0x80005006)`},
		{bind + `o:Backup("x")`, `is of the computer, IIS://LocalHost, not of a key of class IIsSmtpServer (0x80070057)`},
		{bind + `o:EnumBackups("", 0)`, `is of the computer`},
		{`GetObject("IIS://LocalHost"):EnumBackups("", 0)`, `no more items (0x80070103)`},
		{`GetObject("IIS://LocalHost"):Backup("x", 7)`, `versions are counted here: give MD_BACKUP_NEXT_VERSION`},
		{`GetObject("IIS://LocalHost"):Export("secret", "x", "/LM")`, `takes no password`},
		{`print(GetObject("IIS://LocalHost").QueuedMessages)`, `is of a site, not of a key of class IIsComputer`},
		{`CreateObject("Scripting.FileSystemObject")`, `use io.open`},
		{`CreateObject("adodb.connection")`, `io.lines or json.decode (0x800401F3)`},
		{`CreateObject("Event.Manager")`, `there are no event sinks`},
		{`CreateObject("WScript.Shell")`, `use os.execute`},
		{`CreateObject("WScript.Arguments")`, `use arg`},
		{`CreateObject("Odd.Thing")`, `there are no such objects here`},
		{`GetObject("winmgmts://./root/MicrosoftIISv2")`, `which knows WMI's names`},
		{`GetObject("WinNT://./joe")`, `restante account list`},
		{`strict(true) ` + bind + `print(o.DefaultDomain)`, `is not set (0x800CC801)`},
	}
	for _, tt := range tests {
		if _, err := run(t, tree(t), tt.source); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.source, err, tt.want)
		}
	}
}

// TestDefinitions checks that the definitions for the Lua language server have each
// member with its type.
func TestDefinitions(t *testing.T) {
	text := Definitions(map[string]string{"HopCount": "integer", "Path": "string"})
	for _, m := range members {
		if !regexp.MustCompile(`(?m)^---@field ` + m.name + ` (string|integer|restante\.|fun\(self)`).MatchString(text) {
			t.Errorf("%s has no type", m.name)
		}
	}
	if len(regexp.MustCompile(`(?m)^---@field Path `).FindAllString(text, -1)) != 1 || !strings.Contains(text, "---@field HopCount integer\n") {
		t.Error("a property is a member twice, or none is one")
	}
	if out, err := run(t, tree(t), text+"print(MD_EXPORT_INHERITED)"); err != nil || out != "1\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// TestDocs checks that the table of members is current, and that each one has its
// implementation and a test. With RESTANTE_WRITE_DOCS set it writes the table.
func TestDocs(t *testing.T) {
	scripts, err := os.ReadFile(filepath.Join("..", "..", "cmd", "restante", "testdata", "script", "objects.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# What an object answers to\n\n<!-- made by make docs -->\n\nNames are compared without case. How each is used: [objects.md](objects.md).\n\n" +
		"| member | of | is | test |\n|---|---|---|---|\n")
	has := (&host{}).table()
	documented := map[string]bool{}
	for _, m := range members {
		documented[strings.ToLower(m.name)] = true
		target := canonical(m.name)
		_, method := lowered(has)[target]
		_, field := attributes[target]
		if !method && !field && target != "filter" && !isProperty(m.name) {
			t.Errorf("%s: an object has no such member", m.name)
		}
		proof := ""
		if regexp.MustCompile(`[.:]` + m.name + `\b`).Match(scripts) {
			proof = "`TestCommands/objects`"
		}
		for _, tt := range memberTests {
			if tt.name == m.name {
				proof = "`TestMembers/" + m.name + "`"
			}
		}
		if proof == "" {
			t.Errorf("%s: no test", m.name)
		}
		is := "-"
		if m.is != "" {
			is = "`" + m.is + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.from, is, proof)
	}
	for name := range lowered(has) {
		if !documented[name] {
			t.Errorf("the method %s is not in the table", name)
		}
	}
	for name := range attributes {
		if !documented[name] {
			t.Errorf("the field %s is not in the table", name)
		}
	}
	file := filepath.Join("..", "..", "docs", "lua", "members.md")
	if os.Getenv("RESTANTE_WRITE_DOCS") != "" {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != b.String() {
		t.Errorf("%s is not current: make docs (%v)", file, err)
	}
}

func lowered(table map[string]method) map[string]method {
	out := map[string]method{}
	for name, m := range table {
		out[strings.ToLower(name)] = m
	}
	return out
}
