// SPDX-License-Identifier: Apache-2.0

package mb

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/internal/control"
	"restante/internal/desk/desktest"
	"restante/internal/kv"
	"restante/metabase"
)

// TestMaterial brings each file of another machine in, and what comes out of
// it into an empty tree: it comes out of there the same, and brings nothing new
// where it came from.
func TestMaterial(t *testing.T) {
	files, err := filepath.Glob("../../../testdata/metabase/*.xml")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		a, who := setUp(t, kv.NewMem())
		dry := bringIn(t, a, who, control.ImportRequest{XML: raw, DryRun: true})
		made := bringIn(t, a, who, control.ImportRequest{XML: raw})
		if dry.Report.Keys != made.Report.Keys || len(dry.Report.Remarks) != len(made.Report.Remarks) || len(dry.Changes) == 0 {
			t.Errorf("%s: the dry run says %+v, the import %+v", file, dry.Report, made.Report)
		}
		if again := bringIn(t, a, who, control.ImportRequest{XML: raw}); len(again.Changes) != 0 {
			t.Errorf("%s: once more changes %+v", file, again.Changes)
		}
		first := takeOut(t, a, who, "")
		if same := bringIn(t, a, who, control.ImportRequest{XML: first, DryRun: true}); len(same.Changes) != 0 {
			t.Errorf("%s: its own export changes %+v", file, same.Changes)
		}
		b, who := setUp(t, kv.NewMem())
		bringIn(t, b, who, control.ImportRequest{XML: first})
		if second := takeOut(t, b, who, ""); string(second) != string(first) {
			t.Errorf("%s: first:\n%s\nsecond:\n%s", file, first, second)
		}
	}
}

func bringIn(t *testing.T, d drawer, who control.Caller, q control.ImportRequest) control.Imported {
	t.Helper()
	a, err := d.importXML(t.Context(), who, q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func takeOut(t *testing.T, d drawer, who control.Caller, path string) []byte {
	t.Helper()
	a, err := d.export(t.Context(), who, control.ExportRequest{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return a.XML
}

// TestOctetsTravelAsSuch sends a file that is no UTF-8 the whole way.
func TestOctetsTravelAsSuch(t *testing.T) {
	on, _ := desktest.New(t, nil)
	Calls(on)
	xml := "<?xml version=\"1.0\"%s?>\n<configuration><MBProperty>\n" +
		"<IIsSmtpServer Location=\"/LM/SmtpSvc/1\" ServerComment=\"caf\xe9\"/></MBProperty></configuration>"
	call := func(declared string) error {
		q := control.ImportRequest{XML: []byte(strings.Replace(xml, "%s", declared, 1))}
		_, _, err := control.MbImport.Call(t.Context(), on.Direct(desktest.Boss()), q)
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

// TestFilesAskForRights: whoever may not read above may not have inherited
// values, and a backup is deleted with all rights at the root.
func TestFilesAskForRights(t *testing.T) {
	on, store := desktest.New(t, nil)
	Calls(on)
	if _, err := store.Apply(t.Context(), metabase.Batch{Ops: []metabase.Op{
		metabase.Set{Path: "/", Property: metabase.Property{ID: metabase.AccessList, Attr: metabase.Inherit, UserType: 1, Value: metabase.MultiSZ("user:boss all", "user:olga read,write,create,delete")}},
		metabase.Set{Path: "/LM/SMTPSVC/1", Property: metabase.Property{ID: metabase.AccessList, Attr: metabase.Inherit, UserType: 1, Value: metabase.MultiSZ("user:joe read")}},
	}}); err != nil {
		t.Fatal(err)
	}
	boss := on.Direct(desktest.Boss())
	as := func(name metabase.Principal) control.Conn {
		return on.Direct(control.Caller{Who: []metabase.Principal{name}})
	}
	if _, _, err := control.MbBackup.Call(t.Context(), boss, control.BackupRequest{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	newest := control.DeleteRequest{Name: "b", Version: -1}
	tests := []struct {
		what string
		got  control.Kind
		want control.Kind
	}{
		{"joe exports his site", desktest.Kind(t, as("user:joe"), control.MbExport, control.ExportRequest{Path: "SMTPSVC/1"}), ""},
		{"with what it inherits", desktest.Kind(t, as("user:joe"), control.MbExport, control.ExportRequest{Path: "SMTPSVC/1", Inherited: true}), control.KindRefused},
		{"boss does", desktest.Kind(t, boss, control.MbExport, control.ExportRequest{Path: "SMTPSVC", Inherited: true}), ""},
		{"olga deletes a backup", desktest.Kind(t, as("user:olga"), control.MbDeleteBackup, newest), control.KindRefused},
		{"boss does", desktest.Kind(t, boss, control.MbDeleteBackup, newest), ""},
		{"twice", desktest.Kind(t, boss, control.MbDeleteBackup, newest), control.KindNotFound},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, tt.got, tt.want)
		}
	}
}
