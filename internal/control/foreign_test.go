// SPDX-License-Identifier: Apache-2.0

package control

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"restante/engine/settings"
	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase"
	"restante/metabase/schema"
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

// setUp is a Desk over a tree that has been set up, with every check.
func setUp(t testing.TB, db kv.DB) (*Desk, Caller) {
	t.Helper()
	store, err := metabase.Open(t.Context(), db, seal.New(), metabase.Options{
		Checks: []metabase.Check{schema.IIS().Check, settings.Check},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	ops, err := Setup(store.Snapshot(), schema.IIS(), settings.NewSite{Bindings: []string{"127.0.0.1:0"}, Domain: "hub.example"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Apply(t.Context(), metabase.Batch{Ops: ops, Origin: metabase.FromSystem}); err != nil {
		t.Fatal(err)
	}
	return New(store, schema.IIS(), nil, nil, Place{Data: t.TempDir(), Version: "test"}), Caller{Who: Self(), Origin: metabase.FromCLI}
}

// BenchmarkForeignImport brings 100,000 domains in, and writes them out.
func BenchmarkForeignImport(b *testing.B) {
	xml := foreignFile(100_000)
	for range b.N {
		b.StopTimer()
		db, err := kv.Open(b.TempDir(), kv.Options{})
		if err != nil {
			b.Fatal(err)
		}
		d, who := setUp(b, db)
		b.StartTimer()
		if os.Getenv("DRY") != "" {
			if _, err := d.importXML(b.Context(), who, ImportRequest{XML: xml, DryRun: true}); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := d.importXML(b.Context(), who, ImportRequest{XML: xml}); err != nil {
			b.Fatal(err)
		}
	}
}
