// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"restante/internal/deptest"
	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase"
)

func TestFloor(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/engine":          "the metabase knows nothing of mail",
		"/metabase/schema": "the schema is lent through an interface: both stand on one floor",
		"/internal/kv":     "a file is made of a snapshot, not of the store",
		"/adsi-compat":     "imports go down only",
		"/cmd":             "imports go down only",
	})
}

// table is a schema small enough to read.
type table []Prop

func (t table) ByID(id metabase.ID) (Prop, bool) {
	i := slices.IndexFunc(t, func(p Prop) bool { return p.ID == id })
	if i < 0 {
		return Prop{}, false
	}
	return t[i], true
}

func (t table) ByName(name string) (Prop, bool) {
	i := slices.IndexFunc(t, func(p Prop) bool { return strings.EqualFold(p.Name, name) })
	if i < 0 {
		return Prop{}, false
	}
	return t[i], true
}

func (t table) Holds(class string, id metabase.ID) bool { return class != "" }

func (t table) Class(name string) (string, bool) {
	for _, c := range []string{"IIsSmtpService", "IIsSmtpServer", "IIsSmtpDomain"} {
		if strings.EqualFold(c, name) {
			return c, true
		}
	}
	return "", false
}

var props = table{
	{Name: "Comment", ID: 1015, Type: metabase.StringType, Attr: metabase.Inherit, UserType: 1},
	{Name: "Bindings", ID: 1023, Type: metabase.MultiSZType, UserType: 1},
	{Name: "AutoStart", ID: 1017, Type: metabase.DWordType, Attr: metabase.Inherit, UserType: 1, Bool: true},
	{Name: "Flags", ID: 6000, Type: metabase.DWordType, Attr: metabase.Inherit, UserType: 1, Flags: []Flag{{"One", 1}, {"Two", 2}, {"High", 0x80000000}, {"AuthAnonymous", 1}, {"AuthBasic", 2}, {"AuthNTLM", 4}}},
	{Name: "Blob", ID: 6019, Type: metabase.BinaryType, Attr: metabase.Inherit, UserType: 2},
	{Name: "Expanded", ID: 7, Type: metabase.ExpandSZType, Attr: metabase.Inherit, UserType: 1},
	{Name: "Password", ID: 36949, Type: metabase.StringType, Attr: metabase.Inherit | metabase.Secure, UserType: 1},
	{Name: "State", ID: 1016, Type: metabase.DWordType, Attr: metabase.Volatile, UserType: 1},
	{Name: "Folder", ID: 36875, Type: metabase.StringType, Attr: metabase.Inherit, UserType: 1, Folder: true},
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
		set(at+"/Domain", 36949, metabase.String("secret!"), metabase.Inherit|metabase.Secure, 1),
	}
}

func write(t *testing.T, snap metabase.Snapshot, root metabase.Path) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := Write(&b, snap, root, props); err != nil {
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
	if len(report.Remarks) != 1 || report.Remarks[0].Property != "Password" || report.Remarks[0].Verdict != Decision {
		t.Errorf("remarks: %+v", report.Remarks)
	}
	apply(t, b, ops...)
	if second := write(t, b.Snapshot(), metabase.Root); second != first {
		t.Errorf("first:\n%s\nsecond:\n%s", first, second)
	}
	if ops, _ := plan(t, first, a.Snapshot(), Options{}); len(ops) != 0 {
		t.Errorf("what is there already makes operations: %+v", ops)
	}
}

func TestWhatIsOfThisMachineStays(t *testing.T) {
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
		{"<!DOCTYPE x [<!ENTITY a \"b\">]><configuration/>", "line 1: a document type or entity"},
		{wrap("<IIsSmtpServer Location=\"/a\" Comment=\"&a;\"/>"), "line 4: invalid character entity &a;"},
		{wrap(strings.Repeat("<a Location=\"/a\">", 20)), "nested too deep"},
		{wrap("<IIsSmtpServer/>"), "line 4: <IIsSmtpServer> has no Location"},
		{wrap("<IIsSmtpServer Location=\"a\"/>"), "line 4: attribute Location:"},
		{wrap("<IIsSmtpServer Location=\"/a\"/>\n<IIsSmtpServer Location=\"/A\"/>"), "line 5: /A stands in line 4 already"},
		{wrap("<IIsOther Location=\"/a\"/>"), "line 4: /a: class IIsOther is not known"},
		{wrap("<IIsSmtpServer Location=\"/a\" Nonsense=\"1\"/>"), "line 4: /a: Nonsense: there is no such property"},
		{wrap("<IIsSmtpServer Location=\"/a\" Flags=\"One | Four\"/>"), "line 4: /a: Flags: \"Four\" is neither a number nor one of its flags"},
		{wrap("<IIsSmtpServer Location=\"/a\" Blob=\"xyz\"/>"), "line 4: /a: Blob: is not hexadecimal"},
		{wrap("<IIsSmtpServer Location=\"/a\" Password=\"x\"/>"), "a secure value does not stand in a file"},
		{wrap("<IIsSmtpServer Location=\"/a\"><Custom Name=\"x\" ID=\"no\"/></IIsSmtpServer>"), "line 4: /a: x: ID \"no\" is not a number"},
		{wrap("<IIsSmtpServer Location=\"/a\"><Custom Name=\"x\" ID=\"9\" Type=\"FLOAT\" UserType=\"u\" Attributes=\"LOUD\"/></IIsSmtpServer>"), "type \"FLOAT\" is not known"},
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

func TestAHugeElementIsRefused(t *testing.T) {
	r := strings.NewReader("<configuration><MBProperty><IIsSmtpServer Location=\"/a\" Comment=\"" + strings.Repeat("x", 2*maxToken) + "\"/>")
	if _, err := Read(r); err == nil || !strings.Contains(err.Error(), "one element has more than") {
		t.Errorf("error %v", err)
	}
}

func FuzzRead(f *testing.F) {
	raw, err := os.ReadFile("../../testdata/metabase/iis6.xml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`<configuration><MBProperty><IIsSmtpServer Location="/LM/a" Comment="x"><Custom Name="y" ID="9" Value="1" Type="DWORD" UserType="1" Attributes="INHERIT"/></IIsSmtpServer></MBProperty></configuration>`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := Read(bytes.NewReader(raw))
		if err != nil {
			return
		}
		ops, _, err := Plan(file, metabase.Snapshot{}, props, Options{})
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
		// What was taken is written, read and written the same.
		first := write(t, s.Snapshot(), metabase.Root)
		again, err := Read(strings.NewReader(first))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, first)
		}
		if left, _, err := Plan(again, s.Snapshot(), props, Options{}); err != nil || len(left) != 0 {
			t.Errorf("what was written differs from what it was made of: %v, %+v\n%s", err, left, first)
		}
	})
}
