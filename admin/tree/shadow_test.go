// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"restante/admin/api"
	"restante/engine/settings"
	"restante/internal/kv"
	"restante/metabase"
	"restante/metabase/mbxml"
)

// inherits is a file of IIS that says most for site 1 above its key.
const inherits = `<?xml version="1.0"?>
<configuration xmlns="urn:microsoft-catalog:XML_Metabase_V64_0"><MBProperty>
<IIS_Global Location="."></IIS_Global>
<IIsComputer Location="/LM" ConnectionTimeout="77" ConnectResponse="not of the SMTP service alone"></IIsComputer>
<IIsSmtpService Location="/LM/SmtpSvc" DefaultDomain="corp.example" FullyQualifiedDomainName="mail.corp.example"
	MaxRecipients="50" HopCount="20" ConnectResponse="ready" QueueDirectory="D:\Queue"></IIsSmtpService>
<IIsSmtpServer Location="/LM/SmtpSvc/1" ServerBindings=":25:"></IIsSmtpServer>
<IIsSmtpServer Location="/LM/SmtpSvc/2" ServerBindings=":26:"></IIsSmtpServer>
<IIsSmtpDomain Location="/LM/SmtpSvc/1/Domain" RouteAction="514"></IIsSmtpDomain>
<IIsSmtpDomain Location="/LM/SmtpSvc/1/Domain/hub.example"></IIsSmtpDomain>
</MBProperty></configuration>`

// What a file says for a key, by inheritance too, holds after the import, or a
// remark tells.
func TestImportHoldsWhatTheFileSays(t *testing.T) {
	files := map[string]string{"inherits": inherits}
	for _, name := range []string{"iis6", "iis7", "iis8", "iis10"} {
		b, err := os.ReadFile(filepath.Join("../../testdata/metabase", name+".xml"))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(b)
	}
	for name, xml := range files {
		t.Run(name, func(t *testing.T) {
			d, who := setUp(t, kv.NewMem())
			change := func(path metabase.Path, property string, words ...string) {
				prop, _ := d.Schema.Property(property)
				v, err := prop.Parse(words)
				if err != nil {
					t.Fatal(err)
				}
				ops := []metabase.Op{metabase.Set{Path: path, Property: prop.Item(v)}}
				if _, err := d.Tree.Apply(t.Context(), metabase.Batch{Ops: ops, Actor: who.Who[0]}); err != nil {
					t.Fatal(err)
				}
			}
			change("/LM/SMTPSVC/1", "MaxRecipients", "7")
			change("/LM/SMTPSVC/1", "MaxMessageSize", "70000000")
			change("/LM/SMTPSVC/1", "MaxSessionSize", "700000000")
			got, err := d.importXML(t.Context(), who, api.ImportRequest{XML: []byte(xml)})
			if err != nil {
				t.Fatal(err)
			}
			f, err := mbxml.Read(bytes.NewReader([]byte(xml)))
			if err != nil {
				t.Fatal(err)
			}
			checkHolds(t, d, f, got.Report)
		})
	}
}

// checkHolds compares what each key of the file inherits there with what it
// inherits in the tree.
func checkHolds(t *testing.T, d handlers, f *mbxml.File, r *mbxml.Report) {
	t.Helper()
	snap := d.Tree.Snapshot()
	compared := 0
	for _, k := range f.Keys {
		if !k.Path.Within(settings.Service) || !snap.Has(k.Path) {
			continue
		}
		for name, from := range inFile(f, k.Path) {
			prop, err := d.Schema.Lookup(name)
			if err != nil || prop.ID == metabase.KeyType || !prop.In(snap.Class(k.Path)) || from != k.Path && prop.Attr&metabase.Inherit == 0 {
				continue
			}
			if from != k.Path && !from.Within(settings.Service) {
				from = settings.Service
			}
			want, stored := snap.Stored(from, prop.ID)
			holds, _, _ := snap.Effective(k.Path, prop.ID)
			compared++
			told := slices.ContainsFunc(r.Remarks, func(r mbxml.Remark) bool {
				return strings.EqualFold(r.Property, prop.Name) && (r.Path.Equal(from) || k.Path.Within(r.Path))
			})
			if (!stored || !want.Value.Equal(holds.Value)) && !told {
				t.Errorf("%s: %s is %v, and in the file %v by %s; no remark tells", k.Path, prop.Name, prop.Format(holds.Value), prop.Format(want.Value), from)
			}
		}
	}
	if compared < 5 {
		t.Errorf("only %d values were compared", compared)
	}
}

// inFile maps the properties that hold for a key of the file, by name, to the
// key that has them there.
func inFile(f *mbxml.File, path metabase.Path) map[string]metabase.Path {
	from := map[string]metabase.Path{}
	for at := path; ; at = at.Parent() {
		for _, k := range f.Keys {
			if !k.Path.Equal(at) {
				continue
			}
			for _, it := range k.Items {
				if _, nearer := from[it.Name]; !nearer && it.Value != "" {
					from[it.Name] = k.Path
				}
			}
		}
		if at == metabase.Root {
			return from
		}
	}
}

// The values of setup make way, those that somebody chose stay.
func TestImportOverSetup(t *testing.T) {
	d, who := setUp(t, kv.NewMem())
	prop, _ := d.Schema.Property("MaxRecipients")
	chosen := metabase.Set{Path: settings.SitePath(1), Property: prop.Item(metabase.DWord(7))}
	if _, err := d.Tree.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{chosen}, Actor: who.Who[0]}); err != nil {
		t.Fatal(err)
	}
	dry, err := d.importXML(t.Context(), who, api.ImportRequest{XML: []byte(inherits), DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.importXML(t.Context(), who, api.ImportRequest{XML: []byte(inherits)})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(dry.Report.Remarks, got.Report.Remarks) {
		t.Errorf("a dry run remarks\n%v\nand the import\n%v", dry.Report.Remarks, got.Report.Remarks)
	}
	s, err := settings.Load(d.Tree.Snapshot(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if s.DefaultDomain != "corp.example" || s.FullyQualifiedDomainName != "mail.corp.example" || s.Limits.MaxRecipients != 7 ||
		s.Limits.HopCount != 20 || s.ConnectResponse != "ready" || s.Limits.ConnectionTimeout.Seconds() != 77 {
		t.Errorf("site 1 is %+v, %+v", s.Identity, s.Limits)
	}
	if s.Folders.QueueDirectory != "Mailroot/Queue" {
		t.Errorf("the queue is in %s", s.Folders.QueueDirectory)
	}
	for _, want := range []string{
		`translated /LM/SmtpSvc/1 DefaultDomain "hub.example" was the value of setup, and is removed: the file has "corp.example" at /LM/SmtpSvc`,
		`needs a decision /LM/SmtpSvc/1 MaxRecipients stays "7", which is set here; the file has "50" at /LM/SmtpSvc: restante mb unset /LM/SmtpSvc/1 MaxRecipients`,
		`translated /LM/SmtpSvc/1/Domain/hub.example RouteAction "64 (default)" was the value of setup, and is removed: the file has "514 (etrn_cmd, smarthost)"`,
		`translated /LM/SmtpSvc ConnectionTimeout the file has it at /LM, above the service: it is stored here`,
	} {
		if !slices.ContainsFunc(got.Report.Remarks, func(r mbxml.Remark) bool {
			return r.Line > 0 && strings.HasPrefix(strings.Join([]string{string(r.Verdict), string(r.Path), r.Property, r.Text}, " "), want)
		}) {
			t.Errorf("no remark is %q; they are %v", want, got.Report.Remarks)
		}
	}
	// What was left holds its own: a second import changes nothing.
	if again, err := d.importXML(t.Context(), who, api.ImportRequest{XML: []byte(inherits)}); err != nil || again.Made {
		t.Errorf("a second import: %+v, %v", again, err)
	}
}

// A merge of an own file is judged in the same way: a value that it keeps and
// that hides one of the file is reported.
func TestMergeOfAnOwnFile(t *testing.T) {
	d, who := setUp(t, kv.NewMem())
	own := strings.Replace(inherits, `<IIS_Global Location=".">`, `<IIS_Global Location="." Origin="Restante">`, 1)
	own = strings.Replace(own, `<IIsComputer Location="/LM" ConnectionTimeout="77" ConnectResponse="not of the SMTP service alone">`, `<IIsComputer Location="/LM">`, 1)
	own = strings.Replace(own, `QueueDirectory="D:\Queue"`, "", 1)
	prop, _ := d.Schema.Property("MaxRecipients")
	chosen := metabase.Set{Path: settings.SitePath(1), Property: prop.Item(metabase.DWord(7))}
	if _, err := d.Tree.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{chosen}, Actor: who.Who[0]}); err != nil {
		t.Fatal(err)
	}
	own = strings.Replace(own, `<IIsSmtpServer Location="/LM/SmtpSvc/2" ServerBindings=":26:"></IIsSmtpServer>`, "", 1)
	got, err := d.importXML(t.Context(), who, api.ImportRequest{XML: []byte(own), Merge: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := settings.Load(d.Tree.Snapshot(), 1)
	if err != nil || s.DefaultDomain != "corp.example" || s.Limits.MaxRecipients != 7 {
		t.Errorf("site 1 is %+v, %v", s, err)
	}
	for _, property := range []string{"DefaultDomain", "MaxRecipients", "RouteAction"} {
		if !slices.ContainsFunc(got.Report.Remarks, func(r mbxml.Remark) bool { return r.Property == property }) {
			t.Errorf("no remark tells of %s: %v", property, got.Report.Remarks)
		}
	}
}
