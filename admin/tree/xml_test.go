// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/admin/admintest"
	"restante/admin/api"
	"restante/internal/kv"
	"restante/metabase"
)

// TestMaterial brings each file of another machine in, and what comes out of
// it into an empty tree: it comes out of there the same, and brings nothing new
// where it came from.
func TestMaterial(t *testing.T) {
	files, err := filepath.Glob("../../testdata/metabase/*.xml")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		a, who := setUp(t, kv.NewMem())
		dry := bringIn(t, a, who, api.ImportRequest{XML: raw, DryRun: true})
		made := bringIn(t, a, who, api.ImportRequest{XML: raw})
		if dry.Report.Keys != made.Report.Keys || len(dry.Report.Remarks) != len(made.Report.Remarks) || len(dry.Changes) == 0 {
			t.Errorf("%s: the dry run says %+v, the import %+v", file, dry.Report, made.Report)
		}
		if again := bringIn(t, a, who, api.ImportRequest{XML: raw}); len(again.Changes) != 0 {
			t.Errorf("%s: once more changes %+v", file, again.Changes)
		}
		first := takeOut(t, a, who, "")
		if same := bringIn(t, a, who, api.ImportRequest{XML: first, DryRun: true}); len(same.Changes) != 0 {
			t.Errorf("%s: its own export changes %+v", file, same.Changes)
		}
		b, who := setUp(t, kv.NewMem())
		bringIn(t, b, who, api.ImportRequest{XML: first})
		if second := takeOut(t, b, who, ""); string(second) != string(first) {
			t.Errorf("%s: first:\n%s\nsecond:\n%s", file, first, second)
		}
	}
}

func bringIn(t *testing.T, d handlers, who api.Caller, q api.ImportRequest) api.Imported {
	t.Helper()
	a, err := d.importXML(t.Context(), who, q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func takeOut(t *testing.T, d handlers, who api.Caller, path string) []byte {
	t.Helper()
	a, err := d.export(t.Context(), who, api.ExportRequest{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return a.XML
}

// TestOctetsTravelAsSuch sends a file that is no UTF-8 the whole way.
func TestOctetsTravelAsSuch(t *testing.T) {
	on, _ := admintest.New(t, nil)
	Register(on)
	xml := "<?xml version=\"1.0\"%s?>\n<configuration><MBProperty>\n" +
		"<IIsSmtpServer Location=\"/LM/SmtpSvc/1\" ServerComment=\"caf\xe9\"/></MBProperty></configuration>"
	call := func(declared string) error {
		q := api.ImportRequest{XML: []byte(strings.Replace(xml, "%s", declared, 1))}
		_, _, err := api.MbImport.Call(t.Context(), on.Direct(admintest.Admin()), q)
		return err
	}
	if err := call(""); err == nil || err.Error() != "line 3: invalid UTF-8" {
		t.Errorf("undeclared: %v", err)
	}
	if err := call(` encoding="windows-1252"`); err != nil {
		t.Error(err)
	}
	if p, ok := on.Tree.Snapshot().Stored("/LM/SMTPSVC/1", 1015); !ok || p.Value.Str() != "café" {
		t.Errorf("declared: %v", p)
	}
}

// TestFilesAskForRights: a caller without the read right above gets no inherited
// values, and a backup is deleted with all rights at the root.
func TestFilesAskForRights(t *testing.T) {
	on, store := admintest.New(t, nil)
	Register(on)
	if _, err := store.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{
		metabase.Set{Path: "/", Property: metabase.Property{ID: metabase.AccessList, Attr: metabase.Inherit, UserType: 1, Value: metabase.MultiSZ("user:boss all", "user:olga read,write,create,delete")}},
		metabase.Set{Path: "/LM/SMTPSVC/1", Property: metabase.Property{ID: metabase.AccessList, Attr: metabase.Inherit, UserType: 1, Value: metabase.MultiSZ("user:joe read")}},
	}}); err != nil {
		t.Fatal(err)
	}
	boss := on.Direct(admintest.Admin())
	as := func(name metabase.Principal) api.Conn {
		return on.Direct(api.Caller{Who: []metabase.Principal{name}})
	}
	if _, _, err := api.MbBackup.Call(t.Context(), boss, api.BackupRequest{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	newest := api.DeleteRequest{Name: "b", Version: -1}
	tests := []struct {
		what string
		got  api.Kind
		want api.Kind
	}{
		{"joe exports his site", admintest.Kind(t, as("user:joe"), api.MbExport, api.ExportRequest{Path: "SMTPSVC/1"}), ""},
		{"with what it inherits", admintest.Kind(t, as("user:joe"), api.MbExport, api.ExportRequest{Path: "SMTPSVC/1", Inherited: true}), api.KindRefused},
		{"boss does", admintest.Kind(t, boss, api.MbExport, api.ExportRequest{Path: "SMTPSVC", Inherited: true}), ""},
		{"olga deletes a backup", admintest.Kind(t, as("user:olga"), api.MbDeleteBackup, newest), api.KindRefused},
		{"boss does", admintest.Kind(t, boss, api.MbDeleteBackup, newest), ""},
		{"twice", admintest.Kind(t, boss, api.MbDeleteBackup, newest), api.KindNotFound},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, tt.got, tt.want)
		}
	}
}
