// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"strings"
	"testing"

	"restante/admin/admintest"
	"restante/admin/api"
	"restante/internal/deptest"
	"restante/metabase"
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
		"/admin/sites":    "handlers of different subjects are independent",
		"/admin/queues":   "handlers of different subjects are independent",
		"/engine/wire":    "the API asks sites and speaks no SMTP",
		"/engine/session": "the API asks sites",
		"/adsi-compat":    "scripts are brought by cmd",
		"/cmd":            "imports go down only",
		"urfave":          "only cmd reads arguments",
		"badger":          "only internal/kv/badgerkv knows what the store is made of",
	})
}
