// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"strings"
	"testing"

	"restante/admin/admintest"
	"restante/admin/api"
	"restante/engine/settings"
	"restante/internal/deptest"
	"restante/metabase"
	"restante/metabase/schema"
)

func TestFind(t *testing.T) {
	on, store := admintest.New(t, nil)
	d := handlers{on}
	has := store.Snapshot().Has
	tests := []struct {
		words string
		path  metabase.Path
		prop  string
		rest  int
		kind  api.Kind
	}{
		{"/LM/SMTPSVC/1 MaxConnections", "/LM/SMTPSVC/1", "MaxConnections", 0, ""},
		{"smtpsvc/1/maxconnections", "/LM/smtpsvc/1", "MaxConnections", 0, ""},
		{"SMTPSVC/1/MaxConnections 5", "/LM/SMTPSVC/1", "MaxConnections", 1, ""},
		{"LM/SMTPSVC/1/1014 5", "/LM/SMTPSVC/1", "MaxConnections", 1, ""},
		{`\\LM\\SMTPSVC\\1 1014`, "/LM/SMTPSVC/1", "MaxConnections", 0, ""},
		{"/Schema/Properties KeyType", "/Schema/Properties", "KeyType", 0, ""},
		{"SMTPSVC/1014 MaxConnections 5", "", "", 0, api.KindNotFound}, // a site that is not there
		{"SMTPSVC/9/MaxConnections", "", "", 0, api.KindNotFound},
		{"SMTPSVC/9 MaxConnections", "", "", 0, api.KindNotFound},
		{"SMTPSVC/1 NoSuch", "", "", 0, api.KindNotFound},
		{"SMTPSVC/1", "", "", 0, api.KindUsage},
		{"", "", "", 0, api.KindUsage},
	}
	for _, tt := range tests {
		got, err := d.find(has, strings.Fields(tt.words))
		if tt.kind != "" {
			if err == nil || api.AsError(err).Kind != tt.kind {
				t.Errorf("find(%q) = %v, want %s", tt.words, err, tt.kind)
			}
			continue
		}
		if err != nil || got.path != tt.path || got.prop.Name != tt.prop || len(got.rest) != tt.rest {
			t.Errorf("find(%q) = %s %s %v, %v", tt.words, got.path, got.prop.Name, got.rest, err)
		}
	}
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/admin/sites":         "handlers of different subjects are independent",
		"/admin/queues":        "handlers of different subjects are independent",
		"/engine/wire":         "the API asks sites and speaks no SMTP",
		"/engine/session":      "the API asks sites",
		"/adsi-compat/luahost": "scripts run in the process of the command",
		"/cmd":                 "imports go down only",
		"urfave":               "only cmd reads arguments",
		"badger":               "only internal/kv/badgerkv knows what the store is made of",
	})
}

// TestRestoreKeepsTheSchema restores a backup that was made under another schema.
func TestRestoreKeepsTheSchema(t *testing.T) {
	d, store := admintest.New(t, nil)
	Register(d)
	c := d.Direct(admintest.Admin())
	system := func(ops ...metabase.Op) {
		t.Helper()
		if _, err := store.Apply(t.Context(), metabase.Batch{Ops: ops, Origin: metabase.FromSystem}); err != nil {
			t.Fatal(err)
		}
	}
	const key = schema.SchemaPath + "/Properties/HopCount"
	now, ok := store.Snapshot().Stored(key, metabase.KeyType)
	if !ok {
		t.Fatal("no class")
	}
	system(metabase.Remove{Path: key, Recursive: true}) // as an earlier version had it
	if _, _, err := api.MbBackup.Call(t.Context(), c, api.BackupRequest{Name: "old"}); err != nil {
		t.Fatal(err)
	}
	system(schema.IIS().Sync(store.Snapshot())...)
	system(metabase.Set{Path: "/LM/SMTPSVC", Property: metabase.Property{ID: settings.MaxConnections, Attr: metabase.Inherit, UserType: 1, Value: metabase.DWord(9)}})
	if _, _, err := api.MbRestore.Call(t.Context(), c, api.RestoreRequest{Name: "old", Version: -1}); err != nil {
		t.Fatal(err)
	}
	snap := store.Snapshot()
	if was, ok := snap.Stored(key, metabase.KeyType); !ok || !was.Value.Equal(now.Value) {
		t.Error("the schema is that of the backup")
	}
	if p, ok := snap.Stored("/LM/SMTPSVC", settings.MaxConnections); ok && p.Value.DWord() == 9 {
		t.Error("nothing was restored")
	}
}
