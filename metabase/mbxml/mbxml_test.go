// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	unicode16 "unicode/utf16"

	"restante/internal/deptest"
	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase"
	"restante/metabase/schema"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":      "the metabase knows nothing of mail",
		"/internal/kv": "a file is made of a snapshot, not of the store",
		"/adsi-compat": "imports go down only",
		"/cmd":         "imports go down only",
	})
}

// table is a schema small enough to read.
type table []schema.Prop

func (t table) find(is func(schema.Prop) bool) (p schema.Prop, ok bool) {
	i := slices.IndexFunc(t, is)
	if i < 0 {
		return p, false
	}
	p = t[i]
	p.Classes = classes
	return p, true
}

func (t table) ByID(id metabase.ID) (schema.Prop, bool) {
	return t.find(func(p schema.Prop) bool { return p.ID == id })
}

func (t table) Property(name string) (schema.Prop, bool) {
	return t.find(func(p schema.Prop) bool { return strings.EqualFold(p.Name, name) })
}

var classes = []string{"IIsSmtpService", "IIsSmtpServer", "IIsSmtpDomain", "IIsObject"}

func (t table) Class(name string) (c schema.Class, ok bool) {
	for _, c := range classes {
		if strings.EqualFold(c, name) {
			return schema.Class{Name: c}, true
		}
	}
	return c, false
}

var props = table{
	{Name: "Comment", ID: 1015, Type: metabase.StringType, Attr: metabase.Inherit, UserType: 1},
	{Name: "Bindings", ID: 1023, Type: metabase.MultiSZType, UserType: 1},
	{Name: "AutoStart", ID: 1017, Type: metabase.DWordType, Attr: metabase.Inherit, UserType: 1, Syntax: schema.Boolean},
	{Name: "Flags", ID: 6000, Type: metabase.DWordType, Attr: metabase.Inherit, UserType: 1, Syntax: schema.Flags, Flags: []schema.Named{
		{Name: "One", Mask: 1}, {Name: "Two", Mask: 2}, {Name: "High", Mask: 0x80000000},
		{Name: "auth_anonymous", IIS: "AuthAnonymous", Mask: 1}, {Name: "auth_basic", IIS: "AuthBasic", Mask: 2}, {Name: "auth_ntlm", IIS: "AuthNTLM", Mask: 4},
	}},
	{Name: "Blob", ID: 6019, Type: metabase.BinaryType, Attr: metabase.Inherit, UserType: 2},
	{Name: "Expanded", ID: 7, Type: metabase.ExpandSZType, Attr: metabase.Inherit, UserType: 1},
	{Name: "Password", ID: 36949, Type: metabase.StringType, Attr: metabase.Inherit | metabase.Secure, UserType: 1},
	{Name: "State", ID: 1016, Type: metabase.DWordType, Attr: metabase.Volatile, UserType: 1},
	{Name: "List", ID: 36995, Type: metabase.BinaryType, UserType: 1, Syntax: schema.IPList},
	{ID: 36930, Type: metabase.StringType, UserType: 1}, // known by number only
	{Name: "Folder", ID: 36875, Type: metabase.StringType, Attr: metabase.Inherit, UserType: 1, Syntax: schema.FilePath},
}

func store(t *testing.T, ops ...metabase.Op) *metabase.Store {
	t.Helper()
	s, err := metabase.Open(t.Context(), kv.NewMem(), seal.New(), metabase.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	apply(t, s, ops...)
	return s
}

func apply(t *testing.T, s *metabase.Store, ops ...metabase.Op) {
	t.Helper()
	if len(ops) == 0 {
		return
	}
	if _, err := s.Apply(t.Context(), metabase.Batch{Ops: ops}); err != nil {
		t.Fatal(err)
	}
}

func set(path metabase.Path, id metabase.ID, v metabase.Value, attr metabase.Attr, u metabase.UserType) metabase.Op {
	return metabase.Set{Path: path, Property: metabase.Property{ID: id, Attr: attr, UserType: u, Value: v}}
}

// odd is a tree with everything that is awkward to write.
func odd() []metabase.Op {
	const at = "/LM/SmtpSvc/1"
	return []metabase.Op{
		metabase.AddKey{Path: "/LM"},
		metabase.AddKey{Path: "/LM/SmtpSvc", Class: "IIsSmtpService"},
		metabase.AddKey{Path: at, Class: "IIsSmtpServer"},
		metabase.AddKey{Path: at + "/Domain", Class: "IIsSmtpDomain"},
		metabase.AddKey{Path: at + `/Domain/*.a&b "c" <d>`, Class: "IIsSmtpDomain"},
		set(at, 1015, metabase.String(`<a> & "b" 'ü' 日本`), metabase.Inherit, 1),
		set(at, 1023, metabase.MultiSZ(":25:", "127.0.0.1:26:"), 0, 1),
		set(at, 1017, metabase.DWord(1), metabase.Inherit, 1),
		set(at, 6000, metabase.DWord(0x80000005), metabase.Inherit, 1),
		set(at, 6019, metabase.Binary([]byte{0, 1, 0xff}), metabase.Inherit, 2),
		set(at, 7, metabase.ExpandSZ("%TEMP%\\x"), metabase.Inherit, 1),
		set(at, 61537, metabase.DWord(7), metabase.Inherit, 1),                           // nameless
		set(at, 36875, metabase.String("x"), 0, 1),                                       // other attributes than the schema's
		set(at, 50000, metabase.String("tab\tline\nend "), 0, 100),                       // not for an attribute
		set(at, 50001, metabase.MultiSZ("", " edge", "two\nlines"), metabase.Inherit, 1), // nor this list
		set(at, 50002, metabase.MultiSZ(), 0, 4711),
		set(at, 50003, metabase.DWord(0xffffffff), metabase.Inherit|metabase.Locked, 1),
		set(at, 50004, metabase.DWord(8), 0, 0), // of no user type
		set(at, 36930, metabase.String("by number"), 0, 1),
		metabase.AddKey{Path: at + "/None"},
		metabase.AddKey{Path: at + "/Object", Class: "IIsObject"},
		metabase.AddKey{Path: at + "/Shouted", Class: "IISSMTPDOMAIN"},
		set(at+"/Domain", 50005, metabase.String("secret, too"), metabase.Secure, 1),
		set(at+"/Domain", 36949, metabase.String("secret!"), metabase.Inherit|metabase.Secure, 1),
	}
}

func write(t *testing.T, snap metabase.Snapshot, root metabase.Path) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := Write(&b, snap, root, props, Scope{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func plan(t *testing.T, text string, snap metabase.Snapshot, o Options) ([]metabase.Op, *Report) {
	t.Helper()
	f, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	ops, report, err := Plan(f, snap, props, o)
	if err != nil {
		t.Fatal(err)
	}
	return ops, report
}

func TestExportImportExportIsTheSameToTheByte(t *testing.T) {
	a := store(t, odd()...)
	first := write(t, a.Snapshot(), metabase.Root)
	if strings.Contains(first, "secret!") {
		t.Fatal("a secure value stands in the file")
	}
	b := store(t)
	ops, report := plan(t, first, b.Snapshot(), Options{})
	if len(report.Remarks) != 2 || report.Remarks[0].Property != "Password" || report.Remarks[0].Verdict != Decision {
		t.Errorf("remarks: %+v", report.Remarks)
	}
	for _, want := range []string{"<IIsConfigObject\tLocation =\"/LM/SmtpSvc/1/None\"", "<IIsObject\t", "<IIsSmtpDomain\tLocation =\"/LM/SmtpSvc/1/Shouted\"", `"UnknownName_36930"`} {
		if !strings.Contains(first, want) {
			t.Errorf("%q is not in\n%s", want, first)
		}
	}
	apply(t, b, ops...)
	if second := write(t, b.Snapshot(), metabase.Root); second != first {
		t.Errorf("first:\n%s\nsecond:\n%s", first, second)
	}
	if ops, _ := plan(t, first, a.Snapshot(), Options{}); len(ops) != 0 {
		t.Errorf("what is there already makes operations: %+v", ops)
	}
}

// TestExportOverAnotherTree brings a file over a tree that has the same keys
// with other classes, spellings and attributes.
func TestExportOverAnotherTree(t *testing.T) {
	const at = "/LM/SmtpSvc/1"
	first := write(t, store(t, odd()...).Snapshot(), metabase.Root)
	b := store(t,
		metabase.AddKey{Path: "/lm"},
		metabase.AddKey{Path: "/lm/SMTPSVC", Class: "IIsSmtpService"},
		metabase.AddKey{Path: "/lm/SMTPSVC/1", Class: "iissmtpserver"},
		metabase.AddKey{Path: at + "/None", Class: "IIsSmtpDomain"},
		metabase.AddKey{Path: at + "/Object"},
		metabase.AddKey{Path: at + "/domain", Class: "IIsObject"},
		metabase.AddKey{Path: at + "/Gone"},
		metabase.AddKey{Path: at + "/Gone/too"},
		set(at, 1015, metabase.String("old"), 0, 2),
		set(at+"/Domain", 36949, metabase.String("old secret"), metabase.Secure, 1), // other attributes
		set(at+"/Domain", 50005, metabase.String("plain"), 0, 1),                    // no secret yet
	)
	ops, _ := plan(t, first, b.Snapshot(), Options{})
	apply(t, b, ops...)
	if second := write(t, b.Snapshot(), metabase.Root); second != first {
		t.Errorf("first:\n%s\nsecond:\n%s", first, second)
	}
	if p, _ := b.Snapshot().Stored(at+"/Domain", 36949); p.Value.Str() != "old secret" {
		t.Error("an import took a secret away")
	}
	if ops, _ := plan(t, first, b.Snapshot(), Options{}); len(ops) != 0 {
		t.Errorf("once more makes operations: %+v", ops)
	}
}

func TestScope(t *testing.T) {
	s := store(t, append(odd(),
		set("/LM", 1017, metabase.DWord(1), metabase.Inherit, 1),
		set("/LM/SmtpSvc", 61000, metabase.DWord(3), metabase.Inherit, 1),
		set("/LM/SmtpSvc", 61001, metabase.DWord(3), 0, 1),
		set("/LM/SmtpSvc", 36949, metabase.String("above"), metabase.Inherit|metabase.Secure, 1))...)
	tests := []struct {
		scope       Scope
		has, hasNot []string
	}{
		{Scope{}, []string{"1/Domain\""}, []string{"61000", "61001"}},
		{Scope{NodeOnly: true}, []string{"SmtpSvc/1\""}, []string{"1/Domain\"", "61000"}},
		{Scope{Inherited: true}, []string{"1/Domain\"", "ID=\"61000\"", "AutoStart=\"TRUE\""}, []string{"61001", "ISINHERITED"}},
		{Scope{Inherited: true, NodeOnly: true}, []string{"ID=\"61000\""}, []string{"1/Domain\"", "Password"}},
	}
	for _, tt := range tests {
		var b strings.Builder
		if _, err := Write(&b, s.Snapshot(), "/lm/smtpsvc/1", props, tt.scope); err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.has {
			if strings.Count(b.String(), want) != 1 {
				t.Errorf("%+v: %q stands there %d times", tt.scope, want, strings.Count(b.String(), want))
			}
		}
		for _, no := range tt.hasNot {
			if strings.Contains(b.String(), no) {
				t.Errorf("%+v: %q stands there", tt.scope, no)
			}
		}
	}
	ops, _ := plan(t, write(t, s.Snapshot(), "/LM/SmtpSvc/1"), s.Snapshot(), Options{NodeOnly: true, At: "/LM/SmtpSvc/2"})
	apply(t, s, ops...)
	if !s.Snapshot().Has("/LM/SmtpSvc/2") || s.Snapshot().Has("/LM/SmtpSvc/2/Domain") {
		t.Error("an import of the node alone brings others, or none")
	}
}

func TestLocalPropertiesStay(t *testing.T) {
	s := store(t, append(odd(), set("/LM/SmtpSvc/1", 50009, metabase.String("mine"), metabase.LocalMachineOnly, 1))...)
	text := write(t, s.Snapshot(), metabase.Root)
	if strings.Contains(text, "mine") {
		t.Error("a LOCAL_MACHINE_ONLY value stands in the file")
	}
	if ops, _ := plan(t, text, s.Snapshot(), Options{}); len(ops) != 0 {
		t.Errorf("an import touches it: %+v", ops)
	}
}

func TestImportReplacesAndMerges(t *testing.T) {
	s := store(t, odd()...)
	text := `<configuration xmlns="x"><MBProperty><IIS_Global Location="." Origin="Restante"/>
		<IIsSmtpServer Location="/lm/smtpsvc/1" Comment="new"/></MBProperty></configuration>`
	ops, _ := plan(t, text, s.Snapshot(), Options{Merge: true})
	if len(ops) != 1 {
		t.Errorf("merge: %+v", ops)
	}
	ops, _ = plan(t, text, s.Snapshot(), Options{})
	apply(t, s, ops...)
	if n := len(s.Snapshot().Properties("/LM/SmtpSvc/1")); n != 2 { // Comment and KeyType
		t.Errorf("replace left %v", s.Snapshot().Properties("/LM/SmtpSvc/1"))
	}
	if s.Snapshot().Has("/LM/SmtpSvc/1/Domain") {
		t.Error("replace left a key that the file does not name")
	}
	// A container that is there stays for what the file has in it, and nothing else.
	apply(t, s, metabase.AddKey{Path: "/LM/SmtpSvc/1/Domain"}, metabase.AddKey{Path: "/LM/SmtpSvc/1/Domain/a"}, metabase.AddKey{Path: "/LM/SmtpSvc/1/User"})
	below := strings.Replace(text, "</MBProperty>", `<IIsSmtpDomain Location="/LM/SmtpSvc/1/Domain/b"/></MBProperty>`, 1)
	ops, _ = plan(t, below, s.Snapshot(), Options{})
	apply(t, s, ops...)
	if got := slices.Collect(s.Snapshot().Walk("/LM/SmtpSvc/1")); len(got) != 3 || got[2] != "/LM/SmtpSvc/1/Domain/b" {
		t.Errorf("replace with a container that is not named left %v", got)
	}
	ops, _ = plan(t, text, s.Snapshot(), Options{At: "/LM/SmtpSvc/7"})
	apply(t, s, ops...)
	if p, ok := s.Snapshot().Stored("/LM/SmtpSvc/7", 1015); !ok || p.Value.Str() != "new" {
		t.Errorf("at another place: %v, %v", p, ok)
	}
}

func TestForeignFile(t *testing.T) {
	raw, err := os.ReadFile("../../testdata/metabase/iis6.xml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if !f.Foreign || len(f.Keys) < 20 {
		t.Fatalf("foreign %v, %d keys", f.Foreign, len(f.Keys))
	}
	s := store(t)
	_, report, err := Plan(f, s.Snapshot(), props, Options{
		Part:   "/LM/SmtpSvc",
		Folder: func(metabase.Path, string, string) string { return "here" },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[Verdict]string{
		Ignored:    "/LM/W3SVC: 2 keys: not below /LM/SmtpSvc",
		Translated: `/LM/SmtpSvc: folder C:\Inetpub\mailroot\Queue is here here`,
	}
	for verdict, line := range want {
		if !slices.ContainsFunc(report.Remarks, func(r Remark) bool {
			return r.Verdict == verdict && fmt.Sprintf("%s: %s", r.Path, r.Text) == line
		}) && verdict == Ignored {
			t.Errorf("no remark %q in %+v", line, report.Remarks)
		}
	}
}

func TestBadFiles(t *testing.T) {
	wrap := func(s string) string {
		return "<configuration>\n<MBProperty>\n<IIS_Global Location=\".\" Origin=\"Restante\"/>\n" + s + "\n</MBProperty>\n</configuration>"
	}
	tests := []struct{ in, want string }{
		{"", "no <configuration>"},
		{"<a/>", "line 1: the outermost element is <a>"},
		{"<configuration>", "line 1: unexpected EOF"},
		{"<configuration/>\n<configuration/>", "line 2: the file ends before it: <configuration> is a second outermost element"},
		{"\n junk text <configuration/>", "line 2: text outside of the elements: \"junk text\""},
		{"<configuration/>\n\njunk", "line 3: text outside of the elements: \"junk\""},
		{"<configuration>&#106;</configuration>", "line 1: text outside of the elements: \"j\""},
		{"<configuration><![CDATA[junk]]></configuration>", "line 1: text outside of the elements: \"junk\""},
		{wrap("junk"), "line 4: text outside of the elements: \"junk\""},
		{wrap("<IIsSmtpServer Location=\"/a\">\njunk</IIsSmtpServer>"), "line 5: text outside of the elements: \"junk\""},
		{wrap("<IIsSmtpServer Location=\"/a\"></IIsSmtp>"), "line 4: element <IIsSmtpServer> closed by </IIsSmtp>"},
		{"<configuration/>", "the file holds no key to take over"},
		{"<configuration><MBProperty>\n<IIsSmtpServer Location=\"LM/SMTPSVC/1\"/></MBProperty></configuration>",
			"the file holds no key to take over: line 2: attribute Location: \"LM/SMTPSVC/1\": does not begin with a slash"},
		{"<!DOCTYPE x [<!ENTITY a \"b\">]><configuration/>", "line 1: a document type or entity"},
		{wrap("<IIsSmtpServer Location=\"/a\" Comment=\"&a;\"/>"), "line 4: invalid character entity &a;"},
		{wrap(strings.Repeat("<a Location=\"/a\">", 20)), "nested too deep"},
		{wrap("<IIsSmtpServer/>"), "line 4: <IIsSmtpServer> has no Location"},
		{wrap("<IIsSmtpServer Location=\"a\"/>"), "line 4: attribute Location: \"a\": does not begin with a slash"},
		{wrap("<IIsSmtpServer\nLocation=\"/a\"\n\n/>\n<IIsSmtpServer\nLocation=\"/A\"\n/>"), "line 8: line 4 has /A already"},
		{wrap("<IIsOther Location=\"/a\"/>"), "line 4: /a: class IIsOther is not known"},
		{wrap("<IIsSmtpServer Location=\"/a\" Nonsense=\"1\"/>"), "line 4: /a: Nonsense: there is no such property"},
		{wrap("<IIsSmtpServer Location=\"/a\" Flags=\"One | Four\"/>"), "line 4: /a: Flags: \"Four\" is neither a number nor one of its flags"},
		{wrap("<IIsSmtpServer Location=\"/a\" Blob=\"xyz\"/>"), "line 4: /a: Blob: is not hexadecimal"},
		{wrap("<IIsSmtpServer\n\tLocation =\"/a\"\n\tComment='>\n=\n'\n\n\tFlags\n=\n\"Four\"\n\t/>"), "line 10: /a: Flags:"},
		{wrap("<IIsSmtpServer Location=\"/a\" AutoStart=\"0b1\"/>"), "line 4: /a: AutoStart: \"0b1\" is not a number"},
		{wrap("<IIsSmtpServer Location=\"/a\" UnknownName_61537=\"1\"/>"), "line 4: /a: UnknownName_61537: has no data type"},
		{wrap("<IIsSmtpServer Location=\"/a\" Password=\"x\"/>"), "a file has no secure values"},
		{wrap("<IIsSmtpServer Location=\"/a\"><Custom Name=\"x\" ID=\"no\"/></IIsSmtpServer>"), "line 4: /a: x: ID \"no\" is not a number"},
		{wrap("<IIsSmtpServer Location=\"/a\"><Custom Name=\"x\" ID=\"9\" Type=\"FLOAT\" UserType=\"u\" Attributes=\"LOUD\"/></IIsSmtpServer>"), "\"FLOAT\" is no data type"},
	}
	for _, tt := range tests {
		f, err := Read(strings.NewReader(tt.in))
		if err == nil {
			_, _, err = Plan(f, metabase.Snapshot{}, props, Options{})
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want %q", tt.in, err, tt.want)
		}
	}
}

// TestEveryProblemIsReported has one problem of each kind, beside keys and
// properties that are sound.
func TestEveryProblemIsReported(t *testing.T) {
	text := `<configuration><MBProperty><IIS_Global Location="." Origin="Restante"/>
<IIsSmtpServer Location="/a" Comment="sound"
	Flags="Four"
	Nonsense="1">
	<Custom
		Name="x" ID="0" Value="" Type="FLOAT" UserType="" Attributes="LOUD"/>
</IIsSmtpServer>
<IIsOther Location="/b" Blob="x"/>
<IIsSmtpServer Location="/b/c" Flags="Five"/>
<IIsSmtpServer/>
<IIsSmtpServer Location="/A"/>
</MBProperty></configuration>`
	f, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	ops, _, err := Plan(f, metabase.Snapshot{}, props, Options{})
	got, ok := err.(Problems)
	if !ok {
		t.Fatalf("error %v", err)
	}
	want := []string{
		`line 10: <IIsSmtpServer> has no Location`,
		`line 3: /a: Flags: "Four" is neither a number nor one of its flags`,
		`line 4: /a: Nonsense: there is no such property`,
		`line 5: /a: x: ID "0" is not a number of a property`,
		`line 5: /a: x: "FLOAT" is no data type; allowed are DWORD, STRING, BINARY, EXPANDSZ and MULTISZ`,
		`line 5: /a: x: "" is no user type; allowed are a number, IIS_MD_UT_SERVER, IIS_MD_UT_FILE, IIS_MD_UT_WAM and ASP_MD_UT_APP`,
		`line 5: /a: x: there is no attribute "LOUD"`,
		`line 8: /b: class IIsOther is not known`,
		`line 8: /b: Blob: is not hexadecimal`,
		`line 11: line 2 has /A already`,
		`line 9: /b/c: Flags: "Five" is neither a number nor one of its flags`,
	}
	for i, p := range got {
		if i >= len(want) || p.Error() != want[i] {
			t.Errorf("problem %d: %v", i, p)
		}
	}
	if len(got) < len(want) {
		t.Errorf("%d problems, want %d", len(got), len(want))
	}
	if len(ops) != 2 { // the key /a and its Comment
		t.Errorf("operations of the rest: %+v", ops)
	}
}

// TestForeignFaultsAreLeftOut has the same in a file of another machine.
func TestForeignFaultsAreLeftOut(t *testing.T) {
	text := `<configuration><MBProperty>
<IIsSmtpServer Location="/a/b" Comment="sound" Flags="Four" AutoStart="010" List="abc" UnknownName_36930="n" UnknownName_7777="n">
	<Custom Name="x" ID="0" Value="v" Type="FLOAT" UserType="" Attributes="LOUD"/>
	<Custom Name="y" ID="0x10" Value="0x10" Type="DWORD" UserType="UNKNOWN_UserType" Attributes="0x1"/>
	<Custom Name="UnknownName_61537" Value="010" Type="DWORD" UserType="02" Attributes="01"/>
	<Custom Name="y" ID="16" Value="2" Type="DWORD" UserType="1" Attributes=""/>
</IIsSmtpServer>
<IIsSmtpServer/>
<IIsObject Location="/a/c"/>
<IIsConfigObject Location="/a/d."/>
<IIsSmtpServer Location="/a/d"/>
<IIsSmtpDomain Location="/a2"/>
</MBProperty></configuration>`
	s := store(t, metabase.AddKey{Path: "/a2", Class: "IIsSmtpServer"})
	ops, report := plan(t, text, s.Snapshot(), Options{
		Merge: true,
		Class: func(above []string, name string) string {
			return map[string]string{"a": "IIsSmtpService", "d": "IIsSmtpDomain"}[name]
		},
		Rename: func(p metabase.Path) metabase.Path { return metabase.Path(strings.TrimSuffix(string(p), ".")) },
		Review: func(_ metabase.Path, p schema.Prop, v metabase.Value, text string) Finding {
			if v.IsZero() {
				return Finding{Value: metabase.Binary(nil), Verdict: Decision, Text: "text " + text}
			}
			return Finding{Value: v}
		},
	})
	apply(t, s, ops...)
	snap := s.Snapshot()
	for _, tt := range []struct {
		id   metabase.ID
		want metabase.Value
		attr metabase.Attr
		user metabase.UserType
	}{
		{1015, metabase.String("sound"), metabase.Inherit, 1},
		{1017, metabase.DWord(10), metabase.Inherit, 1},
		{16, metabase.DWord(16), metabase.Inherit, 0},
		{61537, metabase.DWord(10), metabase.Inherit, 2},
		{36930, metabase.String("n"), 0, 1},
		{36995, metabase.Binary(nil), 0, 1},
	} {
		if p, ok := snap.Stored("/a/b", tt.id); !ok || !p.Value.Equal(tt.want) || p.Attr != tt.attr || p.UserType != tt.user {
			t.Errorf("%d: %v, %v", tt.id, p, ok)
		}
	}
	for path, class := range map[metabase.Path]string{"/a": "IIsSmtpService", "/a/c": "IIsObject", "/a/d": "IIsSmtpDomain", "/a2": "IIsSmtpServer"} {
		if got := snap.Class(path); got != class {
			t.Errorf("%s: class %q, want %q", path, got, class)
		}
	}
	want := []string{
		"line 8:  : <IIsSmtpServer> has no Location, and is left out",
		"line 12: /a2 : is of class IIsSmtpServer here, and stays so; the file says IIsSmtpDomain",
		"line 2: /a : is not in the file, and is added with the class of its place, IIsSmtpService",
		`line 2: /a/b Flags: "Four" is neither a number nor one of its flags; it is left out: "Four"`,
		"line 2: /a/b List: text abc",
		"line 2: /a/b UnknownName_7777: has no data type",
		`line 3: /a/b x: ID "0" is not a number of a property; "FLOAT" is no data type; allowed are DWORD, STRING, BINARY, EXPANDSZ and MULTISZ; "" is no user type; allowed are a number, IIS_MD_UT_SERVER, IIS_MD_UT_FILE, IIS_MD_UT_WAM and ASP_MD_UT_APP; there is no attribute "LOUD"; it is left out: "v"`,
		`line 6: /a/b y: is there twice; it is left out: "2"`,
		"line 11: /a/d : is /a/d here, which line 10 has already, and is left out",
	}
	for i, r := range report.Remarks {
		got := fmt.Sprintf("line %d: %s %s: %s", r.Line, r.Path, r.Property, r.Text)
		if i >= len(want) || !strings.HasPrefix(got, want[i]) {
			t.Errorf("remark %d: %s", i, got)
		}
	}
	if len(report.Remarks) < len(want) {
		t.Errorf("%d remarks, want %d", len(report.Remarks), len(want))
	}
}

func TestEncodings(t *testing.T) {
	const body = `<configuration><MBProperty>
<IIsSmtpServer Location="/a" Comment="%s"/></MBProperty></configuration>`
	doc := func(decl, comment string) string { return decl + "\n" + fmt.Sprintf(body, comment) }
	utf16 := func(s string, big bool) string {
		var b strings.Builder
		for _, u := range unicode16.Encode([]rune("\ufeff" + s)) {
			lo, hi := byte(u), byte(u>>8)
			if big {
				lo, hi = hi, lo
			}
			b.WriteByte(lo)
			b.WriteByte(hi)
		}
		return b.String()
	}
	tests := []struct{ name, in, want, err string }{
		{"none", doc("", "ü日"), "ü日", ""},
		{"UTF-8, marked", "\ufeff" + doc(`<?xml version="1.0" encoding="utf-8"?>`, "ü日"), "ü日", ""},
		{"UTF-16, little", utf16(doc(`<?xml version="1.0"?>`, "ü日😀"), false), "ü日😀", ""},
		{"UTF-16, big, declared", utf16(doc(`<?xml version="1.0" encoding="UTF-16"?>`, "ü日"), true), "ü日", ""},
		{"windows-1252", doc(`<?xml version="1.0" encoding="Windows-1252"?>`, "\xfc\x80"), "ü€", ""},
		{"ISO-8859-1", doc(`<?xml version="1.0" encoding='iso-8859-1'?>`, "\xfc"), "ü", ""},
		{"undeclared", doc(`<?xml version="1.0"?>`, "caf\xe9"), "", "line 3: invalid UTF-8"},
		{"declared falsely", doc(`<?xml version="1.0" encoding="utf-16"?>`, "x"), "", "line 1: the encoding utf-16 is not read: save the file as UTF-8"},
		{"unknown", doc(`<?xml version="1.0" encoding="klingon"?>`, "x"), "", "line 1: the encoding klingon is not read"},
		{"half a pair", strings.Replace(utf16(doc("", "?"), false), "?\x00", "\x00\xd8", 1), "", "line 3: attribute Comment holds what is no UTF-16"},
	}
	for _, tt := range tests {
		f, err := Read(strings.NewReader(tt.in))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v", tt.name, err)
			}
			continue
		}
		if err != nil || len(f.Keys) != 1 || f.Keys[0].Items[0].Value != tt.want || f.Keys[0].Items[0].Line != 3 {
			t.Errorf("%s: %+v, %v", tt.name, f, err)
		}
	}
}

func TestAHugeElementIsRefused(t *testing.T) {
	r := strings.NewReader("<configuration><MBProperty><IIsSmtpServer Location=\"/a\" Comment=\"" + strings.Repeat("x", 2*maxToken) + "\"/>")
	if _, err := Read(r); err == nil || !strings.Contains(err.Error(), "one element has more than") {
		t.Errorf("error %v", err)
	}
}

// FuzzRead reads foreign input, as it is and as a file of another
// machine. What is taken of it is written, reads back, and plans to nothing.
func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("../../testdata/metabase/*.xml")
	if err != nil || len(files) < 4 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`<configuration><MBProperty><IIsSmtpServer Location="/LM/a" Comment="x"><Custom Name="y" ID="9" Value="1" Type="DWORD" UserType="1" Attributes="INHERIT"/></IIsSmtpServer></MBProperty></configuration>`))
	f.Add([]byte(`<configuration><MBProperty><IIS_Global Origin="Restante"/><IIsObject Location="/LM"/><IIsConfigObject Location="/lm/a/b"><Custom ID="9" Value="" Type="STRING" UserType="0" Attributes="SECURE"/></IIsConfigObject></MBProperty></configuration>`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := Read(bytes.NewReader(raw))
		if err != nil {
			return
		}
		for _, o := range []Options{
			{},
			{At: "/LM/SMTPSVC/9", NodeOnly: true},
			{Merge: true, Part: "/LM", Class: func(above []string, name string) string {
				return []string{"", "IIsObject", "IIsSmtpDomain"}[(len(above)+len(name))%3]
			}, Rename: func(p metabase.Path) metabase.Path { return p.Parent().Join(strings.ReplaceAll(p.Base(), ".", "-")) }},
		} {
			comesBack(t, file, o)
		}
	})
}

func comesBack(t *testing.T, file *File, o Options) {
	t.Helper()
	ops, report, err := Plan(file, metabase.Snapshot{}, props, o)
	if problems, ok := err.(Problems); ok && len(problems) == 0 || err == nil && report.Keys == 0 && len(report.Remarks) == 0 {
		t.Fatalf("nothing is said of a file that comes to nothing: %v", err)
	}
	if err != nil {
		return
	}
	s, err := metabase.Open(t.Context(), kv.NewMem(), seal.New(), metabase.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Apply(t.Context(), metabase.Batch{Ops: ops}); err != nil {
		return // the metabase has its own opinion on names and sizes
	}
	first := write(t, s.Snapshot(), metabase.Root)
	again, err := Read(strings.NewReader(first))
	if err != nil {
		t.Fatalf("what was written cannot be read: %v\n%s", err, first)
	}
	if len(again.Keys) == 0 {
		return
	}
	if left, _, err := Plan(again, s.Snapshot(), props, Options{}); err != nil || len(left) != 0 {
		t.Errorf("what was written differs from what it was made of: %v, %+v\n%s", err, left, first)
	}
}
