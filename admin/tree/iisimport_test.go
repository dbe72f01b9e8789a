// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"restante/admin/admintest"
	"restante/admin/api"
	"restante/engine/auth"
	"restante/engine/settings"
	"restante/internal/kv"
	"restante/internal/kv/badgerkv"
	"restante/metabase"
	"restante/metabase/mbxml"
)

// foreignFile is a file as IIS writes it, with n domains that are held.
func foreignFile(n int) string {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\"?>\n<configuration xmlns=\"urn:microsoft-catalog:XML_Metabase_V64_0\">\n<MBProperty>\n" +
		"<IIS_Global\tLocation =\".\"\n\t>\n</IIS_Global>\n<IIsSmtpService\tLocation =\"/LM/SmtpSvc\"\n\t\tHopCount=\"15\"\n\t>\n</IIsSmtpService>\n")
	for i := range n {
		fmt.Fprintf(&b, "<IIsSmtpDomain\tLocation =\"/LM/SmtpSvc/1/Domain/customer%d.example\"\n\t\tAuthTurnList=\"account%d\"\n\t\tRouteAction=\"514\"\n\t>\n</IIsSmtpDomain>\n", i, i)
	}
	b.WriteString("</MBProperty>\n</configuration>\n")
	return b.String()
}

// setUp is the handlers over db, with a caller who has all rights.
func setUp(t testing.TB, db kv.DB) (handlers, api.Caller) {
	t.Helper()
	d, _ := admintest.Over(t, db, nil, metabase.Options{})
	return handlers{d}, api.Caller{Who: api.Self(), Origin: metabase.FromCLI}
}

// BenchmarkForeignImport brings 100,000 domains in, and writes them out.
func BenchmarkForeignImport(b *testing.B) {
	xml := foreignFile(100_000)
	for range b.N {
		b.StopTimer()
		db, err := badgerkv.Open(b.TempDir(), badgerkv.Options{})
		if err != nil {
			b.Fatal(err)
		}
		d, who := setUp(b, db)
		b.StartTimer()
		if os.Getenv("DRY") != "" {
			if _, err := d.importXML(b.Context(), who, api.ImportRequest{XML: []byte(xml), DryRun: true}); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := d.importXML(b.Context(), who, api.ImportRequest{XML: []byte(xml)}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLeftOutKeySaysWhy checks that the report has the reason why a key is left out, and
// not what follows from it for its properties.
func TestLeftOutKeySaysWhy(t *testing.T) {
	d, who := setUp(t, kv.NewMem())
	xml := strings.Replace(foreignFile(1), "customer0.", "a\u202eb.", 1)
	got, err := d.importXML(t.Context(), who, api.ImportRequest{XML: []byte(xml), DryRun: true, Merge: true})
	if err != nil {
		t.Fatal(err)
	}
	const want = "does not belong here, and is left out with all below it: \"a\\u202eb.example\": a name cannot have the character U+202E, which does not show"
	for _, r := range got.Report.Remarks {
		if strings.HasPrefix(r.Text, "does not belong here") {
			if r.Text != want {
				t.Errorf("%q, want %q", r.Text, want)
			}
			return
		}
	}
	t.Errorf("not told: %+v", got.Report.Remarks)
}

// TestExportOlderThanDkimKeys: an export names keys that it does not have. Where they have
// been changed since, the domain goes on signing with those of today, and the rest of the
// file holds.
func TestExportOlderThanDkimKeys(t *testing.T) {
	d, who := setUp(t, kv.NewMem())
	const at = "/LM/SMTPSVC/1/Domain/hub.example"
	set := func(name string, values ...string) {
		t.Helper()
		prop, _ := d.Schema.Property(name)
		value, err := prop.Parse(values)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Tree.Apply(t.Context(), who.Batch(metabase.Set{Path: at, Property: prop.Item(value)})); err != nil {
			t.Fatal(err)
		}
	}
	key := func(selector string) string {
		k, err := auth.NewKey(selector, auth.Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		return k.Secret()
	}
	set("DkimKeys", key("s1"))
	set("DkimSelectors", "s1")
	set("DkimFor", "joe")
	file, err := d.export(t.Context(), who, api.ExportRequest{Path: "/LM"})
	if err != nil {
		t.Fatal(err)
	}
	set("DkimFor", "ann")
	set("DkimKeys", key("s1"), key("s2"))
	set("DkimSelectors", "s2")
	set("DkimKeys", key("s2"))
	for _, merge := range []bool{true, false} {
		for _, dry := range []bool{true, false} {
			got, err := d.importXML(t.Context(), who, api.ImportRequest{XML: file.XML, Merge: merge, DryRun: dry})
			if err != nil {
				t.Fatalf("merge %v, dry run %v: %v", merge, dry, err)
			}
			told := slices.ContainsFunc(got.Report.Remarks, func(r mbxml.Remark) bool {
				return r.Property == "DkimSelectors" && r.Line > 0 && strings.Contains(r.Text, `is left out: DkimKeys has no key of selector "s1"`)
			})
			if !told {
				t.Errorf("merge %v, dry run %v: the report is %+v", merge, dry, got.Report.Remarks)
			}
		}
		site := settings.Unchecked(d.Tree.Snapshot(), 1)
		if keys := site.DkimKeys("hub.example", "joe", netip.MustParseAddr("192.0.2.1")); len(keys) != 1 || !strings.HasPrefix(keys[0], "s2 ") {
			t.Errorf("merge %v: %d keys sign, want s2, for joe", merge, len(keys))
		}
		set("DkimFor", "ann")
	}
	bad := strings.Replace(string(file.XML), `DkimFor="joe"`, `DkimFor="10.0.0.0/99"`, 1)
	if _, err := d.importXML(t.Context(), who, api.ImportRequest{XML: []byte(bad)}); err == nil || !strings.Contains(err.Error(), "DkimFor") {
		t.Errorf("a file with another fault: %v", err)
	}
}
